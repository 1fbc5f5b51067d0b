//! Two parties in an exchange, an auditor, and a log whose ticks neutral witnesses cosign at times
//! that the test chooses.

use exchange::predicate::{
    Accept, AgreedClaim, Agreement, Audience, AuditDirection, AuditName, AuditPlan, Author,
    Benchmark, Bound, Claim, Coin, CoinStep, Counts, Decline, DeclineCode, Dispute, DisputeResult,
    Evaluation, Finding, Fraction, Ground, ItemRange, Member, OpenedItems, Opening, Outcome,
    Program, Reveal, RevealContent, Risk, Rule, Runs, Schedule, SealedEnvelope, SealingKey, Stage,
    Stamp, Stamped, SummaryResult, Terms, Tick, What, stamp_message,
};
use exchange::{
    BaseField, ColumnName, Common, ExchangeState, Field, KeyReference, Predicate, Refusal,
    SignedStatement, StatementId, Status, Timestamp, Word,
};
use tlog::{Hash, KeyKind, SignedCheckpoint, SigningKey, cosign};

use crate::log::{Log, key, keys, register, sign};
use crate::vectors;

pub(crate) const A: &str = "lab-a.example";
pub(crate) const B: &str = "lab-b.example";
pub(crate) const AUDITOR: &str = "auditor.example";
/// Who logs ticks and hands in what others signed.
pub(crate) const OPERATOR: &str = "operator.example";
/// The neutral witness, and the parties' own.
pub(crate) const CLOCK: &str = "clock.example";
pub(crate) const WITNESS_A: &str = "witness-a.example";

pub(crate) const STEP: u64 = 100;
pub(crate) const ACCEPT_BY: u64 = 10_000;
pub(crate) const COMMIT_BY: u64 = 20_000;
pub(crate) const REVEAL_BY: u64 = 30_000;
pub(crate) const AUDIT_BY: u64 = 40_000;

pub(crate) fn word(text: &str) -> Word {
    Word::parse(text).unwrap()
}

pub(crate) fn column() -> ColumnName {
    ColumnName::parse("accuracy").unwrap()
}

fn time(unix: u64) -> Timestamp {
    Timestamp::from_unix(unix).unwrap()
}

pub(crate) fn schedule() -> Schedule {
    Schedule {
        accept_by: time(ACCEPT_BY),
        commit_by: time(COMMIT_BY),
        reveal_by: time(REVEAL_BY),
        audit_by: None,
        step: STEP,
    }
}

pub(crate) fn rule(
    id: &str,
    what: What,
    to: Audience,
    from: Stage,
    items: u64,
    owed: bool,
) -> Rule {
    Rule { id: word(id), what, by: Author::Both, to, from, items, risk: Risk::Sensitive, owed }
}

/// Totals are owed to the peer, outputs of three items may be shown to it once committed, and
/// each claims at least one point.
pub(crate) fn agreement(log: &Log) -> Agreement {
    let of_vectors = vectors::evaluation();
    let member = |name: &str| Member { keys: keys(&key(name)), witness: None };
    let policy = format!(
        "log {}\nwitness clock {}\nquorum clock\n",
        log.key.verifier(KeyKind::Ed25519),
        key(CLOCK).verifier(KeyKind::Cosignature)
    );
    Agreement {
        parties: [member(A), member(B)],
        auditors: vec![keys(&key(AUDITOR))],
        policy,
        clock: "clock".to_owned(),
        evaluation: Terms {
            benchmark: Benchmark::Name(ColumnName::parse("arithmetic").unwrap()),
            items_root: of_vectors.items_root,
            items: of_vectors.items,
            epochs: 1,
            item_key: Hash::new([5; 32]),
            elicitation: Hash::new([6; 32]),
            harness: Program { name: word("inspect_ai"), version: "0.3.285".to_owned() },
            columns: of_vectors.columns.iter().map(|column| column.scale.clone()).collect(),
        },
        runs: Runs { budget: 2, counts: Counts::First },
        schedule: schedule(),
        disclosure: vec![
            rule("totals", What::Totals, Audience::Peer, Stage::Committed, 0, true),
            rule("claims", What::Claim, Audience::Public, Stage::Committed, 0, false),
            rule("output", What::Field(output()), Audience::Peer, Stage::Committed, 3, false),
        ],
        claims: [A, B]
            .map(|name| AgreedClaim {
                id: word(&format!("least-{}", &name[4..5])),
                bound: Bound::AtLeast { q: 1 },
                column: column(),
                by: key(name).name().clone(),
            })
            .to_vec(),
        audit: None,
        escrow: None,
    }
}

pub(crate) fn with_audit(log: &Log) -> Agreement {
    let half = Fraction::new(1, 2).unwrap();
    Agreement {
        schedule: Schedule { audit_by: Some(time(AUDIT_BY)), ..schedule() },
        audit: Some(AuditPlan {
            auditor: key(AUDITOR).name().clone(),
            column: column(),
            direction: AuditDirection::Inflated,
            delta: half,
            alpha: half,
            gamma: half,
            first: 2,
            largest: 3,
            attempts: 2,
        }),
        ..agreement(log)
    }
}

pub(crate) fn output() -> Field {
    Field::Base(BaseField::Output)
}

/// A log with everybody registered.
pub(crate) fn log() -> Log {
    Log::with(&[A, B, AUDITOR, OPERATOR])
}

#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) log: Log,
    pub(crate) id: StatementId,
    /// Counts nonces and artifacts, so that none comes twice.
    fresh: u64,
}

impl Pair {
    /// Proposed.
    pub(crate) fn proposed(change: impl FnOnce(&Log) -> Agreement) -> Self {
        let mut log = log();
        let agreement = change(&log);
        let id = log.say(&key(A), Predicate::Agreement(Box::new(agreement))).unwrap();
        Self { log, id, fresh: 0 }
    }

    /// Accepted.
    pub(crate) fn agreed(change: impl FnOnce(&Log) -> Agreement) -> Self {
        let mut pair = Self::proposed(change);
        pair.says(B, pair.accepts()).unwrap();
        assert_eq!(pair.state(), Some(ExchangeState::Agreed));
        pair
    }

    /// Both committed, ticked at `time`.
    pub(crate) fn committed(change: impl FnOnce(&Log) -> Agreement, time: u64) -> Self {
        let mut pair = Self::agreed(change);
        pair.runs(A);
        pair.runs(B);
        pair.tick(time);
        assert_eq!(pair.state(), Some(ExchangeState::Committed));
        pair
    }

    /// Everything owed is made.
    pub(crate) fn revealed(change: impl FnOnce(&Log) -> Agreement, time: u64) -> Self {
        let mut pair = Self::committed(change, time);
        for name in [A, B] {
            pair.says(name, pair.reveals(name)).unwrap();
            pair.says(name, pair.declines(name)).unwrap();
        }
        pair.tick(time + 1);
        assert_eq!(pair.state(), Some(ExchangeState::Revealed));
        pair
    }

    pub(crate) fn accepts(&self) -> Predicate {
        Predicate::Accept(Accept { accepts: self.id })
    }

    /// The state, or the one in which it ended.
    pub(crate) fn state(&self) -> Option<ExchangeState> {
        let open = self.log.state.exchange(&self.id).map(|view| view.state());
        open.or_else(|| self.log.state.ended_in(&self.id))
    }

    /// What became of an obligation.
    pub(crate) fn status(&self, name: &str) -> Option<Status> {
        let mut state = self.log.state.clone();
        let ended = state.take_ended().into_iter().find(|ended| ended.id == self.id);
        let duties = match ended {
            Some(ended) => ended.obligations,
            None => state.exchange(&self.id)?.obligations(&|_| true),
        };
        duties.iter().find(|duty| duty.name.as_str() == name).map(|duty| duty.status)
    }

    pub(crate) fn breaches(&self) -> Vec<String> {
        let mut state = self.log.state.clone();
        let ended = state.take_ended().into_iter().find(|ended| ended.id == self.id);
        let breaches = match ended {
            Some(ended) => ended.breaches,
            None => state.exchange(&self.id).unwrap().breaches(),
        };
        breaches.iter().map(ToString::to_string).collect()
    }

    /// The common members of a party's next statement in the exchange.
    pub(crate) fn common(&self, signer: &SigningKey) -> Common {
        let last = self.log.state.last(signer.name(), Some(self.id));
        Common {
            exchange: Some(self.id),
            number: last.map_or(1, |(number, _)| number + 1),
            previous: last.map(|(_, id)| id),
            ..self.log.common(signer)
        }
    }

    pub(crate) fn signs(&self, name: &str, predicate: Predicate) -> Vec<u8> {
        let signer = key(name);
        sign(&signer, self.common(&signer), predicate)
    }

    pub(crate) fn says(
        &mut self,
        name: &str,
        predicate: Predicate,
    ) -> Result<StatementId, Refusal> {
        let leaf = self.signs(name, predicate);
        self.log.submit(&leaf)
    }

    /// The reason for which a statement would be refused.
    pub(crate) fn refusal(&self, name: &str, predicate: Predicate) -> Refusal {
        let leaf = self.signs(name, predicate);
        self.log.clone().submit(&leaf).unwrap_err()
    }

    fn next(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    pub(crate) fn intends(&mut self, run: u64, who: &str) -> Predicate {
        let nonce = self.next() * 10 + u64::from(who == B);
        crate::log::intent(run, nonce)
    }

    pub(crate) fn evaluates(&self, intent: StatementId) -> Evaluation {
        Evaluation { intent, opened: Vec::new(), ..vectors::evaluation() }
    }

    /// One run of a party: intent and evaluation.
    pub(crate) fn runs(&mut self, name: &str) -> StatementId {
        let side = self.log.state.exchange(&self.id).unwrap().side(key(name).name()).unwrap();
        let run = self.log.state.exchange(&self.id).unwrap().runs(side).count() as u64 + 1;
        let intent = self.intends(run, name);
        let intent = self.says(name, intent).unwrap();
        let evaluation = Predicate::Evaluation(Box::new(self.evaluates(intent)));
        self.says(name, evaluation).unwrap()
    }

    pub(crate) fn record(&self, name: &str) -> StatementId {
        let view = self.log.state.exchange(&self.id).unwrap();
        let side = view.side(key(name).name()).unwrap();
        view.counted(side).unwrap().0
    }

    pub(crate) fn envelope(reader: &str, fill: u8) -> SealedEnvelope {
        SealedEnvelope {
            digest: Hash::new([fill; 32]),
            reader: key(reader).name().clone(),
            key: SealingKey::X25519([9; 32]).id(),
            padded: 1024,
        }
    }

    pub(crate) fn reveals(&self, name: &str) -> Predicate {
        self.reveals_to(name, if name == A { B } else { A }, None)
    }

    pub(crate) fn reveals_to(
        &self,
        name: &str,
        reader: &str,
        answers: Option<StatementId>,
    ) -> Predicate {
        Predicate::Reveal(Box::new(Reveal {
            record: self.record(name),
            rule: Some(word("totals")),
            content: RevealContent::Envelope(Self::envelope(reader, 3)),
            answers,
            items_proofs: Vec::new(),
            releases: None,
        }))
    }

    pub(crate) fn claims(&self, name: &str) -> Predicate {
        Predicate::Claim(Box::new(Claim {
            claim: Some(word(&format!("least-{}", &name[4..5]))),
            bound: Bound::AtLeast { q: 1 },
            column: column(),
            records: vec![self.record(name)],
            items_proofs: vec![Hash::new([7; 32])],
            proof: Hash::new([8; 32]),
            scored: Vec::new(),
        }))
    }

    pub(crate) fn declines(&self, name: &str) -> Predicate {
        let claim = word(&format!("least-{}", &name[4..5]));
        Predicate::Decline(Decline { claim, code: DeclineCode::Unspecified })
    }

    pub(crate) fn opens(&self, name: &str, first: u64, last: u64) -> Predicate {
        Predicate::Opening(Box::new(Opening {
            record: self.record(name),
            items: OpenedItems::Ranges(vec![ItemRange { first, last }]),
            fields: vec![output()],
            envelope: Self::envelope(if name == A { B } else { A }, 4),
            answers: None,
        }))
    }

    pub(crate) fn disputes(about: StatementId) -> Predicate {
        Predicate::Dispute(Box::new(Dispute { about, ground: Ground::Unopenable }))
    }

    pub(crate) fn audit(&self, name: &str) -> AuditName {
        let auditor = key(AUDITOR).name().clone();
        AuditName { record: self.record(name), auditor, attempt: 1 }
    }

    /// Commitment to the coin of 32 equal bytes, recomputed from the formula.
    pub(crate) fn commits_coin(&self, audited: &str, who: &str, coin: u8) -> Predicate {
        let audit = self.audit(audited);
        let lp = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
        let id = Hash::of(&[
            b"countersign.v1/audit\0",
            self.id.as_bytes(),
            audit.record.as_bytes(),
            &lp(AUDITOR),
            &1_u32.to_be_bytes(),
        ]);
        let commitment =
            Hash::of(&[b"countersign.v1/coin\0", id.as_bytes(), &lp(who), &[coin; 32]]);
        Predicate::Coin(Coin { audit, step: CoinStep::Commit { commitment } })
    }

    pub(crate) fn opens_coin(&self, audited: &str, who: &str, coin: u8) -> Predicate {
        let sample = (who == AUDITOR).then_some(2);
        let step = CoinStep::Open { coin: [coin; 32], sample };
        Predicate::Coin(Coin { audit: self.audit(audited), step })
    }

    pub(crate) fn opens_sample(&self, name: &str, sample: u64) -> Predicate {
        Predicate::Opening(Box::new(Opening {
            record: self.record(name),
            items: OpenedItems::Sample { audit: self.audit(name), sample },
            fields: vec![Field::Score(column()), Field::Base(BaseField::Status)],
            envelope: Self::envelope(AUDITOR, 5),
            answers: None,
        }))
    }

    pub(crate) fn concludes(&self, finding: Finding) -> Predicate {
        Predicate::Outcome(Box::new(Outcome {
            time_verified: time(0),
            policy: self.id,
            finding,
            properties: Vec::new(),
        }))
    }

    pub(crate) fn settles(
        &self,
        about: StatementId,
        disputed: StatementId,
        result: DisputeResult,
    ) -> Predicate {
        self.concludes(Finding::Dispute { about, disputed, result })
    }

    pub(crate) fn sums_up(&self) -> Predicate {
        self.concludes(Finding::Summary { result: SummaryResult::AsAgreed })
    }

    /// A tick over the whole log, cosigned by these witnesses.
    pub(crate) fn tick_by(&self, witnesses: &[&str], time: u64) -> Predicate {
        let mut note = SignedCheckpoint::sign(&self.log.key, self.log.head());
        for witness in witnesses {
            let line = cosign(note.checkpoint(), &key(witness), time).unwrap();
            let with = note.note().with_signature(line).unwrap();
            note =
                SignedCheckpoint::of_note(with, &self.log.key.verifier(KeyKind::Ed25519)).unwrap();
        }
        let text = std::str::from_utf8(note.as_bytes()).unwrap();
        Predicate::Tick(Tick::parse(text).unwrap())
    }

    pub(crate) fn tick(&mut self, time: u64) {
        let tick = self.tick_by(&[CLOCK], time);
        self.log.say(&key(OPERATOR), tick).unwrap();
    }

    /// The clock witness's word that a leaf existed at a time, handed in by the operator.
    pub(crate) fn stamp(&mut self, leaf: &[u8], time: u64) {
        let statement = SignedStatement::parse(leaf).unwrap().id();
        let witness = key(CLOCK);
        let message = stamp_message(self.log.key.name(), &statement, time);
        let stamp = Stamp {
            keyid: KeyReference::new(witness.name(), witness.public().as_bytes()),
            time,
            signature: witness.sign(&message),
        };
        let stamped = Predicate::Stamp(Stamped { statement, stamps: vec![stamp] });
        self.log.say(&key(OPERATOR), stamped).unwrap();
    }

    /// The state that a reader comes to who replays all leaves.
    pub(crate) fn replayed(&self) -> exchange::State {
        let mut other = Log::of(self.log.key.clone());
        for leaf in &self.log.leaves {
            other.replay(leaf);
        }
        other.state
    }
}

/// The registration of somebody new.
pub(crate) fn registers(name: &str) -> Predicate {
    register(&key(name))
}

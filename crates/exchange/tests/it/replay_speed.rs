//! How fast statements of many exchanges are replayed, beside their signature checks. Run it with
//! `cargo test --release -p countersign-exchange -- --ignored --nocapture replay_speed`;
//! `STATEMENTS=1000000` for the published table.

use std::time::{Duration, Instant};

use exchange::predicate::{Predicate as P, Runs, Withdrawal, WithdrawalCode};
use exchange::{Common, Predicate, SignedStatement, State, StatementId, VerifiedStatement};
use tlog::{CompactRange, KeyKind, SigningKey, leaf_hash};

use crate::log::{Roots, intent, key, register, sign};
use crate::pair::{A, B, OPERATOR, agreement};

/// Statements of one exchange, ticks not counted.
const EACH: usize = 100;

/// Exchanges that are open at a time.
const AT_ONCE: usize = 50;

struct Replay {
    state: State,
    range: CompactRange,
    roots: Roots,
    log: SigningKey,
    /// Leaves that are made and verified, but not replayed yet.
    ready: Vec<VerifiedStatement>,
    replaying: Duration,
    verifying: Duration,
    count: usize,
}

impl Replay {
    fn new() -> Self {
        let log = key(crate::log::ORIGIN);
        let range = CompactRange::new();
        let roots = Roots(vec![range.root()]);
        let state = State::new(log.verifier(KeyKind::Ed25519));
        let (ready, replaying, verifying) = (Vec::new(), Duration::ZERO, Duration::ZERO);
        Self { state, range, roots, log, ready, replaying, verifying, count: 0 }
    }

    /// Signs a statement that follows `previous`, and checks its signature.
    fn say(
        &mut self,
        name: &str,
        chain: &mut Chain,
        exchange: Option<StatementId>,
        predicate: Predicate,
    ) -> StatementId {
        let signer = key(name);
        let common = Common {
            origin: self.log.name().clone(),
            exchange,
            signer: signer.name().clone(),
            number: chain.number + 1,
            previous: chain.last,
            seen: tlog::TreeHead { size: 0, root: tlog::EMPTY_ROOT },
        };
        let leaf = sign(&signer, common, predicate);
        let signed = SignedStatement::parse(&leaf).unwrap();
        let started = Instant::now();
        let verified = self.state.registry().verify(signed).unwrap();
        self.verifying += started.elapsed();
        *chain = Chain { number: chain.number + 1, last: Some(verified.id()) };
        self.range.append(leaf_hash(&leaf));
        self.roots.0.push(self.range.root());
        self.ready.push(verified);
        chain.last.unwrap()
    }

    /// Replays what is ready, and only that is timed.
    fn flush(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        self.count += ready.len();
        let started = Instant::now();
        for verified in &ready {
            let index = self.state.size();
            self.state.check(index, verified, &self.roots).unwrap();
            self.state.apply(index, verified);
        }
        self.replaying += started.elapsed();
    }
}

#[derive(Clone, Copy, Default)]
struct Chain {
    number: u64,
    last: Option<StatementId>,
}

#[test]
#[ignore = "a measurement, for release builds"]
fn replay_speed() {
    let statements = std::env::var("STATEMENTS").ok().and_then(|n| n.parse().ok());
    let statements: usize = statements.unwrap_or(50_000);
    let mut replay = Replay::new();
    let mut outside = [Chain::default(); 3];
    for (name, chain) in [A, B, OPERATOR].into_iter().zip(&mut outside) {
        replay.say(name, chain, None, register(&key(name)));
        replay.flush();
    }
    let terms = {
        let mut log = crate::log::Log::of(replay.log.clone());
        log.say(&key(A), register(&key(A))).unwrap();
        let mut terms = agreement(&log);
        terms.auditors.clear();
        terms.runs = Runs { budget: 1000, ..terms.runs };
        terms
    };
    let mut nonce = 0_u64;
    let mut now = 1_000;
    while replay.count < statements {
        let mut open = Vec::new();
        for _ in 0..AT_ONCE {
            let mut terms = terms.clone();
            nonce += 1;
            terms.evaluation.item_key = tlog::Hash::of(&[&nonce.to_be_bytes()]);
            let proposed = P::Agreement(Box::new(terms));
            let id = replay.say(A, &mut outside[0], None, proposed);
            let mut chains = [Chain::default(); 2];
            let accept = P::Accept(exchange::predicate::Accept { accepts: id });
            replay.say(B, &mut chains[1], Some(id), accept);
            open.push((id, chains));
        }
        replay.flush();
        // Failed runs of both, in turn over all exchanges, then one that counts.
        let failures = (EACH - 2 - 4 - 6) / 4;
        for run in 1..=failures as u64 + 1 {
            for (id, chains) in &mut open {
                for (side, name) in [A, B].into_iter().enumerate() {
                    nonce += 1;
                    let announced =
                        replay.say(name, &mut chains[side], Some(*id), intent(run, nonce));
                    let end = if run <= failures as u64 {
                        let code = WithdrawalCode::Infrastructure;
                        P::Withdrawal(Withdrawal { intent: announced, code })
                    } else {
                        let evaluation = exchange::predicate::Evaluation {
                            intent: announced,
                            opened: Vec::new(),
                            ..crate::vectors::evaluation()
                        };
                        P::Evaluation(Box::new(evaluation))
                    };
                    replay.say(name, &mut chains[side], Some(*id), end);
                }
            }
            replay.flush();
        }
        tick(&mut replay, &mut outside[2], now + 1);
        for (id, chains) in &mut open {
            for (side, name) in [A, B].into_iter().enumerate() {
                let view = replay.state.exchange(id).unwrap();
                let record = view.counted(exchange::Side::BOTH[side]).unwrap().0;
                for predicate in shows(record, side) {
                    replay.say(name, &mut chains[side], Some(*id), predicate);
                }
            }
        }
        replay.flush();
        for step in [2, 3, 3 + crate::pair::STEP, 4 + crate::pair::STEP] {
            tick(&mut replay, &mut outside[2], now + step);
        }
        assert_eq!(replay.state.exchanges().count(), 0, "all are closed");
        now += 1;
    }
    let rate = |time: Duration| replay.count as f64 / time.as_secs_f64();
    println!(
        "{} statements: replayed {:.0}/s, signatures verified {:.0}/s, replay ÷ verification {:.3}",
        replay.count,
        rate(replay.replaying),
        rate(replay.verifying),
        replay.replaying.as_secs_f64() / replay.verifying.as_secs_f64(),
    );
}

fn tick(replay: &mut Replay, chain: &mut Chain, time: u64) {
    let mut note = tlog::SignedCheckpoint::sign(&replay.log, replay.range.head());
    let line = tlog::cosign(note.checkpoint(), &key(crate::pair::CLOCK), time).unwrap();
    let with = note.note().with_signature(line).unwrap();
    let log = replay.log.verifier(KeyKind::Ed25519);
    note = tlog::SignedCheckpoint::of_note(with, &log).unwrap();
    let text = std::str::from_utf8(note.as_bytes()).unwrap();
    let tick = exchange::predicate::Tick::parse(text).unwrap();
    replay.say(OPERATOR, chain, None, P::Tick(tick));
    replay.flush();
}

/// Reveal, decline and an opening of a side's record.
fn shows(record: StatementId, side: usize) -> [Predicate; 3] {
    use exchange::predicate::{
        Decline, DeclineCode, ItemRange, OpenedItems, Opening, Reveal, RevealContent,
    };
    let reader = [B, A][side];
    let reveal = Reveal {
        record,
        rule: Some(crate::pair::word("totals")),
        content: RevealContent::Envelope(crate::pair::Pair::envelope(reader, 3)),
        answers: None,
        items_proofs: Vec::new(),
        releases: None,
    };
    let claim = crate::pair::word(["least-a", "least-b"][side]);
    let opening = Opening {
        record,
        items: OpenedItems::Ranges(vec![ItemRange { first: 0, last: 1 }]),
        fields: vec![crate::pair::output()],
        envelope: crate::pair::Pair::envelope(reader, 4),
        answers: None,
    };
    [
        P::Reveal(Box::new(reveal)),
        P::Decline(Decline { claim, code: DeclineCode::Unspecified }),
        P::Opening(Box::new(opening)),
    ]
}

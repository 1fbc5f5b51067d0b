//! Ticks: a log with real witnesses makes time part of itself whenever an exchange waits for it,
//! and never otherwise.

use std::time::{SystemTime, UNIX_EPOCH};

use api::v1::artifact_service_client::ArtifactServiceClient;
use exchange::predicate::{Agreement, Predicate, Schedule, Tick};
use exchange::{ExchangeState, Prefixes, Replayed, SignedStatement, State, StatementId};
use tlog::VerifierKey;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use crate::exchanging::{accepts, agreement, run, schedule};
use crate::metrics::value;
use crate::parties::Voice;
use crate::service::{Client, append, entries, register, try_append};
use crate::support::{Server, World, eventually, text, within};
use crate::tls::put;
use crate::witness::Witness;

const NAMES: [&str; 3] = ["a.example", "b.example", "c.example"];

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A log with a neutral witness, and one of the party A.
pub(crate) struct Clocked {
    pub(crate) world: World,
    pub(crate) key: VerifierKey,
    pub(crate) neutral: Witness,
    pub(crate) own: Witness,
}

impl Clocked {
    pub(crate) fn new() -> Self {
        let world = World::new();
        for name in NAMES {
            world.write_vkey(&format!("{name}.vkey"), &Voice::key_of(name));
        }
        let server = world.serve("log", &[]);
        let key = server.key.clone();
        server.stop();
        let [neutral, own] = ["neutral", "own"].map(|data| world.witness(data, &["log/log.vkey"]));
        let clocked = Self { world, key, neutral, own };
        clocked.world.write("trust.policy", clocked.policy());
        clocked
    }

    /// Both are asked, each alone is a quorum for readers, the clock is the neutral one.
    fn policy(&self) -> String {
        let mut policy = format!("log {}\n", self.key);
        for (name, witness) in [("neutral", &self.neutral), ("own", &self.own)] {
            let said = &witness.process.said;
            policy += &format!("witness {name} {} {}\n", text(said, "vkey"), text(said, "http"));
        }
        policy + "group any 1 neutral own\nquorum any\n"
    }

    pub(crate) fn serve(&self, more: &str) -> Server {
        let mut toml = format!(
            "[log]\ndata = \"log\"\n[witnesses]\npolicy = \"trust.policy\"\nbeat_ms = 50\n\
             deadline_ms = 1000\nrefresh_seconds = 60\n{more}"
        );
        for name in NAMES {
            toml += &format!("[[party]]\nname = \"{name}\"\nvkey = \"{name}.vkey\"\n");
        }
        Server::start(self.world.configured(&toml), &self.world.path("log.stderr"))
            .unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) fn agreement(&self, [a, b]: [&Voice; 2], schedule: Schedule) -> Agreement {
        let mut terms = agreement([a, b], &[], (self.policy(), "neutral"), schedule);
        let own = text(&self.own.process.said, "vkey");
        terms.parties[0].witness = Some(VerifierKey::parse(own).unwrap());
        terms
    }
}

/// All entries replayed. No tick may stand in the log that moved nothing when it came.
pub(crate) fn replay(leaves: &[bytes::Bytes], key: &VerifierKey) -> State {
    let (mut state, mut prefixes) = (State::new(key.clone()), Prefixes::new());
    for (index, leaf) in (0..).zip(leaves) {
        if let Predicate::Tick(tick) = SignedStatement::parse(leaf).unwrap().statement().predicate()
        {
            assert!(state.is_moved_by(tick), "the tick {index} moves nothing");
        }
        assert_eq!(state.replay(index, leaf, &prefixes), Replayed::Applied, "entry {index}");
        prefixes.push(leaf);
    }
    state
}

/// The state that the log's entries lead to, and what they say.
pub(crate) fn state_of(server: &Server) -> (State, Vec<SignedStatement>) {
    let leaves = within(async { entries(&mut server.log().await, 0).await });
    let statements = leaves.iter().map(|leaf| SignedStatement::parse(leaf).unwrap()).collect();
    (replay(&leaves, &server.key), statements)
}

/// Waits until an exchange is in a state; returns what the log says then.
pub(crate) fn until(
    server: &Server,
    exchange: &StatementId,
    wanted: ExchangeState,
) -> Vec<SignedStatement> {
    eventually(wanted.as_str(), || {
        let (state, said) = state_of(server);
        let open = state.exchange(exchange).map(|view| view.state());
        (open.or_else(|| state.ended_in(exchange)) == Some(wanted)).then_some(said)
    })
}

fn ticks(statements: &[SignedStatement]) -> Vec<&SignedStatement> {
    let is_tick = |s: &&SignedStatement| matches!(s.statement().predicate(), Predicate::Tick(_));
    statements.iter().filter(is_tick).collect()
}

/// Proposed by A and accepted by B, if it shall be.
pub(crate) async fn propose(
    log: &mut Client,
    a: &mut Voice,
    b: &Voice,
    terms: Agreement,
    accept: bool,
) -> (StatementId, [Voice; 2]) {
    let proposal = a.say(Predicate::Agreement(Box::new(terms)));
    append(log, &proposal).await;
    let id = proposal.id();
    let [under_a, mut under_b] = [&*a, b].map(|party| party.under(id));
    if accept {
        append(log, &under_b.say(accepts(id))).await;
    }
    (id, [under_a, under_b])
}

/// One run of each; returns the records.
pub(crate) async fn commit(
    log: &mut Client,
    artifacts: &mut ArtifactServiceClient<Channel>,
    parties: &mut [Voice; 2],
) -> Vec<StatementId> {
    let mut records = Vec::new();
    for (seed, party) in (1..).zip(parties) {
        let (intent, record, evaluation) = run(party, seed);
        put(artifacts, &record.vector).await.unwrap();
        append(log, &intent).await;
        append(log, &evaluation).await;
        records.push(evaluation.id());
    }
    records
}

/// An acceptance is due in a second.
fn soon() -> Schedule {
    schedule([now() + 1, now() + 6_000, now() + 7_000], 60)
}

#[test]
fn the_server_logs_ticks_when_a_stage_or_a_deadline_waits_for_one() {
    let clocked = Clocked::new();
    let server = clocked.serve("");
    let (mut a, b, id, mut parties) = within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, NAMES[0]).await;
        let b = register(&mut log, &server, NAMES[1]).await;
        let far = schedule([now() + 5_000, now() + 6_000, now() + 7_000], 60);
        let terms = clocked.agreement([&a, &b], far);
        let (id, parties) = propose(&mut log, &mut a, &b, terms, true).await;
        (a, b, id, parties)
    });
    let said = until(&server, &id, ExchangeState::Agreed);
    assert!(ticks(&said).is_empty(), "nothing waits");
    within(async {
        let mut artifacts = ArtifactServiceClient::new(server.channel().await);
        commit(&mut server.log().await, &mut artifacts, &mut parties).await;
    });
    until(&server, &id, ExchangeState::Committed);
    // A deadline of another exchange passes while nothing else is said.
    let terms = clocked.agreement([&a, &b], soon());
    let (expiring, _) =
        within(async { propose(&mut server.log().await, &mut a, &b, terms, false).await });
    let said = until(&server, &expiring, ExchangeState::Expired);
    let operator = format!("{}/operator", server.key.name());
    let before = ticks(&said);
    assert!(before.iter().all(|tick| tick.statement().common().signer.as_str() == operator));
    // One for the stage, perhaps one that covered the first evaluation alone, one for the deadline.
    assert!((2..=3).contains(&before.len()), "{} ticks", before.len());
    let metrics = server.admin("/metrics");
    let counted = value(metrics.text(), "countersign_ticks_total{result=\"logged\"}");
    assert_eq!(counted, before.len() as f64);
    server.kill();

    // After a start the same operator goes on, without a second registration.
    let server = clocked.serve("");
    let terms = clocked.agreement([&a, &b], soon());
    let (expiring, _) =
        within(async { propose(&mut server.log().await, &mut a, &b, terms, false).await });
    let said = until(&server, &expiring, ExchangeState::Expired);
    assert_eq!(ticks(&said).len(), before.len() + 1);
    let registers = |s: &&SignedStatement| {
        let by_operator = s.statement().common().signer.as_str() == operator;
        by_operator && matches!(s.statement().predicate(), Predicate::Party(_))
    };
    assert_eq!(said.iter().filter(registers).count(), 1);
    server.stop();
    clocked.world.run(["fsck", "log"]).good();
}

#[test]
fn anybody_registered_may_log_what_the_clock_group_cosigned() {
    let clocked = Clocked::new();
    // The server logs none itself.
    let server = clocked.serve("ticks = false\n");
    assert!(!clocked.world.path("log/operator.key").exists());
    let (mut a, id, c) = within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, NAMES[0]).await;
        let b = register(&mut log, &server, NAMES[1]).await;
        let c = register(&mut log, &server, NAMES[2]).await;
        let terms = clocked.agreement([&a, &b], soon());
        let (id, _) = propose(&mut log, &mut a, &b, terms, false).await;
        (a, id, c)
    });
    // C logs what the witnesses cosigned, until the clock group's time is beyond accept_by.
    let logged = eventually("a tick", || {
        let note = String::from_utf8(server.get("/checkpoint").body).unwrap();
        if note.lines().nth(1) == Some("0") {
            return None;
        }
        let said = c.draft(Predicate::Tick(Tick::parse(&note).unwrap()));
        within(async {
            let mut log = server.log().await;
            match try_append(&mut log, &said).await {
                Ok(_) => Some(said),
                Err(status) => {
                    let details = status.get_error_details();
                    assert_eq!(details.error_info().unwrap().reason, "TICK_TOO_SOON", "{status:?}");
                    // A new head, so that the witnesses cosign again.
                    append(&mut log, &a.intent()).await;
                    None
                }
            }
        })
    });
    let said = until(&server, &id, ExchangeState::Expired);
    assert_eq!(ticks(&said).iter().map(|tick| tick.id()).collect::<Vec<_>>(), [logged.id()]);
    server.stop();
}

#[test]
fn without_the_neutral_witness_no_time_passes_and_with_it_again_it_does() {
    let clocked = Clocked::new();
    let server = clocked.serve("");
    let (mut a, b) = within(async {
        let mut log = server.log().await;
        let a = register(&mut log, &server, NAMES[0]).await;
        (a, register(&mut log, &server, NAMES[1]).await)
    });
    let terms = clocked.agreement([&a, &b], soon());
    let Clocked { world, neutral, own: _own, .. } = clocked;
    let at = neutral.http;
    neutral.process.stop();
    let deadline = now() + 2;
    let (id, covered) = within(async {
        let mut log = server.log().await;
        let (id, _) = propose(&mut log, &mut a, &b, terms, false).await;
        let mut index = 0;
        while now() <= deadline {
            index = append(&mut log, &a.intent()).await;
        }
        (id, index)
    });
    // The party's own witness goes on cosigning: a head made after the deadline is shown.
    eventually("a cosigned head", || {
        let note = server.get("/checkpoint").body;
        let size = String::from_utf8(note).unwrap().lines().nth(1).unwrap().parse::<u64>();
        (size.unwrap() > covered).then_some(())
    });
    let said = until(&server, &id, ExchangeState::Proposed);
    assert!(ticks(&said).is_empty());
    let _again = world.witness_at("neutral", &["log/log.vkey"], at);
    until(&server, &id, ExchangeState::Expired);
    server.stop();
}

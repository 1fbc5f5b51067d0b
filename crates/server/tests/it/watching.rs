//! `ExchangeService`: what it tells of exchanges is what their entries say, and whoever follows
//! one misses nothing and gets nothing twice.

use std::time::Duration;

use api::v1;
use api::v1::exchange_service_client::ExchangeServiceClient;
use bytes::Bytes;
use exchange::predicate::Predicate;
use exchange::{Prefixes, Replayed, SignedStatement, State, StatementId};
use server::Listeners;
use tlog::{Hash, KeyKind, SignedCheckpoint, verify_inclusion};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use transport::Transport;

use crate::exchanging::{declines, run};
use crate::pair::{ACCEPT_BY, COMMIT_BY, Pair, REVEAL_BY, STEP, usual};
use crate::scene::{append, log_key, voice};

type Client = ExchangeServiceClient<Channel>;

/// A deadline for every wait: a test that hangs says nothing.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it comes")
}

struct Served {
    client: Client,
    stop: watch::Sender<bool>,
    ended: JoinHandle<Result<(), server::ServeError>>,
}

impl Pair {
    async fn serve(&mut self) -> Served {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (grpc, files) = (bind().await.unwrap(), bind().await.unwrap());
        let address = format!("http://{}", grpc.local_addr().unwrap());
        let listeners = Listeners { grpc, files, admin: None };
        let (stop, shutdown) = watch::channel(false);
        let serving = server::serve_on(
            self.service.clone(),
            self.writer.take().unwrap(),
            listeners,
            Transport::default(),
            shutdown,
        );
        let ended = tokio::spawn(serving);
        let client = ExchangeServiceClient::connect(address).await.unwrap();
        Served { client, stop, ended }
    }

    /// All published entries, replayed by nobody's word.
    fn replayed(&self) -> State {
        let (mut state, mut prefixes) =
            (State::new(log_key().verifier(KeyKind::Ed25519)), Prefixes::new());
        for (index, leaf) in (0..).zip(self.leaves()) {
            assert_eq!(state.replay(index, &leaf, &prefixes), Replayed::Applied);
            prefixes.push(&leaf);
        }
        state
    }

    fn leaves(&self) -> Vec<Vec<u8>> {
        let reader = self.service.reader();
        let entries = reader.entries(0..reader.head().size).unwrap();
        entries.map(|entry| entry.unwrap().to_vec()).collect()
    }

    /// Places of the entries that belong to the exchange, found by looking at each.
    fn places(&self) -> Vec<u64> {
        let (mut state, mut prefixes) =
            (State::new(log_key().verifier(KeyKind::Ed25519)), Prefixes::new());
        let mut places = Vec::new();
        for (index, leaf) in (0..).zip(self.leaves()) {
            let signed = SignedStatement::parse(&leaf).unwrap();
            let belongs = match signed.statement().predicate() {
                Predicate::Agreement(_) => signed.id() == self.id,
                Predicate::Tick(tick) => state.moved_by(tick).contains(&self.id),
                _ => signed.statement().common().exchange == Some(self.id),
            };
            places.extend(belongs.then_some(index));
            state.replay(index, &leaf, &prefixes);
            prefixes.push(&leaf);
        }
        places
    }

    async fn watch(&self, client: &Client, from: u64) -> Streaming<v1::WatchExchangeResponse> {
        let request = v1::WatchExchangeRequest { id: bytes(&self.id), from };
        client.clone().watch_exchange(request).await.unwrap().into_inner()
    }

    /// From `committed` to the end of everything.
    async fn close(&mut self) {
        self.a_says(declines("least")).await;
        self.tick(REVEAL_BY + 1).await;
        // What is owed and missing is unmet one step later, and nothing waits then.
        self.tick(REVEAL_BY + STEP + 1).await;
        self.tick(REVEAL_BY + STEP + 2).await;
    }
}

fn bytes(id: &StatementId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

async fn get(client: &Client, id: &StatementId) -> Result<v1::GetExchangeResponse, Status> {
    let request = v1::GetExchangeRequest { id: bytes(id) };
    client.clone().get_exchange(request).await.map(tonic::Response::into_inner)
}

fn reason(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    (status.code(), details.error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

/// The place of what was sent, after its proof was checked.
fn place(pair: &Pair, answer: &v1::WatchExchangeResponse) -> u64 {
    let inclusion = answer.inclusion.as_ref().unwrap();
    let log = log_key().verifier(KeyKind::Ed25519);
    let signed = SignedCheckpoint::open(&inclusion.checkpoint, &log).unwrap();
    let proof: Vec<_> = inclusion.proof.iter().map(|h| Hash::from_slice(h).unwrap()).collect();
    let leaf = tlog::leaf_hash(&answer.envelope);
    verify_inclusion(&leaf, inclusion.index, signed.head(), &proof).unwrap();
    assert_eq!(answer.next, inclusion.index + 1);
    assert_eq!(pair.leaves()[usize::try_from(inclusion.index).unwrap()], answer.envelope);
    inclusion.index
}

#[tokio::test]
async fn every_stage_is_told_as_the_entries_have_it_with_the_head_that_it_is_a_function_of() {
    let mut pair = Pair::proposed(|_| ()).await;
    let Served { client, .. } = pair.serve().await;
    let told = async |pair: &Pair| {
        let answer = get(&client, &pair.id).await.unwrap();
        let log = log_key().verifier(KeyKind::Ed25519);
        let signed = SignedCheckpoint::open(&answer.checkpoint, &log).unwrap();
        assert_eq!(*signed.head(), pair.service.reader().head());
        let state = pair.replayed();
        assert_eq!(state.size(), signed.head().size);
        let told = answer.exchange.unwrap();
        if let Some(view) = state.exchange(&pair.id) {
            assert_eq!(told, server::open_exchange(&view));
        }
        told
    };
    let steps = |told: &v1::Exchange| -> Vec<(String, String)> {
        told.awaited.iter().map(|step| (step.what.clone(), step.of.clone())).collect()
    };
    let step = |what: &str, of: &str| (what.to_owned(), of.to_owned());
    let proposed = told(&pair).await;
    assert_eq!(proposed.stage(), v1::ExchangeStage::Proposed);
    assert_eq!(proposed.index, 3);
    assert_eq!(steps(&proposed), [step("accept", "b.example")]);
    assert_eq!(proposed.awaited[0].due, Some(ACCEPT_BY));
    let schedule = proposed.schedule.unwrap();
    assert_eq!((schedule.commit_by, schedule.reveal_by, schedule.step), {
        (COMMIT_BY, REVEAL_BY, STEP)
    });
    assert_eq!(proposed.auditors, ["d.example"]);
    let names: Vec<_> = proposed.parties.iter().map(|party| party.name.as_str()).collect();
    assert_eq!(names, ["a.example", "b.example"]);

    let accept = pair.b.say(crate::exchanging::accepts(pair.id));
    append(&pair.service, &accept).await;
    let (intent, record, evaluation) = run(&mut pair.a, 1);
    append(&pair.service, &intent).await;
    let agreed = told(&pair).await;
    assert_eq!(agreed.stage(), v1::ExchangeStage::Agreed);
    assert_eq!(steps(&agreed), {
        [step("commit:a.example", "a.example"), step("commit:b.example", "b.example")]
    });
    let run = &agreed.parties[0].runs[0];
    assert_eq!((run.number, &run.intent, &run.end), (1, &bytes(&intent.id()), &None));
    use sequencer::ArtifactStore as _;
    pair.store.put(&record.vector).unwrap();
    append(&pair.service, &evaluation).await;
    let half = told(&pair).await;
    assert_eq!(half.parties[0].record, bytes(&evaluation.id()));
    assert_eq!(steps(&half), [step("commit:b.example", "b.example"), step("tick", "")]);
    let met = half.obligations.iter().find(|duty| duty.name == "commit:a.example").unwrap();
    assert_eq!(met.status(), v1::ObligationStatus::Met);
    drop(pair);

    let mut pair = Pair::committed().await;
    let Served { client, .. } = pair.serve().await;
    pair.close().await;
    let over = get(&client, &pair.id).await.unwrap().exchange.unwrap();
    assert_eq!(over.stage(), v1::ExchangeStage::Closed);
    assert_eq!(over.ended_at, pair.places().last().copied());
    assert!(over.awaited.is_empty());
    assert!(over.breaches.contains(&"defaulted(b.example, reveal)".to_owned()), "{over:?}");
    assert_eq!(over.parties[0].record, bytes(&pair.records[0].0));
    let unmet = over.obligations.iter().filter(|d| d.status() == v1::ObligationStatus::Unmet);
    assert_eq!(unmet.count(), 4, "totals and counts of both");
}

#[tokio::test]
async fn what_is_unknown_or_malformed_is_told_apart() {
    let mut pair = Pair::proposed(|_| ()).await;
    let Served { client, .. } = pair.serve().await;
    let nowhere = get(&client, &StatementId::new([7; 32])).await.unwrap_err();
    assert_eq!(reason(&nowhere), (Code::NotFound, "UNKNOWN_EXCHANGE".to_owned()));
    let malformed = |status: Status| {
        assert_eq!(reason(&status), (Code::InvalidArgument, "BAD_REQUEST".to_owned()));
    };
    let short = Bytes::from_static(&[7; 31]);
    let mut client = client;
    malformed(client.get_exchange(v1::GetExchangeRequest { id: short.clone() }).await.unwrap_err());
    let list = v1::ListExchangesRequest { page_token: short.clone(), ..Default::default() };
    malformed(client.list_exchanges(list).await.unwrap_err());
    let watch = v1::WatchExchangeRequest { id: short, from: 0 };
    malformed(client.watch_exchange(watch).await.unwrap_err());
    let watch = v1::WatchExchangeRequest { id: bytes(&StatementId::new([7; 32])), from: 0 };
    let nowhere = client.watch_exchange(watch).await.unwrap_err();
    assert_eq!(reason(&nowhere), (Code::NotFound, "UNKNOWN_EXCHANGE".to_owned()));
    let beyond = v1::WatchExchangeRequest { id: bytes(&pair.id), from: 5 };
    let beyond = client.watch_exchange(beyond).await.unwrap_err();
    assert_eq!(reason(&beyond), (Code::OutOfRange, "BEYOND_LOG".to_owned()));
}

#[tokio::test]
async fn lists_have_every_exchange_once_whatever_the_size_of_their_pages() {
    let mut pair = Pair::proposed(|_| ()).await;
    let (mut a, b) = (voice("a.example"), voice("b.example"));
    (a.number, a.previous) = (2, Some(pair.id));
    let mut ids = vec![pair.id];
    for _ in 0..6 {
        let terms = usual([&a, &b], &pair.outside);
        let said = a.say(Predicate::Agreement(Box::new(terms)));
        append(&pair.service, &said).await;
        ids.push(said.id());
    }
    ids.sort();
    let Served { client, .. } = pair.serve().await;
    let all = async |page_size: u32, over: bool| {
        let (mut found, mut page_token) = (Vec::new(), Bytes::new());
        loop {
            let request = v1::ListExchangesRequest { page_size, page_token, over };
            let page = client.clone().list_exchanges(request).await.unwrap().into_inner();
            assert!(page.exchanges.len() <= page_size.max(1) as usize || page_size == 0);
            found.extend(page.exchanges);
            if page.next_page_token.is_empty() {
                return found;
            }
            page_token = page.next_page_token;
        }
    };
    for page_size in [0, 1, 2, 3, 7, 8, 1_000_000] {
        let found = all(page_size, false).await;
        let found: Vec<_> = found.iter().map(|summary| summary.id.clone()).collect();
        assert_eq!(found, ids.iter().map(bytes).collect::<Vec<_>>(), "pages of {page_size}");
    }
    assert!(all(0, true).await.is_empty());
    let open = all(0, false).await;
    assert!(open.iter().all(|summary| summary.next_deadline == Some(ACCEPT_BY)));
    pair.tick(ACCEPT_BY + 1).await;
    assert!(all(3, false).await.is_empty());
    let over = all(3, true).await;
    assert_eq!(over.len(), 7);
    assert!(over.iter().all(|summary| summary.stage() == v1::ExchangeStage::Expired));
    assert_eq!(over.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), {
        ids.iter().map(bytes).collect::<Vec<_>>()
    });
    assert_eq!(over.iter().map(|one| one.index).min(), Some(3));
}

#[tokio::test]
async fn whoever_follows_an_exchange_misses_nothing_and_gets_nothing_twice() {
    let mut pair = Pair::recorded().await;
    let Served { client, .. } = pair.serve().await;
    // Statements of others lie between: they are not sent.
    let mut other = voice("b.example");
    other.number = 1;
    other.previous = Some(SignedStatement::parse(&pair.leaves()[1]).unwrap().id());
    append(&pair.service, &other.intent()).await;
    let known = pair.places();
    let mut whole = pair.watch(&client, 0).await;
    for expected in &known {
        let answer = soon(whole.next()).await.unwrap().unwrap();
        assert_eq!(place(&pair, &answer), *expected);
    }
    // A second one, which is cut after three, goes on where it was.
    let mut cut = pair.watch(&client, 0).await;
    let mut next = 0;
    let mut got = Vec::new();
    for _ in 0..3 {
        let answer = soon(cut.next()).await.unwrap().unwrap();
        got.push(place(&pair, &answer));
        next = answer.next;
    }
    drop(cut);
    pair.tick(ACCEPT_BY + 1).await;
    append(&pair.service, &other.intent()).await;
    let mut cut = pair.watch(&client, next).await;
    pair.close().await;
    let end = pair.places();
    for stream in [&mut whole, &mut cut] {
        while let Some(answer) = soon(stream.next()).await {
            got.push(place(&pair, &answer.expect("it ends well with the exchange")));
        }
    }
    let live = end.len() - known.len();
    assert!(live >= 4);
    let (first, rest) = got.split_at(3);
    let (followed, resumed) = rest.split_at(live);
    assert_eq!(followed, &end[known.len()..]);
    assert_eq!([first, resumed].concat(), end);
    // What is over can be followed again, and ends at once.
    let again = pair.watch(&client, 0).await;
    let again: Vec<_> = soon(again.map(|answer| place(&pair, &answer.unwrap())).collect()).await;
    assert_eq!(again, end);
}

#[tokio::test]
async fn a_slow_reader_holds_up_nobody_and_gets_everything_later() {
    let mut pair = Pair::agreed(|terms| terms.runs.budget = 1_000).await;
    let Served { client, .. } = pair.serve().await;
    let mut slow = pair.watch(&client, 0).await;
    let mut quick = pair.watch(&client, 0).await;
    for _ in 0..400 {
        append(&pair.service, &pair.a.intent()).await;
    }
    let places = pair.places();
    assert_eq!(places.len(), 402);
    for stream in [&mut quick, &mut slow] {
        for expected in &places {
            let answer = soon(stream.next()).await.unwrap().unwrap();
            assert_eq!(answer.inclusion.unwrap().index, *expected);
        }
    }
    let watchers = || {
        let metrics = pair.service.scrape();
        let line = metrics.lines().find(|l| l.starts_with("countersign_exchange_watchers "));
        line.unwrap().to_owned()
    };
    assert_eq!(watchers(), "countersign_exchange_watchers 2");
    drop((slow, quick));
    soon(async {
        while watchers() != "countersign_exchange_watchers 0" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_and_says_why() {
    let mut pair = Pair::agreed(|_| ()).await;
    let Served { client, stop, ended } = pair.serve().await;
    let mut stream = pair.watch(&client, 0).await;
    for _ in 0..2 {
        soon(stream.next()).await.unwrap().unwrap();
    }
    stop.send_replace(true);
    let status = soon(stream.next()).await.unwrap().unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "STOPPING".to_owned()));
    drop((stream, client));
    soon(ended).await.unwrap().unwrap();
}

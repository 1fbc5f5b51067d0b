//! Receipts that witnesses have cosigned: a log and three witnesses in processes of their own, and
//! a party that waits.

use std::path::{Path, PathBuf};
use std::time::Instant;

use api::v1;
use api::v1::log_service_client::LogServiceClient;
use tlog::{KeyKind, TreeHead};

use super::child::Child;
use super::load::{self, Signer};
use super::machine;
use super::{Arguments, Figure, Table};
use crate::cli::output::Failure;

/// What the log waits between two rounds of its witnesses, if nothing else is said.
const BEAT_MS: f64 = 1_000.0;

/// A receipt may take a beat, and this.
const MORE_MS: f64 = 100.0;

const WITNESSES: usize = 3;

pub(super) fn measure(arguments: &Arguments) -> Result<Table, Failure> {
    let scratch = arguments.scratch()?;
    let count = arguments.scale().pick(60, 10, 2);
    let scene = Scene::start(scratch.path())?;
    let mut times = crate::cli::block_on(wait(&scene.log, scene.party, count))?;
    let p50 = machine::quantile(&mut times, 0.5);
    let goal = if p50 <= BEAT_MS + MORE_MS { "met" } else { "missed" };
    let line = vec![
        Figure::count("receipts", "receipts", count),
        Figure::count("witnesses", "witnesses", WITNESSES as u64),
        Figure::value("p50 ms", "p50_ms", p50),
        Figure::value("p90 ms", "p90_ms", machine::quantile(&mut times, 0.9)),
        Figure::value("most ms", "most_ms", machine::quantile(&mut times, 1.0)),
        Figure::value("bound ms", "bound_ms", BEAT_MS),
        Figure::value("ratio", "ratio", p50 / BEAT_MS),
        Figure::words("goal ≤ beat + 100 ms", "goal", goal),
    ];
    Ok(Table {
        name: "witnessed",
        title: "witnessed: a statement until all three witnesses have cosigned a head with it, \
                over gRPC;\nbound: the log's beat, one second"
            .to_owned(),
        lines: vec![line],
        notes: vec!["each is sent at another moment of the beat".to_owned()],
    })
}

/// A log, its witnesses and a party that it admits.
struct Scene {
    log: Child,
    /// They cosign for as long as they live.
    _witnesses: Vec<Child>,
    party: Signer,
}

impl Scene {
    fn start(folder: &Path) -> Result<Self, Failure> {
        let party = Signer::new(0)?;
        let vkey = folder.join("party.vkey");
        std::fs::write(&vkey, format!("{}\n", party.key.verifier(KeyKind::Ed25519)))?;
        let data = folder.join("log");
        // Its first start makes its key, which witnesses must know before it can know them.
        let log = Self::log(&data, &vkey, None)?;
        let key = log.text("vkey")?.to_owned();
        log.stop()?;
        let mut policy = format!("log {key}\n");
        let mut witnesses = Vec::new();
        for number in 1..=WITNESSES {
            let (own, log) = (folder.join(format!("w{number}")), data.join("log.vkey"));
            let flags = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"].map(Into::into);
            let paths = ["--data".into(), own.into(), "--log".into(), log.into_os_string()];
            let witness = Child::start("witness", paths.into_iter().chain(flags))?;
            let (vkey, url) = (witness.text("vkey")?, witness.text("http")?);
            policy.push_str(&format!("witness w{number} {vkey} {url}\n"));
            witnesses.push(witness);
        }
        policy.push_str("group all all w1 w2 w3\nquorum all\n");
        let file = folder.join("trust.policy");
        std::fs::write(&file, policy)?;
        let log = Self::log(&data, &vkey, Some(file))?;
        Ok(Self { log, _witnesses: witnesses, party })
    }

    fn log(data: &Path, party: &Path, policy: Option<PathBuf>) -> Result<Child, Failure> {
        let words = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let words = words.into_iter().chain(["--origin", load::ORIGIN]).map(Into::into);
        let paths = ["--data".into(), data.into(), "--party".into(), party.into()];
        let policy = policy.map(|file| ["--policy".into(), file.into_os_string()]);
        Child::start("serve", words.chain(paths).chain(policy.into_iter().flatten()))
    }
}

/// Milliseconds of each statement, one after the other, after a first that registers.
async fn wait(log: &Child, mut party: Signer, count: u64) -> Result<Vec<f64>, Failure> {
    let mut client =
        LogServiceClient::connect(log.text("server")?.to_owned()).await.map_err(Failure::new)?;
    let first = party.register()?.as_bytes().to_vec();
    let signing = move || load::chains(vec![party], count, TreeHead::EMPTY);
    let chains = tokio::task::spawn_blocking(signing).await.map_err(Failure::new)??;
    let leaves = std::iter::once(first).chain(chains.into_iter().flatten());
    let mut times = Vec::new();
    for (number, leaf) in (0_u64..).zip(leaves) {
        // 0.37 of a second is no part of a beat that soon comes round again.
        tokio::time::sleep(std::time::Duration::from_millis(number * 370 % 1_000)).await;
        let request =
            v1::AppendRequest { envelope: leaf.into(), wait_for: v1::WaitFor::Witnessed.into() };
        let start = Instant::now();
        client.append(request).await.map_err(Failure::new)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    // The first one also waits for the processes to find each other.
    times.remove(0);
    Ok(times)
}

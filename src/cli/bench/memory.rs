//! What a server keeps in memory: a real one, in a process of its own, filled over gRPC and read
//! over HTTP.

use std::path::Path;

use api::v1;
use api::v1::append_stream_response::Result as Answer;
use api::v1::log_service_client::LogServiceClient;
use client::{Http, audit_log};
use tlog::{KeyKind, TreeHead, VerifierKey};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use super::child::Child;
use super::load::{self, Signer};
use super::machine::{self, Memory};
use super::{Arguments, Figure, Table, grouped};
use crate::cli::output::Failure;

/// A server with 100,000 entries stays within this.
const GOAL_MIB: f64 = 60.0;

/// Parties that fill the log at the same time, each over a connection and a stream of its own.
const PARTIES: usize = 4;

pub(super) fn measure(arguments: &Arguments) -> Result<Table, Failure> {
    let entries = arguments.scale().pick(100_000, 10_000, 40);
    let scratch = arguments.scratch()?;
    let signers: Vec<Signer> = (0..PARTIES).map(Signer::new).collect::<Result<_, _>>()?;
    let parties = signers.iter().map(|signer| {
        let file = scratch.path().join(format!("{}.vkey", signer.key.name()));
        std::fs::write(&file, format!("{}\n", signer.key.verifier(KeyKind::Ed25519)))?;
        Ok(file)
    });
    let parties = parties.collect::<std::io::Result<Vec<_>>>()?;
    let mut lines = Vec::new();

    let server = Server::start(scratch.path(), &parties)?;
    lines.push(line("started, empty", 0, &server)?);
    let each = entries / PARTIES as u64 - 1;
    crate::cli::block_on(fill(&server.grpc, signers, each))?;
    lines.push(line("filled by streams", entries, &server)?);
    server.read_all(entries)?;
    lines.push(line("and every tile read", entries, &server)?);
    server.stop()?;
    let server = Server::start(scratch.path(), &parties)?;
    lines.push(line("started again", entries, &server)?);
    server.read_all(entries)?;
    lines.push(line("and every tile read", entries, &server)?);
    Ok(Table {
        name: "memory",
        title: format!(
            "memory: countersign serve with {} entries, sent by {PARTIES} streams at once, each \
             entry durable",
            grouped(entries)
        ),
        lines,
        notes: vec!["own: without pages of files, such as the program itself".to_owned()],
    })
}

fn line(moment: &str, entries: u64, server: &Server) -> Result<Vec<Figure>, Failure> {
    let memory = machine::memory_of(server.child.id());
    let of = |part: fn(&Memory) -> f64| memory.as_ref().map(part);
    let goal = match of(|memory| memory.resident) {
        Some(resident) if resident <= GOAL_MIB => "met",
        Some(_) => "missed",
        None => "–",
    };
    Ok(vec![
        Figure::words("moment", "moment", moment),
        Figure::count("entries", "entries", entries),
        Figure::perhaps("RSS MiB", "rss_mib", of(|memory| memory.resident)),
        Figure::perhaps("own", "own_mib", of(|memory| memory.own)),
        Figure::perhaps("peak", "peak_mib", of(|memory| memory.peak)),
        Figure::words("RSS ≤ 60 MiB", "goal", goal),
    ])
}

/// Registers every party and then sends its intents, all in one stream each.
async fn fill(server: &str, mut signers: Vec<Signer>, each: u64) -> Result<(), Failure> {
    let mut starts = Vec::new();
    for signer in &mut signers {
        starts.push(signer.register()?.as_bytes().to_vec());
    }
    let signing = move || load::chains(signers, each, TreeHead::EMPTY);
    let chains = tokio::task::spawn_blocking(signing).await.map_err(Failure::new)??;
    let mut streams = JoinSet::new();
    for (start, chain) in starts.into_iter().zip(chains) {
        let server = server.to_owned();
        streams.spawn(async move {
            let mut log = LogServiceClient::connect(server).await.map_err(Failure::new)?;
            let leaves = std::iter::once(start).chain(chain);
            let requests = leaves.map(|leaf| v1::AppendStreamRequest { envelope: leaf.into() });
            let requests = tokio_stream::iter(requests);
            let answers = log.append_stream(requests).await.map_err(Failure::new)?;
            let mut answers = answers.into_inner();
            while let Some(answer) = answers.next().await {
                match answer.map_err(Failure::new)?.result {
                    Some(Answer::Appended(_)) => {}
                    Some(Answer::Refused(refusal)) => {
                        return Err(Failure::new(format!(
                            "{}: {}",
                            refusal.reason, refusal.message
                        )));
                    }
                    None => return Err(Failure::new("an answer of the log says nothing")),
                }
            }
            Ok(())
        });
    }
    while let Some(stream) = streams.join_next().await {
        stream.map_err(Failure::new)??;
    }
    Ok(())
}

/// A log's process.
struct Server {
    child: Child,
    grpc: String,
    http: String,
    key: VerifierKey,
}

impl Server {
    fn start(folder: &Path, parties: &[std::path::PathBuf]) -> Result<Self, Failure> {
        let words = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--origin", load::ORIGIN];
        let data = ["--data".into(), folder.join("log").into_os_string()];
        let parties = parties.iter().flat_map(|party| ["--party".into(), party.into()]);
        let arguments = words.into_iter().map(Into::into).chain(data).chain(parties);
        let child = Child::start("serve", arguments)?;
        let (grpc, http) = (child.text("server")?.to_owned(), child.text("http")?.to_owned());
        let key = VerifierKey::parse(child.text("vkey")?).map_err(Failure::new)?;
        Ok(Self { child, grpc, http, key })
    }

    /// Fetches and checks every tile and every bundle.
    fn read_all(&self, entries: u64) -> Result<(), Failure> {
        let files = Http::new(self.http.as_str()).map_err(Failure::new)?;
        let audit = audit_log(&files, &self.key, |_, _| None).map_err(Failure::new)?;
        match (audit.head, audit.findings.first()) {
            (Some(head), None) if head.size == entries => Ok(()),
            (head, finding) => Err(Failure::bad(format!(
                "the log was to have {entries} entries: {head:?}, {finding:?}"
            ))),
        }
    }

    fn stop(self) -> Result<(), Failure> {
        self.child.stop()
    }
}

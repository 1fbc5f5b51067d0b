//! `countersign verify`: what files and logs prove, on the reader's own machine.

mod bundle;
mod evidence;
mod history;
mod log;
mod receipt;
mod server;

use std::path::{Path, PathBuf};

use client::{files, keys};
use exchange::bundle::Bundle;
use json::Value;
use tlog::evidence::{Evidence, KnownKeys, Role};
use tlog::{Note, VerifierKey};

use super::output::{Failure, Report, Verdict};
use super::party::TlsArguments;
use super::style::Stream;
use super::trust::{Age, MAX_AGE, Span, Trust};
use history::Histories;

/// Check bundles, openings, receipts, checkpoints, evidence, or a whole log.
///
/// Offline, unless a URL or --server is given. Everything is checked under the keys that you have
/// pinned, and nothing that a file says about itself is believed. An opening is checked against
/// the bundle given with it; a receipt against the bundle that holds its statement. What is given
/// together is compared: where two heads, receipts or statements contradict each other, evidence is
/// written that convinces a third person.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign verify run.countersign --log-key log.vkey --party lab-a.example.vkey\n  \
    countersign verify run.countersign scores.opening --policy trust.policy\n  \
    countersign verify a.countersign b.countersign --log-key log.vkey --server http://127.0.0.1:7400\n  \
    countersign verify http://127.0.0.1:7401/ --policy trust.policy --max-age 1h\n  \
    countersign verify log.example-two-heads-1a2b3c4d.evidence --log-key log.vkey\n\n\
    Exit codes: 0 it holds, 1 it does not, 2 it could not be checked. Evidence holds if it proves\n\
    the guilt of a key that you know; a file convicts a key, not a person.")]
pub(super) struct Arguments {
    /// Bundles, openings, receipts, checkpoints, evidence; or the URL of a log, or a folder with a
    /// copy of its files.
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<String>,
    /// The log's public key, which you got from its operator by a way you trust.
    #[arg(long, value_name = "FILE.vkey")]
    log_key: Option<PathBuf>,
    /// A trust policy: which logs count, and which witnesses must have cosigned their heads.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// How old the newest head of a log may be by the times of its witnesses, such as 10m, 24h or
    /// 7d; 24h if nothing is said. What a file proves does not age, unless this is given.
    #[arg(long, value_name = "AGE", requires = "policy")]
    max_age: Option<Span>,
    /// A party's public key that you have pinned: its statements must be signed by it.
    #[arg(long = "party", value_name = "NAME.vkey")]
    parties: Vec<PathBuf>,
    /// A witness's public key, for evidence against it, if no policy names it.
    #[arg(long = "witness", value_name = "NAME.vkey")]
    witnesses: Vec<PathBuf>,
    /// Keep what is fetched of a log in this folder, as a copy that can be verified offline.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Where to write evidence if contradictions are found.
    #[arg(long, value_name = "DIR", default_value = ".")]
    evidence: PathBuf,
    /// Also ask this server to prove that all heads lie in one history.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    tls: TlsArguments,
}

/// What the inputs are, by their content.
#[derive(Default)]
struct Inputs {
    logs: Vec<String>,
    bundles: Vec<(String, Bundle)>,
    openings: Vec<(String, Vec<u8>)>,
    receipts: Vec<(String, Vec<u8>)>,
    checkpoints: Vec<(String, Note)>,
    evidence: Vec<(String, Evidence)>,
}

/// What everything is checked under.
struct Pinned {
    trust: Trust,
    parties: Vec<VerifierKey>,
    known: KnownKeys,
    /// For files.
    age: Age,
    /// For the newest heads of logs.
    newest: Age,
    /// Where evidence is written.
    evidence: PathBuf,
}

/// One line of the answer, with what a machine needs to know of it.
struct Line {
    verdict: Verdict,
    text: String,
    json: Value,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let pinned = Pinned::read(arguments)?;
    let inputs = sort(&arguments.inputs)?;
    let mut lines = Vec::new();
    let mut histories = Histories::default();
    for (place, evidence) in &inputs.evidence {
        lines.push(evidence::check(place, evidence, &pinned));
    }
    for place in &inputs.logs {
        let address = arguments.tls.address(place)?;
        lines.push(log::check(&address, arguments.keep.as_deref(), &pinned, &mut histories)?);
    }
    for (place, note) in &inputs.checkpoints {
        lines.push(receipt::check_checkpoint(place, note, &pinned, &mut histories)?);
    }
    for (place, bundle) in &inputs.bundles {
        bundle::check(place, bundle, &inputs, &pinned, &mut histories, &mut lines)?;
    }
    for (place, bytes) in &inputs.openings {
        if !inputs.bundles.iter().any(|(_, bundle)| bundle::concerns(bundle, bytes)) {
            return Err(Failure::new(format!("{place}: no bundle with its record is given"))
                .next("name the bundle of the record beside the opening"));
        }
    }
    for (place, bytes) in &inputs.receipts {
        lines.push(receipt::check(place, bytes, &inputs.bundles, &pinned, &mut histories)?);
    }
    lines.extend(histories.compare(&pinned.known, &pinned.evidence));
    if let Some(server) = &arguments.server {
        let address = arguments.tls.address(server)?;
        let asked = server::ask(&address, &pinned, &histories);
        lines.push(super::block_on(asked)?);
    }
    Ok(report(lines, &pinned))
}

fn report(lines: Vec<Line>, pinned: &Pinned) -> Report {
    let any = |verdict| lines.iter().any(|line| line.verdict == verdict);
    // What is known to be bad is said first; then what could not be judged.
    let verdict = [Verdict::Bad, Verdict::Unusable].into_iter().find(|verdict| any(*verdict));
    let verdict = verdict.unwrap_or(Verdict::Good);
    let text = lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n");
    let policy = pinned.trust.policy().map(|policy| policy.digest().to_string());
    let log = match pinned.trust.logs() {
        [log] => Some(log.to_string()),
        _ => None,
    };
    let json = json::object([
        ("holds", Value::from(verdict == Verdict::Good)),
        ("log", log.into()),
        ("policy", policy.into()),
        ("checks", json::array(lines.into_iter().map(|line| line.json))),
    ]);
    Report { text, json, verdict }
}

impl Pinned {
    fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let trust = Trust::read(arguments.log_key.as_deref(), arguments.policy.as_deref())?;
        let read = |paths: &[PathBuf]| -> Result<Vec<VerifierKey>, Failure> {
            Ok(paths.iter().map(|path| keys::read_vkey(path)).collect::<Result<_, _>>()?)
        };
        let parties = read(&arguments.parties)?;
        let mut known = trust.known();
        for (role, keys) in
            [(Role::Party, parties.clone()), (Role::Witness, read(&arguments.witnesses)?)]
        {
            known = keys.into_iter().fold(known, |known, key| known.with(role, key));
        }
        let age = arguments.max_age.map_or(Age::Any, |span| Age::AtMost(span.0));
        let newest = Age::AtMost(arguments.max_age.unwrap_or(MAX_AGE).0);
        let evidence = arguments.evidence.clone();
        Ok(Self { trust, parties, known, age, newest, evidence })
    }
}

/// True for the address of a log, as opposed to a folder.
pub(super) fn is_url(input: &str) -> bool {
    input.starts_with("http://") || input.starts_with("https://")
}

fn sort(inputs: &[String]) -> Result<Inputs, Failure> {
    let mut sorted = Inputs::default();
    for input in inputs {
        let path = Path::new(input);
        if is_url(input) || path.is_dir() {
            sorted.logs.push(input.clone());
            continue;
        }
        let bytes = files::read(path, exchange::bundle::MAX_BUNDLE as u64)?;
        let contains = |word: &str| {
            bytes[..bytes.len().min(256)].windows(word.len()).any(|w| w == word.as_bytes())
        };
        let damaged = |what: &str, error: &dyn std::fmt::Display| {
            Failure::bad(format!("{input} is {what}: {error}"))
        };
        if bytes.starts_with(b"c2sp.org/tlog-proof@") {
            sorted.receipts.push((input.clone(), bytes));
        } else if Evidence::is_likely(&bytes) {
            let evidence =
                Evidence::parse(&bytes).map_err(|e| damaged("a damaged evidence file", &e))?;
            sorted.evidence.push((input.clone(), evidence));
        } else if contains("countersign/openings/v1") {
            sorted.openings.push((input.clone(), bytes));
        } else if contains("countersign/bundle/v1") {
            let bundle = Bundle::parse(&bytes).map_err(|e| damaged("a damaged bundle", &e))?;
            sorted.bundles.push((input.clone(), bundle));
        } else if let Ok(note) = Note::parse(&bytes) {
            sorted.checkpoints.push((input.clone(), note));
        } else {
            let problem = format!("{input} is no bundle, opening, receipt, checkpoint or evidence");
            return Err(Failure::new(problem)
                .next("give what commit or open wrote, or the address of a log"));
        }
    }
    Ok(sorted)
}

impl Line {
    fn good(place: &str, kind: &str, text: &str, members: Vec<(&str, Value)>) -> Self {
        let base = [("input", place.into()), ("kind", kind.into()), ("holds", true.into())];
        let text = format!("{place}: {}. {text}", Stream::Out.green("holds"));
        let json = json::object(base.into_iter().chain(members));
        Self { verdict: Verdict::Good, text, json }
    }

    fn bad(place: &str, kind: &str, problem: &str) -> Self {
        Self::bad_with(place, kind, problem, Vec::new())
    }

    fn bad_with(place: &str, kind: &str, problem: &str, members: Vec<(&str, Value)>) -> Self {
        let base = [
            ("input", Value::from(place)),
            ("kind", kind.into()),
            ("holds", false.into()),
            ("problem", problem.into()),
        ];
        let text = format!("{place}: {}: {problem}", Stream::Out.red("DOES NOT HOLD"));
        let json = json::object(base.into_iter().chain(members));
        Self { verdict: Verdict::Bad, text, json }
    }

    fn unknown(place: &str, kind: &str, problem: &str, members: Vec<(&str, Value)>) -> Self {
        let line = Self::bad_with(place, kind, problem, members);
        let text = format!("{place}: {}: {problem}", Stream::Out.red("can't be judged"));
        Self { verdict: Verdict::Unusable, text, ..line }
    }

    /// With more for people and machines.
    fn and(mut self, text: &str, members: Vec<(&'static str, Value)>) -> Self {
        self.text.push_str("; ");
        self.text.push_str(text);
        if let Value::Object(object) = &mut self.json {
            for (name, value) in members {
                object.insert(name, value);
            }
        }
        self
    }
}

//! `countersign verify`: what files and logs prove, on the reader's own machine.

mod log;

use std::path::{Path, PathBuf};

use client::{Address, Connection, files, keys};
use exchange::bundle::{Attested, Bundle, Opened, VectorState, Verdict as BundleVerdict};
use json::Value;
use record::column::Column;
use tlog::{Receipt, TreeHead, VerifierKey};

use super::output::{Failure, Report, Verdict};
use super::party::{LogArguments, TlsArguments};
use super::style::Stream;

/// Check bundles, openings, receipts, or a whole log.
///
/// Offline, unless a URL or --server is given. Everything is checked under the log's key that you
/// have pinned, and nothing that a file says about itself is believed. An opening is checked
/// against the bundle given with it; a receipt against the bundle that holds its statement.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign verify run.countersign --log-key log.vkey --party lab-a.example.vkey\n  \
    countersign verify run.countersign scores.opening --log-key log.vkey\n  \
    countersign verify a.countersign b.countersign --log-key log.vkey --server http://127.0.0.1:7400\n  \
    countersign verify http://127.0.0.1:7401/ --log-key log.vkey\n\n\
    Exit codes: 0 it holds, 1 it does not, 2 it could not be checked.")]
pub(super) struct Arguments {
    /// Bundles, openings and receipts; or the URL of a log, or a folder with a copy of its files.
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<String>,
    #[command(flatten)]
    log: LogArguments,
    /// A party's public key that you have pinned: its statements must be signed by it.
    #[arg(long = "party", value_name = "NAME.vkey")]
    parties: Vec<PathBuf>,
    /// Keep what is fetched of a log in this folder, as a copy that can be verified offline.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
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
}

/// One line of the answer, with what a machine needs to know of it.
struct Line {
    holds: bool,
    text: String,
    json: Value,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let log = arguments.log.key()?;
    let parties: Vec<VerifierKey> =
        arguments.parties.iter().map(|path| keys::read_vkey(path)).collect::<Result<_, _>>()?;
    let inputs = sort(&arguments.inputs)?;
    let mut lines = Vec::new();
    let mut heads = Vec::new();
    for place in &inputs.logs {
        let address = arguments.tls.address(place)?;
        lines.push(log::check(&address, arguments.keep.as_deref(), &log)?);
    }
    for (place, bundle) in &inputs.bundles {
        let verdict = check_bundle(place, bundle, &inputs, &log, &parties, &mut lines);
        heads.extend(verdict.map(|verdict| (place.clone(), verdict.head)));
    }
    for (place, bytes) in &inputs.openings {
        if !inputs.bundles.iter().any(|(_, bundle)| concerns(bundle, bytes)) {
            return Err(Failure::new(format!("{place}: no bundle with its record is given"))
                .next("name the bundle of the record beside the opening"));
        }
    }
    for (place, bytes) in &inputs.receipts {
        lines.push(check_receipt(place, bytes, &inputs.bundles, &log)?);
    }
    lines.extend(check_heads(&heads));
    if let Some(server) = &arguments.server {
        let address = arguments.tls.address(server)?;
        lines.push(super::block_on(ask_server(&address, &log, &heads))?);
    }
    let verdict = if lines.iter().all(|l| l.holds) { Verdict::Good } else { Verdict::Bad };
    let text = lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n");
    let json = json::object([
        ("holds", Value::from(verdict == Verdict::Good)),
        ("log", log.to_string().into()),
        ("checks", json::array(lines.into_iter().map(|line| line.json))),
    ]);
    Ok(Report { text, json, verdict })
}

fn is_url(input: &str) -> bool {
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
        if bytes.starts_with(b"c2sp.org/tlog-proof@") {
            sorted.receipts.push((input.clone(), bytes));
        } else if contains("countersign/openings/v1") {
            sorted.openings.push((input.clone(), bytes));
        } else if contains("countersign/bundle/v1") {
            let bundle = Bundle::parse(&bytes)
                .map_err(|e| Failure::bad(format!("{input} is a damaged bundle: {e}")))?;
            sorted.bundles.push((input.clone(), bundle));
        } else {
            return Err(Failure::new(format!("{input} is no bundle, opening or receipt"))
                .next("give what commit or open wrote, or the address of a log"));
        }
    }
    Ok(sorted)
}

/// True if the opening is of a record in this bundle. Malformed openings concern every bundle,
/// so that checking says what is wrong with them.
fn concerns(bundle: &Bundle, opening: &[u8]) -> bool {
    let Ok(body) = record::opening::Body::parse(opening) else { return true };
    bundle.leaves.iter().any(|leaf| {
        exchange::SignedStatement::parse(&leaf.envelope)
            .is_ok_and(|signed| signed.id().hash() == body.record)
    })
}

fn check_bundle(
    place: &str,
    bundle: &Bundle,
    inputs: &Inputs,
    log: &VerifierKey,
    parties: &[VerifierKey],
    lines: &mut Vec<Line>,
) -> Option<BundleVerdict> {
    let verdict = match bundle.verify(log, &[]) {
        Ok(verdict) => verdict,
        Err(fault) => {
            lines.push(Line::bad(place, "bundle", &fault.to_string()));
            return None;
        }
    };
    for attested in &verdict.attested {
        lines.push(describe_attestation(place, attested, &verdict.head, log, parties));
    }
    if verdict.attested.is_empty() {
        let text = format!(
            "{} statements are in {} (size {})",
            verdict.statements.len(),
            log.name(),
            verdict.head.size
        );
        lines.push(Line::good(place, "bundle", &text, Vec::new()));
    }
    lines.extend(verdict.opened.iter().map(|opened| describe_opening(place, opened)));
    for (opening, bytes) in inputs.openings.iter().filter(|(_, bytes)| concerns(bundle, bytes)) {
        match bundle.verify(log, &[bytes]) {
            Ok(verdict) => {
                lines.extend(verdict.opened.last().map(|o| describe_opening(opening, o)));
            }
            Err(fault) => lines.push(Line::bad(opening, "opening", &fault.to_string())),
        }
    }
    Some(verdict)
}

fn describe_attestation(
    place: &str,
    attested: &Attested,
    head: &TreeHead,
    log: &VerifierKey,
    parties: &[VerifierKey],
) -> Line {
    let header = &attested.header;
    let columns: Vec<&str> = header.layout().columns().iter().map(Column::name).collect();
    let pinned = parties.iter().find(|key| *key.name() == attested.signer);
    let key_text = match pinned {
        Some(key) if *key.public() == attested.key => "signed by the key you pinned",
        Some(_) => {
            let problem = format!(
                "{} is signed by another key than the one you pinned for {}",
                attested.record, attested.signer
            );
            return Line::bad(place, "attestation", &problem);
        }
        None => "signed by the key that the log has for it (pin your own with --party)",
    };
    let vector = match attested.vector {
        VectorState::Holds => {
            "its commitments rebuild the record and add up to the totals it can open"
        }
        VectorState::Absent => "its commitments are not in the bundle, so they were not checked",
    };
    let text = format!(
        "{} attests an evaluation of {} items ({}) as entry {} of {} (size {}), \
         {key_text}; {vector}",
        attested.signer,
        header.layout().items(),
        columns.join(", "),
        attested.index,
        log.name(),
        head.size
    );
    let members = vec![
        ("record", attested.record.to_string().into()),
        ("party", attested.signer.as_str().into()),
        ("pinned", pinned.is_some().into()),
        ("index", attested.index.into()),
        ("size", head.size.into()),
        ("root", head.root.to_string().into()),
        ("items", header.layout().items().into()),
        ("columns", json::array(columns)),
        ("vector", (attested.vector == VectorState::Holds).into()),
    ];
    Line::good(place, "attestation", &text, members)
}

fn describe_opening(place: &str, opened: &Opened) -> Line {
    let proved = &opened.proved;
    let mut lines = vec![format!(
        "{} opened {} items, {} totals and {} facts of record {}; all match its \
         commitments",
        opened.signer,
        proved.items.len(),
        proved.totals.len(),
        proved.subjects.len(),
        opened.record
    )];
    for item in proved.items.iter().take(20) {
        let fields = item.fields.iter().map(|(name, value)| match value {
            // Texts are shown escaped: they come from the other side.
            Some(value) => format!("{name} = {}", Value::from(value.as_str()).to_text()),
            None => format!("{name} is absent"),
        });
        let status = item.status.iter().map(|status| format!("status = {}", status.as_str()));
        let all: Vec<String> = status.chain(fields).collect();
        lines.push(format!("  item {} epoch {}: {}", item.index, item.epoch, all.join(", ")));
    }
    if proved.items.len() > 20 {
        lines.push(format!("  … and {} more; --json has them all", proved.items.len() - 20));
    }
    lines.extend(proved.totals.iter().map(|t| format!("  total of {} = {}", t.column, t.total)));
    lines.extend(
        proved
            .subjects
            .iter()
            .map(|s| format!("  {} = {}", s.name, Value::from(s.value.as_str()).to_text())),
    );
    let items = proved.items.iter().map(|item| {
        let fields = item.fields.iter().map(|(n, v)| (n.as_str(), Value::from(v.clone())));
        let scores = item.scores.iter().map(|(n, s)| (n.as_str(), Value::from(*s)));
        json::object([
            ("index", item.index.into()),
            ("epoch", item.epoch.into()),
            ("tag", item.tag.to_string().into()),
            ("status", item.status.map(record::subject::Status::as_str).into()),
            ("fields", json::object(fields)),
            ("scores", json::object(scores)),
        ])
    });
    let members = vec![
        ("record", opened.record.to_string().into()),
        ("party", opened.signer.as_str().into()),
        ("items", json::array(items)),
        (
            "totals",
            json::object(proved.totals.iter().map(|t| (t.column.as_str(), Value::from(t.total)))),
        ),
        (
            "subjects",
            json::object(
                proved.subjects.iter().map(|s| (s.name.as_str(), Value::from(s.value.as_str()))),
            ),
        ),
    ];
    Line::good(place, "opening", &lines.join("\n"), members)
}

fn check_receipt(
    place: &str,
    bytes: &[u8],
    bundles: &[(String, Bundle)],
    log: &VerifierKey,
) -> Result<Line, Failure> {
    let receipt = match Receipt::parse(bytes) {
        Ok(receipt) => receipt,
        Err(error) => return Ok(Line::bad(place, "receipt", &error.to_string())),
    };
    let leaf = bundles
        .iter()
        .flat_map(|(_, bundle)| &bundle.leaves)
        .find(|leaf| leaf.index == receipt.index())
        .ok_or_else(|| {
            Failure::new(format!("{place}: no bundle with entry {} is given", receipt.index()))
                .next("name the bundle of the statement beside its receipt")
        })?;
    Ok(match receipt.verify(&leaf.envelope, log) {
        Err(error) => Line::bad(place, "receipt", &error.to_string()),
        Ok(checkpoint) => {
            let size = checkpoint.head().size;
            let text = format!(
                "The statement is entry {} of {} (size {size})",
                receipt.index(),
                log.name()
            );
            let members = vec![("index", receipt.index().into()), ("size", size.into())];
            Line::good(place, "receipt", &text, members)
        }
    })
}

/// Two heads of one size must have one root, or the log has shown two histories.
fn check_heads(heads: &[(String, TreeHead)]) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, (place, head)) in heads.iter().enumerate() {
        for (other_place, other) in &heads[..at] {
            if head.size == other.size && head.root != other.root {
                let problem = format!(
                    "{place} and {other_place} have signed heads of one size ({}) with two roots: \
                     the log has shown two histories. Keep both files",
                    head.size
                );
                lines.push(Line::bad(place, "heads", &problem));
            }
        }
    }
    lines
}

async fn ask_server(
    address: &Address,
    log: &VerifierKey,
    heads: &[(String, TreeHead)],
) -> Result<Line, Failure> {
    let server = address.url();
    let mut connection = match Connection::open(address.clone(), log.clone(), None).await {
        Err(client::CallError::False(answer)) => {
            return Ok(Line::bad(server, "consistency", &answer.to_string()));
        }
        other => other.map_err(Failure::new)?,
    };
    let newest = *connection.trusted().head();
    for (place, head) in heads {
        let (old, new) = if head.size <= newest.size { (head, &newest) } else { (&newest, head) };
        match connection.check_consistency(old, new).await {
            Ok(_) => {}
            Err(client::CallError::False(answer)) => {
                let problem = format!("the head in {place} is not in its history: {answer}");
                return Ok(Line::bad(server, "consistency", &problem));
            }
            Err(error) => return Err(Failure::new(error)),
        }
    }
    let text = format!(
        "{} heads and the newest one (size {}) lie in one history",
        heads.len(),
        newest.size
    );
    let members = vec![("heads", heads.len().into()), ("size", newest.size.into())];
    Ok(Line::good(server, "consistency", &text, members))
}

impl Line {
    fn good(place: &str, kind: &str, text: &str, members: Vec<(&str, Value)>) -> Self {
        let base = [("input", place.into()), ("kind", kind.into()), ("holds", true.into())];
        let text = format!("{place}: {}. {text}", Stream::Out.green("holds"));
        Self { holds: true, text, json: json::object(base.into_iter().chain(members)) }
    }

    fn bad(place: &str, kind: &str, problem: &str) -> Self {
        let json = json::object([
            ("input", Value::from(place)),
            ("kind", kind.into()),
            ("holds", false.into()),
            ("problem", problem.into()),
        ]);
        let text = format!("{place}: {}: {problem}", Stream::Out.red("DOES NOT HOLD"));
        Self { holds: false, text, json }
    }
}

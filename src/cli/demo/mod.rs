//! `countersign demo`: the whole story on one machine, told by the real commands.
//!
//! Every step runs this binary as a child process, with the arguments that a person would type,
//! and checks its exit code. What the demo changes by hand are copies, as an attacker would.

mod attack;
mod stage;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::PathBuf;

use client::{Entropy as _, SystemEntropy};
use intake::NoFolder;
use json::Value;

use super::output::{Failure, Report, Verdict};
use stage::{Server, Stage};

/// Lab A's and lab B's runs of one benchmark, made with Inspect (CC0).
const LAB_A: &[u8] = include_bytes!("../../../tests/evaldata/rivals/lab-a.eval");
const LAB_B: &[u8] = include_bytes!("../../../tests/evaldata/rivals/lab-b.eval");

/// See it work: a log server and two labs on this machine, in about ten seconds.
///
/// Each lab commits to a genuine evaluation log and checks the other's attestation; lab A opens
/// three scores; then a changed value, a flipped bit and a forged checkpoint are caught. All of it
/// by the commands that you would use, in a folder that stays for you to look at.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign demo --folder /tmp/my-demo")]
pub(super) struct Arguments {
    /// Where to work; must not exist. By default a new folder among the temporary files.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let folder = arguments.folder.clone().unwrap_or_else(|| {
        let name = format!("countersign-demo-{}", hex::encode(SystemEntropy.bytes::<4>()));
        std::env::temp_dir().join(name)
    });
    if folder.exists() {
        return Err(Failure::new(format!("{} exists already", folder.display()))
            .next("choose another --folder, or leave it out"));
    }
    fs::create_dir_all(&folder)?;
    let mut stage = Stage::new(folder)?;
    tell(&mut stage)
}

/// The story. Each line is printed as it happens; the report repeats only how it ended.
fn tell(stage: &mut Stage) -> Result<Report, Failure> {
    stage.title("Two labs that don't trust each other, and a log that neither has to trust");
    stage.write("lab-a/run.eval", LAB_A)?;
    stage.write("lab-b/run.eval", LAB_B)?;

    stage.act("The labs make their keys");
    for lab in ["lab-a", "lab-b"] {
        let name = format!("{lab}.example");
        let stem = format!("{lab}/{lab}");
        let made = stage.good(&["keygen", &name, "--out", &stem])?;
        stage.note(&format!("{name} is {}", text(&made, "vkey")));
    }

    stage.act("An operator starts a log that admits both");
    let mut server = Server::start(stage)?;
    stage.note(&format!("log {}", server.vkey));
    stage.note("each lab gets the log's public key by a way it trusts");

    stage.act("Each lab imports its evaluation log and commits to it");
    let mut records = Vec::new();
    for lab in ["lab-a", "lab-b"] {
        let run = format!("{lab}/run.eval");
        let imported = stage.good(&["import", &run])?;
        stage.note(&format!("{lab}: {}", figures(&imported)));
        let (key, out) = (format!("{lab}/{lab}.key"), format!("{lab}/run.countersign"));
        let committed = stage.good(&[
            "commit",
            &run,
            "--key",
            &key,
            "--server",
            &server.grpc,
            "--log-key",
            "log/log.vkey",
            "--no-agreement",
            "--out",
            &out,
        ])?;
        stage.note(&format!(
            "{lab}: entry {} of the log, with a receipt; R and all values are in its vault",
            number(&committed, "index")
        ));
        records.push(committed);
    }

    stage.act("Each checks the other's attestation, and that both were shown one history");
    let (a, b) = ("lab-a/run.countersign", "lab-b/run.countersign");
    for (reader, bundle, key) in
        [("lab-b", a, "lab-a/lab-a.vkey"), ("lab-a", b, "lab-b/lab-b.vkey")]
    {
        stage.good(&["verify", bundle, "--log-key", "log/log.vkey", "--party", key])?;
        stage.note(&format!(
            "{reader}: it is theirs, it is in the log, and its 200 commitments add up; no item, \
             output or score can be read from it"
        ));
    }
    stage.good(&["verify", a, b, "--log-key", "log/log.vkey", "--server", &server.grpc])?;
    stage.note("the heads that both labs hold, and the newest one, lie in one history");

    stage.act("Lab A opens the scores of three items, and nothing else");
    stage.good(&[
        "open",
        a,
        "--items",
        "3,17,42",
        "--field",
        "score:match",
        "--key",
        "lab-a/lab-a.key",
        "--no-agreement",
        "--out",
        "scores.opening",
    ])?;
    let opened = stage.good(&["verify", a, "scores.opening", "--log-key", "log/log.vkey"])?;
    for line in opened_scores(&opened) {
        stage.note(&format!("lab-b: {line}"));
    }

    stage.act("Anyone checks the whole log from its published bytes, and keeps a copy");
    let whole =
        stage.good(&["verify", &server.http, "--log-key", "log/log.vkey", "--keep", "copy"])?;
    stage.note(&format!("{} statements; every tile and signature follows", size(&whole)));

    stage.act("The log's process is killed without warning and started again");
    server.kill()?;
    let mut server = Server::start(stage)?;
    stage.note(&format!(
        "it has {} statements, as before: what is acknowledged is on disk",
        server.size
    ));
    stage.good(&["verify", a, b, "--log-key", "log/log.vkey", "--server", &server.grpc])?;

    stage.act("Three lies, each told to the ordinary commands");
    attack::change_value(&stage.path("scores.opening"), &stage.path("changed.opening"))?;
    let caught = stage.bad(&["verify", a, "changed.opening", "--log-key", "log/log.vkey"])?;
    stage.caught("lab A turns an opened score", &caught);
    attack::copy_folder(&stage.path("copy"), &stage.path("flipped"))?;
    let tile = attack::flip_bit(&stage.path("flipped"))?;
    let caught = stage.bad(&["verify", "flipped", "--log-key", "log/log.vkey"])?;
    stage.caught(&format!("one bit of {tile} flips"), &caught);
    attack::copy_folder(&stage.path("copy"), &stage.path("forged"))?;
    attack::forge_checkpoint(&stage.path("forged/checkpoint"))?;
    let caught = stage.bad(&["verify", "forged", "--log-key", "log/log.vkey"])?;
    stage.caught("somebody else signs a checkpoint in the log's name", &caught);

    stage.act("What the operator could have learned");
    server.kill()?;
    let searched = search(stage)?;
    stage.note(&format!(
        "{} texts, ids and outputs of both logs looked for in {} kB of the server's folder: none \
         found",
        searched.needles,
        searched.bytes / 1_000
    ));
    Ok(finish(stage, &searched, &records))
}

fn finish(stage: &Stage, searched: &Searched, records: &[Value]) -> Report {
    let folder = stage.folder().display();
    let text = format!(
        "\nAll as it should be, in {:.1} s. To look further:\n  cd {folder}\n  \
         countersign import lab-a/run.eval\n  \
         countersign verify lab-a/run.countersign scores.opening --log-key log/log.vkey\n  \
         countersign open lab-a/run.countersign --total match --subject count:scored --key \
         lab-a/lab-a.key \\\n      --no-agreement --out total.opening\n  \
         countersign serve --data log --party lab-a/lab-a.vkey --party lab-b/lab-b.vkey\n\
         What this does not prove: that the outputs came from the named model, that the grader is \
         right, that no unannounced run took place.",
        stage.seconds()
    );
    let json = json::object([
        ("folder", folder.to_string().into()),
        ("seconds", stage.seconds().into()),
        ("steps", stage.steps().into()),
        ("searched_bytes", searched.bytes.into()),
        ("searched_for", searched.needles.into()),
        ("records", json::array(records.iter().map(|r| text_of(r, "record")))),
    ]);
    let _ = std::io::stdout().flush();
    Report { text, json, verdict: Verdict::Good }
}

/// What was looked for, and in how much.
struct Searched {
    needles: usize,
    bytes: usize,
}

/// Looks for every text of both evaluation logs, of 8 bytes and more, in the server's folder.
fn search(stage: &Stage) -> Result<Searched, Failure> {
    let mut needles = BTreeSet::new();
    for log in [LAB_A, LAB_B] {
        let import = intake::import(Cursor::new(log), "run.eval", &NoFolder, &Default::default());
        for item in import.evaluations().flat_map(|evaluation| &evaluation.items) {
            let texts = [&item.input, &item.target, &item.output, &item.explanation];
            needles.insert(item.id.as_text().to_owned());
            needles.extend(texts.into_iter().flatten().map(|text| text.to_string()));
        }
    }
    needles.retain(|needle| needle.len() >= 6);
    let mut bytes = 0;
    for path in attack::files(&stage.path("log"))? {
        let content = fs::read(&path)?;
        bytes += content.len();
        if let Some(found) = needles.iter().find(|needle| contains(&content, needle.as_bytes())) {
            let place = path.display();
            return Err(Failure::bad(format!("the server's file {place} holds {found:?}")));
        }
    }
    Ok(Searched { needles: needles.len(), bytes })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn figures(imported: &Value) -> String {
    let counts = imported.get("counts");
    let count = |status: &str| {
        let count = counts.and_then(|counts| counts.get(status));
        count.and_then(Value::as_number).map_or("?", json::Number::literal)
    };
    let accuracy = imported.get("metrics").and_then(Value::as_array).and_then(|all| {
        let first = all.first()?;
        Some(first.get("recomputed")?.as_number()?.as_f64())
    });
    format!(
        "{} scored, {} errored; accuracy {:.6}, as its header says, and nobody else learns it",
        count("scored"),
        count("errored"),
        accuracy.unwrap_or(f64::NAN)
    )
}

fn opened_scores(verified: &Value) -> Vec<String> {
    let checks = verified.get("checks").and_then(Value::as_array).unwrap_or_default();
    let items = checks.iter().filter_map(|check| check.get("items")?.as_array()).flatten();
    items
        .map(|item| {
            let score = item.get("fields").and_then(|f| f.get("score:match"));
            format!(
                "item {} is {} with score {}, by lab A's commitments",
                number(item, "index"),
                text(item, "status"),
                score.and_then(Value::as_str).unwrap_or("absent")
            )
        })
        .collect()
}

fn size(verified: &Value) -> String {
    let first = verified.get("checks").and_then(Value::as_array).and_then(<[Value]>::first);
    first.map_or_else(|| "?".to_owned(), |check| number(check, "size"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("?")
}

fn text_of(value: &Value, name: &str) -> Value {
    text(value, name).into()
}

fn number(value: &Value, name: &str) -> String {
    let number = value.get(name).and_then(Value::as_number);
    number.map_or("?", json::Number::literal).to_owned()
}

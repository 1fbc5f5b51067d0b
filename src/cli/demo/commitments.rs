//! The first acts: two labs commit, open and check; liars are caught.

use json::Value;

use super::stage::{Server, Stage};
use super::witnesses::{POLICY, Witnesses};
use super::{LAB_A, LAB_B, attack, number, text};
use crate::cli::output::Failure;

/// What the later acts go on with.
pub(super) struct Committed {
    pub(super) server: Server,
    /// What `commit` said to each lab.
    pub(super) records: Vec<Value>,
    pub(super) witnesses: Witnesses,
}

pub(super) fn play(stage: &mut Stage) -> Result<Committed, Failure> {
    stage.write("lab-a/run.eval", LAB_A)?;
    stage.write("lab-b/run.eval", LAB_B)?;

    stage.act("The labs make their keys");
    for lab in ["lab-a", "lab-b"] {
        let name = format!("{lab}.example");
        let stem = format!("{lab}/{lab}");
        let made = stage.good(&["keygen", &name, "--out", &stem])?;
        stage.note(&format!("{name} is {}", text(&made, "vkey")));
    }

    stage.act("An operator starts a log that admits both, and three witnesses get its key");
    let mut log = Server::start(stage, "log", None)?;
    stage.note(&format!("log {}", log.vkey));
    log.kill()?;
    let witnesses = Witnesses::start(stage)?;
    stage.note("each lab runs its own witness, and a third one belongs to neither");

    stage.act("All agree whom they trust: the log, if two of the three witnesses cosign it");
    witnesses.agree(stage)?;
    let mut server = Server::start(stage, "log", Some(POLICY))?;

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
            "--policy",
            POLICY,
            "--wait",
            "witnessed",
            "--no-agreement",
            "--out",
            &out,
        ])?;
        stage.note(&format!(
            "{lab}: entry {} of the log, with a receipt that a quorum of the witnesses has \
             cosigned; R and all values are in its vault",
            number(&committed, "index")
        ));
        records.push(committed);
    }

    stage.act("Each checks the other's attestation, and that both were shown one history");
    let (a, b) = ("lab-a/run.countersign", "lab-b/run.countersign");
    for (reader, bundle, key) in
        [("lab-b", a, "lab-a/lab-a.vkey"), ("lab-a", b, "lab-b/lab-b.vkey")]
    {
        stage.good(&["verify", bundle, "--policy", POLICY, "--party", key])?;
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
    let server = Server::start(stage, "log", Some(POLICY))?;
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
    Ok(Committed { server, records, witnesses })
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

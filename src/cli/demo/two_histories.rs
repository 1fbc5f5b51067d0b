//! A further act: the operator shows the two labs different histories. It takes nothing but a copy
//! of the log's folder and a second process with the same key.

use super::stage::{Server, Stage};
use super::{attack, text};
use crate::cli::output::Failure;

/// Plays it, and returns the path of the evidence that the monitor wrote.
pub(super) fn play(stage: &mut Stage) -> Result<String, Failure> {
    stage.act("The operator copies the log, and shows each lab a history of its own");
    attack::copy_folder(&stage.path("log"), &stage.path("log-for-b"))?;
    let mut for_a = Server::start(stage, "log", None)?;
    let mut for_b = Server::start(stage, "log-for-b", None)?;
    stage.note(
        "two processes, one key; neither asks the witnesses, which would cosign one history only",
    );

    stage.act("Each lab commits once more, and this time waits for no witness");
    for (lab, server) in [("lab-a", &for_a), ("lab-b", &for_b)] {
        let (run, key) = (format!("{lab}/run.eval"), format!("{lab}/{lab}.key"));
        let out = format!("{lab}/second.countersign");
        stage.good(&commit(&run, &key, &server.grpc, &out))?;
    }
    stage.note(
        "both have a good receipt by the log's own key, and neither sees the other's statement",
    );

    stage.act("Lab B is shown lab A's history: its program has seen another head");
    let found = stage.bad(&commit(
        "lab-b/run.eval",
        "lab-b/lab-b.key",
        &for_a.grpc,
        "lab-b/third.countersign",
    ))?;
    stage.found(text(&found, "error"));

    stage.act("Lab A's monitor hears from lab B what lab B was shown");
    let monitor = |peer: &'static str| {
        let log = ["--log-key", "log/log.vkey", "--data", "lab-a/monitor", "--once"];
        let sources = [for_a.http.as_str(), "--server", &for_a.grpc, "--peer", peer];
        [&["monitor"][..], &sources, &log].concat()
    };
    stage.good(&monitor("lab-a/second.countersign"))?;
    stage.note(
        "alone it finds nothing wrong, since every entry, signature and step of its history is good",
    );
    let found = stage.bad(&monitor("lab-b/second.countersign"))?;
    let findings = found.get("findings").and_then(json::Value::as_array).unwrap_or_default();
    let finding = findings.iter().find(|finding| finding.get("evidence").is_some());
    let finding = finding.ok_or_else(|| Failure::bad("the monitor wrote no evidence"))?;
    stage.found(text(finding, "problem"));
    let evidence = text(finding, "evidence").to_owned();

    stage.act("The log is gone, and the file convicts its key all the same, on anybody's machine");
    for_a.kill()?;
    for_b.kill()?;
    let judged = stage.good(&["verify", &evidence, "--log-key", "log/log.vkey"])?;
    let checks = judged.get("checks").and_then(json::Value::as_array).unwrap_or_default();
    let guilty = checks
        .iter()
        .filter_map(|check| check.get("guilty")?.as_array())
        .flatten()
        .map(|guilty| text(guilty, "name"));
    let guilty: Vec<&str> = guilty.collect();
    stage.note(&format!("guilty: {}", guilty.join(", ")));
    Ok(evidence)
}

fn commit<'a>(run: &'a str, key: &'a str, server: &'a str, out: &'a str) -> [&'a str; 11] {
    [
        "commit",
        run,
        "--key",
        key,
        "--server",
        server,
        "--log-key",
        "log/log.vkey",
        "--no-agreement",
        "--out",
        out,
    ]
}

//! `countersign demo`: the whole story on one machine, told by the real commands.
//!
//! Every step runs this binary as a child process, with the arguments that a person would type,
//! and checks its exit code. What the demo changes by hand are copies, as an attacker would.

mod attack;
mod commitments;
mod search;
mod stage;
mod two_histories;
mod witnesses;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use client::{Entropy as _, SystemEntropy};
use json::Value;

use super::output::{Failure, Report, Verdict};
use search::Searched;
use stage::Stage;

/// Lab A's and lab B's runs of one benchmark, made with Inspect (CC0).
const LAB_A: &[u8] = include_bytes!("../../../tests/evaldata/rivals/lab-a.eval");
const LAB_B: &[u8] = include_bytes!("../../../tests/evaldata/rivals/lab-b.eval");

/// See it work: a log, two labs and three witnesses on this machine, in about ten seconds.
///
/// Each lab commits to a genuine evaluation log, with receipts that the witnesses cosigned, and
/// checks the other's attestation; lab A opens three scores; then a changed value, a flipped bit and
/// a forged checkpoint are caught. At the end the operator shows the two labs different histories:
/// they find out, and the file that convicts it is checked offline. All of it by the commands that
/// you would use, in a folder that stays for you to look at.
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
    let commitments::Committed { mut server, records, witnesses } = commitments::play(stage)?;
    server.kill()?;
    let evidence = two_histories::play(stage)?;
    drop(witnesses);
    stage.act("What the operator could have learned");
    let searched = search::search(stage)?;
    stage.note(&format!(
        "{} texts, ids and outputs of both logs looked for in {} kB of the server's folder: none \
         found",
        searched.needles,
        searched.bytes / 1_000
    ));
    Ok(finish(stage, &searched, &records, &evidence))
}

fn finish(stage: &Stage, searched: &Searched, records: &[Value], evidence: &str) -> Report {
    let folder = stage.folder().display();
    let text = format!(
        "\nAll as it should be, in {:.1} s. To look further:\n  cd {folder}\n  \
         countersign import lab-a/run.eval\n  \
         countersign verify lab-a/run.countersign scores.opening --log-key log/log.vkey\n  \
         countersign verify {evidence} --log-key log/log.vkey\n  \
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
        ("evidence", evidence.into()),
        ("records", json::array(records.iter().map(|r| text_of(r, "record")))),
    ]);
    let _ = std::io::stdout().flush();
    Report { text, json, verdict: Verdict::Good }
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

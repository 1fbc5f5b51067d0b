//! Importing large logs: time, and peak memory of a process that does nothing else.

use std::fs;
use std::hint::black_box;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use intake::Options;
use json::{Reader, Rules, Value};
use ruzstd::decoding::FrameDecoder;

use super::logs::{self, Kind, Written};
use super::machine::{self, median};
use super::{Arguments, Figure, Table, grouped};
use crate::cli::evaluation_log;
use crate::cli::output::{Failure, Report};

/// An import of 100,000 items stays within this.
const GOAL_MIB: f64 = 300.0;

pub(super) fn measure(arguments: &Arguments) -> Result<Table, Failure> {
    let scale = arguments.scale();
    let items = scale.pick(100_000, 10_000, 20);
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        let scratch = arguments.scratch()?;
        let log = logs::write(kind, scratch.path(), items)?;
        let (mut times, mut bounds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut peak = None;
        // Bound and import alternate, so that whoever shares the machine slows both.
        for _ in 0..scale.pick(3, 1, 1) {
            let bound = bound(&log) * items as f64 / 1e6;
            let own = in_own_process(&log.path, items)?;
            times.push(own.seconds);
            bounds.push(bound);
            ratios.push(own.seconds / bound);
            peak = own.peak_mib.or(peak);
        }
        lines.push(vec![
            Figure::words("log", "log", kind.name()),
            Figure::count("items", "items", items),
            Figure::value("file MiB", "file_mib", log.bytes as f64 / f64::from(1 << 20)),
            Figure::count("bytes an item", "item_bytes", log.item.len() as u64),
            Figure::value("seconds", "seconds", median(&mut times)),
            Figure::value("bound s", "bound_seconds", median(&mut bounds)),
            Figure::value("ratio", "ratio", median(&mut ratios)),
            Figure::perhaps("peak MiB", "peak_mib", peak),
            Figure::words(
                "goal ≤ 300 MiB",
                "goal",
                match peak {
                    Some(peak) if peak <= GOAL_MIB => "met",
                    Some(_) => "missed",
                    None => "–",
                },
            ),
        ]);
    }
    Ok(Table {
        name: "import",
        title: format!(
            "import: logs of {} items, in a process of its own, on one core;\n\
             bound: unpacking each item and reading its JSON once",
            grouped(items)
        ),
        lines,
        notes: Vec::new(),
    })
}

/// Microseconds to unpack one item and to go through its JSON.
fn bound(log: &Written) -> f64 {
    let budget = Duration::from_millis(150);
    let mut unpacked = vec![0; log.item.len()];
    let mut decoder = FrameDecoder::new();
    let unpacking = if log.packed == log.item {
        0.0
    } else {
        machine::repeated(budget, || {
            let length = decoder.decode_all(black_box(&log.packed), &mut unpacked);
            black_box(length).expect("a frame just written");
        })
    };
    // As one document, so that the reader's buffer is taken once.
    let items = vec![log.item.as_slice(); 64].join(&b',');
    let document = [b"[", items.as_slice(), b"]"].concat();
    let reading = machine::repeated(budget, || {
        let mut reader = Reader::new(black_box(document.as_slice()), Rules::LOG);
        black_box(reader.skip()).expect("an item just written is JSON");
    });
    unpacking + reading / 64.0
}

/// What a process says that has imported one log.
struct Own {
    seconds: f64,
    peak_mib: Option<f64>,
}

fn in_own_process(log: &Path, items: u64) -> Result<Own, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--json", "bench", "import", "--own-import"])
        .arg(log)
        .stdin(Stdio::null())
        .output()?;
    let said = json::parse(&output.stdout, Rules::LOG).unwrap_or(Value::Null);
    let number = |name| said.get(name).and_then(Value::as_number).map(json::Number::as_f64);
    match (number("seconds"), number("items")) {
        (Some(seconds), Some(found)) if found == items as f64 => {
            Ok(Own { seconds, peak_mib: number("peak_mib") })
        }
        _ => Err(Failure::new(format!(
            "the import of {} ended with {}: {}",
            log.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

/// The other side of [`in_own_process`].
pub(super) fn own(log: &Path) -> Result<Report, Failure> {
    read_once(log)?;
    let start = Instant::now();
    let import = evaluation_log::read(log, &Options::default())?;
    let seconds = start.elapsed().as_secs_f64();
    let items: usize = import.evaluations().map(|evaluation| evaluation.items.len()).sum();
    let flagged = import.evaluations().any(|evaluation| !evaluation.flags.is_empty());
    if import.exit() != 0 || flagged {
        return Err(Failure::bad(format!("{}: {}", log.display(), import.to_json().to_text())));
    }
    let peak = machine::peak_memory().map_or(Value::Null, Value::from);
    let json =
        json::object([("items", items.into()), ("seconds", seconds.into()), ("peak_mib", peak)]);
    Ok(Report::good(format!("{items} items in {seconds:.2} s"), json))
}

/// Lets the system fetch the files from the disk: its speed is not what is measured.
fn read_once(log: &Path) -> Result<(), Failure> {
    let mut buffer = vec![0; 1 << 16];
    for file in fs::read_dir(log.parent().unwrap_or(log))? {
        let mut file = fs::File::open(file?.path())?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

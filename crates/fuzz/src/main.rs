//! Runs fuzz targets for as long as one likes, says what came of it, and replays findings.

#![allow(clippy::print_stdout)] // it talks to people

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use countersign_fuzz::pool::{self, Line, Plan};
use countersign_fuzz::run::{self, Summary, check, mutator};
use countersign_fuzz::{Target, Verdict, target, targets};

#[global_allocator]
static MEMORY: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Fuzzes every parser of outside bytes.
///
/// Inputs are functions of target, seed and number, so that two runs with one seed are the same
/// run, and runs with other seeds add to each other.
#[derive(Debug, Parser)]
#[command(after_help = "Example: countersign-fuzz --executions 10000000 --target note --seed 7")]
struct Arguments {
    /// Inputs for each target
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    executions: u64,
    /// This target alone; may be given several times
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Another seed, other inputs
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Processes at a time
    #[arg(long, default_value_t = 1, value_name = "N")]
    jobs: usize,
    /// Run one input of a target under the seed, by its number
    #[arg(long, value_name = "N", conflicts_with = "file")]
    only: Option<u64>,
    /// Run the bytes of a file, such as one below findings/
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Say which targets there are
    #[arg(long)]
    list: bool,
    /// What the pool starts: one target, results in lines
    #[arg(long, hide = true)]
    child: Option<String>,
    /// The first input of a child
    #[arg(long, hide = true, default_value_t = 0)]
    from: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments {
        Arguments { list: true, .. } => {
            targets().iter().for_each(|target| println!("{}", target.name));
            Ok(true)
        }
        Arguments { child: Some(name), .. } => child(name, &arguments),
        Arguments { only: Some(_), .. } | Arguments { file: Some(_), .. } => replay(&arguments),
        _ => fuzz(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            eprintln!("countersign-fuzz: {problem}");
            ExitCode::from(2)
        }
    }
}

fn known(name: &str) -> Result<&'static Target, String> {
    target(name).ok_or_else(|| format!("there is no target {name}; see --list"))
}

fn child(name: &str, arguments: &Arguments) -> Result<bool, String> {
    let target = known(name)?;
    let range = arguments.from..arguments.from + arguments.executions;
    run::silence_panics();
    let summary = run::run(target, arguments.seed, range, &mut |at| {
        println!("{}", Line::Progress(at));
    });
    summary.findings.iter().for_each(|finding| println!("{}", Line::Found(finding.clone())));
    println!("{}", Line::Done(summary));
    Ok(true)
}

fn replay(arguments: &Arguments) -> Result<bool, String> {
    let [name] = arguments.target.as_slice() else {
        return Err("--only and --file need one --target".to_owned());
    };
    let target = known(name)?;
    let input = match (&arguments.file, arguments.only) {
        (Some(path), _) => {
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        (None, Some(at)) => mutator(target).input(arguments.seed, at),
        (None, None) => return Err("nothing to replay".to_owned()),
    };
    println!("{} bytes: {:?}", input.len(), String::from_utf8_lossy(&input));
    match check(target, &input) {
        Ok(Verdict::Accepted) => println!("accepted"),
        Ok(Verdict::Refused) => println!("refused"),
        Err(problem) => {
            println!("FINDING {problem}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn fuzz(arguments: &Arguments) -> Result<bool, String> {
    let chosen = match arguments.target.as_slice() {
        [] => targets().iter().collect(),
        names => names.iter().map(|name| known(name)).collect::<Result<Vec<_>, _>>()?,
    };
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let Arguments { executions, seed, jobs, .. } = *arguments;
    let plan = Plan { program: &program, targets: chosen.clone(), executions, seed, jobs };
    let begin = Instant::now();
    let summaries = pool::run(&plan, &|target, summary| {
        let findings = summary.findings.len();
        eprintln!("{} {} inputs, {findings} findings", target.name, summary.executions);
    });
    print_table(&chosen, &summaries, begin.elapsed());
    let mut good = true;
    for (target, summary) in chosen.iter().zip(&summaries) {
        for finding in &summary.findings {
            good = false;
            let path = keep(target, &finding.input)?;
            println!("\n{}: {}", target.name, finding.problem);
            println!("  input {} of seed {seed}; to replay it:", finding.execution);
            println!(
                "  cargo run -p countersign-fuzz -- --target {} --file {}",
                target.name,
                path.display()
            );
        }
    }
    Ok(good)
}

/// Writes an input below `findings/`, named after its bytes.
fn keep(target: &Target, input: &[u8]) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let name = format!("{}-{}", target.name, &tlog::Hash::of(&[input]).to_string()[..12]);
    let path = folder.join(name);
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
    kept.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn print_table(targets: &[&Target], summaries: &[Summary], elapsed: Duration) {
    println!("| target | inputs | accepted | seconds | slowest, ms | peak, KiB | findings |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let (mut inputs, mut findings) = (0, 0);
    for (target, summary) in targets.iter().zip(summaries) {
        inputs += summary.executions;
        findings += summary.findings.len();
        println!(
            "| `{}` | {} | {:.1} % | {:.0} | {:.1} | {} | {} |",
            target.name,
            summary.executions,
            100.0 * summary.accepted as f64 / summary.executions.max(1) as f64,
            summary.elapsed.as_secs_f64(),
            1_000.0 * summary.slowest.as_secs_f64(),
            summary.peak >> 10,
            summary.findings.len(),
        );
    }
    println!(
        "| all {} | {inputs} | | {:.0} | | | {findings} |",
        targets.len(),
        elapsed.as_secs_f64()
    );
}

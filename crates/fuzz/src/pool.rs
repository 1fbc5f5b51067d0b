//! Running targets in processes of their own, several at a time: a stack that overflows or memory
//! that runs out ends one process, whose last inputs are then tried one by one.

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::Target;
use crate::run::{Finding, PROGRESS, Summary, mutator};

/// What to run, and with what.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// This program.
    pub program: &'a Path,
    /// The targets.
    pub targets: Vec<&'static Target>,
    /// Inputs for each.
    pub executions: u64,
    /// The seed.
    pub seed: u64,
    /// Processes at a time.
    pub jobs: usize,
}

/// Runs all targets of a plan. `done` is told of each as it ends, on the thread that ran it;
/// summaries come in the order of the plan.
pub fn run(plan: &Plan<'_>, done: &(dyn Fn(&Target, &Summary) + Sync)) -> Vec<Summary> {
    let next = AtomicUsize::new(0);
    let summaries: Mutex<Vec<Option<Summary>>> = Mutex::new(vec![None; plan.targets.len()]);
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                while let Some(target) = plan.targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let summary = run_target(plan, target, 0..plan.executions);
                    done(target, &summary);
                    let place = plan.targets.iter().position(|other| other.name == target.name);
                    let mut all = summaries.lock().expect("nobody panics with the lock");
                    all[place.expect("it is in the plan")] = Some(summary);
                }
            });
        }
    });
    let summaries = summaries.into_inner().expect("nobody panics with the lock");
    summaries.into_iter().map(|summary| summary.expect("every target was run")).collect()
}

fn run_target(plan: &Plan<'_>, target: &'static Target, range: Range<u64>) -> Summary {
    let (mut summary, died) = run_process(plan, target, range.clone());
    if let Some((from, how)) = died {
        let execution = locate(plan, target, from..(from + PROGRESS).min(range.end));
        let input = mutator(target).input(plan.seed, execution);
        summary.findings.push(Finding { execution, problem: how, input });
    }
    summary
}

/// The input on which the process dies, by halving the range.
fn locate(plan: &Plan<'_>, target: &'static Target, mut range: Range<u64>) -> u64 {
    while range.end - range.start > 1 {
        let middle = range.start + (range.end - range.start) / 2;
        if run_process(plan, target, range.start..middle).1.is_some() {
            range.end = middle;
        } else {
            range.start = middle;
        }
    }
    range.start
}

/// Runs a range in a process. If it dies: the first input that may be to blame, and how.
fn run_process(
    plan: &Plan<'_>,
    target: &Target,
    range: Range<u64>,
) -> (Summary, Option<(u64, String)>) {
    let count = range.end - range.start;
    let arguments = [
        ("--child", target.name.to_owned()),
        ("--seed", plan.seed.to_string()),
        ("--from", range.start.to_string()),
        ("--executions", count.to_string()),
    ];
    let mut command = Command::new(plan.program);
    for (flag, value) in arguments {
        command.arg(flag).arg(value);
    }
    // One thread a process: the pool is what runs in parallel.
    command.env("RAYON_NUM_THREADS", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return (Summary::default(), Some((range.start, error.to_string()))),
    };
    let mut summary = Summary::default();
    let (mut reached, mut finished) = (range.start, false);
    let output = child.stdout.take().expect("the output is piped");
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match Line::parse(&line) {
            Some(Line::Progress(at)) => reached = at,
            Some(Line::Found(finding)) => summary.findings.push(finding),
            Some(Line::Done(done)) => {
                summary = Summary { findings: std::mem::take(&mut summary.findings), ..done };
                finished = true;
            }
            None => {}
        }
    }
    let status = child.wait();
    if finished && status.as_ref().is_ok_and(|status| status.success()) {
        return (summary, None);
    }
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    (summary, Some((reached, format!("the process died: {how}"))))
}

/// What a child says on its standard output.
#[derive(Debug, Clone)]
pub enum Line {
    /// It reached this input.
    Progress(u64),
    /// It found something.
    Found(Finding),
    /// It is done. Findings were told before.
    Done(Summary),
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, '\t');
        let mut word = || words.next();
        match word()? {
            "progress" => Some(Self::Progress(word()?.parse().ok()?)),
            "found" => {
                let execution = word()?.parse().ok()?;
                let input = hex::decode(word()?).ok()?;
                Some(Self::Found(Finding { execution, input, problem: word()?.to_owned() }))
            }
            "done" => {
                let numbers: Vec<u64> =
                    line.split('\t').skip(1).map_while(|word| word.parse().ok()).collect();
                let [executions, accepted, elapsed, slowest, peak] = numbers[..] else {
                    return None;
                };
                Some(Self::Done(Summary {
                    executions,
                    accepted,
                    elapsed: Duration::from_micros(elapsed),
                    slowest: Duration::from_micros(slowest),
                    peak: usize::try_from(peak).ok()?,
                    findings: Vec::new(),
                }))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Progress(at) => write!(f, "progress\t{at}"),
            Self::Found(Finding { execution, problem, input }) => {
                let problem = problem.replace(['\n', '\r'], " ");
                write!(f, "found\t{execution}\t{}\t{problem}", hex::encode(input))
            }
            Self::Done(summary) => {
                let Summary { executions, accepted, elapsed, slowest, peak, .. } = summary;
                let (elapsed, slowest) = (elapsed.as_micros(), slowest.as_micros());
                write!(f, "done\t{executions}\t{accepted}\t{elapsed}\t{slowest}\t{peak}")
            }
        }
    }
}

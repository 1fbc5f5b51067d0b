//! Running one target over a range of inputs, in this thread.

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

use crate::mutate::Mutator;
use crate::{Target, Verdict};

/// Counts what is allocated, so that what one input costs can be seen: in a program whose allocator
/// it is, for the whole process, so that one target runs at a time.
const MEMORY: PeakAlloc = PeakAlloc;

/// An input that takes longer than this never ends as far as a user is concerned: it is a finding,
/// and the process that meets it says so and ends.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// After so many different findings a target is not run further.
const ENOUGH: usize = 8;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Number of the input under the run's seed.
    pub execution: u64,
    /// The panic with its place, or the limit that was passed.
    pub problem: String,
    /// The input, made smaller where it was easy.
    pub input: Vec<u8>,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Inputs that were run.
    pub executions: u64,
    /// Inputs that were accepted.
    pub accepted: u64,
    /// How long it all took.
    pub elapsed: Duration,
    /// How long the slowest input took.
    pub slowest: Duration,
    /// The most memory that an input took, in bytes.
    pub peak: usize,
    /// Different findings, the first input of each.
    pub findings: Vec<Finding>,
}

/// Runs one input: what the target says, or what is wrong.
pub fn check(target: &Target, input: &[u8]) -> Result<Verdict, String> {
    check_and_measure(target, input).0
}

fn check_and_measure(target: &Target, input: &[u8]) -> (Result<Verdict, String>, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let peak = MEMORY.peak_usage().saturating_sub(before);
    let limit = target.memory.limit(input.len());
    let result = match outcome {
        Err(_) => Err(take_panic()),
        Ok(_) if peak > limit => {
            let length = input.len();
            Err(format!("{length} bytes took {peak} bytes of memory, more than {limit}"))
        }
        Ok(verdict) => Ok(verdict),
    };
    (result, peak)
}

/// The last panic, from whatever thread; panics print nothing while a run lasts.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn take_panic() -> String {
    std::mem::take(&mut *PANIC.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps panics instead of printing them.
pub fn silence_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let text = info.payload_as_str().unwrap_or("a panic without text");
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = format!("{place}: {text}");
    }));
}

/// Runs the inputs of a range. `progress` is called now and then with the number of the next.
pub fn run(
    target: &'static Target,
    seed: u64,
    range: Range<u64>,
    progress: &mut dyn FnMut(u64),
) -> Summary {
    let mutator = mutator(target);
    let mut summary = Summary::default();
    let begin = Instant::now();
    let current = watch(target.name, seed);
    // What a target keeps for all inputs is made now, and does not count as the first one's cost.
    let _ = check(target, &mutator.input(seed, 0));
    for execution in range {
        if execution % PROGRESS == 0 {
            progress(execution);
        }
        let input = mutator.input(seed, execution);
        current.store(execution, Ordering::Relaxed);
        let started = Instant::now();
        let (result, peak) = check_and_measure(target, &input);
        summary.slowest = summary.slowest.max(started.elapsed());
        summary.peak = summary.peak.max(peak);
        summary.executions += 1;
        match result {
            Ok(Verdict::Accepted) => summary.accepted += 1,
            Ok(Verdict::Refused) => {}
            Err(problem) => {
                if is_new(&summary.findings, &problem) {
                    let input = smaller(target, input, &problem);
                    summary.findings.push(Finding { execution, problem, input });
                }
                if summary.findings.len() >= ENOUGH {
                    break;
                }
            }
        }
    }
    current.store(DONE, Ordering::Relaxed);
    summary.elapsed = begin.elapsed();
    summary
}

/// How often progress is told.
pub const PROGRESS: u64 = 4_096;

/// The mutator of a target.
pub fn mutator(target: &Target) -> Mutator {
    Mutator::new(target.name, target.shape, (target.seeds)(), target.tokens)
}

/// Findings at one place of the code are one finding.
fn is_new(findings: &[Finding], problem: &str) -> bool {
    !findings.iter().any(|known| kind(&known.problem) == kind(problem))
}

/// The place of a panic; the text of a limit without its numbers.
fn kind(problem: &str) -> &str {
    problem.split_once(": ").map_or("memory", |(place, _)| place)
}

/// Takes pieces out of an input as long as the same thing goes wrong.
fn smaller(target: &Target, input: Vec<u8>, problem: &str) -> Vec<u8> {
    let same =
        |input: &[u8]| check(target, input).is_err_and(|other| kind(&other) == kind(problem));
    let mut best = input;
    let mut size = best.len() / 2;
    let mut tries = 0;
    while size > 0 && tries < 2_000 {
        let mut at = 0;
        while at < best.len() && tries < 2_000 {
            let end = (at + size).min(best.len());
            let without = [&best[..at], &best[end..]].concat();
            tries += 1;
            if same(&without) {
                best = without;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    best
}

const DONE: u64 = u64::MAX;

/// Ends the process if one input takes longer than [`PATIENCE`].
fn watch(name: &'static str, seed: u64) -> Arc<AtomicU64> {
    let current = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&current);
    std::thread::spawn(move || {
        let step = Duration::from_secs(1);
        let mut last = (watched.load(Ordering::Relaxed), Duration::ZERO);
        loop {
            std::thread::sleep(step);
            match watched.load(Ordering::Relaxed) {
                DONE => return,
                now if now == last.0 => last.1 += step,
                now => last = (now, Duration::ZERO),
            }
            if last.1 >= PATIENCE {
                eprintln!("{name}: input {} of seed {seed} does not end", last.0);
                std::process::exit(3);
            }
        }
    });
    current
}

//! Every target for a short run, in processes of its own, two at a time.

use std::path::Path;

use countersign_fuzz::pool::{self, Plan};
use countersign_fuzz::run::check;
use countersign_fuzz::{Verdict, targets};

/// `COUNTERSIGN_FUZZ_EXECUTIONS` sets another number of inputs for every target; longer runs are a
/// command of their own.
#[test]
fn no_target_finds_anything_in_a_short_run() {
    let executions = std::env::var("COUNTERSIGN_FUZZ_EXECUTIONS").ok();
    let plan = Plan {
        program: Path::new(env!("CARGO_BIN_EXE_countersign-fuzz")),
        targets: targets().iter().collect(),
        executions: executions.map_or(1_000, |number| number.parse().expect("a number")),
        seed: 1,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let summaries = pool::run(&plan, &|target, summary| {
        println!(
            "{:24} {:8} inputs, {:8} accepted, {:6.1} s, peak {} KiB",
            target.name,
            summary.executions,
            summary.accepted,
            summary.elapsed.as_secs_f64(),
            summary.peak >> 10
        );
    });
    let mut findings = Vec::new();
    for (target, summary) in plan.targets.iter().zip(&summaries) {
        for finding in &summary.findings {
            findings.push(format!(
                "{}: {}\n  cargo run -p countersign-fuzz -- --target {0} --only {}",
                target.name, finding.problem, finding.execution
            ));
        }
        assert!(summary.executions > 0, "{} was not run", target.name);
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A target whose seeds are all refused tests only that they are.
#[test]
fn each_target_accepts_a_seed_of_its_own() {
    let refused = targets().iter().filter(|target| {
        let seeds = (target.seeds)();
        !seeds.iter().any(|seed| check(target, seed) == Ok(Verdict::Accepted))
    });
    let refused: Vec<&str> = refused.map(|target| target.name).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

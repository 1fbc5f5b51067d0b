//! Every target for a short run, in processes of its own, two at a time.

use std::path::Path;

use countersign_fuzz::pool::{self, Plan};
use countersign_fuzz::targets;

/// Unoptimised targets are slow, so this is a smoke test of all of them; longer runs are a command
/// of their own. `COUNTERSIGN_FUZZ_EXECUTIONS` sets another number of inputs for every target.
#[test]
fn no_target_finds_anything_in_a_short_run() {
    let executions = std::env::var("COUNTERSIGN_FUZZ_EXECUTIONS").ok();
    let plan = Plan {
        program: Path::new(env!("CARGO_BIN_EXE_countersign-fuzz")),
        targets: targets().iter().collect(),
        executions: Some(
            executions.map_or(300, |number| number.parse().expect("a number of inputs")),
        ),
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
                "{}: {}\n  cargo run --profile fuzz -p countersign-fuzz -- --target {0} --only {}",
                target.name, finding.problem, finding.execution
            ));
        }
        assert!(summary.executions > 0, "{} was not run", target.name);
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

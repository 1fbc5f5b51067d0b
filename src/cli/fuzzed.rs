//! The parsers of this package, under inputs that the crate `countersign-fuzz` makes:
//! `countersign.toml` of a log, and a witness's configuration.

use countersign_fuzz::mutate::Shape;
use countersign_fuzz::run::{Summary, run};
use countersign_fuzz::{Memory, Target, Verdict};

use super::{serve, witness};

const TOKENS: &[&[u8]] = &[
    b" = ",
    b"[log]\n",
    b"[limits]\n",
    b"[tls]\n",
    b"[[party]]\n",
    b"[[log]]\n",
    b"= true\n",
    b"= 1_000\n",
    b"= -1\n",
    b"= 0x10\n",
    b"= 1979-05-27\n",
    b"= { a = 1 }\n",
    b"\"\"\"",
    b"'",
    b"#",
];

const SERVE: Target = Target {
    name: "configuration-of-a-log",
    shape: Shape::Lines,
    tokens: TOKENS,
    seeds: || vec![example(include_str!("../../docs/configuration.md"))],
    run: |input| {
        judge(input, |text| serve::config::parse(text).map(|config| config.check().is_ok()))
    },
    memory: Memory::USUAL,
};

const WITNESS: Target = Target {
    name: "configuration-of-a-witness",
    seeds: || vec![example(include_str!("../../docs/witness.md"))],
    run: |input| {
        judge(input, |text| witness::config::Config::parse(text).map(|c| c.check().is_ok()))
    },
    ..SERVE
};

/// The example of a page.
fn example(page: &str) -> Vec<u8> {
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    example.as_bytes().to_vec()
}

/// What is taken is TOML to a reader that knows no keys, and an error names a line that is there.
fn judge(input: &[u8], parse: impl Fn(&str) -> Result<bool, String>) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    match parse(text) {
        Ok(fit) => {
            assert!(text.parse::<toml::Table>().is_ok(), "no TOML is taken");
            if fit { Verdict::Accepted } else { Verdict::Refused }
        }
        Err(problem) => {
            let (line, _) = problem.split_once(": ").expect("an error begins with its line");
            let line: usize = line.parse().expect("a line is a number");
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "{problem}");
            Verdict::Refused
        }
    }
}

/// As the short run of `countersign-fuzz`, and under the same variable.
#[test]
fn configurations_survive_a_short_run() {
    let executions = std::env::var("COUNTERSIGN_FUZZ_EXECUTIONS").ok();
    let executions = executions.map_or(1_000, |number| number.parse().unwrap());
    for target in [&SERVE, &WITNESS] {
        let Summary { findings, accepted, elapsed, .. } =
            run(target, 1, 0..executions, &mut |_| {});
        println!("{}: {executions} inputs, {accepted} accepted, {elapsed:?}", target.name);
        assert_eq!(findings, [], "{}", target.name);
        assert!(accepted > 0, "{} is never accepted", target.name);
    }
}

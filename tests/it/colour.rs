//! Colour and progress bars: on terminals only, and never against the reader's wish. The terminal
//! is that of util-linux's `script`; without it the tests say so and pass.

use std::process::{Command, Stdio};

use crate::support::{Outcome, World, evaldata, finish};

const ESCAPE: char = '\u{1b}';
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31;1m";

fn command(world: &World, program: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(world.path("")).stdin(Stdio::null());
    command.env_remove("NO_COLOR").env("TERM", "xterm").env("SHELL", "/bin/sh");
    command.envs(environment.iter().copied());
    command
}

fn piped(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let mut command = command(world, env!("CARGO_BIN_EXE_countersign"), environment);
    command.args(arguments);
    finish(command)
}

/// The same on a terminal; both outputs come back as one text.
fn on_terminal(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let version = Command::new("script").arg("--version").output();
    let util_linux =
        version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("util-linux"));
    if !util_linux {
        eprintln!("skipped: a terminal needs `script` of util-linux");
        return None;
    }
    let line = format!("'{}' {}", env!("CARGO_BIN_EXE_countersign"), arguments.join(" "));
    let mut command = command(world, "script", environment);
    command.args(["-qec", &line, "/dev/null"]);
    Some(finish(command).stdout)
}

/// A folder with a log that imports and one that does not.
fn world() -> World {
    let world = World::new();
    world.write("good.eval", std::fs::read(evaldata("rivals/lab-a.eval")).unwrap());
    world.write("bad.eval", "not a log");
    world
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    let world = world();
    for arguments in [
        &["import", "good.eval"][..],
        &["import", "bad.eval"],
        &["import", "absent.eval"],
        &["--help"],
        &["verify", "--help"],
        &["verify"],
        &["verify", "bad.eval", "--log-key", "absent.vkey"],
    ] {
        let outcome = piped(&world, arguments, &[]);
        assert!(!outcome.stdout.contains(ESCAPE), "{outcome}");
        assert!(!outcome.stderr.contains(ESCAPE), "{outcome}");
        assert!(!outcome.stderr.contains("reading the log"), "a bar in a pipe\n{outcome}");
    }
}

#[test]
fn colour_can_be_demanded_but_json_has_none() {
    let world = world();
    let good = piped(&world, &["--color", "always", "import", "good.eval"], &[("NO_COLOR", "1")]);
    assert!(good.stdout.contains(GREEN), "{good}");
    let bad = piped(&world, &["import", "bad.eval", "--color=always"], &[]);
    assert!(bad.stdout.contains(RED), "{bad}");
    let usage = piped(&world, &["--color", "always", "verify"], &[]);
    assert!(usage.stderr.contains(ESCAPE), "{usage}");
    for file in ["good.eval", "bad.eval"] {
        let json = piped(&world, &["--json", "--color", "always", "import", file], &[]);
        assert!(!json.stdout.contains(ESCAPE), "{json}");
        json.json();
    }
}

#[test]
fn a_terminal_has_coloured_verdicts_and_a_bar() {
    let world = world();
    let Some(good) = on_terminal(&world, &["import", "good.eval"], &[]) else { return };
    assert!(good.contains(&format!("{GREEN}agrees with itself")), "{good}");
    assert!(good.contains("reading the log"), "{good}");
    let bad = on_terminal(&world, &["import", "bad.eval"], &[]).unwrap();
    assert!(bad.contains(&format!("{RED}refused")), "{bad}");
    let absent = on_terminal(&world, &["import", "absent.eval"], &[]).unwrap();
    assert!(absent.contains(&format!("{RED}error")), "{absent}");
    let help = on_terminal(&world, &["--help"], &[]).unwrap();
    assert!(help.contains(ESCAPE), "{help}");
}

#[test]
fn a_terminal_has_no_colour_for_those_who_want_none() {
    let world = world();
    for (arguments, environment) in [
        (&["import", "good.eval"][..], &[("NO_COLOR", "1")][..]),
        (&["import", "good.eval"], &[("TERM", "dumb")]),
        (&["import", "good.eval", "--color", "never"], &[]),
        (&["--color=never", "import", "bad.eval"], &[]),
        (&["--color=never", "--help"], &[]),
        (&["verify", "--color", "never"], &[]),
    ] {
        let Some(said) = on_terminal(&world, arguments, environment) else { return };
        // Bars move the cursor; what is wanted is no colour.
        let colours = said.split(ESCAPE).skip(1).filter_map(|rest| {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            (rest[end..].starts_with('m')).then(|| rest[..=end].to_owned())
        });
        let colours: Vec<String> = colours.collect();
        assert!(colours.is_empty(), "{arguments:?} {environment:?}: {colours:?}\n{said}");
    }
    // An empty NO_COLOR is none: https://no-color.org.
    let said =
        on_terminal(&world, &["import", "good.eval"], &[("NO_COLOR", "")]).unwrap_or_default();
    assert!(said.is_empty() || said.contains(GREEN), "{said}");
}

#[test]
fn verdicts_of_verify_are_coloured() {
    let world = world();
    let key = world.keygen("lab-a");
    let server = world.serve("log", &["lab-a.vkey"]);
    let commit = ["commit", "good.eval", "--key", &key, "--server", &server.grpc];
    let log = ["--log-key", "log/log.vkey"];
    world.run_plain(commit.iter().chain(&log).chain(&["--no-agreement"])).exits(0);
    let verify = ["verify", "good.countersign", "--log-key", "log/log.vkey", "--color", "always"];
    let good = piped(&world, &verify, &[]);
    good.exits(0);
    assert!(good.stdout.contains(&format!("{GREEN}holds")), "{good}");
    // Under another log's key.
    server.stop();
    let other = world.serve("other", &[]);
    let verify = ["verify", "good.countersign", "--log-key", "other/log.vkey", "--color", "always"];
    let bad = piped(&world, &verify, &[]);
    bad.exits(1);
    assert!(bad.stdout.contains(&format!("{RED}DOES NOT HOLD")), "{bad}");
    other.stop();
}

//! What the program says of itself: `--help` of every command as golden files, examples that use
//! flags which exist, completions, manual pages, and `docs/cli.md`, which lists the commands.
//!
//! Commands are found by asking the program, so a new one needs nothing here. After a wanted change
//! of words, or with a new command: `BLESS=1 cargo test --test it help`, and look at the diff.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Outcome, World, finish};

/// A command as people type it, without the program: `["vault", "list"]`.
pub(crate) type Words = Vec<String>;

fn run(arguments: &[String]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    // Not the width and the colours of whoever runs the tests.
    command.args(arguments).env("COLUMNS", "100").env("NO_COLOR", "1");
    finish(command)
}

fn help(words: &[String]) -> String {
    let arguments = [words, &["--help".to_owned()]].concat();
    let outcome = run(&arguments);
    outcome.exits(0);
    outcome.stdout
}

/// Names in a section of `--help`: the first word of each line that is indented by two spaces.
fn section(help: &str, heading: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let name = line.strip_prefix("  ")?;
        (!name.starts_with(' ')).then(|| name.split(' ').next().unwrap_or_default().to_owned())
    });
    names.filter(|name| name != "help").collect()
}

/// Every command, those that only group others too; the program itself is the first.
pub(crate) fn commands() -> Vec<(Words, String)> {
    let mut found = Vec::new();
    let mut ahead = vec![Words::new()];
    while let Some(words) = ahead.pop() {
        let help = help(&words);
        for name in section(&help, "Commands:") {
            ahead.push([words.as_slice(), &[name]].concat());
        }
        found.push((words, help));
        assert!(found.len() < 200, "commands without end");
    }
    assert!(found.len() > 8, "too few commands: {found:?}");
    found.sort();
    found
}

/// Those that do something by themselves.
pub(crate) fn leaves() -> Vec<Words> {
    let all = commands();
    let leaf = |(_, help): &&(Words, String)| section(help, "Commands:").is_empty();
    all.iter().filter(leaf).map(|(words, _)| words.clone()).collect()
}

/// `countersign-vault-list` for `["vault", "list"]`.
fn file_stem(words: &[String]) -> String {
    [&["countersign".to_owned()], words].concat().join("-")
}

fn repository(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Whether files are to be written as the program now has them.
fn blessed() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

const REMEDY: &str = "if this is wanted, run: BLESS=1 cargo test --test it help, and look at the \
                      diff before you commit it";

#[test]
fn every_help_is_as_in_its_golden_file() {
    let folder = repository("tests/it/golden");
    let bless = blessed();
    if bless {
        fs::create_dir_all(&folder).unwrap();
    }
    let mut expected = BTreeSet::new();
    let mut differing = Vec::new();
    for (words, help) in commands() {
        let name = format!("{}.txt", file_stem(&words));
        let golden = folder.join(&name);
        if bless {
            fs::write(&golden, &help).unwrap();
        } else if fs::read_to_string(&golden).ok().as_deref() != Some(help.as_str()) {
            differing.push(format!("--- {name}, now:\n{help}"));
        }
        expected.insert(name);
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !expected.contains(&name) {
            if bless {
                fs::remove_file(folder.join(&name)).unwrap();
            } else {
                differing.push(format!("--- {name}: there is no such command"));
            }
        }
    }
    assert!(differing.is_empty(), "tests/it/golden differs; {REMEDY}\n{}", differing.join("\n"));
}

/// The commands in the examples of a help text, each as its words.
fn examples(help: &str) -> Vec<Words> {
    let below = help.split("\nExample").nth(1).unwrap_or_default();
    let joined = below.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim_start);
    let lines = lines.filter(|line| line.starts_with("countersign "));
    lines.map(|line| line.split_whitespace().skip(1).map(str::to_owned).collect()).collect()
}

#[test]
fn every_command_has_an_example_of_itself() {
    for (words, help) in commands() {
        let own = examples(&help).into_iter().any(|example| example.starts_with(&words));
        assert!(own, "countersign {} --help has no example:\n{help}", words.join(" "));
    }
}

#[test]
fn examples_use_commands_and_flags_that_exist() {
    let all = commands();
    for (words, help) in &all {
        for example in examples(help) {
            let typed: Vec<String> = example
                .iter()
                .take_while(|word| !["|", ">"].contains(&word.as_str()))
                .cloned()
                .collect();
            let (command, its_help) = all
                .iter()
                .filter(|(known, _)| typed.starts_with(known))
                .max_by_key(|(known, _)| known.len())
                .unwrap();
            assert!(
                section(its_help, "Commands:").is_empty(),
                "countersign {}: an example names no command: {}",
                words.join(" "),
                typed.join(" ")
            );
            for flag in typed.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap();
                let known =
                    its_help.split_whitespace().any(|word| word.trim_end_matches(',') == flag);
                assert!(
                    known,
                    "countersign {}: an example has {flag}, which countersign {} does not take",
                    words.join(" "),
                    command.join(" ")
                );
            }
        }
    }
}

#[test]
fn completions_of_every_shell_name_every_command() {
    let (_, help) =
        commands().into_iter().find(|(words, _)| words == &["completions".to_owned()]).unwrap();
    let shells = help.split("possible values: ").nth(1).unwrap().split(']').next().unwrap();
    let shells: Vec<&str> = shells.split(", ").map(str::trim).collect();
    assert!(shells.contains(&"bash") && shells.contains(&"zsh") && shells.len() >= 4, "{shells:?}");
    for shell in shells {
        let outcome = run(&["completions".to_owned(), shell.to_owned()]);
        outcome.exits(0);
        for (words, _) in commands() {
            for word in &words {
                assert!(outcome.stdout.contains(word), "{shell}: does not name {word}");
            }
        }
        assert!(outcome.stdout.contains("log-key"), "{shell}: does not name flags");
    }
}

/// Runs a checker over a file; `None` where the checker isn't installed.
fn checked(program: &str, arguments: &[&str], file: &Path) -> Option<Outcome> {
    if Command::new(program).arg("--version").output().is_err() {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    Some(finish(command))
}

#[test]
fn completions_are_what_their_shells_understand() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(&["completions".to_owned(), shell.to_owned()]);
        outcome.exits(0);
        assert!(outcome.stdout.len() > 5_000, "{shell}: {outcome}");
        world.write(shell, &outcome.stdout);
        if let Some(checked) = checked(shell, &["-n"], &world.path(shell)) {
            checked.exits(0);
            assert!(checked.stderr.is_empty(), "{checked}");
        }
    }
    // What bash completes once it has read the script, without a terminal.
    let script = "source ./bash; COMP_WORDS=(countersign vault sh); COMP_CWORD=2; \
                  _countersign countersign sh vault; echo \"${COMPREPLY[*]}\"";
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script]).current_dir(world.path(""));
    let outcome = finish(command);
    assert_eq!(outcome.stdout.trim(), "show shred", "{outcome}");
}

#[test]
fn manual_pages_are_rendered_without_a_warning() {
    let world = World::new();
    world.run_plain(["man", "--out", "pages"]).exits(0);
    for page in crate::support::files(&world.path("pages")) {
        let groff = checked("groff", &["-man", "-ww", "-Tutf8", "-P-cbou"], &page);
        if let Some(groff) = groff {
            groff.exits(0);
            assert!(groff.stderr.is_empty(), "{groff}");
            assert!(groff.stdout.contains("EXAMPLES"), "{groff}");
        }
        if let Some(mandoc) = checked("mandoc", &["-T", "lint", "-W", "warning"], &page) {
            mandoc.exits(0);
        }
    }
}

#[test]
fn every_command_has_a_manual_page_with_examples_and_all_its_flags() {
    let world = World::new();
    world.run_plain(["man", "--out", "pages/man1"]).exits(0);
    let mut pages: BTreeSet<String> = fs::read_dir(world.path("pages/man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for (words, help) in commands() {
        let name = format!("{}.1", file_stem(&words));
        assert!(pages.remove(&name), "there is no page {name}");
        let page = String::from_utf8(world.read(&format!("pages/man1/{name}"))).unwrap();
        let plain = page.replace("\\-", "-");
        for heading in [".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLES", ".SH \"EXIT STATUS\""] {
            assert!(plain.contains(heading), "{name} has no {heading}:\n{page}");
        }
        let options =
            help.split("\nOptions:\n").nth(1).unwrap().split("\n\nExample").next().unwrap();
        for flag in options.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(plain.contains(flag.trim_end_matches(',')), "{name} lacks {flag}");
        }
    }
    assert!(pages.is_empty(), "pages of no command: {pages:?}");
    let printed = run(&["man".to_owned()]);
    printed.exits(0);
    assert_eq!(
        printed.stdout.trim_end(),
        String::from_utf8(world.read("pages/man1/countersign.1")).unwrap().trim_end()
    );
}

/// `docs/cli.md`: every command in one line.
fn command_page() -> String {
    let mut page = "# Commands\n\nMade from what each command says of itself by `BLESS=1 cargo test \
                    --test it help`.\n`countersign COMMAND --help` has all flags and an example; \
                    `countersign man` has the same as manual pages.\nEach takes `--json` \
                    ([json.md](json.md)) and `--color auto|always|never`. Exit codes: 0 good, 1 the \
                    verdict is bad,\n2 usage or environment.\n\n| command | what it does |\n|---|---|\n"
        .to_owned();
    for (words, help) in commands() {
        if section(&help, "Commands:").is_empty() {
            let about = help.split("\n\n").next().unwrap_or_default().replace('\n', " ");
            let about = about.trim_end_matches('.');
            page.push_str(&format!("| `{}` | {about} |\n", words.join(" ")));
        }
    }
    page
}

#[test]
fn the_command_page_lists_every_command() {
    let path = repository("docs/cli.md");
    let page = command_page();
    if blessed() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/cli.md differs; {REMEDY}\n--- docs/cli.md, now:\n{page}");
}

#[test]
fn a_command_line_that_makes_no_sense_is_an_error_in_words_and_in_json() {
    let world = World::new();
    for (arguments, word) in [
        (vec!["verify"], "FILE"),
        (vec!["verify", "a", "--log-key", "b", "--nonsense"], "--nonsense"),
        (vec!["no-such-command"], "no-such-command"),
        (vec!["completions", "tcsh"], "tcsh"),
        (vec!["import", "a.eval", "--color", "sometimes"], "sometimes"),
        (vec![], "subcommand"),
    ] {
        let plain = world.run_plain(&arguments);
        plain.exits(2).says(&[word, "--help"]);
        let outcome = world.run(&arguments);
        let said = outcome.exits(2).json();
        let error = said.get("error").and_then(json::Value::as_str).unwrap_or_default();
        assert!(error.contains(word), "{arguments:?}: {error}");
        assert!(said.get("next").is_some(), "{arguments:?}: no advice");
    }
}

//! `countersign man`: manual pages, made from what `--help` says.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use client::files;

use super::output::{Failure, Report};

/// Write the manual pages of all commands, or print that of the program.
///
/// One page for each command: countersign.1, countersign-commit.1 and so on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign man --out ~/.local/share/man/man1\n  \
    countersign man | man -l -")]
pub(super) struct Arguments {
    /// The folder to write to; made if it is not there. What has the pages' names is replaced.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What every command that says nothing else of exit codes has in its page.
const EXIT_STATUS: &str = "0 good, 1 the verdict is bad, 2 usage or environment.";

pub(super) fn run(arguments: &Arguments, program: clap::Command) -> Result<Report, Failure> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let Some(folder) = &arguments.out else {
        let page = String::from_utf8_lossy(&page(program)?.1).into_owned();
        let json = json::object([("page", page.as_str().into())]);
        return Ok(Report::good(page, json));
    };
    fs::create_dir_all(folder).map_err(|e| Failure::new(format!("{}: {e}", folder.display())))?;
    let mut written = Vec::new();
    for command in family(program) {
        let (name, page) = page(command)?;
        let path = folder.join(name);
        files::write(&path, &page, files::Access::Shared)?;
        written.push(path.display().to_string());
    }
    let text = format!("{} manual pages are in {}", written.len(), folder.display());
    let json = json::object([("pages", json::array(written))]);
    Ok(Report::good(text, json))
}

/// A command and all below it.
fn family(command: clap::Command) -> Vec<clap::Command> {
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    let below: Vec<_> = shown.cloned().flat_map(family).collect();
    [vec![command], below].concat()
}

/// A command's page and the name of its file.
fn page(command: clap::Command) -> Result<(String, Vec<u8>), io::Error> {
    let has_options = command.get_arguments().next().is_some();
    let has_commands = command.get_subcommands().next().is_some();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command).manual("Countersign");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if has_options {
        man.render_options_section(&mut page)?;
    }
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    closing(&after).to_writer(&mut page)?;
    Ok((man.get_filename(), page))
}

/// What stands below the options in `--help`, as the sections that manual pages have for it.
fn closing(after: &str) -> Roff {
    let mut roff = Roff::default();
    let mut exit_status = EXIT_STATUS;
    for paragraph in after.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        if let Some(codes) = paragraph.strip_prefix("Exit codes: ") {
            exit_status = codes;
            continue;
        }
        let (heading, body) = match paragraph.split_once('\n') {
            Some(("Example:" | "Examples:", body)) => ("EXAMPLES", body),
            _ => ("NOTES", paragraph),
        };
        roff.control("SH", [heading]);
        roff.control("nf", []);
        for line in body.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(exit_status)]);
    roff
}

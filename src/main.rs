//! `countersign`: the one binary. Commands live in [`cli`]; what they do lives in the crates.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    transport::install_provider();
    cli::run()
}

//! Processes of this binary that listen.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use json::{Rules, Value};

use crate::cli::output::Failure;

/// One of them. Killed when dropped.
pub(super) struct Child {
    process: std::process::Child,
    /// What it said when it began to listen.
    said: Value,
}

impl Child {
    /// Starts a command and waits until it says where it listens.
    pub(super) fn start(
        command: &str,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?);
        child.args(["--json", command]).args(arguments);
        let (stdout, stderr) = (Stdio::piped(), Stdio::null());
        let mut process = child.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn()?;
        let mut said = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let said = json::parse(said.as_bytes(), Rules::LOG).unwrap_or(Value::Null);
        let child = Self { process, said };
        if child.said.get("vkey").is_none() {
            // Dropped, and with it the process.
            return Err(Failure::new(format!("countersign {command} did not start"))
                .next(format!("run countersign {command} by itself to see why")));
        }
        Ok(child)
    }

    /// One of the texts that it said.
    pub(super) fn text(&self, name: &str) -> Result<&str, Failure> {
        let text = self.said.get(name).and_then(Value::as_str);
        text.ok_or_else(|| Failure::new(format!("a process did not say its {name}")))
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it without warning: what was acknowledged is on disk.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

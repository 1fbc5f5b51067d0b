//! How every command speaks: a sentence for people or one JSON document for machines, and an
//! exit code: 0 good, 1 the verdict is bad, 2 usage or environment.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use client::{Conflict, evidence};
use json::Value;
use tlog::evidence::KnownKeys;

use super::style::Stream;

/// What a finished command has to say.
#[derive(Debug)]
pub(crate) struct Report {
    /// For people; lines without a final newline.
    pub(crate) text: String,
    /// For machines.
    pub(crate) json: Value,
    /// What was found.
    pub(crate) verdict: Verdict,
}

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// 0: done, or everything checks out.
    Good,
    /// 1: what was checked does not hold.
    Bad,
    /// 2: nothing could be checked.
    Unusable,
}

impl Report {
    /// A report of success.
    pub(crate) fn good(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, verdict: Verdict::Good }
    }
}

/// Why a command could not do its work: what is wrong, where, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    next: Option<String>,
    verdict: Verdict,
    /// Two histories of a log, to be kept as files.
    conflict: Option<Box<Conflict>>,
}

impl Failure {
    /// Usage or environment; exit code 2.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { message, next: None, verdict: Verdict::Unusable, conflict: None }
    }

    /// The other side's material is bad; exit code 1.
    pub(crate) fn bad(message: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Bad, ..Self::new(message) }
    }

    /// A log has shown two histories; exit code 1. What proves it is written to this folder when
    /// the command ends.
    fn conflict(message: impl fmt::Display, conflict: Box<Conflict>) -> Self {
        Self { conflict: Some(conflict), ..Self::bad(message) }
    }

    /// Names these keys too in evidence, if they signed what can't both be true.
    pub(crate) fn accuse(mut self, known: &KnownKeys) -> Self {
        if let Some(conflict) = &mut self.conflict {
            conflict.accuse(known);
        }
        self
    }

    /// Writes what proves a conflict, says where it is, and what to do next.
    fn keep(&mut self) -> Vec<(&'static str, Value)> {
        let Some(conflict) = self.conflict.take() else { return Vec::new() };
        let folder = Path::new(".");
        let kept = match &conflict.evidence {
            Ok(made) => evidence::keep(folder, made).map(|path| {
                let path = path.display().to_string();
                self.message.push_str(&format!(". The evidence is in {path}"));
                self.next = Some(format!(
                    "stop using this log, and show the file to the other party, who runs: \
                     countersign verify {path} --log-key log.vkey"
                ));
                vec![("evidence", Value::from(path))]
            }),
            Err(unproved) => [&conflict.held, &conflict.shown]
                .map(|head| evidence::keep_checkpoint(folder, head))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .map(|paths| {
                    let paths: Vec<String> =
                        paths.iter().map(|path| path.display().to_string()).collect();
                    self.message.push_str(&format!(
                        ". No evidence yet: {unproved}. Both heads are kept in {}",
                        paths.join(" and ")
                    ));
                    self.next = Some(format!(
                        "stop, and compare with the other party: countersign verify {} FOLDER \
                         --log-key log.vkey, where FOLDER is a copy of the log it sees",
                        paths.join(" ")
                    ));
                    vec![("checkpoints", json::array(paths))]
                }),
        };
        kept.unwrap_or_else(|error| {
            self.message.push_str(&format!(". What proves it could not be written: {error}"));
            self.next = Some("run the command again in a folder that can be written".to_owned());
            Vec::new()
        })
    }

    /// What is wrong, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// For machines.
    pub(crate) fn to_value(&self) -> Value {
        let mut members = vec![("error", Value::from(self.message.as_str()))];
        members.extend(self.next.as_deref().map(|next| ("next", Value::from(next))));
        json::object(members)
    }

    /// Adds what the user can do.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// For errors of libraries, which say what and where but not what to do.
macro_rules! failure_from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        })*
    };
}

failure_from!(client::FileError, client::VaultError, client::BundleProblem, io::Error);

impl From<client::CallError> for Failure {
    fn from(error: client::CallError) -> Self {
        client::SessionError::from(error).into()
    }
}

impl From<client::SessionError> for Failure {
    fn from(error: client::SessionError) -> Self {
        use client::{CallError, SessionError};
        if let SessionError::Call(CallError::False(answer)) = &error
            && let Some(conflict) = answer.conflict()
        {
            let conflict = Box::new(conflict.clone());
            return Self::conflict(&error, conflict);
        }
        let next = match &error {
            // TLS refuses without a word about whose certificate it misses.
            SessionError::Call(CallError::Unreachable { server, .. })
                if server.starts_with("https://") =>
            {
                "is the server running, and does it want a certificate of yours (--tls-cert and \
                 --tls-key)? Run the same command again: nothing is lost or done twice"
            }
            SessionError::Call(CallError::Unreachable { .. }) => {
                "is the server running? Run the same command again: nothing is lost or done twice"
            }
            SessionError::Call(CallError::Unproved { .. }) => {
                "run the same command again; if it stays so, keep what you have and compare \
                 checkpoints with the other party"
            }
            SessionError::Call(CallError::NotWitnessed(_)) => {
                "the statement is in the log; its operator knows which witnesses do not answer"
            }
            SessionError::Call(CallError::False(_)) => {
                "stop, keep what you have, and compare checkpoints with the other party"
            }
            SessionError::Call(CallError::Denied(denied)) => match denied.reason.as_str() {
                "NOT_ADMITTED" => "send your .vkey to the log's operator",
                "NAME_TAKEN" | "WRONG_PREVIOUS" | "NUMBER_NOT_ABOVE" => {
                    "the log has statements of yours that this vault does not know: use the vault \
                     that made them"
                }
                "SEEN_NOT_PREFIX" => {
                    "the log shows you another history than before: keep what you have, and \
                     compare checkpoints with the other party"
                }
                "QUEUE_FULL" | "STOPPING" | "READ_ONLY" => "run the same command again later",
                _ => "see docs/protocol.md for what the reason means",
            },
            SessionError::Vault(_) | SessionError::Statement(_) => return Self::new(error),
        };
        Self::new(error).next(next)
    }
}

/// Prints and turns into the process's exit code.
pub(crate) fn finish(result: Result<Report, Failure>, as_json: bool) -> ExitCode {
    let verdict = match result {
        Ok(report) => {
            let text = if as_json { report.json.to_text() } else { report.text };
            // A closed pipe is the reader's choice, not an error.
            if !text.is_empty() {
                let _ = writeln!(io::stdout(), "{text}");
            }
            report.verdict
        }
        Err(mut failure) => {
            let kept = failure.keep();
            if as_json {
                let mut members = vec![("error", Value::from(failure.message.as_str()))];
                members.extend(failure.next.as_deref().map(|n| ("next", Value::from(n))));
                members.extend(kept);
                let _ = writeln!(io::stdout(), "{}", json::object(members).to_text());
            }
            let _ = writeln!(io::stderr(), "{}: {}", Stream::Err.red("error"), failure.message);
            if let Some(next) = failure.next {
                let _ = writeln!(io::stderr(), "{}: {next}", Stream::Err.bold("next"));
            }
            failure.verdict
        }
    };
    ExitCode::from(verdict as u8)
}

/// A command line that could not be understood: in words, as every other error, or as JSON. Help
/// and version, which clap reports in the same way, are what was asked for.
pub(crate) fn misused(error: &clap::Error, as_json: bool) -> ExitCode {
    if as_json && error.use_stderr() {
        let rendered = error.render().to_string();
        let lines = rendered.lines().take_while(|line| !line.is_empty()).map(str::trim);
        let problem = match error.kind() {
            clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                "no command is given".to_owned()
            }
            _ => lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned(),
        };
        let next = "the same command with --help says how it is used";
        let report = json::object([("error", problem.into()), ("next", next.into())]);
        let _ = writeln!(io::stdout(), "{}", report.to_text());
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Verdict::Unusable as u8 } else { 0 })
}

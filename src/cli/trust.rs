//! What a command trusts: the log's key, or a policy that names logs, witnesses and a quorum.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use client::{files, keys};
use exchange::Timestamp;
use json::Value;
use tlog::evidence::{KnownKeys, Role};
use tlog::{
    DEFAULT_MAX_AGE, KeyName, MAX_POLICY, Note, Policy, PolicyLog, VerifiedCheckpoint, VerifierKey,
};

use super::output::Failure;

/// The log that a command trusts.
#[derive(Debug, clap::Args)]
pub(super) struct LogArguments {
    /// The log's public key, which you got from its operator by a way you trust.
    #[arg(long, value_name = "FILE.vkey", required_unless_present = "policy")]
    log_key: Option<PathBuf>,
    /// A trust policy instead: the log, and the witnesses that must have cosigned its heads.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl LogArguments {
    /// The pinned log, and the policy if there is one.
    pub(super) fn trust(&self) -> Result<Trust, Failure> {
        Trust::read(self.log_key.as_deref(), self.policy.as_deref())
    }
}

/// Keys of logs, with the policy that they come from if there is one.
#[derive(Debug)]
pub(super) struct Trust {
    logs: Vec<VerifierKey>,
    policy: Option<Policy>,
}

impl Trust {
    /// A pinned key, a policy, or a policy of which one log is meant.
    pub(super) fn read(log_key: Option<&Path>, policy: Option<&Path>) -> Result<Self, Failure> {
        let pinned = log_key.map(keys::read_vkey).transpose()?;
        let policy = policy.map(read_policy).transpose()?;
        let logs = match (pinned, &policy) {
            (Some(pinned), Some(policy)) => {
                if !policy.logs().iter().any(|log| *log.key() == pinned) {
                    let problem = format!("the policy does not name the log {pinned}");
                    return Err(
                        Failure::new(problem).next("add it to the policy, or drop --log-key")
                    );
                }
                vec![pinned]
            }
            (Some(pinned), None) => vec![pinned],
            (None, Some(policy)) => policy.logs().iter().map(PolicyLog::key).cloned().collect(),
            (None, None) => Vec::new(),
        };
        Ok(Self { logs, policy })
    }

    /// The one log that a command is about.
    pub(super) fn log(&self) -> Result<&VerifierKey, Failure> {
        match self.logs.as_slice() {
            [log] => Ok(log),
            [] => Err(Failure::new("no log is trusted")
                .next("name its key with --log-key, or a policy with --policy")),
            _ => Err(Failure::new("the policy names several logs")
                .next("say which one is meant with --log-key")),
        }
    }

    /// The log of this name; if there is none, the one that is trusted, so that checking says what
    /// is wrong.
    pub(super) fn log_of(&self, origin: &KeyName) -> Result<&VerifierKey, Failure> {
        let named = self.logs.iter().find(|log| log.name() == origin);
        named.map_or_else(|| self.log(), Ok)
    }

    /// All logs that are trusted.
    pub(super) fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The policy, if there is one.
    pub(super) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    /// The text that a bundle carries: the policy as it is, or one of the log alone.
    pub(super) fn policy_text(&self, log: &VerifierKey) -> String {
        let text = self.policy.as_ref().map(|policy| String::from_utf8_lossy(policy.text()));
        text.map_or_else(|| format!("log {log}\nquorum none\n"), std::borrow::Cow::into_owned)
    }

    /// The keys by which evidence is judged.
    pub(super) fn known(&self) -> KnownKeys {
        let known = self.policy.as_ref().map(KnownKeys::of_policy).unwrap_or_default();
        self.logs.iter().fold(known, |known, log| known.with(Role::Log, log.clone()))
    }

    /// Who cosigned a checkpoint, if that is enough for the policy. Without a policy nobody is
    /// asked for, and there is nothing to say.
    pub(super) fn check(&self, note: &Note, age: Age) -> Result<Option<Cosigned>, String> {
        let Some(policy) = &self.policy else { return Ok(None) };
        let verified = policy.verify(note).map_err(|error| error.to_string())?;
        let now = now();
        if let Age::AtMost(seconds) = age {
            verified.check_clock(now).map_err(|error| error.to_string())?;
            verified.check_age(policy, now, seconds).map_err(|error| error.to_string())?;
        }
        let digest = policy.digest().to_string();
        let quorum_time = verified.quorum_time(policy);
        Ok(Some(Cosigned { digest, verified, quorum_time }))
    }
}

/// Reads a policy file.
pub(super) fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = files::read(path, MAX_POLICY as u64)?;
    Policy::parse(&bytes).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display())).next("see docs/trust-policy.md")
    })
}

/// How old a checkpoint may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// What a file proves does not age.
    Any,
    /// The newest head of a log must be no older, in seconds.
    AtMost(u64),
}

/// A checkpoint that a policy accepts.
pub(super) struct Cosigned {
    digest: String,
    verified: VerifiedCheckpoint,
    /// Seconds since 1970; none if the policy asks for no quorum.
    quorum_time: Option<u64>,
}

impl Cosigned {
    /// For people.
    pub(super) fn text(&self) -> String {
        let names: Vec<String> = self
            .verified
            .witnesses()
            .map(|(witness, _)| String::from_utf8_lossy(witness.name()).into_owned())
            .collect();
        let digest = &self.digest[..12];
        match self.quorum_time {
            Some(time) => format!(
                "its checkpoint was cosigned by {} as the policy {digest} asks, a quorum of them at {}",
                names.join(", "),
                shown(time)
            ),
            None => format!("the policy {digest} asks for no witnesses"),
        }
    }

    /// For machines.
    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let witnesses = self.verified.witnesses().map(|(witness, time)| {
            let name = String::from_utf8_lossy(witness.name()).into_owned();
            json::object([("name", Value::from(name)), ("time", time.into())])
        });
        vec![
            ("policy", self.digest.as_str().into()),
            ("witnesses", json::array(witnesses)),
            ("quorum_time", self.quorum_time.into()),
        ]
    }
}

fn shown(time: u64) -> String {
    Timestamp::from_unix(time).map_or_else(|_| time.to_string(), |time| time.to_string())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time span on the command line: a number of seconds, or one with s, m, h or d behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) u64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
        let unit = units.iter().find(|(letter, _)| text.ends_with(*letter));
        let digits = unit.map_or(text, |_| &text[..text.len() - 1]);
        let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
        number
            .and_then(|number| number.checked_mul(unit.map_or(1, |(_, seconds)| *seconds)))
            .map(Self)
            .ok_or_else(|| "must be a time span such as 90s, 10m, 24h or 7d".to_owned())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [('d', 86_400), ('h', 3_600), ('m', 60)];
        let unit =
            units.into_iter().find(|(_, seconds)| self.0 > 0 && self.0.is_multiple_of(*seconds));
        match unit {
            Some((letter, seconds)) => write!(f, "{}{letter}", self.0 / seconds),
            None => write!(f, "{}s", self.0),
        }
    }
}

/// The default of `--max-age`.
pub(super) const MAX_AGE: Span = Span(DEFAULT_MAX_AGE);

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn reads_time_spans_in_their_units() {
        for (text, seconds) in
            [("0", 0), ("90", 90), ("90s", 90), ("10m", 600), ("24h", 86_400), ("7d", 604_800)]
        {
            assert_eq!(text.parse(), Ok(Span(seconds)), "{text}");
        }
        for text in
            ["", "h", "-1h", "+1h", "1w", "1.5h", "1h30m", "10mm", "99999999999999999d", "1 h"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["0s", "90s", "10m", "1d", "36h"] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
    }
}

//! Waiting for witnesses: `--wait witnessed --policy FILE`.

use std::time::Duration;

use json::Value;
use tlog::{Policy, VerifiedCheckpoint};

use crate::cli::output::Failure;
use crate::cli::trust::Trust;

/// How much must have happened to the statement.
#[derive(Debug, clap::Args)]
pub(super) struct WaitArguments {
    /// Return when the statement is in the log (committed), or when the witnesses have cosigned a
    /// head with it (witnessed): then bundle and receipt carry their cosignatures.
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        default_value_t,
        requires_if("witnessed", "policy")
    )]
    wait: Wait,
    /// How long to wait for them.
    #[arg(long, value_name = "N", default_value_t = 60)]
    wait_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Wait {
    /// It is durable and in the tree.
    #[default]
    Committed,
    /// A quorum of the policy has cosigned it.
    Witnessed,
}

/// Bytes of a policy that fits into a bundle.
const MAX_POLICY: usize = 16 << 10;

impl WaitArguments {
    /// How long to wait for the witnesses.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(self.wait_seconds)
    }

    /// The policy to wait for, if there is one to wait for.
    pub(super) fn policy(&self, trust: &Trust) -> Result<Option<Policy>, Failure> {
        let (Wait::Witnessed, Some(policy)) = (self.wait, trust.policy()) else { return Ok(None) };
        let wrong = |problem: &str| Failure::new(format!("the policy {problem}"));
        if policy.text().len() > MAX_POLICY {
            return Err(wrong("has more than 16 KiB, so no bundle can carry it"));
        }
        if std::str::from_utf8(policy.text()).is_err() {
            return Err(wrong("is not UTF-8, so no bundle can carry it"));
        }
        if policy.quorum().is_none() {
            return Err(wrong("has the quorum none, so there is nothing to wait for")
                .next("name a witness or a group in its quorum line"));
        }
        Ok(Some(policy.clone()))
    }
}

/// What came of waiting.
pub(super) struct Witnessed {
    pub(super) policy: Policy,
    pub(super) verified: VerifiedCheckpoint,
}

impl Witnessed {
    /// Who cosigned, for people.
    pub(super) fn line(&self) -> String {
        let names: Vec<_> = self
            .verified
            .witnesses()
            .map(|(witness, _)| String::from_utf8_lossy(witness.name()))
            .collect();
        format!("\nwitnessed by {}, under the policy {}", names.join(", "), self.policy.digest())
    }

    /// Who cosigned when, for machines.
    pub(super) fn members(&self) -> [(&'static str, Value); 2] {
        let witnesses = self.verified.witnesses().map(|(witness, time)| {
            json::object([
                ("name", String::from_utf8_lossy(witness.name()).as_ref().into()),
                ("vkey", witness.key().to_string().into()),
                ("time", time.into()),
            ])
        });
        [("policy", self.policy.digest().to_string().into()), ("witnesses", json::array(witnesses))]
    }
}

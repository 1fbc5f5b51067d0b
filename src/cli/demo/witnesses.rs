//! Three witnesses: each lab's own, and one that belongs to neither.

use json::Value;

use super::stage::{Service, Stage};
use super::text;
use crate::cli::output::Failure;

/// Whom all trust.
pub(super) const POLICY: &str = "trust.policy";

/// The folders of the witnesses, which are their names in the policy too, and who owns each.
const FOLDERS: [(&str, &str); 3] = [
    ("lab-a/witness", "lab-a.example"),
    ("lab-b/witness", "lab-b.example"),
    ("neutral/witness", "neutral.example"),
];

/// Their processes. Killed when dropped.
pub(super) struct Witnesses(Vec<Service>);

impl Witnesses {
    /// Starts all three on free ports.
    pub(super) fn start(stage: &mut Stage) -> Result<Self, Failure> {
        let mut all = Vec::new();
        for (folder, owner) in FOLDERS {
            let name = format!("{owner}/witness");
            all.push(Service::start(
                stage,
                &[
                    "witness",
                    "--data",
                    folder,
                    "--name",
                    &name,
                    "--log",
                    "log/log.vkey",
                    "--http",
                    "127.0.0.1:0",
                    "--grpc",
                    "127.0.0.1:0",
                ],
            )?);
        }
        Ok(Self(all))
    }

    /// Writes the policy that everybody goes by, and has it checked.
    pub(super) fn agree(&self, stage: &mut Stage) -> Result<Value, Failure> {
        let mut arguments = vec!["policy".to_owned(), "new".to_owned()];
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        add("--log", "log/log.vkey".to_owned());
        for ((_, owner), witness) in FOLDERS.into_iter().zip(&self.0) {
            let short = owner.trim_end_matches(".example");
            let vkey = format!("{short}-w.vkey");
            stage.write(&vkey, format!("{}\n", text(&witness.said, "vkey")).as_bytes())?;
            add("--witness", format!("{vkey}={}", text(&witness.said, "http")));
            add("--owner", format!("{short}-w={owner}"));
        }
        add("--quorum", "2".to_owned());
        add("--out", POLICY.to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        stage.good(&arguments)
    }
}

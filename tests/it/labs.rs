//! Two labs with folders of their own and a log between them, driven by commands alone. The clock is
//! a witness whose key the test holds, so that time is the test's to say; its ticks are logged by an
//! operator's key.

use std::ffi::OsStr;

use api::v1;
use json::Value;
use tlog::{SignedCheckpoint, VerifierKey};

use crate::exchanging::{clock, policy, tick};
use crate::parties::Voice;
use crate::support::{Outcome, Server, World, evaldata, text, within};

/// When the drafts of these tests begin: 2027-01-01T00:00:00Z.
pub(crate) const BEGIN: u64 = 1_798_761_600;

/// Accept, commit and reveal by: one, two and three hours later.
pub(crate) const ACCEPT_BY: &str = "2027-01-01T01:00:00Z";
pub(crate) const COMMIT_BY: &str = "2027-01-01T02:00:00Z";
pub(crate) const REVEAL_BY: &str = "2027-01-01T03:00:00Z";

pub(crate) const A: &str = "lab-a";
pub(crate) const B: &str = "lab-b";

/// The log's operator, with the clock beside it.
const OPERATOR: &str = "operator.example";

/// Two labs and their log.
pub(crate) struct Labs {
    pub(crate) world: World,
    pub(crate) server: Server,
    operator: std::sync::Mutex<Voice>,
}

impl Labs {
    /// Keys, a log, and its policy; both labs are registered.
    pub(crate) fn new() -> Self {
        let world = World::new();
        for lab in [A, B] {
            world.keygen(lab);
        }
        let operator = world.write_vkey("operator.vkey", &Voice::key_of(OPERATOR));
        let server = world.serve("log", &["lab-a.vkey", "lab-b.vkey", &operator]);
        world.write("trust.policy", policy(&server.key));
        let operator = Voice::new(OPERATOR, &server.key);
        let labs = Self { world, server, operator: std::sync::Mutex::new(operator) };
        let registration = labs.operator.lock().unwrap().register();
        labs.append(registration.as_bytes());
        labs.run(B, ["key", "register"]).good();
        labs
    }

    /// Runs a command of a lab, with what says who it is and where the log is.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        lab: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Outcome {
        let key = format!("{lab}.key");
        let own = ["--key", &key, "--server", &self.server.grpc, "--policy", "trust.policy"];
        let all = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        self.world.run(all.chain(own.map(|argument| OsStr::new(argument).to_owned())))
    }

    /// Makes the draft of an agreement over these items by lab A, with `change` made to it.
    pub(crate) fn draft(&self, change: impl FnOnce(String) -> String) {
        let items = evaldata("rivals/items.jsonl");
        let like = evaldata("rivals/lab-a.eval");
        self.world
            .run([
                "agree",
                "new",
                "--key",
                "lab-a.key",
                "--peer",
                "lab-b.vkey",
                "--policy",
                "trust.policy",
                "--clock",
                "clock",
                "--items",
                items.to_str().unwrap(),
                "--like",
                like.to_str().unwrap(),
                "--accept-by",
                ACCEPT_BY,
                "--commit-by",
                COMMIT_BY,
                "--reveal-by",
                REVEAL_BY,
                "--step",
                "1h",
                "--out",
                "agreement.toml",
            ])
            .good();
        let draft = String::from_utf8(self.world.read("agreement.toml")).unwrap();
        self.world.write("agreement.toml", change(draft));
    }

    /// Lab A proposes the draft; returns the agreement's id.
    pub(crate) fn propose(&self) -> String {
        text(&self.run(A, ["agree", "propose", "agreement.toml"]).good(), "agreement").to_owned()
    }

    /// Lab B accepts it.
    pub(crate) fn accept(&self, id: &str) -> Value {
        let items = evaldata("rivals/items.jsonl");
        let arguments = ["agree", "accept", id, "--item-key", "agreement.item-key", "--items"];
        let pin = ["--pin", "lab-a.vkey"];
        let all = arguments.into_iter().chain([items.to_str().unwrap()]).chain(pin);
        self.run(B, all).good()
    }

    /// From a draft to an accepted agreement.
    pub(crate) fn agree(&self, change: impl FnOnce(String) -> String) -> String {
        self.draft(change);
        let id = self.propose();
        self.accept(&id);
        id
    }

    /// A lab announces a run and commits to a log of the `rivals`.
    pub(crate) fn commit(&self, lab: &str, id: &str, log: &str, more: &[&str]) -> Value {
        self.run(lab, ["intend", "--agreement", id]).good();
        let log = evaldata(&format!("rivals/{log}"));
        let out = format!("{lab}.countersign");
        let arguments = ["commit", log.to_str().unwrap(), "--agreement", id, "--out", &out];
        self.run(lab, arguments.into_iter().chain(more.iter().copied())).good()
    }

    /// The clock says that this many seconds have gone since [`BEGIN`], over the whole log.
    pub(crate) fn tick(&self, seconds: u64) {
        let checkpoint = within(async {
            let request = v1::GetCheckpointRequest { wait_for: v1::WaitFor::Committed.into() };
            self.server.log().await.get_checkpoint(request).await.unwrap().into_inner().checkpoint
        });
        let log: &VerifierKey = &self.server.key;
        let mut operator = self.operator.lock().unwrap();
        operator.seen = *SignedCheckpoint::open(&checkpoint, log).unwrap().head();
        let envelope = operator.say(tick(&checkpoint, log, &clock(), BEGIN + seconds));
        drop(operator);
        self.append(envelope.as_bytes());
    }

    fn append(&self, envelope: &[u8]) {
        within(async {
            let request = v1::AppendRequest {
                envelope: bytes::Bytes::copy_from_slice(envelope),
                wait_for: v1::WaitFor::Committed.into(),
            };
            self.server.log().await.append(request).await.unwrap();
        });
    }

    /// The state of the exchange as a lab replays it.
    pub(crate) fn state(&self, lab: &str, id: &str) -> String {
        let status = self.run(lab, ["status", "--agreement", id]).json();
        text(&status, "state").to_owned()
    }
}

//! The demo's stage: child processes of this binary, and lines that say what happens.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use json::{Rules, Value};

use crate::cli::output::Failure;

/// Where it plays, and since when.
pub(super) struct Stage {
    folder: PathBuf,
    binary: PathBuf,
    began: Instant,
    steps: u64,
}

impl Stage {
    pub(super) fn new(folder: PathBuf) -> Result<Self, Failure> {
        let binary = std::env::current_exe()
            .map_err(|e| Failure::new(format!("cannot find this program's own file: {e}")))?;
        Ok(Self { folder, binary, began: Instant::now(), steps: 0 })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_millis() as f64 / 1_000.0
    }

    /// Commands run so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn title(&self, line: &str) {
        eprintln!("{line}\nfolder {}", self.folder.display());
    }

    pub(super) fn act(&self, line: &str) {
        eprintln!("\n{:5.1} s  {line}", self.seconds());
    }

    pub(super) fn note(&self, line: &str) {
        eprintln!("         {line}");
    }

    /// A lie and the sentence that caught it.
    pub(super) fn caught(&self, lie: &str, verdict: &Value) {
        let checks = verdict.get("checks").and_then(Value::as_array).unwrap_or_default();
        let problem = checks.iter().find_map(|check| check.get("problem")?.as_str());
        let problem = problem.unwrap_or("?").replace('\n', " ");
        eprintln!("         {lie}\n           → caught: {problem}");
    }

    /// What somebody found out.
    pub(super) fn found(&self, what: &str) {
        eprintln!("           → found: {}", what.replace('\n', " "));
    }

    pub(super) fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.path(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, bytes)?)
    }

    /// Runs a command that must succeed.
    pub(super) fn good(&mut self, arguments: &[&str]) -> Result<Value, Failure> {
        self.run(arguments, 0)
    }

    /// Runs a command whose verdict must be bad.
    pub(super) fn bad(&mut self, arguments: &[&str]) -> Result<Value, Failure> {
        self.run(arguments, 1)
    }

    fn run(&mut self, arguments: &[&str], expected: i32) -> Result<Value, Failure> {
        self.steps += 1;
        eprintln!("         $ countersign {}", arguments.join(" "));
        let output = self.command(arguments).output()?;
        if output.status.code() != Some(expected) {
            return Err(Failure::bad(format!(
                "countersign {} ended with {}, expected exit code {expected}:\n{}{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        json::parse(&output.stdout, Rules::LOG)
            .map_err(|e| Failure::bad(format!("countersign {}: {e}", arguments.join(" "))))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.folder).arg("--json").args(arguments).stdin(Stdio::null());
        command
    }
}

/// A process that goes on. Killed when dropped.
pub(super) struct Service {
    child: Child,
    /// What it said when it began to listen.
    pub(super) said: Value,
}

impl Service {
    /// Starts it, and waits until it says where it listens.
    pub(super) fn start(stage: &mut Stage, arguments: &[&str]) -> Result<Self, Failure> {
        stage.steps += 1;
        eprintln!("         $ countersign {}", arguments.join(" "));
        let mut child = stage
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .env("RUST_LOG", "warn")
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match json::parse(line.as_bytes(), Rules::LOG) {
            Ok(said) if said.get("error").is_none() => Ok(Self { child, said }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let command = arguments.first().copied().unwrap_or_default();
                Err(Failure::new(format!("countersign {command} did not start"))
                    .next(format!("run countersign {} by itself to see why", arguments.join(" "))))
            }
        }
    }

    /// Ends it without warning, as a power cut would.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log's process.
pub(super) struct Server {
    service: Service,
    pub(super) vkey: String,
    pub(super) grpc: String,
    pub(super) http: String,
    pub(super) size: String,
}

impl Server {
    /// Starts it over a folder, on free ports; the witnesses of a policy are asked.
    pub(super) fn start(
        stage: &mut Stage,
        data: &str,
        policy: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut arguments = vec!["serve", "--data", data];
        arguments.extend(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        arguments.extend(["--party", "lab-a/lab-a.vkey", "--party", "lab-b/lab-b.vkey"]);
        arguments.extend(policy.into_iter().flat_map(|policy| ["--policy", policy]));
        let service = Service::start(stage, &arguments)?;
        let text = |name| super::text(&service.said, name).to_owned();
        Ok(Self {
            vkey: text("vkey"),
            grpc: text("server"),
            http: text("http"),
            size: super::number(&service.said, "size"),
            service,
        })
    }

    /// Ends it without warning, as a power cut would.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.service.kill()
    }
}

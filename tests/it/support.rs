//! A folder in which commands run under a watchdog and servers start and stop. Here belongs what
//! tests of every theme need, and nothing that knows what a statement says.

// What the modules share is kept here whole, also where only some of them use it.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use api::v1::artifact_service_client::ArtifactServiceClient;
use api::v1::log_service_client::LogServiceClient;
use json::{Rules, Value};
use tempfile::TempDir;
use tlog::{SigningKey, VerifierKey};
use tonic::transport::{Channel, Endpoint};

/// No command and no answer takes as long on any machine; whatever does hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// One test's folder.
pub(crate) struct World {
    folder: TempDir,
}

/// A logs of the repository.
pub(crate) fn evaldata(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evaldata").join(relative)
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::with_prefix("countersign-test-").unwrap() }
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub(crate) fn read(&self, relative: &str) -> Vec<u8> {
        fs::read(self.path(relative)).unwrap_or_else(|e| panic!("{relative}: {e}"))
    }

    pub(crate) fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A file that only its owner may read.
    pub(crate) fn write_private(&self, relative: &str, bytes: impl AsRef<[u8]>) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(relative, bytes);
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs the binary in this folder with `--json`.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        let json = [OsStr::new("--json").to_owned()];
        self.run_plain(json.into_iter().chain(arguments.into_iter().map(|a| a.as_ref().to_owned())))
    }

    /// Runs the binary in this folder as people do.
    pub(crate) fn run_plain<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Outcome {
        let mut command = binary(self.folder.path());
        command.args(arguments);
        finish(command)
    }

    /// What [`run`](Self::run) would run, to be changed and given to [`finish`].
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = binary(self.folder.path());
        command.arg("--json").args(arguments);
        command
    }

    /// Makes a party's keys; returns the name of its key file.
    pub(crate) fn keygen(&self, stem: &str) -> String {
        self.run(["keygen", &format!("{stem}.example"), "--out", stem]).good();
        format!("{stem}.key")
    }

    /// The public key of a party of which the test holds the private one, as a file.
    pub(crate) fn write_vkey(&self, relative: &str, key: &SigningKey) -> String {
        self.write(relative, format!("{}\n", key.verifier(tlog::KeyKind::Ed25519)));
        relative.to_owned()
    }

    /// Starts a log in the folder `data` that admits these parties.
    pub(crate) fn serve(&self, data: &str, parties: &[&str]) -> Server {
        let command = self.serve_command(data, parties);
        Server::start(command, &self.path(format!("{data}.stderr")))
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// Starts a log as this `countersign.toml` says, but on free ports of loopback.
    pub(crate) fn serve_as(&self, toml: &str) -> Server {
        let command = self.configured(toml);
        Server::start(command, &self.path("server.stderr")).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The command that [`serve_as`](Self::serve_as) runs, to be changed.
    pub(crate) fn configured(&self, toml: &str) -> Command {
        self.write("countersign.toml", toml);
        self.configured_by("countersign.toml")
    }

    /// The same with a file that is there.
    pub(crate) fn configured_by(&self, file: &str) -> Command {
        let mut command = binary(self.folder.path());
        command.args(["--json", "serve", "--config", file]);
        for door in ["--listen", "--http", "--admin"] {
            command.args([door, "127.0.0.1:0"]);
        }
        command
    }

    /// As [`serve`](Self::serve), at an address where another server was before.
    pub(crate) fn serve_at(&self, address: SocketAddr, data: &str, parties: &[&str]) -> Server {
        let command = self.serve_command_at(&address.to_string(), data, parties);
        Server::start(command, &self.path(format!("{data}.stderr")))
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// The command that [`serve`](Self::serve) runs, to be changed.
    pub(crate) fn serve_command(&self, data: &str, parties: &[&str]) -> Command {
        self.serve_command_at("127.0.0.1:0", data, parties)
    }

    fn serve_command_at(&self, listen: &str, data: &str, parties: &[&str]) -> Command {
        let mut command = binary(self.folder.path());
        command.args(["--json", "serve", "--data", data]);
        command.args(["--listen", listen, "--http", "127.0.0.1:0"]);
        for party in parties {
            command.args(["--party", party]);
        }
        command
    }
}

pub(crate) fn binary(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(folder).stdin(Stdio::null()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// A command that has ended.
pub(crate) struct Outcome {
    line: String,
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, status, stdout, stderr } = self;
        write!(f, "{line}\n{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

impl Outcome {
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What a command that succeeded printed.
    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        self.exits(0).json()
    }

    /// What a command printed whose verdict is bad.
    #[track_caller]
    pub(crate) fn bad(&self) -> Value {
        self.exits(1).json()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        json::parse(self.stdout.trim_end().as_bytes(), Rules::LOG)
            .unwrap_or_else(|e| panic!("not one JSON document: {e}\n{self}"))
    }

    /// Asserts that an error was printed which says all of this, on one line or several.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            let said = self.stderr.contains(word) || self.stdout.contains(word);
            assert!(said, "does not say {word:?}\n{self}");
        }
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }
}

/// Runs to the end, or kills it at the deadline and fails.
pub(crate) fn finish(mut command: Command) -> Outcome {
    let line = format!("{command:?}");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{line}: {e}"));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child);
    let text = |pipe: mpsc::Receiver<Vec<u8>>| {
        let bytes = pipe.recv_timeout(DEADLINE).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    let Some(status) = status else {
        panic!("{line}\nno end after {DEADLINE:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    };
    let arguments: Vec<&OsStr> = command.get_args().collect();
    if command.get_program() == env!("CARGO_BIN_EXE_countersign")
        && let Err(problem) = crate::schema::check(&arguments, &stdout, status.code())
    {
        panic!("{}: {problem}", Outcome { line, status, stdout, stderr });
    }
    Outcome { line, status, stdout, stderr }
}

/// Reads a pipe to its end on a thread of its own, so that no full pipe holds the child up.
fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// How a child ended; killed and `None` at the deadline.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A process that said where it listens. Killed when dropped; if that is because a test failed,
/// its log is printed.
pub(crate) struct Process {
    child: Child,
    stderr: PathBuf,
    /// What it said when it began to listen.
    pub(crate) said: Value,
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it and waits until it says where it listens. An error is all that it said instead.
    pub(crate) fn start(mut command: Command, stderr: &Path) -> Result<Self, String> {
        let log = File::options().create(true).append(true).open(stderr).unwrap();
        let line = format!("{command:?}");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut first = String::new();
            let _ = stdout.read_line(&mut first);
            let _ = sender.send((first, stdout));
        });
        let failed = |child: &mut Child, first: &str| {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(stderr).unwrap_or_default();
            format!("{line}\ndid not start\n--- stdout\n{first}\n--- stderr\n{log}")
        };
        let Ok((first, stdout)) = receiver.recv_timeout(DEADLINE) else {
            return Err(failed(&mut child, "(nothing)"));
        };
        let Ok(said) = json::parse(first.trim_end().as_bytes(), Rules::LOG) else {
            return Err(failed(&mut child, &first));
        };
        let arguments: Vec<&OsStr> = command.get_args().collect();
        if let Err(problem) = crate::schema::check(&arguments, &first, Some(0)) {
            return Err(format!("{}{problem}", failed(&mut child, &first)));
        }
        Ok(Self { child, stderr: stderr.to_owned(), said, _stdout: stdout })
    }

    /// What it has written to its log so far.
    pub(crate) fn written(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Where that is.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.stderr.clone()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "SIGTERM could not be sent");
    }

    /// Waits for its end after SIGTERM.
    #[track_caller]
    pub(crate) fn ended(mut self) -> ExitStatus {
        wait(&mut self.child).unwrap_or_else(|| panic!("no end after {DEADLINE:?}"))
    }

    /// Stops it as an operator does.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.terminate();
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "the process ended with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(&self.stderr).unwrap_or_default();
            eprintln!("--- the log of the process\n{log}---");
        }
    }
}

/// A running log.
pub(crate) struct Server {
    process: Process,
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) key: VerifierKey,
    /// Statements that it found on its disk.
    pub(crate) size: u64,
}

impl std::ops::Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Server {
    /// Starts it and waits until it says where it listens. An error is all that it said instead.
    pub(crate) fn start(command: Command, stderr: &Path) -> Result<Self, String> {
        let process = Process::start(command, stderr)?;
        let said = &process.said;
        Ok(Self {
            grpc: text(said, "server").to_owned(),
            http: text(said, "http").to_owned(),
            key: VerifierKey::parse(text(said, "vkey")).unwrap(),
            size: number(said, "size"),
            process,
        })
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Waits for its end after SIGTERM.
    #[track_caller]
    pub(crate) fn ended(self) -> ExitStatus {
        self.process.ended()
    }

    /// Stops it as an operator does.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.process.stop();
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.grpc.clone()).unwrap();
        endpoint.timeout(DEADLINE).connect().await.unwrap()
    }

    pub(crate) async fn log(&self) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel().await).max_decoding_message_size(16 << 20)
    }

    pub(crate) async fn artifacts(&self) -> ArtifactServiceClient<Channel> {
        ArtifactServiceClient::new(self.channel().await).max_decoding_message_size(16 << 20)
    }

    /// The address behind a URL of this server.
    pub(crate) fn address(url: &str) -> SocketAddr {
        let address = url.trim_start_matches("http://").trim_start_matches("https://");
        address.trim_end_matches('/').parse().unwrap()
    }

    /// A connection that says nothing, and on which no read waits for ever.
    #[track_caller]
    pub(crate) fn connect(url: &str) -> TcpStream {
        let stream = TcpStream::connect(Self::address(url)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// One HTTP request in the clear, written by hand.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        Answer::to(path, Self::connect(&self.http)).unwrap()
    }

    /// The same of the listener for health and metrics.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> Answer {
        Answer::to(path, Self::connect(text(&self.said, "admin"))).unwrap()
    }
}

/// One HTTP request in the clear.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    Answer::to(path, TcpStream::connect(address).unwrap()).unwrap()
}

/// One HTTP request with a body. An error if nobody answers, or not to the end.
pub(crate) fn post(address: SocketAddr, path: &str, body: &[u8]) -> io::Result<Answer> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    Answer::exchange(&[head.as_bytes(), body].concat(), TcpStream::connect(address)?)
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Asks over a connection of any kind.
    pub(crate) fn to(path: &str, stream: impl Read + Write) -> io::Result<Self> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        Self::exchange(request.as_bytes(), stream)
    }

    fn exchange(request: &[u8], mut stream: impl Read + Write) -> io::Result<Self> {
        stream.write_all(request)?;
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            // TLS: the other end closed without a word after the answer.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && !bytes.is_empty() => {}
            read => _ = read?,
        }
        let answer = Self::parse(&bytes).ok_or_else(|| io::Error::other("not an HTTP answer"))?;
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        let cut = length.is_some_and(|length: usize| answer.body.len() < length);
        if cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let headers = rest.lines().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
        Some(Self { status, headers, body: bytes[end + 4..].to_vec() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not so after {DEADLINE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs asynchronous steps of a test under the watchdog.
#[track_caller]
pub(crate) fn within<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(async { tokio::time::timeout(DEADLINE, work).await });
    done.unwrap_or_else(|_| panic!("no answer after {DEADLINE:?}"))
}

#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    let found = value.get(name).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text {name:?} in {}", value.to_text()))
}

#[track_caller]
pub(crate) fn number(value: &Value, name: &str) -> u64 {
    let found = value.get(name).and_then(|v| v.as_number()?.as_u64());
    found.unwrap_or_else(|| panic!("no number {name:?} in {}", value.to_text()))
}

#[track_caller]
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let found = value.get(name).and_then(Value::as_array);
    found.unwrap_or_else(|| panic!("no list {name:?} in {}", value.to_text()))
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// A seeded generator (SplitMix64), so that a failing run can be had again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

//! Logs over real sockets that are slow, endless or wrong: a pass ends, says what is wrong or that
//! nothing could be had, and has taken no more than the limits allow.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use client::Http;
use monitor::{Code, MonitorError, Pass, Sources};
use tempfile::TempDir;

use crate::log::{Files, Log};
use crate::passes::{NOW, codes, open, pass};

/// How a server answers for one path; for the others it is honest.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Bytes for ever, after a good head.
    Endless,
    /// A length that is never reached: the connection stays open and silent.
    Silent,
    /// A length that is never reached: the connection is closed.
    Cut,
    /// A byte now and then.
    Drip,
    /// Not there.
    Absent,
    /// A status that is neither.
    Broken,
    /// Nothing of HTTP.
    Noise,
    /// An answer without a body.
    Empty,
    /// Somewhere else, which is not followed.
    Elsewhere,
}

/// Serves files, one of them by an act. Ends with the test.
struct Server {
    address: String,
    /// Bytes of bodies that a reader took.
    sent: Arc<AtomicU64>,
}

impl Server {
    fn start(files: Files, path: &str, act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let (path, counted) = (format!("/{path}"), Arc::clone(&sent));
        let files = files.files;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, path, sent) = (files.clone(), path.clone(), Arc::clone(&counted));
                // Whoever reads goes away in the middle: that is what is tested.
                thread::spawn(move || {
                    let _ = answer(stream, &files, &path, act, &sent);
                });
            }
        });
        Self { address, sent }
    }

    /// A pass that has two seconds for each file.
    fn pass(&self, folder: &TempDir, log: &Log) -> Result<Pass, MonitorError> {
        let files = Http::patient(self.address.as_str(), Duration::from_secs(2)).unwrap();
        let sources = Sources { files: &files, place: &self.address, artifacts: None, views: &[] };
        open(folder.path(), log).pass(&sources, NOW, &|_| {})
    }
}

fn answer(
    mut stream: TcpStream,
    files: &std::collections::BTreeMap<String, Vec<u8>>,
    path: &str,
    act: Act,
    sent: &AtomicU64,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let asked = String::from_utf8_lossy(&request);
    let asked = asked.split(' ').nth(1).unwrap_or_default().to_owned();
    let file = files.get(asked.trim_start_matches('/'));
    let head =
        |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n");
    if asked != path {
        return match file {
            Some(file) => {
                let length = format!("Content-Length: {}\r\n", file.len());
                stream.write_all(head("200 OK", &length).as_bytes())?;
                stream.write_all(file)
            }
            None => stream.write_all(head("404 Not Found", "Content-Length: 0\r\n").as_bytes()),
        };
    }
    let file = file.cloned().unwrap_or_default();
    let too_long = "Content-Length: 1000000\r\n";
    match act {
        Act::Endless => {
            stream.write_all(head("200 OK", "").as_bytes())?;
            stream.write_all(&file)?;
            let more = vec![b'A'; 64 << 10];
            // A gibibyte is more than any limit.
            for _ in 0..16_384 {
                stream.write_all(&more)?;
                sent.fetch_add(more.len() as u64, Ordering::Relaxed);
            }
            Ok(())
        }
        Act::Silent => {
            stream.write_all(head("200 OK", too_long).as_bytes())?;
            stream.write_all(&file)?;
            stream.read_exact(&mut byte)
        }
        Act::Cut => {
            stream.write_all(head("200 OK", too_long).as_bytes())?;
            stream.write_all(&file)
        }
        Act::Drip => {
            stream.write_all(head("200 OK", too_long).as_bytes())?;
            for byte in file.iter().cycle().take(200) {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
        Act::Absent => stream.write_all(head("404 Not Found", "Content-Length: 0\r\n").as_bytes()),
        Act::Broken => {
            let status = "500 Internal Server Error";
            stream.write_all(head(status, "Content-Length: 0\r\n").as_bytes())
        }
        Act::Noise => stream.write_all(b"\0\x16\x03\x01 this is not what you asked for\r\n\r\n"),
        Act::Empty => stream.write_all(head("200 OK", "Content-Length: 0\r\n").as_bytes()),
        Act::Elsewhere => {
            let more = "Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n";
            stream.write_all(head("302 Found", more).as_bytes())
        }
    }
}

#[test]
fn whatever_a_log_answers_a_pass_ends_and_the_next_one_goes_on() {
    let mut log = Log::new();
    log.grow(300);
    let honest = log.files(300);
    let full = "tile/entries/000";
    let partial = "tile/entries/001.p/44";
    for (path, act, expected) in [
        ("checkpoint", Act::Endless, None),
        ("checkpoint", Act::Silent, None),
        ("checkpoint", Act::Cut, None),
        ("checkpoint", Act::Drip, None),
        ("checkpoint", Act::Absent, None),
        ("checkpoint", Act::Broken, None),
        ("checkpoint", Act::Noise, None),
        ("checkpoint", Act::Elsewhere, None),
        ("checkpoint", Act::Empty, Some(Code::NotSigned)),
        (full, Act::Endless, None),
        (full, Act::Silent, None),
        (full, Act::Cut, None),
        (full, Act::Drip, None),
        (full, Act::Broken, None),
        (full, Act::Absent, Some(Code::Withheld)),
        (full, Act::Empty, Some(Code::WrongBytes)),
        (partial, Act::Absent, Some(Code::Withheld)),
        (partial, Act::Empty, Some(Code::WrongBytes)),
        (partial, Act::Endless, None),
    ] {
        let folder = TempDir::new().unwrap();
        let server = Server::start(honest.clone(), path, act);
        match (server.pass(&folder, &log), expected) {
            (Ok(pass), Some(expected)) => {
                assert_eq!(codes(&pass), [expected], "{path} {act:?}");
                assert_eq!(pass.standing, 0, "{path} {act:?}");
            }
            (Err(MonitorError::Fetch(_) | MonitorError::NoCheckpoint(_)), None) => {}
            (Ok(pass), None) => panic!("{path} {act:?}: {:?}", pass.findings),
            (Err(error), _) => panic!("{path} {act:?}: {error}"),
        }
        // A bundle is at most 16 MiB; what a socket holds comes on top.
        let sent = server.sent.load(Ordering::Relaxed);
        let most = if path == "checkpoint" { 16 << 20 } else { 48 << 20 };
        assert!(sent < most, "{path} {act:?}: {sent} bytes were taken");
        // Nothing of it is in the way of a log that is honest again.
        let after = pass(&mut open(folder.path(), &log), &honest);
        assert_eq!(codes(&after), [], "{path} {act:?}");
        assert_eq!(after.head, log.head(300), "{path} {act:?}");
    }
}

/// Heads of every size that a signature can be under, with files of another.
#[test]
fn sizes_that_are_not_those_of_the_files_are_found() {
    let mut log = Log::new();
    log.grow(300);
    let root = log.head(300).root;
    for size in [1, 255, 256, 257, 299, 301, 512, 999_999] {
        let folder = TempDir::new().unwrap();
        let mut files = log.files(300);
        let head = tlog::TreeHead { size, root };
        let signed = tlog::SignedCheckpoint::sign(&log.key, head);
        files.files.insert("checkpoint".to_owned(), signed.as_bytes().to_vec());
        let found = pass(&mut open(folder.path(), &log), &files);
        let [code] = codes(&found)[..] else { panic!("{size}: {:?}", found.findings) };
        assert!(matches!(code, Code::Withheld | Code::WrongBytes), "{size}: {code:?}");
        assert_eq!(found.head, tlog::TreeHead::EMPTY, "{size}");
    }
}

//! Peers that send too much, too slowly, or for ever.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tlog::MAX_REQUEST;
use transport::TransportLimits;
use witness::{Rate, Settings};

use crate::support::{
    Hands, Log, Running, connect, limits, logs, open, post, read_answer, settings,
};

fn impatient() -> TransportLimits {
    TransportLimits {
        call: Duration::from_millis(300),
        handshake: Duration::from_millis(300),
        connections_each: 8,
        ..limits()
    }
}

fn start(folder: &std::path::Path, limits: TransportLimits) -> (Log, Running) {
    let log = Log::new("log.example/one").grown(9, "a");
    let settings = settings(logs([&log]));
    let running = Running::with(open(folder), folder, settings, limits, &Hands::new());
    (log, running)
}

#[test]
fn a_request_over_the_limit_is_refused_before_it_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let (log, running) = start(folder.path(), limits());
    let padded = |bytes: usize| {
        let mut body = log.request(0, 9).to_bytes();
        body.resize(bytes, b'x');
        body
    };
    assert_eq!(running.post(&padded(MAX_REQUEST)).status, 400, "read, and no request");
    // One byte more, or a length that nobody will ever send: the answer comes first.
    for length in [MAX_REQUEST as u64 + 1, 1 << 40, u64::MAX] {
        let mut stream = connect(running.http);
        let head =
            format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.write_all(&padded(MAX_REQUEST + 1));
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        let status = std::str::from_utf8(&first[9..]).unwrap();
        assert!(["413", "400", "431"].contains(&status), "{length}: {status}");
    }
    assert_eq!(running.add(&log.request(0, 9)).status, 200);
    running.stop();
}

#[test]
fn a_body_without_end_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (log, running) = start(folder.path(), limits());
    let mut stream = connect(running.http);
    stream
        .write_all(
            b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    // The witness stops reading; what the system buffers on the way is not much.
    while stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
        assert!(sent < 64 << 20, "{sent} bytes were taken");
    }
    assert_eq!(running.add(&log.request(0, 9)).status, 200);
    running.stop();
}

#[test]
fn who_sends_slowly_is_cut_and_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (log, running) = start(folder.path(), impatient());
    let request = log.request(0, 9).to_bytes();
    let head = format!(
        "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n\r\n",
        request.len()
    );
    let mut slow: Vec<TcpStream> = (0..6).map(|_| connect(running.http)).collect();
    for (number, stream) in slow.iter_mut().enumerate() {
        match number % 3 {
            0 => {}
            1 => stream.write_all(&head.as_bytes()[..20]).unwrap(),
            _ => {
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&request[..30]).unwrap();
            }
        }
    }
    assert_eq!(running.add(&log.request(0, 9)).status, 200, "others are served meanwhile");
    for (number, stream) in slow.into_iter().enumerate() {
        if number % 3 == 2 {
            assert_eq!(read_answer(stream).status, 408);
        } else {
            let mut rest = Vec::new();
            let mut stream = stream;
            let _ = stream.read_to_end(&mut rest);
            assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
        }
    }
    running.stop();
}

#[test]
fn one_address_has_so_many_connections_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (log, running) = start(folder.path(), TransportLimits { connections_each: 3, ..limits() });
    let held: Vec<TcpStream> = (0..3).map(|_| connect(running.http)).collect();
    for mut stream in &held {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: w\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
    }
    let mut turned_away = connect(running.http);
    let mut nothing = Vec::new();
    let _ = turned_away.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
    drop(held);
    // The places are free again once the witness has noticed.
    let request = log.request(0, 9);
    let mut tries = 0;
    loop {
        let mut stream = connect(running.http);
        let head = format!(
            "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            request.to_bytes().len()
        );
        let mut answer = Vec::new();
        let sent = stream.write_all(&[head.as_bytes(), &request.to_bytes()].concat());
        if sent.is_ok() && stream.read_to_end(&mut answer).is_ok() && !answer.is_empty() {
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            break;
        }
        tries += 1;
        assert!(tries < 1_000, "the places were not given back");
        std::thread::yield_now();
    }
    running.stop();
}

#[test]
fn a_log_over_its_rate_waits_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["log.example/one", "log.example/two"].map(|n| Log::new(n).grown(30, "a"));
    let settings = Settings { checkpoints: Rate::new(1, 3), ..settings(logs([&one, &two])) };
    let running =
        Running::with(open(folder.path()), folder.path(), settings, limits(), &Hands::new());
    let mut statuses = Vec::new();
    for size in 1..12 {
        statuses.push(running.add(&one.request(size - 1, size)).status);
    }
    assert_eq!(statuses[..3], [200, 200, 200]);
    let limited = statuses.iter().filter(|status| **status == 429).count();
    assert!(limited >= 4, "{statuses:?}");
    let answer = running.add(&one.request(0, 1));
    if answer.status == 429 {
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(running.add(&two.request(0, 9)).status, 200);
    // Signatures that fail are not charged to the log.
    let forged = Log { key: crate::support::key(two.name(), 0x12), ..two.clone() };
    for _ in 0..9 {
        assert_eq!(running.add(&forged.request(0, 9)).status, 403);
    }
    assert_eq!(running.add(&two.request(9, 10)).status, 200);
    running.stop();
}

#[test]
fn what_is_no_request_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (_, running) = start(folder.path(), limits());
    for path in ["/", "/checkpoint", "/x/checkpoint", "/../witness.db", "/add-checkpoint/x"] {
        assert_eq!(running.get(path).status, 404, "{path}");
    }
    assert_eq!(running.get("/add-checkpoint").status, 405);
    for body in [&b""[..], b"old 0", b"\xff\xfe", &[b'\n'; 5_000], &[0; 1_000]] {
        assert_eq!(post(running.http, body).status, 400);
    }
    running.stop();
}

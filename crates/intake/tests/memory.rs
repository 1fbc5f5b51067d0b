//! Memory: a log is read item by item. What stays is what a record commits to, and the messages,
//! events and stores around it, of whatever length, pass by. Its own binary, since the allocator
//! that counts is the whole process's.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

#[allow(dead_code)]
#[path = "it/archive.rs"]
mod archive;

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use intake::{Folder, Import, NoFolder, Options, import};
use json::{Rules, Value};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// 300 MiB for 100,000 items.
const BYTES_PER_ITEM: usize = (300 << 20) / 100_000;

const ITEMS: usize = 8_000;

/// What an item drags along and no record commits to.
fn ballast() -> String {
    let event = r#"{"event":"model","content":"nobody commits to this"},"#;
    format!("[{}0]", event.repeat(400))
}

/// A file that is never in memory: parts of one length between a beginning and an end.
struct Generated {
    head: Vec<u8>,
    part: Box<dyn Fn(usize) -> Vec<u8>>,
    parts: usize,
    tail: Vec<u8>,
    at: u64,
    length: u64,
    /// The part last made.
    current: (usize, Vec<u8>),
}

impl Generated {
    fn new(head: &str, parts: usize, tail: &str, part: impl Fn(usize) -> String + 'static) -> Self {
        let part = Box::new(move |at| part(at).into_bytes());
        let first = part(0);
        let length = head.len() + first.len() * parts + tail.len();
        let (head, tail) = (head.as_bytes().to_vec(), tail.as_bytes().to_vec());
        Self { head, part, parts, tail, at: 0, length: length as u64, current: (0, first) }
    }
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(self.at).unwrap();
        let part = self.current.1.len();
        let from = if at < self.head.len() {
            &self.head[at..]
        } else if at < self.head.len() + part * self.parts {
            let (number, within) = ((at - self.head.len()) / part, (at - self.head.len()) % part);
            if self.current.0 != number {
                self.current = (number, (self.part)(number));
                assert_eq!(self.current.1.len(), part);
            }
            &self.current.1[within..]
        } else {
            let start = (at - self.head.len() - part * self.parts).min(self.tail.len());
            &self.tail[start..]
        };
        let read = from.len().min(buffer.len());
        buffer[..read].copy_from_slice(&from[..read]);
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Generated {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.length.checked_add_signed(by).unwrap(),
            SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
        };
        Ok(self.at)
    }
}

/// What `read` takes at its peak beyond what was taken before.
fn peak(read: impl FnOnce() -> Import) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let import = read();
    let peak = MEMORY.peak_usage() - before;
    assert_eq!(import.exit(), 0, "{}", import.to_json().to_text());
    assert_eq!(import.evaluations().next().unwrap().items.len(), ITEMS);
    peak
}

#[track_caller]
fn within(what: &str, bytes: u64, peak: usize) {
    eprintln!("{what}: {bytes} bytes of items, {peak} bytes at the peak");
    assert!(bytes > 3 * (BYTES_PER_ITEM * ITEMS) as u64, "{what}: too little to show anything");
    assert!(peak < BYTES_PER_ITEM * ITEMS, "{what}: {peak} bytes for {ITEMS} items");
}

fn evaldata(name: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/evaldata/");
    std::fs::read(format!("{root}{name}")).unwrap()
}

/// The members of a genuine log's header, without those that count its items.
fn header() -> String {
    let log = evaldata("inspect-converted/arithmetic_match.converted.json");
    let log = json::parse(&log, Rules::LOG).unwrap();
    let mut eval = log.get("eval").unwrap().clone();
    let Value::Object(members) = &mut eval else { panic!() };
    members.insert("dataset", json::object([("name", Value::from("large"))]));
    format!(r#""version":2,"status":"success","eval":{},"plan":{{}}"#, eval.to_text())
}

fn sample(at: usize) -> String {
    format!(
        r#"{{"id":"q{at:06}","epoch":1,"input":"What is {at:06}?","target":"{at:06}",
        "scores":{{"match":{{"value":"C","answer":"{at:06}"}}}},"output":{{"completion":"{at:06}"}},
        "store":{{}},"messages":{b},"events":{b}}}"#,
        b = ballast()
    )
}

#[test]
fn items_pass_by_and_only_what_is_committed_stays() {
    // Inspect, one document.
    let head = format!("{{{},\"samples\":[", header());
    let part = |at| format!("{}{}", if at == 0 { ' ' } else { ',' }, sample(at));
    let log = Generated::new(&head, ITEMS, "]}", part);
    let length = log.length;
    let peak_of_json = peak(|| import(log, "run.json", &NoFolder, &Options::default()));
    within(".json", length, peak_of_json);

    // Inspect, an archive.
    let mut members =
        vec![archive::Member::deflated("header.json", format!("{{{}}}", header()).as_bytes())];
    let mut unpacked = 0;
    for at in 0..ITEMS {
        let sample = sample(at);
        unpacked += sample.len() as u64;
        let name = format!("samples/q{at:06}_epoch_1.json");
        members.push(archive::Member::deflated(&name, sample.as_bytes()));
    }
    let bytes = archive::write(&members);
    drop(members);
    let peak_of_archive =
        peak(|| import(Cursor::new(&bytes), "run.eval", &NoFolder, &Options::default()));
    within(".eval", unpacked, peak_of_archive);
    drop(bytes);

    // lm-evaluation-harness, whose rows hold what its requests returned.
    const ROWS: &str = "samples_large_2026-11-23T18-00-22.635069.jsonl";
    struct Rows;
    impl Folder for Rows {
        fn names(&self) -> Vec<String> {
            vec![ROWS.to_owned()]
        }
        fn open(&self, name: &str) -> Option<Box<dyn Read + '_>> {
            (name == ROWS).then(|| Box::new(rows()) as Box<dyn Read>)
        }
    }
    fn rows() -> Generated {
        Generated::new("", ITEMS, "", |at| {
            let ballast = ballast().replace('"', "'");
            format!(
                "{{\"doc_id\":{n},\"doc\":{{\"id\":{n}}},\"target\":\"{n}\",\"arguments\":{{\"gen_args_0\":\
                 {{\"arg_0\":\"{n}?\"}}}},\"resps\":[[\"{n}\"]],\"filtered_resps\":[\"{n}\"],\
                 \"filter\":\"none\",\"metrics\":[\"exact_match\"],\"exact_match\":1.0,\
                 \"whatever\":\"{ballast}\"}}\n",
                n = at + 100_000,
            )
        })
    }
    let results = br#"{"results":{"large":{"alias":"large","exact_match,none":1.0}},"configs":{"large":{}},
        "versions":{"large":1.0},"n-shot":{"large":0},"config":{"model":"dummy"},"model_name":"dummy"}"#;
    let name = "results_2026-11-23T18-00-22.635069.json";
    let length = rows().length;
    let peak_of_rows = peak(|| import(Cursor::new(results), name, &Rows, &Options::default()));
    within(".jsonl", length, peak_of_rows);
}

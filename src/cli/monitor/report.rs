//! What a monitor says: for people what is new, for machines a line for each pass.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use json::Value;
use monitor::{Finding, Monitor, Pass};
use tlog::KeyName;

use crate::cli::output::{Failure, Report, Verdict};

pub(super) struct Words<'a> {
    data: &'a Path,
    as_json: bool,
    /// True once anything was wrong.
    bad: bool,
    /// What the last pass found; people are told of changes.
    told: Vec<Finding>,
    /// The last failure, which need not be repeated either.
    failed: Option<String>,
}

impl<'a> Words<'a> {
    pub(super) fn new(data: &'a Path, as_json: bool) -> Self {
        Self { data, as_json, bad: false, told: Vec::new(), failed: None }
    }

    /// The first line: what is followed, from where on.
    pub(super) fn begin(
        &mut self,
        origin: &KeyName,
        log: &str,
        monitor: &Monitor,
        http: Option<SocketAddr>,
    ) {
        let (verified, standing) = (monitor.verified(), monitor.standing());
        self.bad |= standing > 0;
        if self.as_json {
            let mut members = vec![
                ("origin", Value::from(origin.as_str())),
                ("log", log.into()),
                ("data", self.data.display().to_string().into()),
                ("verified", verified.into()),
                ("standing", standing.into()),
            ];
            members.extend(http.map(|http| ("http", format!("http://{http}/").into())));
            return tell(&json::object(members).to_text());
        }
        tell(&format!(
            "following {origin} at {log} from entry {verified} on, in {}",
            self.data.display()
        ));
        if let Some(http) = http {
            tell(&format!(
                "next: point Prometheus at http://{http}/metrics, and give the other party \
                 --peer http://{http}/"
            ));
        }
        if let Some(standing) = self.standing(standing) {
            tell(&standing);
        }
    }

    /// A pass, as far as it has something new to say.
    pub(super) fn say(&mut self, pass: &Pass) {
        self.failed = None;
        self.bad |= is_bad(pass);
        if self.as_json {
            return tell(&to_value(pass).to_text());
        }
        if pass.entries > 0 {
            let (entries, size) = (pass.entries, pass.head.size);
            tell(&format!("{entries} entries verified, {size} in all"));
        }
        for finding in pass.findings.list().iter().filter(|found| !self.told.contains(found)) {
            tell(&finding.to_string());
        }
        let gone = self.told.iter().filter(|told| !pass.findings.list().contains(told));
        for finding in gone.filter(|finding| !finding.code.stands()) {
            tell(&format!("no longer: {finding}"));
        }
        self.told = pass.findings.list().to_vec();
        ended(pass).iter().for_each(|line| tell(line));
    }

    /// A pass that could not be done.
    pub(super) fn failed(&mut self, failure: &Failure) {
        if self.as_json {
            return tell(&failure.to_value().to_text());
        }
        let message = failure.message();
        if self.failed.as_deref() != Some(message) {
            tell(&format!("no pass: {message}"));
            self.failed = Some(message.to_owned());
        }
    }

    /// The last line.
    pub(super) fn end(&self, monitor: &Monitor) -> Report {
        let (verified, standing) = (monitor.verified(), monitor.standing());
        let mut text = format!("stopped; {verified} entries are verified");
        if let Some(standing) = self.standing(standing) {
            text = format!("{text}\n{standing}");
        }
        let json = json::object([
            ("stopped", true.into()),
            ("verified", verified.into()),
            ("standing", standing.into()),
        ]);
        let verdict = if self.bad { Verdict::Bad } else { Verdict::Good };
        Report { text, json, verdict }
    }

    /// What one pass came to, as the whole answer.
    pub(super) fn report(&self, pass: &Pass) -> Report {
        let size = pass.head.size;
        let mut lines = vec![match pass.findings.count() {
            0 => format!(
                "all {size} entries follow from what the log has signed, and so does everything \
                 that was shown elsewhere"
            ),
            count => format!("{count} findings; what is verified ends at entry {size}:"),
        }];
        lines.extend(pass.findings.list().iter().map(|finding| format!("  {finding}")));
        if pass.findings.more() > 0 {
            lines.push(format!("  and {} more", pass.findings.more()));
        }
        if pass.unread > 0 {
            lines.push(format!(
                "{} artifacts were not looked at: sealed for others, too large, or not asked for",
                pass.unread
            ));
        }
        lines.extend(ended(pass));
        lines.extend(self.standing(pass.standing));
        let verdict = if is_bad(pass) { Verdict::Bad } else { Verdict::Good };
        Report { text: lines.join("\n"), json: to_value(pass), verdict }
    }

    fn standing(&self, count: u64) -> Option<String> {
        let file = self.data.join("findings.jsonl");
        (count > 0).then(|| format!("{count} findings stand in {}", file.display()))
    }
}

/// Something is wrong now, or was and stays so.
fn is_bad(pass: &Pass) -> bool {
    !pass.findings.is_empty() || pass.standing > 0
}

fn ended(pass: &Pass) -> Vec<String> {
    let lines = pass.ended.iter().flat_map(|ended| {
        let first = format!("exchange {} is {}", ended.id, ended.state);
        let breaches = ended.breaches.iter().map(|breach| format!("  {breach}"));
        std::iter::once(first).chain(breaches).collect::<Vec<_>>()
    });
    lines.collect()
}

fn to_value(pass: &Pass) -> Value {
    let ended = pass.ended.iter().map(|ended| {
        json::object([
            ("exchange", Value::from(ended.id.to_string())),
            ("state", ended.state.as_str().into()),
            ("breaches", json::array(ended.breaches.iter().map(|b| Value::from(b.to_string())))),
        ])
    });
    json::object([
        ("good", Value::from(!is_bad(pass))),
        ("size", pass.head.size.into()),
        ("root", pass.head.root.to_string().into()),
        ("entries", pass.entries.into()),
        ("findings", json::array(pass.findings.list().iter().map(Finding::to_value))),
        ("more_findings", pass.findings.more().into()),
        ("standing", pass.standing.into()),
        ("ended", json::array(ended)),
        ("unread_artifacts", pass.unread.into()),
        ("age_seconds", pass.age.into()),
    ])
}

/// Lines on standard output may have nobody who reads them any more.
fn tell(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

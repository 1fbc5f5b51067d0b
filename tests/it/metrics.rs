//! `/metrics`: that it is what Prometheus reads, that it counts what happens, and that the
//! documentation, the alerts and the dashboard speak of metrics that exist.
//!
//! The reader of the text format here shares no code with the product. `deploy/lint.sh` asks
//! promtool as well.

use std::collections::{BTreeMap, BTreeSet};

use api::v1;
use bytes::Bytes;
use tokio_stream::StreamExt as _;

use crate::parties::{Voice, withdrawal};
use crate::service::{append, register, try_append};
use crate::support::{Server, World, within};

/// The metrics of one name, OpenMetrics 1.0.
struct Family {
    kind: String,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The value of one series, written as the server writes it.
#[track_caller]
pub(crate) fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

/// Reads the whole text and panics at whatever is not as the format wants it.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("an end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && !families.contains_key(name), "{line}");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "a type without its help");
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            assert!(families.insert(name.to_owned(), family).is_none());
        } else {
            let sample = sample(line);
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line}"));
            let suffix = sample.name.strip_prefix(&current).unwrap_or_else(|| panic!("{line}"));
            let fits = match family.kind.as_str() {
                "counter" => suffix == "_total" && sample.value >= 0.0,
                "gauge" => suffix.is_empty(),
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                "info" => suffix == "_info" && sample.value == 1.0,
                kind => panic!("unknown kind {kind}"),
            };
            assert!(fits, "{line} in a {}", family.kind);
            assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "{line} twice");
            family.samples.push(sample);
        }
    }
    for (name, family) in &families {
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
    };
    let word = |text: &str| {
        let mut chars = text.chars();
        let begins = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        begins && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    assert!(word(name) && name.starts_with("countersign_"), "{line}");
    let labels: BTreeMap<_, _> = labels
        .split_terminator(',')
        .map(|label| {
            let (label, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            let value = value.unwrap_or_else(|| panic!("{line}"));
            assert!(word(label) && !value.contains(['"', '\\', '\n']), "{line}");
            (label.to_owned(), value.to_owned())
        })
        .collect();
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
    Sample { name: name.to_owned(), labels, value }
}

/// Buckets count what is at most their bound, so they grow, and the last one counts all.
fn check_histogram(name: &str, family: &Family) {
    let of = |suffix: &str| {
        let name = format!("{name}{suffix}");
        let found: Vec<_> = family.samples.iter().filter(|s| s.name == name).collect();
        assert!(!found.is_empty(), "{name} is missing");
        found
    };
    let bound = |sample: &Sample| match sample.labels["le"].as_str() {
        "+Inf" => f64::INFINITY,
        bound => bound.parse().unwrap(),
    };
    let buckets = of("_bucket");
    assert!(buckets.is_sorted_by(|a, b| bound(a) < bound(b) && a.value <= b.value), "{name}");
    let last = buckets.last().unwrap();
    assert_eq!(bound(last), f64::INFINITY, "{name}");
    assert_eq!(last.value, of("_count")[0].value, "{name}");
}

/// Every sample's name with the labels it may have, from a server that has met some of all.
fn samples(families: &BTreeMap<String, Family>) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in families.values().flat_map(|family| &family.samples) {
        let labels = all.entry(sample.name.clone()).or_default();
        labels.extend(sample.labels.keys().cloned());
    }
    all
}

fn fresh() -> BTreeMap<String, Family> {
    let world = World::new();
    // With a witness that nobody runs: its metrics are there all the same.
    let witness = crate::witness::log_key("w.example").verifier(tlog::KeyKind::Cosignature);
    world.write("trust.policy", format!("witness w {witness} http://127.0.0.1:9/\nquorum w\n"));
    let mut command = world.serve_command("log", &[]);
    command.args(["--policy", "trust.policy"]);
    let server = Server::start(command, &world.path("log.stderr")).unwrap();
    let answer = server.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let families = parse(answer.text());
    server.stop();
    families
}

#[test]
fn the_documentation_names_every_metric_with_its_kind_and_labels() {
    let mut documented = BTreeMap::new();
    for line in include_str!("../../docs/operations.md").lines() {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        let (Some(name), Some(kind), Some(labels)) = (cells.next(), cells.next(), cells.next())
        else {
            continue;
        };
        if name.starts_with("countersign_") {
            let labels = labels.split(", ").filter(|label| *label != "–").map(str::to_owned);
            documented.insert(name, (kind, labels.collect::<BTreeSet<_>>()));
        }
    }
    let served: BTreeMap<_, _> = fresh()
        .into_iter()
        .map(|(name, family)| {
            let suffix = match family.kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let labels = family.samples.iter().flat_map(|s| s.labels.keys());
            let labels = labels.filter(|label| *label != "le").cloned().collect();
            (format!("{name}{suffix}"), (family.kind, labels))
        })
        .collect();
    assert_eq!(documented, served, "docs/operations.md (left) and /metrics (right)");
}

#[test]
fn metrics_count_what_happens() {
    let world = World::new();
    let party = world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let server = world.serve("log", &[&party]);
    within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        let intent = a.intent();
        append(&mut log, &intent).await;
        append(&mut log, &a.intent()).await;
        assert!(try_append(&mut log, &intent).await.unwrap().existed);
        let early = a.draft_with(|common| common.number = 1, withdrawal(intent.id()));
        try_append(&mut log, &early).await.unwrap_err();
        log.get_checkpoint(v1::GetCheckpointRequest::default()).await.unwrap();
        let mut artifacts = server.artifacts().await;
        let piece = v1::PutArtifactRequest { chunk: Bytes::from_static(b"seven b") };
        let put = artifacts.put_artifact(tokio_stream::once(piece)).await.unwrap().into_inner();
        let get = v1::GetArtifactRequest { digest: put.digest };
        let mut pieces = artifacts.get_artifact(get).await.unwrap().into_inner();
        while let Some(piece) = pieces.next().await {
            piece.unwrap();
        }
    });
    assert_eq!(server.get("/checkpoint").status, 200);
    assert_eq!(server.get("/tile/0/000.p/3").status, 200);
    let scraped = server.get("/metrics");
    let text = scraped.text();
    parse(text);
    for (series, expected) in [
        ("countersign_checkpoint_size", 3.0),
        ("countersign_serving", 1.0),
        ("countersign_appends_total{result=\"committed\",reason=\"\"}", 3.0),
        ("countersign_appends_total{result=\"existed\",reason=\"\"}", 1.0),
        ("countersign_appends_total{result=\"refused\",reason=\"NUMBER_NOT_ABOVE\"}", 1.0),
        ("countersign_append_seconds_count", 5.0),
        ("countersign_batch_entries_sum", 3.0),
        ("countersign_commit_seconds_count", 3.0),
        ("countersign_queue_entries", 0.0),
        ("countersign_calls_total{method=\"Append\",code=\"OK\"}", 4.0),
        ("countersign_calls_total{method=\"Append\",code=\"ABORTED\"}", 1.0),
        ("countersign_reads_total{interface=\"grpc\",what=\"checkpoint\"}", 1.0),
        ("countersign_reads_total{interface=\"grpc\",what=\"artifact\"}", 1.0),
        ("countersign_reads_total{interface=\"http\",what=\"checkpoint\"}", 1.0),
        ("countersign_reads_total{interface=\"http\",what=\"tile\"}", 1.0),
        ("countersign_artifact_bytes_total{direction=\"in\"}", 7.0),
        ("countersign_artifact_bytes_total{direction=\"out\"}", 7.0),
        ("countersign_artifact_unnamed_bytes", 7.0),
        ("countersign_writer_fatal_total{cause=\"storage\"}", 0.0),
    ] {
        assert_eq!(value(text, series), expected, "{series}");
    }
    assert!(value(text, "countersign_checkpoint_age_seconds") < 600.0);
    server.stop();
}

/// Words of a PromQL expression that name a metric of ours or a label.
fn names(expression: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let metrics = expression.split(|c| !is_word(c)).filter(|w| w.starts_with("countersign_"));
    let metrics = metrics.map(str::to_owned).collect();
    // In braces as `label="…"` or `label=~"…"`; after `by` and `without` in parentheses.
    let mut labels = BTreeSet::new();
    for braced in expression.split('{').skip(1) {
        let braced = braced.split('}').next().unwrap();
        for (at, _) in braced.match_indices('"').step_by(2) {
            let before = braced[..at].trim_end_matches(['=', '~', '!']);
            labels.insert(before.rsplit(|c| !is_word(c)).next().unwrap().to_owned());
        }
    }
    for grouping in ["by (", "without ("] {
        for rest in expression.split(grouping).skip(1) {
            let list = rest.split(')').next().unwrap();
            labels.extend(list.split(',').map(|label| label.trim().to_owned()));
        }
    }
    (metrics, labels)
}

/// Labels that Prometheus itself adds.
const SCRAPED: [&str; 3] = ["job", "instance", "le"];

fn check_expression(place: &str, expression: &str, samples: &BTreeMap<String, BTreeSet<String>>) {
    let (metrics, labels) = names(expression);
    assert!(!metrics.is_empty(), "{place} looks at nothing of ours: {expression}");
    let mut known: BTreeSet<&str> = SCRAPED.into();
    for metric in &metrics {
        let found = samples.get(metric);
        let found = found.unwrap_or_else(|| panic!("{place}: {metric} is not in /metrics"));
        known.extend(found.iter().map(String::as_str));
    }
    for label in &labels {
        assert!(known.contains(label.as_str()), "{place}: no label {label} in {expression}");
    }
}

/// All values under this key, wherever they stand.
fn all<'a>(value: &'a serde_json::Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, inner) in members {
                if let (true, Some(text)) = (name == key, inner.as_str()) {
                    found.push(text);
                }
                all(inner, key, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|inner| all(inner, key, found)),
        _ => {}
    }
}

#[test]
fn alerts_and_dashboard_name_metrics_and_labels_that_exist() {
    let samples = samples(&fresh());
    let dashboard = include_str!("../../deploy/grafana/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let mut expressions = Vec::new();
    all(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 20, "{}", expressions.len());
    for expression in expressions {
        check_expression("dashboard.json", expression, &samples);
    }
    let (mut alerts, mut lines) = (0, include_str!("../../deploy/prometheus/alerts.yaml").lines());
    while let Some(line) = lines.next() {
        let Some(expression) = line.trim().strip_prefix("expr: ") else { continue };
        let mut expression = expression.to_owned();
        if expression == ">-" {
            // A folded text: the lines that are indented further.
            let indented = lines.by_ref().take_while(|line| line.starts_with("          "));
            expression = indented.map(str::trim).collect::<Vec<_>>().join(" ");
        }
        check_expression("alerts.yaml", &expression, &samples);
        alerts += 1;
    }
    assert!(alerts > 10, "{alerts}");
}

#[test]
fn a_name_that_does_not_exist_is_found_in_an_expression() {
    let (metrics, labels) =
        names("sum without (cause) (increase(countersign_x_total{a!=\"b\"}[1h]))");
    assert_eq!(metrics, BTreeSet::from(["countersign_x_total".to_owned()]));
    assert_eq!(labels, BTreeSet::from(["a".to_owned(), "cause".to_owned()]));
}

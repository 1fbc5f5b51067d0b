//! `countersign bench`: what it says, not how fast anything is.

use json::Value;

use crate::support::{World, list, number, text};

/// What each part measures, and a figure that every line of it has.
const PARTS: [(&str, &str, usize); 9] = [
    ("record", "bound_us_per_item", 1),
    ("append", "bound_per_second", 2),
    ("proofs", "bound_us", 2),
    ("verify", "bound_ms", 1),
    ("import", "bound_seconds", 3),
    ("memory", "entries", 5),
    ("witness", "bound_per_second", 2),
    ("monitor", "bound_us", 2),
    ("witnessed", "bound_ms", 1),
];

fn figure(line: &Value, name: &str) -> f64 {
    let value = line.get(name).and_then(Value::as_number).map(json::Number::as_f64);
    value.unwrap_or_else(|| panic!("no {name} in {}", line.to_text()))
}

#[test]
fn every_part_is_measured_beside_a_bound_and_nothing_is_left_behind() {
    let world = World::new();
    let said = world.run(["bench", "--tiny", "--in-flight", "2", "--dir", "scratch"]).good();
    let results = said.get("results").unwrap();
    for (part, bound, lines) in PARTS {
        let found = list(results, part);
        assert_eq!(found.len(), lines, "{part}");
        for line in found {
            assert!(figure(line, bound) >= 0.0, "{part}: {}", line.to_text());
            if part != "memory" {
                let ratio = figure(line, "ratio");
                assert!(ratio > 0.0 && ratio.is_finite(), "{part}: {}", line.to_text());
            }
        }
    }
    let ways: Vec<&str> = list(results, "append").iter().map(|l| text(l, "through")).collect();
    assert_eq!(ways, ["process", "gRPC"]);
    assert!(list(results, "append").iter().all(|line| number(line, "in_flight") == 2));
    assert!(list(results, "import").iter().all(|line| number(line, "items") == 20));
    assert_eq!(said.get("quick").and_then(Value::as_bool), Some(true));
    assert_eq!(world.path("scratch").read_dir().unwrap().count(), 0, "scratch is left");
}

#[test]
fn one_part_is_measured_alone() {
    let world = World::new();
    let said = world.run(["bench", "proofs", "--tiny"]).good();
    let names: Vec<&str> =
        said.get("results").unwrap().as_object().unwrap().iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["proofs"]);
    let plain = world.run_plain(["bench", "proofs", "--tiny"]);
    plain.exits(0).says(&["inclusion", "consistency", "docs/performance.md"]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let world = World::new();
    world.run(["bench", "everything"]).exits(2).says(&["everything"]);
    world.run(["bench", "append", "--in-flight", "0"]).exits(2).says(&["--in-flight"]);
    world.run(["bench", "append", "--in-flight", "4096"]).exits(2).says(&["2048"]);
    world.run(["bench", "--tiny", "--quick"]).exits(2).says(&["--quick"]);
    world.write("file", b"");
    let failed = world.run(["bench", "append", "--tiny", "--dir", "file"]);
    failed.exits(2).says(&["file: ", "--dir"]);
}

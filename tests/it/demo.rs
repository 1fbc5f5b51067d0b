//! The demo, as a newcomer runs it.

use std::fs;
use std::process::Command;

#[test]
fn the_demo_ends_well_and_the_server_kept_no_text_of_the_logs() {
    let folder = tempfile::tempdir().unwrap();
    let stage = folder.path().join("demo");
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["--json", "demo", "--folder"])
        .arg(&stage)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Every question of the benchmark, which both logs hold, against every byte of the server's.
    let items = include_str!("../evaldata/rivals/items.jsonl");
    let mut held = Vec::new();
    let mut folders = vec![stage.join("log")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { held.extend(fs::read(path).unwrap()) }
        }
    }
    assert!(held.len() > 10_000, "the server's folder holds {} bytes", held.len());
    for line in items.lines() {
        let row = json::parse(line.as_bytes(), json::Rules::LOG).unwrap();
        for name in ["id", "input"] {
            let text = row.get(name).and_then(json::Value::as_str).unwrap().as_bytes();
            let found = held.windows(text.len()).any(|window| window == text);
            assert!(!found, "{name} of {line}");
        }
    }
}

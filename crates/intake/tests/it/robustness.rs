//! Nothing that a file holds may panic, hang or take more memory than the limits say.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::OnceLock;

use intake::{Options, import, map_rows, rows_from_log};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::archive::{Log, Member};
use crate::fixtures::{bytes, folder};

/// One change of a file.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, u8),
    Copy(Index, Index, u8),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let piece = prop_oneof![
        Just(b"NaN".to_vec()),
        Just(b"null".to_vec()),
        Just(b"{".to_vec()),
        Just(b"\"id\":1,".to_vec()),
        Just(b"1e999".to_vec()),
        Just(b"-".to_vec()),
        Just(b"[[".to_vec()),
        Just(b"PK\x05\x06".to_vec()),
        Just(vec![0xff; 8]),
        proptest::collection::vec(any::<u8>(), 1..9),
    ];
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        (at(), piece).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (at(), 1..40_u8).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), at(), 1..100_u8).prop_map(|(from, to, length)| Change::Copy(from, to, length)),
        at().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Set(at, byte) => bytes[at.index(length)] = *byte,
        Change::Flip(at, mask) => bytes[at.index(length)] ^= mask,
        Change::Insert(at, piece) => {
            let at = at.index(length);
            bytes.splice(at..at, piece.iter().copied());
        }
        Change::Remove(at, count) => {
            let at = at.index(length);
            bytes.drain(at..(at + usize::from(*count)).min(length));
        }
        Change::Copy(from, to, count) => {
            let from = from.index(length);
            let piece = bytes[from..(from + usize::from(*count)).min(length)].to_vec();
            let to = to.index(length);
            bytes.splice(to..to, piece);
        }
        Change::Cut(at) => bytes.truncate(at.index(length)),
    }
}

fn exercise(bytes: &[u8], name: &str, folder: &BTreeMap<String, Vec<u8>>) {
    let options = Options { allow_superseded: true, ..Options::default() };
    let import = import(Cursor::new(bytes), name, folder, &options);
    assert!(import.exit() <= 2 && !import.outcomes.is_empty());
    let report = import.to_json().to_text();
    json::parse(report.as_bytes(), json::Rules::LOG).unwrap();
    for read in import.evaluations() {
        if let Ok(rows) = rows_from_log(read) {
            let _ = map_rows(read, &rows, 1, intake::MappingRule::default());
        }
    }
}

fn small_logs() -> &'static [Vec<u8>] {
    static LOGS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    LOGS.get_or_init(|| {
        let zstd = bytes(&crate::fixtures::only("inspect/includes_fatal_error", ".eval"));
        // Without packing, changes reach the JSON behind the CRC-32, see below.
        let repo = "real/inspect_ai-repo";
        let mut logs: Vec<Vec<u8>> =
            ["log_formats.eval", "log_formats.json", "log_tool_call_error.json"]
                .iter()
                .map(|name| bytes(&format!("{repo}/{name}")))
                .collect();
        logs.push(zstd);
        logs
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_read_or_refused(
        which in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..5),
    ) {
        let mut log = which.get(small_logs()).clone();
        changes.iter().for_each(|change| apply(&mut log, change));
        exercise(&log, "log.eval", &BTreeMap::new());
    }

    #[test]
    fn damaged_members_with_a_right_crc_are_read_or_refused(
        which in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        let mut log = Log::open(&small_logs()[0]);
        let at = which.index(log.members.len());
        let mut content = log.members[at].content();
        changes.iter().for_each(|change| apply(&mut content, change));
        let name = log.members[at].name().to_owned();
        log.members[at] = Member::stored(&name, &content);
        exercise(&log.bytes(), "log.eval", &BTreeMap::new());
    }

    #[test]
    fn damaged_frames_are_read_or_refused(
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        let mut log = Log::open(&small_logs()[3]);
        changes.iter().for_each(|change| apply(&mut log.members[1].packed, change));
        exercise(&log.bytes(), "log.eval", &BTreeMap::new());
    }

    #[test]
    fn damaged_folders_are_read_or_refused(
        helm in any::<bool>(),
        which in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        static FOLDERS: OnceLock<[BTreeMap<String, Vec<u8>>; 2]> = OnceLock::new();
        let folders = FOLDERS.get_or_init(|| {
            let helm = "real/every_eval_ever-repo/helm/\
                        mmlu-subject=philosophy,method=multiple_choice_joint,model=openai_gpt2";
            [folder("lm-eval/i82qcls7"), folder(helm)]
        });
        let mut files = folders[usize::from(helm)].clone();
        let main = if helm { "run_spec.json" } else { "results_2026-11-23T18-00-22.635069.json" };
        let names: Vec<String> = files.keys().cloned().collect();
        let damaged = files.get_mut(which.get(&names)).unwrap();
        changes.iter().for_each(|change| apply(damaged, change));
        exercise(&files[main].clone(), main, &files);
    }
}

#[test]
fn deep_and_wide_documents_are_refused() {
    for text in [
        "[".repeat(100_000),
        "{\"eval\":".repeat(100_000),
        format!("{{\"samples\":[{{\"events\":{}", "[".repeat(100_000)),
        format!("{{\"samples\":[{{\"metadata\":{}", "{\"a\":".repeat(100_000)),
    ] {
        let import = crate::fixtures::import_bytes(text.as_bytes());
        crate::fixtures::assert_refused(&import, intake::Code::ContainerLimit);
    }
}

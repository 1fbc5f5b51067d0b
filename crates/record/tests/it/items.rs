//! Items files: what is read, what is refused and where.

use proptest::prelude::*;
use record::items::{ItemKey, ItemsFile, ItemsFileError, ItemsLimit, MAX_ID, MAX_LINE};

fn refused(file: &[u8]) -> String {
    ItemsFile::parse(file).err().map_or_else(|| "accepted".to_owned(), |e| e.to_string())
}

#[test]
fn refuses_bad_files_by_line_and_member() {
    let long_id = format!("{{\"id\":\"{}\",\"input\":\"x\"}}", "i".repeat(MAX_ID + 1));
    let long_line = format!("{{\"id\":\"a\",\"input\":\"{}\"}}", "x".repeat(MAX_LINE));
    for (file, reason) in [
        ("", "an items file has at least one row"),
        ("\n", "an items file has at least one row"),
        ("\n\n", "line 1: is empty"),
        ("{\"id\":\"a\",\"input\":\"x\"}\n\n", "line 2: is empty"),
        ("{\"id\":\"a\",\"input\":\"x\"}\n\n{\"id\":\"b\",\"input\":\"x\"}", "line 2: is empty"),
        ("  \n", "line 1: not JSON: the document ends too early"),
        ("[]", "line 1: must be an object"),
        ("{\"id\":\"a\"}", "line 1 /input: is missing"),
        ("{\"input\":\"x\"}", "line 1 /id: is missing"),
        ("{\"id\":7,\"input\":\"x\"}", "line 1 /id: must be a string"),
        ("{\"id\":\"a\",\"input\":7}", "line 1 /input: must be a string"),
        ("{\"id\":\"a\",\"input\":\"x\",\"target\":null}", "line 1 /target: not allowed"),
        ("{\"id\":\"a\",\"input\":\"x\",\"target\":[]}", "line 1 /target: more than 1 levels"),
        ("{\"id\":\"a\",\"input\":\"x\",\"target\":1.5}", "line 1 /target: not allowed"),
        ("{\"id\":\"a\",\"input\":\"x\",\"choices\":\"x\"}", "line 1 /choices: is not a member"),
        ("{\"id\":\"a\",\"input\":\"x\",\"id\":\"b\"}", "line 1: the member \"id\" stands twice"),
        ("{\"id\":\"a\",\"input\":\"x\"}{}", "line 1: not JSON: text after the end"),
        ("{\"id\":\"a\",\"input\":\"\\ud800\"}", "line 1 /input: not valid Unicode"),
        ("\u{feff}{\"id\":\"a\",\"input\":\"x\"}", "line 1: not valid Unicode"),
        (
            "{\"id\":\"a\",\"input\":\"x\"}\n{\"id\":\"b\",\"input\":\"x\"}\n{\"id\":\"a\",\"input\":\"y\"}",
            "line 3 /id: is also the id of line 1",
        ),
        (&long_id, "line 1 /id: must be at most 1024 bytes"),
        (&long_line, "line 1: must be at most 1048576 bytes"),
    ] {
        let found = refused(file.as_bytes());
        let shown = file.get(..80).unwrap_or(file);
        assert!(found.starts_with(reason), "{shown}: {found}");
    }
    assert!(refused(b"{\"id\":\"a\",\"input\":\"\xff\"}").starts_with("line 1 /input: not valid"));
}

#[test]
fn errors_do_not_quote_the_items() {
    let file =
        "{\"id\":\"secret-id\",\"input\":\"secret\"}\n{\"id\":\"secret-id\",\"input\":\"secret\"}";
    assert!(!refused(file.as_bytes()).contains("secret"));
    let parsed = ItemsFile::parse(b"{\"id\":\"secret\",\"input\":\"secret\"}").unwrap();
    assert!(
        !format!("{parsed:?}{:?}{:?}", parsed.rows(), parsed.rows()[0].content())
            .contains("secret")
    );
    assert!(!format!("{:?}", ItemKey::new([7; 32])).contains('7'));
}

#[test]
fn takes_lines_of_exactly_the_limits() {
    let around = "{\"id\":\"a\",\"input\":\"\"}".len();
    let line = format!("{{\"id\":\"a\",\"input\":\"{}\"}}\n", "x".repeat(MAX_LINE - around));
    assert_eq!(line.len(), MAX_LINE + 1);
    ItemsFile::parse(line.as_bytes()).unwrap();
    let id = format!("{{\"id\":\"{}\",\"input\":\"\"}}", "é".repeat(MAX_ID / 2));
    ItemsFile::parse(id.as_bytes()).unwrap();
}

#[test]
fn white_space_within_a_line_and_a_missing_last_line_end_change_nothing() {
    let plain =
        ItemsFile::parse(b"{\"id\":\"a\",\"input\":\"x\"}\n{\"id\":\"b\",\"input\":\"y\"}\n");
    let spaced = ItemsFile::parse(
        b" { \"input\" : \"x\", \"id\":\"a\" }\r\n{\"id\":\"b\",\"input\":\"\\u0079\"}",
    );
    assert!(plain.unwrap() == spaced.unwrap());
}

#[test]
fn occurrence_counts_earlier_rows_of_equal_input_and_target() {
    let file = ItemsFile::parse(
        concat!(
            "{\"id\":\"1\",\"input\":\"x\",\"target\":\"\"}\n",
            "{\"id\":\"2\",\"input\":\"x\"}\n",
            "{\"id\":\"3\",\"input\":\"x\",\"target\":\"\"}\n",
            "{\"id\":\"4\",\"input\":\"x\"}\n",
            "{\"id\":\"5\",\"input\":\"\",\"target\":\"x\"}\n",
            "{\"id\":\"6\",\"input\":\"x\"}\n",
            "{\"id\":\"7\",\"input\":\"e\\u0301\"}\n",
            "{\"id\":\"8\",\"input\":\"\\u00e9\"}\n",
        )
        .as_bytes(),
    )
    .unwrap();
    let occurrences: Vec<u64> = file.rows().iter().map(|r| r.content().occurrence()).collect();
    assert_eq!(occurrences, [0, 0, 1, 1, 0, 2, 0, 0]);
    let key = ItemKey::new([9; 32]);
    let mut tags: Vec<_> = file.rows().iter().map(|row| key.tag(row.content())).collect();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 8);
}

#[test]
fn tags_do_not_depend_on_ids_and_do_on_the_key() {
    let one = ItemsFile::parse(b"{\"id\":\"a\",\"input\":\"x\"}").unwrap();
    let two = ItemsFile::parse(b"{\"id\":\"b\",\"input\":\"x\"}").unwrap();
    let root = |file: &ItemsFile, key| file.agree(&ItemKey::new([key; 32]), 1).unwrap().root();
    assert_eq!(root(&one, 1), root(&two, 1));
    assert_ne!(root(&one, 1), root(&one, 2));
}

#[test]
fn items_are_ordered_by_tag_then_epoch_and_limited() {
    let rows = (0..300).map(|i| (format!("id-{i}"), format!("question {i}"), None));
    let file = ItemsFile::from_rows(rows).unwrap();
    let key = ItemKey::new([3; 32]);
    let items = file.agree(&key, 3).unwrap();
    assert_eq!(items.count(), 900);
    assert!(items.items().is_sorted_by_key(|item| (item.tag, item.epoch)));
    for item in items.items() {
        assert_eq!(item.tag, key.tag(file.rows()[item.row].content()));
        assert!((1..=3).contains(&item.epoch));
    }
    assert_eq!(file.agree(&key, 0), Err(ItemsLimit { rows: 300, epochs: 0 }));
    assert_eq!(file.agree(&key, 3_496), Err(ItemsLimit { rows: 300, epochs: 3_496 }));
    assert_eq!(file.agree(&key, u64::MAX), Err(ItemsLimit { rows: 300, epochs: u64::MAX }));
}

#[test]
fn rows_of_a_log_are_held_to_the_limits_of_a_file() {
    let row = |id: &str, input: &str| (id.to_owned(), input.to_owned(), None);
    let long = "x".repeat(MAX_LINE);
    for (rows, reason) in [
        (vec![], "an items file has at least one row"),
        (vec![row("a", "x"), row("a", "y")], "line 2 /id: is also the id of line 1"),
        (vec![row(&"i".repeat(MAX_ID + 1), "x")], "line 1 /id: must be at most"),
        (vec![row("a", &long)], "line 1: must be at most"),
    ] {
        let error = ItemsFile::from_rows(rows).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.starts_with(reason), "{error}");
    }
    let many = (0..=1_u64 << 20).map(|i| (i.to_string(), String::new(), None));
    assert!(ItemsFile::from_rows(many).err() == Some(ItemsFileError::TooManyRows));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_files_read_back(rows in prop::collection::vec(
        ("[a-c]{0,2}|\\PC{0,8}", prop::option::of(any::<String>())), 1..12)
    ) {
        let rows = rows.into_iter().enumerate()
            .map(|(i, (input, target))| (format!("{i}\u{2028}"), input, target));
        let file = ItemsFile::from_rows(rows).unwrap();
        let again = ItemsFile::parse(file.to_jsonl().as_bytes()).unwrap();
        prop_assert!(again == file);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = ItemsFile::parse(&bytes);
    }
}

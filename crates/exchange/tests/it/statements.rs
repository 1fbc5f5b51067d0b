//! Values of statements: each rule has an input that breaks it.

use exchange::predicate::{Millionths, stamp_message};
use exchange::{
    Code, ColumnName, Field, Kind, Predicate, Reason, SUBJECTS, Statement, StatementId, Subject,
    Timestamp, Word,
};
use proptest::prelude::*;
use tlog::KeyName;

use crate::vectors::Vectors;

/// Payloads of the vectors with a text replaced, and where the refusal points.
#[test]
fn refuses_values_that_break_a_rule() {
    let hex = |digit: &str| digit.repeat(64);
    let cases: &[(usize, &str, &str, &str)] = &[
        (0, "Statement/v1", "Statement/v2", "/_type"),
        (0, r#""origin":"log.example/one""#, r#""origin":"log example""#, "/predicate/origin"),
        (0, r#""origin":"log.example/one""#, r#""origin":"a+b""#, "/predicate/origin"),
        (0, r#""number":1,"#, r#""number":0,"#, "/predicate/number"),
        (0, r#""number":1,"#, r#""number":-1,"#, "/predicate/number"),
        (0, r#""number":1,"#, r#""number":9007199254740992,"#, "/predicate/number"),
        (0, r#""size":0,"#, r#""size":0,"x":1,"#, "/predicate/seen/x"),
        (0, r#""size":0"#, r#""size":1e0"#, "/predicate/seen/size"),
        (0, "register", "enter", "/predicate/action"),
        (0, r#""name":"lab-a.example""#, r#""name":"lab-b.example""#, "/predicate/name"),
        (0, r#""suite":1"#, r#""suite":3"#, "/predicate/sealing/suite"),
        (0, r#""suite":1"#, r#""suite":2"#, "/predicate/sealing/key"),
        (0, r#""register""#, r#""rotate""#, "/predicate/possession"),
        (0, r#""register""#, r#""revoke""#, "/predicate/name"),
        (
            0,
            "7ab675d143eab50915a7f7a9280ddfb9f075369ee24cfbbf1c81d18323e86e9d",
            "4920cf1307aa9bcc3eb450fe4dbcde68cd5a0550cbf9d84824a5fd89da103252",
            "/predicate/recovery",
        ),
        (16, r#"log.example/one\n16\n"#, r#"log.example/one\n016\n"#, "/predicate/checkpoint"),
        (16, r#"\n\n\u2014"#, r#"\n\u2014"#, "/predicate/checkpoint"),
        (5, r#""accepts""#, r#""accept""#, "/predicate/accepts"),
        (
            6,
            r#""accept_by":"2026-03-03T09"#,
            r#""accept_by":"2026-02-30T09"#,
            "/predicate/accept_by",
        ),
        (6, r#""schedule""#, r#""waives":["commit:x"],"schedule""#, "/predicate/accept_by"),
        (14, r#""run":1"#, r#""run":0"#, "/predicate/run"),
        (9, "infrastructure", "bad luck", "/predicate/code"),
        (
            11,
            r#""started":"2026-03-02T11:00:00Z""#,
            r#""started":"2026-03-02T11:00:01Z""#,
            "/predicate/started",
        ),
        (
            11,
            r#""ended":"2026-03-02T12:00:00Z""#,
            r#""ended":"2026-03-02T12:30:00Z""#,
            "/predicate/ended",
        ),
        (11, r#""items":4"#, r#""items":0"#, "/predicate/items"),
        (11, r#""items":4"#, r#""items":1048577"#, "/predicate/items"),
        (11, r#""inspect_ai""#, r#""Inspect""#, "/predicate/harness/name"),
        (11, r#"["tag","epoch","#, r#"["epoch","tag","#, "/predicate/fields"),
        (11, r#","score:grade"]"#, "]", "/predicate/fields"),
        (11, r#","score:grade"]"#, r#","score:other"]"#, "/predicate/fields"),
        (11, r#","score:grade"]"#, r#","score:accuracy"]"#, "/predicate/fields/9"),
        (11, r#"{"name":"grade","max":2"#, r#"{"name":"accuracy","max":2"#, "/predicate/columns/1"),
        (
            11,
            r#"{"name":"grade","max":2"#,
            r#"{"name":" grade","max":2"#,
            "/predicate/columns/1/name",
        ),
        (11, r#""max":2"#, r#""max":0"#, "/predicate/columns/1/max"),
        (
            11,
            r#""raw_max":1,"better":"higher","total":"98"#,
            r#""raw_max":0,"better":"higher","total":"98"#,
            "/predicate/columns/1/raw_max",
        ),
        (
            11,
            r#""better":"higher","total":"98"#,
            r#""better":"best","total":"98"#,
            "/predicate/columns/1/better",
        ),
        (11, r#"{"name":"model""#, r#"{"name":"source""#, "/predicate/subjects/0/name"),
        (11, r#""opened":[]"#, r#""opened":[],"final":false"#, "/predicate/final"),
        (
            11,
            r#""opened":[]"#,
            r#""opened":[{"name":"tag","value":"1","salt":"SALT"}]"#,
            "/predicate/opened/0/name",
        ),
        (
            11,
            r#""opened":[]"#,
            r#""opened":[{"name":"count:scored","value":"04","salt":"SALT"}]"#,
            "/predicate/opened/0/value",
        ),
        (
            11,
            r#""opened":[]"#,
            r#""opened":[{"name":"count:scored","value":"4","salt":"SALT"},{"name":"count:scored","value":"3","salt":"SALT"}]"#,
            "/predicate/opened/1",
        ),
        (17, r#""padded":4096"#, r#""padded":4095"#, "/predicate/envelope/padded"),
        (17, r#""padded":4096"#, r#""padded":512"#, "/predicate/envelope/padded"),
        (17, r#""padded":4096"#, r#""padded":1572864"#, "/predicate/envelope/padded"),
        (17, r#""padded":4096"#, r#""padded":69206016"#, "/predicate/envelope/padded"),
        (
            17,
            r#""key":"6ca944834b6d3e90""#,
            r#""key":"6ca944834b6d3e9""#,
            "/predicate/envelope/key",
        ),
        (17, r#""rule":"r1""#, r#""rule":"R1""#, "/predicate/rule"),
        (17, r#""rule":"r1""#, r#""rule":"""#, "/predicate/rule"),
        (17, r#""envelope":{"#, r#""open":{"totals":[],"subjects":[]},"envelope":{"#, "/predicate"),
        (17, r#""items_proofs":["#, r#""items_proofs":[],"x":["#, "/predicate/items_proofs"),
        (19, r#""at_least""#, r#""at_most""#, "/predicate/scored"),
        (19, r#""at_least""#, r#""between""#, "/predicate/p"),
        (19, r#""at_least""#, r#""equal""#, "/predicate/records"),
        (19, r#""q":1"#, r#""q":1,"p":0"#, "/predicate/p"),
        (19, r#""proof":"#, r#""scored":[],"proof":"#, "/predicate/scored"),
        (21, r#""d":4"#, r#""d":-4"#, "/predicate/d"),
        (21, r#""value":"2""#, r#""value":"2.0""#, "/predicate/scored/0/value"),
        (20, "unspecified", "cannot", "/predicate/code"),
        (26, r#""attempt":1"#, r#""attempt":0"#, "/predicate/audit/attempt"),
        (26, r#""attempt":1"#, r#""attempt":1001"#, "/predicate/audit/attempt"),
        (26, r#""step":"commit""#, r#""step":"open""#, "/predicate/coin"),
        (29, r#""step":"open""#, r#""step":"open","sample":2"#, "/predicate/sample"),
        (30, r#","sample":2"#, "", "/predicate/sample"),
        (30, r#""sample":2"#, r#""sample":2049"#, "/predicate/sample"),
        (31, r#""sample":2"#, r#""sample":0"#, "/predicate/sample"),
        (
            31,
            r#"["output","score:accuracy","status"]"#,
            r#"["status","output"]"#,
            "/predicate/fields",
        ),
        (31, r#"["output","score:accuracy","status"]"#, "[]", "/predicate/fields"),
        (31, r#"["output","#, r#"["epoch","output","#, "/predicate/fields/0"),
        (31, r#"["output","#, r#"["output","output","#, "/predicate/fields/1"),
        (31, r#"["output","#, r#"["prompt","#, "/predicate/fields/0"),
        (31, r#""sample":2"#, r#""sample":2,"items":[[0,1]]"#, "/predicate"),
        (22, "unopenable", "score", "/predicate/envelope"),
        (22, "unopenable", "wrong", "/predicate/code"),
        (32, r#""id":"auditor.example""#, r#""id":"lab-a.example""#, "/predicate/verifier/id"),
        (32, r#""p":"0.897103""#, r#""p":"0.8971030""#, "/predicate/p"),
        (32, r#""p":"0.897103""#, r#""p":".897103""#, "/predicate/p"),
        (32, r#""p":"0.897103""#, r#""p":"1.000001""#, "/predicate/p"),
        (32, "not_confirmed", "unclear", "/predicate/result"),
        (32, "TAGS_MATCH_ITEMS_ROOT", "tags match", "/predicate/properties/1"),
        (32, "TAGS_MATCH_ITEMS_ROOT", "OPENING_MATCHES_RECORD", "/predicate/properties/1"),
        (24, r#""kind":"dispute""#, r#""kind":"summary""#, "/predicate/result"),
        (24, r#""result":"resolved""#, r#""result":"as_agreed""#, "/predicate/result"),
    ];
    let vectors = Vectors::read();
    for (index, from, to, pointer) in cases {
        let payload = vectors.entries()[*index].text("payload");
        // The vectors spell the dash of a note as it is; raw strings above cannot.
        let (from, to) = (from.replace(r"\u2014", "\u{2014}"), to.replace(r"\u2014", "\u{2014}"));
        assert!(payload.contains(&from), "{index}: {from}");
        let changed = payload.replacen(&from, &to.replace("SALT", &hex("a")), 1);
        let refusal = Statement::parse(changed.as_bytes()).expect_err(&to);
        assert_eq!(refusal.reason(), Reason::BadField, "{index} {to}: {refusal}");
        assert_eq!(refusal.pointer(), Some(*pointer), "{index} {to}: {refusal}");
    }
}

#[test]
fn opened_counts_add_up() {
    let payload = Vectors::read().entries()[15].text("payload").to_owned();
    let with_scored = |scored: u64| {
        let counts: Vec<String> = SUBJECTS
            .iter()
            .filter(|name| name.starts_with("count:"))
            .map(|name| {
                let value = if *name == "count:scored" { scored } else { 0 };
                let salt = "0".repeat(64);
                format!(r#"{{"name":"{name}","value":"{value}","salt":"{salt}"}}"#)
            })
            .collect();
        let opened = format!(r#""opened":[{}]"#, counts.join(","));
        Statement::parse(payload.replacen(r#""opened":[]"#, &opened, 1).as_bytes())
    };
    assert!(with_scored(4).is_ok());
    let refusal = with_scored(3).unwrap_err();
    assert_eq!(refusal.pointer(), Some("/predicate/opened"), "{refusal}");
}

#[test]
fn ranges_of_items_ascend_apart() {
    let payload = Vectors::read().entries()[31].text("payload").to_owned();
    let start = payload.find(r#""audit":"#).unwrap();
    let end = payload.find(r#""fields":"#).unwrap();
    let parse = |items: &str| {
        let text = format!("{}\"items\":{items},{}", &payload[..start], &payload[end..]);
        Statement::parse(text.as_bytes())
    };
    for good in ["[[0,0]]", "[[0,1],[3,3]]", "[[5,1048575]]"] {
        let statement = parse(good).expect(good);
        assert_eq!(Statement::parse(&statement.to_payload()), Ok(statement));
    }
    for bad in [
        "[]",
        "[[1,0]]",
        "[[0,1],[2,3]]",
        "[[0,2],[2,3]]",
        "[[3,3],[0,1]]",
        "[[0]]",
        "[[0,1,2]]",
        "[[0,1048576]]",
        "[0,1]",
        "[[0,0],[0,0]]",
    ] {
        assert_eq!(parse(bad).expect_err(bad).reason(), Reason::BadField);
    }
}

#[test]
fn refuses_subjects_that_do_not_follow_from_the_predicate() {
    let vectors = Vectors::read();
    for entry in vectors.entries() {
        let payload = entry.text("payload");
        let start = payload.find(r#""subject":["#).unwrap();
        let end = payload.find(r#","predicateType""#).unwrap();
        let subject = &payload[start + 10..end];
        let digest = &subject[subject.find("sha256").unwrap() + 9..][..64];
        let subjects = [
            "[]".to_owned(),
            "{}".to_owned(),
            subject.replacen(r#"{"name":""#, r#"{"name":"x"#, 1),
            subject.replacen("sha256", "sha512", 1),
            subject.replacen("]", r#",{"name":"x","digest":{"sha256":"00"}}]"#, 1),
            subject.replacen(digest, &digest.replace(['0', '1', '2'], "f"), 1),
        ];
        for (i, subject) in subjects.iter().enumerate() {
            let text = format!("{}{subject}{}", &payload[..start + 10], &payload[end..]);
            let parsed = Statement::parse(text.as_bytes());
            let is_settled_later =
                entry.text("kind") == "outcome" && payload.contains(r#""kind":"dispute""#);
            if i == 5 && is_settled_later {
                // Which statement a dispute is about is known where the dispute is.
                parsed.unwrap();
                continue;
            }
            let refusal = parsed.expect_err(subject);
            assert_eq!(refusal.reason(), Reason::BadSubject, "{subject}: {refusal}");
        }
    }
}

#[test]
fn what_is_no_json_is_told_from_what_is_no_statement() {
    let reason = |payload: &[u8]| Statement::parse(payload).unwrap_err().reason();
    assert_eq!(reason(b""), Reason::BadJson);
    assert_eq!(reason(b"{"), Reason::BadJson);
    assert_eq!(reason(b"{\"a\":\"\xff\"}"), Reason::BadJson);
    assert_eq!(reason(br#"{"a":"\ud800"}"#), Reason::BadJson);
    assert_eq!(reason(b"{} {}"), Reason::BadJson);
    assert_eq!(reason(b"[]"), Reason::BadField);
    assert_eq!(reason(b"{}"), Reason::BadField);
    assert_eq!(
        reason(format!("{}{}", "[".repeat(17), "]".repeat(17)).as_bytes()),
        Reason::BadField
    );
    let payload = Vectors::read().entries()[0].text("payload").to_owned();
    for urn in ["urn:countersign:party:v2", "urn:countersign:vote:v1", "party", ""] {
        let text = payload.replacen("urn:countersign:party:v1", urn, 1);
        assert_eq!(reason(text.as_bytes()), Reason::UnknownPredicate, "{urn}");
    }
}

/// No vector has a stamp, so one is written here.
#[test]
fn reads_and_writes_stamps() {
    let id = "ab".repeat(32);
    let signature = format!("{}==", "A".repeat(86));
    let root = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let stamp =
        format!(r#"{{"keyid":"clock.example+c894d881","time":1772355600,"sig":"{signature}"}}"#);
    let payload = |stamps: &str| {
        format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"stamped","digest":{{"sha256":"{id}"}}}}],"predicateType":"urn:countersign:stamp:v1","predicate":{{"origin":"log.example/one","signer":"lab-a.example","number":9,"previous":"{id}","seen":{{"size":0,"root":"{root}"}},"statement":"{id}","stamps":{stamps}}}}}"#
        )
    };
    let text = payload(&format!("[{stamp}]"));
    let statement = Statement::parse(text.as_bytes()).unwrap();
    assert_eq!(statement.kind(), Kind::Stamp);
    assert_eq!(String::from_utf8(statement.to_payload()).unwrap(), text);
    let Predicate::Stamp(stamped) = statement.predicate() else { panic!("a stamp") };
    let origin = KeyName::parse("log.example/one").unwrap();
    let message = stamp_message(&origin, &stamped.statement, stamped.stamps[0].time);
    let expected = [
        b"countersign.v1/stamp\0\0\x0flog.example/one".as_slice(),
        &[0xab; 32],
        &1_772_355_600_u64.to_be_bytes(),
    ];
    assert_eq!(message, expected.concat());

    let many = vec![stamp.as_str(); 65].join(",");
    for (stamps, pointer) in [
        ("[]".to_owned(), "/predicate/stamps"),
        (format!("[{stamp},{stamp}]"), "/predicate/stamps/1"),
        (format!("[{many}]"), "/predicate/stamps"),
        (format!("[{}]", stamp.replace("==", "")), "/predicate/stamps/0/sig"),
        (format!("[{}]", stamp.replace("A==", "B==")), "/predicate/stamps/0/sig"),
        (format!("[{}]", stamp.replace("+c894d881", "")), "/predicate/stamps/0/keyid"),
    ] {
        let refusal = Statement::parse(payload(&stamps).as_bytes()).unwrap_err();
        assert_eq!(refusal.reason(), Reason::BadField);
        assert_eq!(refusal.pointer(), Some(pointer), "{refusal}");
    }
}

#[test]
fn texts_have_their_forms() {
    let long = "x".repeat(64);
    for word in ["a", "inspect_ai", "0.3-rc", &long] {
        assert_eq!(Word::parse(word).unwrap().as_str(), word);
    }
    for word in ["", "A", "a b", "ä", "a/b", &"x".repeat(65)] {
        assert!(Word::parse(word).is_err(), "{word}");
    }
    let long = "x".repeat(128);
    for column in ["accuracy", "f1 score", "über", "a+b", &long] {
        assert_eq!(ColumnName::parse(column).unwrap().as_str(), column);
    }
    let hidden =
        ["", " a", "a ", "a\u{a0}", "a\tb", "a\u{7f}", "a\u{202e}b", "\u{2066}", "\u{200f}"];
    for column in hidden.into_iter().chain([&*"x".repeat(129)]) {
        assert!(ColumnName::parse(column).is_err(), "{column:?}");
    }
    for field in ["tag", "metadata", "score:a b"] {
        assert_eq!(Field::parse(field).unwrap().to_string(), field);
    }
    for field in ["", "Tag", "score", "score:", "score: a", "field:tag"] {
        assert!(Field::parse(field).is_err(), "{field}");
    }
    assert_eq!(Subject::all().map(Subject::as_str).collect::<Vec<_>>(), SUBJECTS);
    assert!(Subject::parse("count:").is_err());
    assert_eq!(Millionths::new(897_103).unwrap().to_string(), "0.897103");
    assert_eq!(Millionths::ONE.to_string(), "1.000000");
    assert_eq!(Millionths::new(1_000_001), None);
    assert_eq!(StatementId::from_hex(&"AB".repeat(32)).ok(), None);
}

#[test]
fn reasons_are_distinct_and_in_order() {
    let spellings: std::collections::BTreeSet<_> =
        Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(spellings.len(), Reason::ALL.len());
    assert!(Reason::ALL.is_sorted());
    assert!(spellings.iter().all(|s| s.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')));
    assert_eq!(Reason::BadField.code(), Code::InvalidArgument);
    assert_eq!(Reason::ALL.iter().filter(|reason| reason.is_local()).count(), 8);
}

#[test]
fn times_have_one_spelling() {
    for (text, unix) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T23:59:59Z", 951_868_799),
        ("2026-03-01T09:00:00Z", 1_772_355_600),
        ("2100-02-28T00:00:00Z", 4_107_456_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ] {
        assert_eq!(Timestamp::parse(text).unwrap().unix(), unix, "{text}");
        assert_eq!(Timestamp::from_unix(unix).unwrap().to_string(), text);
    }
    for text in [
        "",
        "2026-03-01",
        "2026-03-01T09:00:00",
        "2026-03-01t09:00:00Z",
        "2026-03-01 09:00:00Z",
        "2026-03-01T09:00:00z",
        "2026-03-01T09:00:00+00:00",
        "2026-03-01T09:00:00.0Z",
        "2026-3-01T09:00:00Z",
        "2026-00-01T09:00:00Z",
        "2026-13-01T09:00:00Z",
        "2026-02-29T09:00:00Z",
        "2100-02-29T09:00:00Z",
        "2026-04-31T09:00:00Z",
        "2026-03-00T09:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T09:60:00Z",
        "2026-03-01T09:00:60Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "+026-03-01T09:00:00Z",
        "２026-03-01T09:00Z",
        "20260-03-01T09:00:0Z",
    ] {
        assert!(Timestamp::parse(text).is_err(), "{text}");
    }
    assert!(Timestamp::from_unix(253_402_300_800).is_err());
}

/// Counts every day from 1970 on, one by one.
#[test]
fn dates_agree_with_a_calendar_that_counts_days() {
    let (mut year, mut month, mut day) = (1970, 1, 1);
    for days in 0..400 * 366_u64 {
        let expected = format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
        assert_eq!(Timestamp::from_unix(days * 86_400).unwrap().to_string(), expected);
        assert_eq!(Timestamp::parse(&expected).unwrap().unix(), days * 86_400);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, 28 + i32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        day += 1;
        if day > lengths[month - 1] {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
    }
}

proptest! {
    #[test]
    fn times_survive_writing_and_reading(unix in 0..=253_402_300_799_u64) {
        let time = Timestamp::from_unix(unix).unwrap();
        prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
    }

    #[test]
    fn parse_of_any_text_returns(text in "\\PC{0,24}") {
        let _ = Timestamp::parse(&text);
        let _ = Word::parse(&text);
        let _ = Statement::parse(text.as_bytes());
    }
}

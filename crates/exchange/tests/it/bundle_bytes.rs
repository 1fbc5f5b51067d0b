//! Bundles as bytes: the one spelling, strict parsing with pointers, and that no change of a byte
//! changes what a bundle says.

use std::sync::OnceLock;

use exchange::bundle::{Bundle, BundleError, MAX_BUNDLE, Verdict};
use json::{Problem, Rules, Value};
use proptest::prelude::*;

use crate::bundled::{Scene, pinned};

fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| String::from_utf8(Scene::honest().whole().to_bytes()).unwrap())
}

fn document() -> Value {
    json::parse(text().as_bytes(), Rules::SIGNED).unwrap()
}

/// Where the parser finds fault with a text.
fn pointer(text: &str) -> String {
    match Bundle::parse(text.as_bytes()).expect_err("must be refused") {
        BundleError::Field(error) => error.pointer,
        BundleError::Json(error) => match error.problem() {
            Problem::DuplicateKey(name) => format!("{}/{name}", error.pointer()),
            _ => error.pointer(),
        },
        BundleError::TooLong(_) => panic!("too long"),
    }
}

/// The value at a pointer, as text.
fn at(pointer: &str) -> String {
    let document = document();
    let value = pointer.split('/').skip(1).fold(&document, |value, name| match value.as_array() {
        Some(elements) => &elements[name.parse::<usize>().unwrap()],
        None => value.get(name).unwrap(),
    });
    value.to_text()
}

/// The bundle with other text in place of the value at a pointer.
fn with(pointer: &str, text: &str) -> String {
    fn write(value: &Value, at: &str, pointer: &str, text: &str) -> String {
        if at == pointer {
            return text.to_owned();
        }
        match value {
            Value::Object(object) => {
                let members = object.iter().map(|(name, value)| {
                    format!("{name:?}:{}", write(value, &format!("{at}/{name}"), pointer, text))
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Value::Array(elements) => {
                let elements = elements.iter().enumerate();
                let elements =
                    elements.map(|(i, value)| write(value, &format!("{at}/{i}"), pointer, text));
                format!("[{}]", elements.collect::<Vec<_>>().join(","))
            }
            other => other.to_text(),
        }
    }
    write(&document(), "", pointer, text)
}

#[test]
fn what_is_written_is_read_and_written_again_byte_for_byte() {
    for bundle in [Scene::honest().whole(), Scene::honest().bundle()] {
        let bytes = bundle.to_bytes();
        assert!(Bundle::is_likely(&bytes));
        let read = Bundle::parse(&bytes).unwrap();
        assert_eq!(read, bundle);
        assert_eq!(read.to_bytes(), bytes);
    }
    assert_eq!(with("/nowhere", ""), text(), "the tests below change nothing but what they say");
}

#[test]
fn every_object_has_exactly_its_members() {
    let members = [
        "format",
        "origin",
        "policy",
        "checkpoint",
        "leaves",
        "heads",
        "complete_from",
        "artifacts",
        "openings",
    ];
    for (object, names) in [
        ("", members.as_slice()),
        ("/leaves/1", &["index", "envelope", "proof"]),
        ("/heads/0", &["size", "proof"]),
    ] {
        let whole = at(object);
        let parsed = json::parse(whole.as_bytes(), Rules::SIGNED).unwrap();
        let found: Vec<&str> = parsed.as_object().unwrap().iter().map(|(name, _)| name).collect();
        assert_eq!(found, names);
        for name in names {
            let member = |name: &str| format!("{name:?}:{}", parsed.get(name).unwrap().to_text());
            let others: Vec<String> =
                names.iter().filter(|other| *other != name).map(|other| member(other)).collect();
            let (others, this) = (others.join(","), member(name));
            let expected = format!("{object}/{name}");
            let mut wrong = vec![format!("{{{others}}}"), format!("{{{others},{this},{this}}}")];
            for value in ["null", "1.5", "-0", "-1", "9007199254740992", "{}", "true"] {
                wrong.push(format!("{{{others},{name:?}:{value}}}"));
            }
            for wrong in wrong {
                assert_eq!(pointer(&with(object, &wrong)), expected, "{wrong:.80}");
            }
        }
        let more = format!("{},\"more\":1}}", whole.strip_suffix('}').unwrap());
        assert_eq!(pointer(&with(object, &more)), format!("{object}/more"));
        assert_eq!(pointer(&with(object, "7")), object);
    }
}

#[test]
fn lists_ascend() {
    for (list, place) in [("/leaves", "index"), ("/heads", "size")] {
        let (one, two) = (at(&format!("{list}/1")), at(&format!("{list}/2")));
        let expected = format!("{list}/2/{place}");
        let exchanged = with(list, &format!("[{},{two},{one}]", at(&format!("{list}/0"))));
        assert_eq!(pointer(&exchanged), expected);
        assert_eq!(pointer(&with(&format!("{list}/2"), &one)), expected, "repeated");
    }
    // SHA-256("a") = ca97…, SHA-256("b") = 3e23….
    Bundle::parse(with("/artifacts", "[\"Yg==\",\"YQ==\"]").as_bytes()).unwrap();
    for wrong in ["[\"YQ==\",\"Yg==\"]", "[\"Yg==\",\"Yg==\"]"] {
        assert_eq!(pointer(&with("/artifacts", wrong)), "/artifacts/1", "{wrong}");
    }
}

#[test]
fn base64_has_one_spelling() {
    let (mut cases, mut slack) = (0, 0);
    for place in
        ["/leaves/3/envelope", "/leaves/3/proof", "/heads/3/proof", "/artifacts/0", "/openings/0"]
    {
        let whole = at(place);
        let good = whole.trim_matches('"');
        let unpadded = good.trim_end_matches('=');
        let (last, padding) = (unpadded.len() - 1, &good[unpadded.len()..]);
        let mut wrong = vec![
            format!("{good}\\n"),
            format!("{good}===="),
            format!("{unpadded}{padding}="),
            good[..good.len() - 1].to_owned(),
            format!("_{}", &good[1..]),
            format!(" {}", &good[1..]),
        ];
        if !padding.is_empty() {
            wrong.push(unpadded.to_owned());
            // The last character has bits that mean nothing and are zeros, so this one sets one.
            let next = char::from(unpadded.as_bytes()[last] + 1);
            wrong.push(format!("{}{next}{padding}", &unpadded[..last]));
            slack += 1;
        }
        for wrong in wrong {
            assert_eq!(pointer(&with(place, &format!("\"{wrong}\""))), place, "{wrong:.60}");
            cases += 1;
        }
    }
    assert!(cases >= 30 && slack >= 2, "{cases} cases, {slack} with slack bits");
    // Three bytes are no hashes.
    for place in ["/leaves/3/proof", "/heads/3/proof"] {
        assert_eq!(pointer(&with(place, "\"YWJj\"")), place);
    }
}

#[test]
fn format_and_origin_are_checked() {
    for wrong in ["countersign/bundle/v2", "countersign/bundle/v1 ", ""] {
        assert_eq!(pointer(&with("/format", &format!("{wrong:?}"))), "/format");
    }
    for wrong in ["", "a+b", "a b", "a\\u202eb"] {
        assert_eq!(pointer(&with("/origin", &format!("\"{wrong}\""))), "/origin");
    }
}

#[test]
fn what_is_beyond_a_limit_is_refused_and_what_is_at_it_is_read() {
    let text = |length: usize| format!("\"{}\"", "A".repeat(length));
    let list = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
    // 64 hashes take as many base64 characters as 63 and some padding would.
    let hashes = |count: usize| text((count * 32).div_ceil(3) * 4);
    for (place, good, bad) in [
        ("/policy", text(16 << 10), text((16 << 10) + 1)),
        ("/checkpoint", text(tlog::MAX_NOTE), text(tlog::MAX_NOTE + 1)),
        ("/leaves/4/envelope", text(65_535 / 3 * 4), text(65_535 / 3 * 4 + 4)),
        ("/leaves/4/proof", hashes(63), hashes(66)),
        ("/heads/3/proof", hashes(63), hashes(66)),
        ("/artifacts", "[]".to_owned(), list("\"\"", 4_097)),
        ("/openings", list("\"\"", 4_096), list("\"\"", 4_097)),
        ("/leaves", "[]".to_owned(), list("0", 65_537)),
        ("/heads", "[]".to_owned(), list("0", 65_537)),
    ] {
        Bundle::parse(with(place, &good).as_bytes()).expect(place);
        assert_eq!(pointer(&with(place, &bad)), place);
    }
    let too_long = vec![b' '; MAX_BUNDLE + 1];
    assert_eq!(Bundle::parse(&too_long), Err(BundleError::TooLong(MAX_BUNDLE + 1)));
}

/// What a bundle of these bytes comes to, if it is not refused.
/// The promise is left out: promising less than is there is no lie.
fn verdict(bytes: &[u8]) -> Option<Verdict> {
    let verdict = Bundle::parse(bytes).ok()?.verify(&pinned(), &[]).ok()?;
    Some(Verdict { complete_from: 0, ..verdict })
}

/// The verdict of the bundle as it is.
fn expected() -> &'static Verdict {
    static EXPECTED: OnceLock<Verdict> = OnceLock::new();
    EXPECTED.get_or_init(|| verdict(text().as_bytes()).unwrap())
}

/// Every byte of the structure and of short values, every sixteenth of the long base64 values:
/// all of them would take a minute, and the property below meets the others by chance.
#[test]
fn no_byte_can_be_flipped_without_notice() {
    let mut unnoticed = Vec::new();
    let mut start = 0;
    for part in text().split_inclusive('"') {
        let step = if part.len() > 200 { 16 } else { 1 };
        for at in (start..start + part.len()).step_by(step) {
            let mut bytes = text().as_bytes().to_vec();
            bytes[at] ^= 1;
            if let Some(verdict) = verdict(&bytes) {
                assert_eq!(verdict, *expected(), "byte {at}");
                unnoticed.push(at);
            }
        }
        start += part.len();
    }
    assert_eq!(start, text().len());
    // Promising less than is there is no lie: all entries from 1 on are here, too.
    let promise = "\"complete_from\":";
    assert_eq!(unnoticed, [text().find(promise).unwrap() + promise.len()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_byte_never_changes_the_verdict(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut bytes = text().as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Some(verdict) = verdict(&bytes) {
            prop_assert_eq!(&verdict, expected());
        }
    }

    #[test]
    fn a_cut_or_lengthened_bundle_is_refused(
        at in any::<prop::sample::Index>(),
        more in "[!-~]{1,8}",
    ) {
        let good = text();
        prop_assert!(Bundle::parse(&good.as_bytes()[..at.index(good.len())]).is_err());
        let longer = format!("{good}{more}");
        prop_assert!(Bundle::parse(longer.as_bytes()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Bundle::is_likely(&bytes);
        if let Ok(bundle) = Bundle::parse(&bytes) {
            let _ = bundle.verify(&pinned(), &[&bytes]);
        }
        let beside = Scene::honest().bundle().verify(&pinned(), &[&bytes]);
        prop_assert!(beside.is_err());
    }

    /// Well-formed bundles of nonsense reach the verifier.
    #[test]
    fn arbitrary_bundles_never_panic(
        envelope in prop::collection::vec(any::<u8>(), 0..64),
        place in 0_usize..3,
        index in any::<u64>(),
        size in any::<u64>(),
        hashes in 0_usize..80,
        from in any::<u64>(),
    ) {
        let mut bundle = Scene::honest().bundle();
        bundle.heads.insert(size, vec![tlog::Hash::new([5; 32]); hashes]);
        prop_assert!(bundle.verify(&pinned(), &[]).is_err());
        bundle.complete_from = from;
        bundle.openings.push(envelope.clone());
        prop_assert!(bundle.verify(&pinned(), &[]).is_err());
        bundle.leaves[place].index = index;
        bundle.leaves[place].envelope = envelope;
        prop_assert!(bundle.verify(&pinned(), &[]).is_err());
        let _ = Bundle::parse(&bundle.to_bytes());
    }
}

//! Openings: what they prove, and that nothing in them can be changed.

use curve25519_dalek::scalar::Scalar;
use json::{Node, Object, Rules, Value, object};
use proptest::prelude::*;
use record::context::Context;
use record::header::Header;
use record::items::ItemKey;
use record::multiproof::MultiproofError;
use record::opening::{
    Against, Body, Disclosure, MAX_BODY, OpenError, OpeningError, Scope, ScoreCell,
};
use record::subject::{SUBJECTS, Status};
use tlog::Hash;

use crate::support::{Made, made};

const AUDITED: [&str; 3] = ["output", "score:accuracy", "status"];

/// Items 0 and 2 as an audit opens them, a total, two subjects.
fn audited(made: &Made) -> (Body, Disclosure) {
    let mut opening = made.opening();
    for index in [0_usize, 2] {
        let row = made.file.rows()[made.items.items()[index].row].content();
        let values = made.values[index].as_ref();
        opening.item(index as u64, values, &AUDITED, Some(row)).unwrap();
    }
    opening.total("grade", &made.record.totals()[1]).unwrap();
    for name in ["model", "count:scored"] {
        let place = record::subject::subject(name).unwrap();
        opening.subject(name, made.record.subject_values()[place].as_deref().unwrap()).unwrap();
    }
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let disclosure = Disclosure {
        items: vec![0, 2],
        fields: owned(&AUDITED),
        rows: true,
        totals: owned(&["grade"]),
        subjects: owned(&["count:scored", "model"]),
    };
    (opening.finish().unwrap(), disclosure)
}

#[test]
fn an_opening_proves_exactly_what_was_opened() {
    let made = made("b");
    let (body, disclosure) = audited(&made);
    let bytes = body.to_bytes().unwrap();
    let proved = Body::parse(&bytes).unwrap().verify(&made.exactly(&disclosure)).unwrap();
    assert_eq!(proved.items.len(), 2);
    for item in &proved.items {
        let place = usize::try_from(item.index).unwrap();
        let agreed = &made.items.items()[place];
        let values = made.values[place].as_ref().unwrap();
        assert_eq!((item.tag, item.epoch), (agreed.tag, agreed.epoch));
        assert_eq!(item.fields[0], ("output".to_owned(), values.output.clone()));
        assert_eq!(item.fields[1], ("score:accuracy".to_owned(), values.scores[0].clone()));
        assert_eq!(item.fields.len(), 2);
        assert_eq!(item.scores.len(), 1);
        assert!(item.row.as_ref() == Some(made.file.rows()[agreed.row].content()));
    }
    assert_eq!(proved.items[0].status, Some(Status::Scored));
    assert_eq!(proved.items[0].scores, [("accuracy".to_owned(), 1)]);
    // What was not opened stands in the body as commitments only.
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("\"c\":").count(), 2 * 5);
    assert_eq!(text.matches("\"C\":").count(), 2);
    assert_eq!(proved.totals[0].total, made.record.totals()[1].sum());
    assert_eq!(proved.subjects[0].value, "example-model-7b");
    let shown = format!("{body:?}{proved:?}{:?}{:?}", body.items, proved.items);
    assert!(!shown.contains("answer") && !shown.bytes().any(|b| b.is_ascii_digit()));
}

#[test]
fn single_items_whole_columns_totals_and_subjects_open() {
    let made = made("a");
    let n = made.items.count();
    let check = |body: &Body| {
        Body::parse(&body.to_bytes().unwrap()).unwrap().verify(&made.against(Scope::Anything))
    };
    // One field of one item, also of the one that the log lacks.
    for index in 0..n {
        let values = made.values[usize::try_from(index).unwrap()].as_ref();
        let mut opening = made.opening();
        opening.item(index, values, &["output"], None).unwrap();
        let proved = check(&opening.finish().unwrap()).unwrap();
        let output = values.and_then(|v| v.output.clone());
        assert_eq!(proved.items[0].fields, [("output".to_owned(), output)]);
        assert_eq!(proved.items[0].status, None);
    }
    // A whole column needs no hashes beside it.
    let mut opening = made.opening();
    for (index, values) in made.values.iter().enumerate() {
        opening.item(index as u64, values.as_ref(), &["status", "score:grade"], None).unwrap();
    }
    let body = opening.finish().unwrap();
    assert!(body.record_proof.is_empty() && body.items_proof.is_empty());
    let proved = check(&body).unwrap();
    let sum: u64 = proved.items.iter().map(|item| item.scores[0].1).sum();
    assert_eq!(sum, made.record.totals()[1].sum());
    // Totals and subjects without items, as a reveal has them.
    let mut opening = made.opening();
    opening.total("accuracy", &made.record.totals()[0]).unwrap();
    for (name, value) in SUBJECTS.iter().zip(made.record.subject_values()) {
        if let Some(value) = value {
            opening.subject(name, value).unwrap();
        }
    }
    let proved = check(&opening.finish().unwrap()).unwrap();
    assert_eq!(proved.subjects.len(), 27);
    // Nothing at all proves nothing.
    let proved = check(&made.opening().finish().unwrap()).unwrap();
    assert!(proved.items.is_empty() && proved.totals.is_empty() && proved.subjects.is_empty());
}

#[test]
fn refuses_to_open_what_is_not_the_records() {
    let made = made("a");
    let values = made.values[0].as_ref();
    let mut opening = made.opening();
    let mut item = |index, values, fields: &[&str]| opening.item(index, values, fields, None).err();
    assert_eq!(item(0, values, &["nothing"]), Some(OpenError::Field("nothing".to_owned())));
    let needs = OpenError::StatusNeeded("score:grade".to_owned());
    assert_eq!(item(0, values, &["score:grade"]), Some(needs));
    assert_eq!(item(4, values, &[]), Some(OpenError::Index(4)));
    assert_eq!(item(u64::MAX, values, &[]), Some(OpenError::Index(u64::MAX)));
    assert_eq!(item(0, None, &[]), Some(OpenError::Differs { index: 0 }));
    assert_eq!(item(0, made.values[1].as_ref(), &[]), Some(OpenError::Differs { index: 0 }));
    assert_eq!(item(1, made.values[1].as_ref(), &["output"]), None);
    assert_eq!(item(1, made.values[1].as_ref(), &["output"]), Some(OpenError::Index(1)));
    assert_eq!(item(0, values, &["output"]), Some(OpenError::Index(0)));

    let totals = made.record.totals();
    let wrong = Some(OpenError::Total("accuracy".to_owned()));
    assert_eq!(opening.total("accuracy", &totals[1]).err(), wrong);
    assert_eq!(opening.total("x", &totals[0]).err(), Some(OpenError::Total("x".to_owned())));
    opening.total("accuracy", &totals[0]).unwrap();
    let twice = Some(OpenError::Twice("accuracy".to_owned()));
    assert_eq!(opening.total("accuracy", &totals[0]).err(), twice);
    for (name, value) in [("model", "other"), ("nobody", "x"), ("environment", "")] {
        let wrong = Some(OpenError::Subject(name.to_owned()));
        assert_eq!(opening.subject(name, value).err(), wrong);
    }
    opening.subject("elicitation", "zero-shot").unwrap();
    let twice = Some(OpenError::Twice("elicitation".to_owned()));
    assert_eq!(opening.subject("elicitation", "zero-shot").err(), twice);

    let other = crate::support::made("b");
    let mixed = record::opening::RecordParts { secret: &other.secret, ..made.parts() };
    let mut opening = record::opening::OpeningBuilder::new(mixed).unwrap();
    let error = opening.item(0, values, &[], None).err();
    assert_eq!(error, Some(OpenError::Differs { index: 0 }));
    let standalone = crate::support::made("standalone");
    let mixed = record::opening::RecordParts { items: &standalone.items, ..made.parts() };
    let error = record::opening::OpeningBuilder::new(mixed).err();
    assert_eq!(error, Some(OpenError::Items));
}

/// Every way to change one place of a document: each leaf altered, each member and element taken
/// out, doubled or exchanged with the next, a member added to each object.
fn mutants(value: &Value, pointer: &str) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    match value {
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert("unknown", "x");
            out.push((format!("{pointer}: a member more"), Value::Object(more)));
            for (name, member) in members.iter() {
                let mut less = members.clone();
                less.remove(name);
                out.push((format!("{pointer}: without {name}"), Value::Object(less)));
                for (what, changed) in mutants(member, &format!("{pointer}/{name}")) {
                    let mut with: Object = members.clone();
                    with.insert(name, changed);
                    out.push((what, Value::Object(with)));
                }
            }
        }
        Value::Array(elements) => {
            // The order of totals and of subjects carries no meaning.
            let ordered = !pointer.ends_with("totals") && !pointer.ends_with("subjects");
            for (i, element) in elements.iter().enumerate() {
                let mut edit = |what: &str, change: &dyn Fn(&mut Vec<Value>)| {
                    let mut list = elements.clone();
                    change(&mut list);
                    out.push((format!("{pointer}: {what} {i}"), Value::Array(list)));
                };
                edit("without", &|list| drop(list.remove(i)));
                edit("doubled", &|list| list.insert(i, element.clone()));
                if ordered && elements.get(i + 1).is_some_and(|next| next != element) {
                    edit("exchanged", &|list| list.swap(i, i + 1));
                }
                for (what, changed) in mutants(element, &format!("{pointer}/{i}")) {
                    let mut list = elements.clone();
                    list[i] = changed;
                    out.push((what, Value::Array(list)));
                }
            }
        }
        Value::String(text) => {
            let mut changed = vec![format!("{text}0"), format!(" {text}"), text.to_uppercase()];
            let last = text.len().saturating_sub(1);
            for at in [0, text.len() / 2, last] {
                if let (Some(before), Some(after)) = (text.get(..at), text.get(at + 1..)) {
                    for digit in ["0", "1", "A"] {
                        changed.push(format!("{before}{digit}{after}"));
                    }
                    changed.push(format!("{before}{after}"));
                }
            }
            changed.retain(|other| other != text);
            out.extend(changed.into_iter().map(|t| (format!("{pointer}: {t}"), t.into())));
        }
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            for other in [number + 1, number.wrapping_sub(1), 1 << 52, 1 << 53] {
                let text = other.to_string();
                out.push((format!("{pointer}: {text}"), other.into()));
            }
            out.push((format!("{pointer}: text"), number.to_string().into()));
        }
        Value::Null | Value::Bool(_) => unreachable!("openings have neither"),
    }
    if !pointer.is_empty() {
        out.push((format!("{pointer}: null"), Value::Null));
        out.push((format!("{pointer}: true"), true.into()));
        out.push((format!("{pointer}: {{}}"), Value::Object(Object::default())));
        if value.as_array().is_none_or(|list| !list.is_empty()) {
            out.push((format!("{pointer}: []"), Value::Array(Vec::new())));
        }
    }
    out
}

#[test]
fn refuses_every_changed_opening() {
    let made = made("b");
    let (body, disclosure) = audited(&made);
    let value = json::parse(&body.to_bytes().unwrap(), Rules::SIGNED).unwrap();
    let against = made.exactly(&disclosure);
    let mutants = mutants(&value, "");
    assert!(mutants.len() > 1_200, "{}", mutants.len());
    for (what, mutant) in mutants {
        let bytes = mutant.to_text().into_bytes();
        let accepted = Body::parse(&bytes).is_ok_and(|body| body.verify(&against).is_ok());
        assert!(!accepted, "{what}");
    }
}

#[test]
fn refuses_openings_against_anything_else() {
    let made = made("a");
    let (body, disclosure) = audited(&made);
    let against = made.exactly(&disclosure);
    body.verify(&against).unwrap();
    let other_id = Hash::new([1; 32]);
    let error = body.verify(&Against { record: &other_id, ..against }).err();
    assert_eq!(error, Some(OpeningError::Record));
    let context = Context::new("log.example/two", None, "lab-a.example", &[0; 32]).unwrap();
    let error = body.verify(&Against { context: &context, ..against }).err();
    assert_eq!(error, Some(OpeningError::RecordProof(MultiproofError::Root)));
    let other = crate::support::made("b");
    let error = body.verify(&Against { header: other.record.header(), ..against }).err();
    assert_eq!(error, Some(OpeningError::RecordProof(MultiproofError::Root)));
    let error = body.verify(&Against { item_key: None, ..against }).err();
    assert_eq!(error, Some(OpeningError::NoItemKey(0)));
    let key = ItemKey::new([1; 32]);
    let error = body.verify(&Against { item_key: Some(&key), ..against }).err();
    assert_eq!(error, Some(OpeningError::Row(0)));
    // Another items root under the same record.
    let mut members = made.record.header().members();
    members[1].1 = other_id.to_string().into();
    let value = object(members);
    let header = Header::from_fields(&mut Node::root(&value).fields().unwrap()).unwrap();
    let error = body.verify(&Against { header: &header, ..against }).err();
    assert_eq!(error, Some(OpeningError::ItemsProof(MultiproofError::Root)));
}

#[test]
fn refuses_more_or_less_than_was_declared() {
    let made = made("a");
    let (body, good) = audited(&made);
    let change = |edit: &dyn Fn(&mut Disclosure)| {
        let mut disclosure = good.clone();
        edit(&mut disclosure);
        body.verify(&made.exactly(&disclosure)).err()
    };
    assert_eq!(change(&|_| ()), None);
    let wrong = |what| Some(OpeningError::Undeclared(what));
    assert_eq!(change(&|d| d.items = vec![0]), wrong("items"));
    assert_eq!(change(&|d| d.items = vec![0, 1, 2]), wrong("items"));
    assert_eq!(change(&|d| drop(d.fields.remove(0))), wrong("fields"));
    assert_eq!(change(&|d| d.fields.push("input".to_owned())), wrong("fields"));
    assert_eq!(change(&|d| d.totals.clear()), wrong("totals"));
    assert_eq!(change(&|d| d.subjects.push("source".to_owned())), wrong("subjects"));
    let mut rowless = body.clone();
    rowless.items[1].row = None;
    let error = rowless.verify(&made.exactly(&good)).err();
    assert_eq!(error, wrong("rows"));
}

#[test]
fn refuses_bad_bodies_with_pointers() {
    let made = made("a");
    let good = String::from_utf8(audited(&made).0.to_bytes().unwrap()).unwrap();
    Body::parse(good.as_bytes()).unwrap();
    let deep = format!("\"items\":{}{},", "[".repeat(100), "]".repeat(100));
    let wide = format!("\"items\":[{{\"index\":0,\"fields\":[{}0],", "0,".repeat(200));
    let totals = format!("\"totals\":[{}0]", "0,".repeat(64));
    for (from, to, reason) in [
        ("openings/v1", "openings/v2", "/format: must be \"countersign/openings/v1\""),
        ("\"format\":\"countersign/openings/v1\",", "", "/format: is missing"),
        ("\"record\":", "\"recorb\":", "is not a member known here"),
        ("\"record_proof\":", "\"record\":", "the member \"record\" stands twice"),
        ("\"items\":[", "\"items\":[7,", "/items/0: must be an object"),
        ("\"items\":[", "\"items\":{}, \"x\":[", "not JSON: an array was expected"),
        ("\"items\":[", &deep, "more than 5 levels of nesting"),
        ("\"items\":[{\"index\":0,\"fields\":[", &wide, "more than 72 members or elements"),
        ("\"index\":0", "\"index\":0.0", "not allowed in a signed document"),
        ("\"index\":0", "\"index\":-1", "/items/0/index: must be an integer"),
        ("\"index\":0", "\"index\":9007199254740992", "not allowed in a signed document"),
        ("\"index\":0,", "", "/items/0/index: is missing"),
        ("\"salt\":", "\"c\":\"\",\"salt\":", "/items/0/fields/0/c: must be 64"),
        ("\"salt\":", "\"Salt\":", "/items/0/fields/0/salt: is missing"),
        ("\"value\":\"AQ", "\"value\":\"AQ=", "/items/0/fields/1/value: must be padded"),
        (
            "\"value\":\"AQAAAAAAAAAB\"",
            "\"value\":\"AAAAAAAAAAAB\"",
            "/items/0/fields/1/value: must be the byte 00",
        ),
        (
            "\"value\":\"AQAAAAAAAAAB\"",
            "\"value\":\"\"",
            "/items/0/fields/1/value: must be the byte 00",
        ),
        (
            "\"value\":\"AQAAAAAAAAAB\"",
            "\"value\":\"AQE\"",
            "/items/0/fields/1/value: must be padded",
        ),
        (
            "\"value\":\"AQAAAAAAAAAB\"",
            "\"value\":\"AR==\"",
            "/items/0/fields/1/value: must be padded",
        ),
        ("\"s\":", "\"S\":", "/items/0/scores/0/s: is missing"),
        ("\"occurrence\":0", "\"occurrence\":\"0\"", "/items/0/row/occurrence: must be an integer"),
        ("\"occurrence\":0", "\"occurrence\":0,\"id\":\"q\"", "/items/0/row/id: is not a member"),
        ("\"totals\":[", &totals, "/totals: must have at most 64"),
        ("\"blind\":\"", "\"blind\":\"0", "/totals/0/blind: must be 64 lower-case"),
        ("\"name\":\"model\"", "\"name\":\"count:scored\"", "/subjects/1/name: is opened twice"),
        ("\"subjects\":", "\"subject\":", "is not a member known here"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let error = Body::parse(bad.as_bytes()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(reason), "{from} -> {to}: {error:?}");
    }
    for end in ["{", "\u{feff}", "x"] {
        assert!(Body::parse(format!("{good}{end}").as_bytes()).is_err());
    }
    for cut in (0..good.len()).step_by(97) {
        assert!(Body::parse(&good.as_bytes()[..cut]).is_err());
    }
    assert!(Body::parse(&vec![b' '; MAX_BODY + 1]).err().unwrap().to_string().contains("at most"));
}

#[test]
fn refuses_proofs_without_items_and_indices_out_of_order() {
    let made = made("a");
    let (body, _) = audited(&made);
    let against = made.against(Scope::Anything);
    let outcome = |edit: &dyn Fn(&mut Body)| {
        let mut body = body.clone();
        edit(&mut body);
        body.verify(&against).err()
    };
    assert_eq!(outcome(&|_| ()), None);
    assert_eq!(outcome(&|b| b.items.clear()), Some(OpeningError::IdleProof));
    let order = |index| Some(OpeningError::Indices(MultiproofError::Order(index)));
    assert_eq!(outcome(&|b| b.items[1].index = 0), order(0));
    assert_eq!(outcome(&|b| b.items.swap(0, 1)), order(0));
    let beyond = MultiproofError::OutOfRange { index: 4, leaves: 4 };
    assert_eq!(outcome(&|b| b.items[1].index = 4), Some(OpeningError::Indices(beyond)));
    let cells = OpeningError::Cells { index: 0, fields: 9, scores: 2 };
    assert_eq!(outcome(&|b| b.items[0].fields.truncate(9)), Some(cells));
    let cells = OpeningError::Cells { index: 0, fields: 10, scores: 1 };
    assert_eq!(outcome(&|b| b.items[0].scores.truncate(1)), Some(cells));
    // A blind plus the group order is the same number in another spelling.
    let order: [u8; 32] = (Scalar::ZERO - Scalar::ONE).to_bytes();
    let mut order = order;
    order[0] += 1;
    let noncanonical = |blind: &mut [u8; 32]| {
        let mut carry = 0_u16;
        for (byte, more) in blind.iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(more);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
    };
    let wrong = Some(OpeningError::Blind);
    assert_eq!(outcome(&|b| noncanonical(&mut b.totals[0].blind)), wrong);
    let score = |b: &mut Body| match &mut b.items[0].scores[0] {
        ScoreCell::Open { blind, .. } => noncanonical(blind),
        ScoreCell::Closed(_) => unreachable!("it is opened"),
    };
    assert_eq!(outcome(&|b| score(b)), wrong);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to the bytes, what is accepted afterwards is the same opening: only white
    /// space can differ.
    #[test]
    fn changed_bytes_are_refused_or_mean_the_same(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        static GOOD: std::sync::OnceLock<(Made, Body, Disclosure)> = std::sync::OnceLock::new();
        let (made, body, disclosure) = GOOD.get_or_init(|| {
            let made = made("a");
            let (body, disclosure) = audited(&made);
            (made, body, disclosure)
        });
        let mut bytes = body.to_bytes().unwrap();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(parsed) = Body::parse(&bytes) {
            prop_assert!(parsed == *body || parsed.verify(&made.exactly(disclosure)).is_err());
        }
    }
}

//! Every member of every vector, changed in every simple way.

use exchange::{Reason, Statement};
use json::{Rules, Value};

use crate::vectors::Vectors;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Change {
    Remove,
    Duplicate,
    WrongType,
    Null,
    Float,
    UpperCase,
    /// Another member beside this one.
    AddUnknown,
}

const CHANGES: [Change; 7] = [
    Change::Remove,
    Change::Duplicate,
    Change::WrongType,
    Change::Null,
    Change::Float,
    Change::UpperCase,
    Change::AddUnknown,
];

/// Writes a document with one change to the member at a pointer.
fn write(value: &Value, pointer: &str, target: &str, change: Change, out: &mut String) {
    match value {
        Value::Object(object) => {
            let mut members = Vec::new();
            for (name, value) in object.iter() {
                let pointer = format!("{pointer}/{name}");
                let mut text = String::new();
                write(value, &pointer, target, change, &mut text);
                let member = |text: &str| format!("{:?}:{text}", name);
                if pointer != target {
                    members.push(member(&text));
                    continue;
                }
                match change {
                    Change::Remove => {}
                    Change::Duplicate => members.extend([member(&text), member(&text)]),
                    Change::WrongType => members.push(member(match value {
                        Value::String(_) => "7",
                        Value::Number(_) => "\"7\"",
                        Value::Bool(_) => "\"true\"",
                        Value::Array(_) => "{}",
                        _ => "[]",
                    })),
                    Change::Null => members.push(member("null")),
                    Change::Float => members.push(member("1.0")),
                    Change::UpperCase => members.push(match value.as_str() {
                        Some(text) => member(&Value::from(text.to_uppercase()).to_text()),
                        None => member(&text),
                    }),
                    Change::AddUnknown => {
                        members.extend([member(&text), "\"unknown\":1".to_owned()]);
                    }
                }
            }
            out.push_str(&format!("{{{}}}", members.join(",")));
        }
        Value::Array(elements) => {
            let texts = elements.iter().enumerate().map(|(i, element)| {
                let mut text = String::new();
                write(element, &format!("{pointer}/{i}"), target, change, &mut text);
                text
            });
            out.push_str(&format!("[{}]", texts.collect::<Vec<_>>().join(",")));
        }
        other => out.push_str(&other.to_text()),
    }
}

/// Pointers to all members of all objects.
fn members(value: &Value, pointer: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object.iter() {
                let pointer = format!("{pointer}/{name}");
                members(value, &pointer, all);
                all.push(pointer);
            }
        }
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                members(element, &format!("{pointer}/{i}"), all);
            }
        }
        _ => {}
    }
}

/// Members that a statement may leave out. What leaving them out means is the state's question.
fn may_be_left_out(kind: &str, pointer: &str) -> bool {
    match pointer {
        "/predicate/previous" => true,
        "/predicate/exchange" => {
            let standalone = ["intent", "evaluation", "withdrawal", "coin", "opening", "dispute"];
            // Outcomes of audits and disputes; the subject of a summary is its exchange.
            standalone.contains(&kind) || kind == "outcome"
        }
        // Whether there is an audit stands in the agreement.
        "/predicate/schedule/audit_by" => kind == "amendment",
        "/predicate/answers" | "/predicate/items_proofs" => kind == "reveal",
        _ => false,
    }
}

/// Texts of which another case is another text of the same type.
fn has_another_case(pointer: &str) -> bool {
    let last = pointer.rsplit('/').next().unwrap();
    ["origin", "version", "name", "clock", "column", "value", "auditor", "reader", "signer", "by"]
        .contains(&last)
}

#[test]
fn refuses_each_member_removed_doubled_or_changed() {
    let mut mutants = 0;
    for entry in Vectors::read().entries() {
        let kind = entry.text("kind");
        let document = json::parse(entry.text("payload").as_bytes(), Rules::SIGNED).unwrap();
        let mut pointers = Vec::new();
        members(&document, "", &mut pointers);
        for (pointer, change) in
            pointers.iter().flat_map(|pointer| CHANGES.map(|change| (pointer, change)))
        {
            let mut text = String::new();
            write(&document, "", pointer, change, &mut text);
            let unchanged = text == entry.text("payload");
            let parsed = Statement::parse(text.as_bytes());
            mutants += 1;
            match parsed {
                Ok(statement) => {
                    let allowed = unchanged
                        || change == Change::Remove && may_be_left_out(kind, pointer)
                        || change == Change::UpperCase && has_another_case(pointer);
                    assert!(allowed, "{kind} {}: {change:?} {pointer}", entry.index());
                    // Whatever is accepted can be written and read again.
                    let payload = statement.to_payload();
                    assert_eq!(Statement::parse(&payload), Ok(statement));
                }
                Err(refusal) => {
                    let reason = refusal.reason();
                    let expected = [
                        Reason::BadField,
                        Reason::BadSubject,
                        Reason::BadAgreement,
                        Reason::UnknownPredicate,
                    ];
                    assert!(expected.contains(&reason), "{kind} {change:?} {pointer}: {refusal}");
                    assert!(refusal.pointer().is_some(), "{kind} {change:?} {pointer}: {refusal}");
                    if matches!(change, Change::Duplicate | Change::Null | Change::Float) {
                        assert_eq!(reason, Reason::BadField, "{kind} {change:?} {pointer}");
                        assert_eq!(refusal.pointer(), Some(pointer.as_str()), "{change:?}");
                    }
                }
            }
        }
    }
    assert!(mutants > 7_000, "{mutants}");
}

#[test]
fn order_of_members_and_white_space_are_the_signers_choice() {
    fn reversed(value: &Value) -> String {
        match value {
            Value::Object(object) => {
                let mut members: Vec<String> = object
                    .iter()
                    .map(|(name, value)| format!("{name:?} : {}\n", reversed(value)))
                    .collect();
                members.reverse();
                format!("{{ {} }}", members.join(", "))
            }
            Value::Array(elements) => {
                let elements: Vec<String> = elements.iter().map(reversed).collect();
                format!("[\t{}]", elements.join(","))
            }
            other => other.to_text(),
        }
    }
    for entry in Vectors::read().entries() {
        let document = json::parse(entry.text("payload").as_bytes(), Rules::SIGNED).unwrap();
        let text = format!("\n{}\r\n", reversed(&document));
        assert_eq!(Statement::parse(text.as_bytes()), Ok(entry.statement()));
    }
}

//! What the last release promised over the wire still stands: `proto/baseline.binpb` holds its
//! descriptors. `docs/api.md` says how to write them anew at a release.
//!
//! The same rules as `buf breaking`, as far as they matter to a peer that speaks the old protocol:
//! nothing may be removed, renumbered, renamed or retyped. Additions are free.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

use std::collections::BTreeMap;

use api::v1::DESCRIPTORS;
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// What each part of the API looks like to a peer, by a name that must stay.
type Facts = BTreeMap<String, String>;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/baseline.binpb");

fn baseline() -> FileDescriptorSet {
    FileDescriptorSet::decode(std::fs::read(BASELINE).unwrap().as_slice()).unwrap()
}

fn current() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap()
}

fn facts(set: &FileDescriptorSet) -> Facts {
    let mut facts = Facts::new();
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            of_message(package, message, &mut facts);
        }
        for one in &file.enum_type {
            of_enum(package, one, &mut facts);
        }
        for service in &file.service {
            for method in &service.method {
                let fact = format!(
                    "takes {}{}, returns {}{}",
                    if method.client_streaming() { "stream " } else { "" },
                    method.input_type(),
                    if method.server_streaming() { "stream " } else { "" },
                    method.output_type()
                );
                let name = format!("method {package}.{}/{}", service.name(), method.name());
                facts.insert(name, fact);
            }
        }
    }
    facts
}

fn of_message(scope: &str, message: &DescriptorProto, facts: &mut Facts) {
    let scope = format!("{scope}.{}", message.name());
    facts.insert(format!("message {scope}"), "is there".to_owned());
    for field in &message.field {
        let choice = field.oneof_index.and_then(|at| message.oneof_decl.get(at as usize));
        let fact = format!(
            "{} {:?} {:?} {} in {}",
            field.name(),
            field.label(),
            field.r#type(),
            field.type_name(),
            choice.map_or("no oneof", |choice| choice.name())
        );
        facts.insert(format!("field {scope} = {}", field.number()), fact);
    }
    for below in &message.nested_type {
        of_message(&scope, below, facts);
    }
    for below in &message.enum_type {
        of_enum(&scope, below, facts);
    }
}

fn of_enum(scope: &str, one: &EnumDescriptorProto, facts: &mut Facts) {
    for value in &one.value {
        let name = format!("value {scope}.{} = {}", one.name(), value.number());
        facts.insert(name, value.name().to_owned());
    }
}

/// What a peer that speaks `old` would miss in `new`.
fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let new = facts(new);
    facts(old)
        .into_iter()
        .filter(|(name, fact)| new.get(name) != Some(fact))
        .map(|(name, fact)| {
            let now = new.get(&name).map_or("nothing", String::as_str);
            format!("{name}: was “{fact}”, is “{now}”")
        })
        .collect()
}

#[test]
fn nothing_of_the_last_release_is_removed_renumbered_or_retyped() {
    let old = baseline();
    assert!(facts(&old).len() > 40, "the baseline holds next to nothing");
    let broken = broken(&old, &current());
    assert!(broken.is_empty(), "breaks peers of the last release:\n{}", broken.join("\n"));
}

/// A change to the API.
type Change = fn(&mut FileDescriptorSet);

/// The file with the service of this name.
fn file<'a>(
    set: &'a mut FileDescriptorSet,
    name: &str,
) -> &'a mut prost_types::FileDescriptorProto {
    set.file.iter_mut().find(|f| f.service.iter().any(|s| s.name() == name)).unwrap()
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    let messages = &mut file(set, "LogService").message_type;
    messages.iter_mut().find(|m| m.name() == name).unwrap()
}

#[test]
fn every_kind_of_breaking_change_is_found() {
    let changes: &[(&str, Change)] = &[
        ("a field removed", |set| {
            message(set, "AppendRequest").field.remove(0);
        }),
        ("a field renumbered", |set| message(set, "AppendRequest").field[1].number = Some(9)),
        ("a field renamed", |set| {
            message(set, "AppendRequest").field[0].name = Some("leaf".to_owned());
        }),
        ("a field retyped", |set| {
            message(set, "Inclusion").field[0]
                .set_type(prost_types::field_descriptor_proto::Type::Int64);
        }),
        ("a field made repeated", |set| {
            let label = prost_types::field_descriptor_proto::Label::Repeated;
            message(set, "Inclusion").field[0].set_label(label);
        }),
        ("a field taken out of its oneof", |set| {
            message(set, "GetInclusionProofRequest").field[0].oneof_index = None;
        }),
        ("a message removed", |set| {
            file(set, "LogService").message_type.retain(|m| m.name() != "Refusal");
        }),
        ("an enum value renumbered", |set| {
            file(set, "LogService").enum_type[0].value[2].number = Some(7);
        }),
        ("a method removed", |set| {
            file(set, "LogService").service[0].method.remove(0);
        }),
        ("a method made a stream", |set| {
            file(set, "LogService").service[0].method[0].server_streaming = Some(true);
        }),
        ("a service removed", |set| file(set, "ArtifactService").service.clear()),
    ];
    let old = current();
    for (what, change) in changes {
        let mut new = old.clone();
        change(&mut new);
        assert!(!broken(&old, &new).is_empty(), "{what}: not found");
    }
}

#[test]
fn additions_break_nobody() {
    let old = current();
    let mut new = old.clone();
    let mut field = message(&mut new, "AppendRequest").field[0].clone();
    field.number = Some(100);
    field.name = Some("added".to_owned());
    message(&mut new, "AppendRequest").field.push(field);
    let method = file(&mut new, "LogService").service[0].method[0].clone();
    let method = prost_types::MethodDescriptorProto { name: Some("Added".to_owned()), ..method };
    file(&mut new, "LogService").service[0].method.push(method);
    assert_eq!(broken(&old, &new), Vec::<String>::new());
}

#[test]
#[ignore = "writes proto/baseline.binpb anew, which only a release does"]
fn write_the_baseline_of_a_release() {
    std::fs::write(BASELINE, DESCRIPTORS).unwrap();
}

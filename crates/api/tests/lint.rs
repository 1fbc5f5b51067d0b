//! The rules of `buf lint` (category STANDARD) that these files could break, checked without buf:
//! names that generated code of other languages relies on. `docs/api.md` says how to run buf.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has failed")]

use std::collections::BTreeSet;

use api::v1::DESCRIPTORS;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

fn upper_snake(camel: &str) -> String {
    let mut out = String::new();
    for (at, c) in camel.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

fn is_camel(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
        && !name.contains("__")
        && !name.ends_with('_')
}

fn of_message(message: &DescriptorProto, problems: &mut Vec<String>) {
    if !is_camel(message.name()) {
        problems.push(format!("MESSAGE_PASCAL_CASE {}", message.name()));
    }
    let fields = message.field.iter().map(|field| field.name());
    // An `optional` field has a oneof of its own, which protoc names.
    let made = |place: usize| {
        let mut fields = message.field.iter();
        fields.any(|field| field.proto3_optional() && field.oneof_index() as usize == place)
    };
    let oneofs = message.oneof_decl.iter().enumerate().filter(|(place, _)| !made(*place));
    for name in fields.chain(oneofs.map(|(_, one)| one.name())) {
        if !is_snake(name) {
            problems.push(format!("FIELD_LOWER_SNAKE_CASE {}.{name}", message.name()));
        }
    }
    message.enum_type.iter().for_each(|one| of_enum(one, problems));
    message.nested_type.iter().for_each(|below| of_message(below, problems));
}

fn of_enum(one: &EnumDescriptorProto, problems: &mut Vec<String>) {
    let prefix = format!("{}_", upper_snake(one.name()));
    for value in &one.value {
        if !value.name().starts_with(&prefix) {
            problems.push(format!("ENUM_VALUE_PREFIX {}", value.name()));
        }
    }
    let first = &one.value[0];
    if first.number() != 0 || first.name() != format!("{prefix}UNSPECIFIED") {
        problems.push(format!("ENUM_ZERO_VALUE_SUFFIX {}", first.name()));
    }
}

fn of_service(
    service: &ServiceDescriptorProto,
    used: &mut BTreeSet<String>,
    problems: &mut Vec<String>,
) {
    if !is_camel(service.name()) || !service.name().ends_with("Service") {
        problems.push(format!("SERVICE_SUFFIX {}", service.name()));
    }
    for method in &service.method {
        for (message, ending) in
            [(method.input_type(), "Request"), (method.output_type(), "Response")]
        {
            let name = message.rsplit('.').next().unwrap();
            let standard = [
                format!("{}{ending}", method.name()),
                format!("{}{}{ending}", service.name(), method.name()),
            ];
            if !standard.iter().any(|allowed| allowed == name) {
                problems.push(format!("RPC_{}_STANDARD_NAME {name}", ending.to_uppercase()));
            }
            if !used.insert(message.to_owned()) {
                problems.push(format!("RPC_REQUEST_RESPONSE_UNIQUE {name}"));
            }
        }
    }
}

fn lint(set: &FileDescriptorSet) -> Vec<String> {
    let (mut problems, mut used) = (Vec::new(), BTreeSet::new());
    for file in set.file.iter().filter(|file| file.package().starts_with("countersign")) {
        let folder = file.name().rsplit_once('/').map_or("", |(folder, _)| folder);
        if file.package().replace('.', "/") != folder || !file.package().ends_with(".v1") {
            problems.push(format!("PACKAGE_DIRECTORY_MATCH {}", file.name()));
        }
        if file.syntax() != "proto3" {
            problems.push(format!("SYNTAX_SPECIFIED {}", file.name()));
        }
        file.message_type.iter().for_each(|message| of_message(message, &mut problems));
        file.enum_type.iter().for_each(|one| of_enum(one, &mut problems));
        file.service.iter().for_each(|service| of_service(service, &mut used, &mut problems));
    }
    problems
}

fn current() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap()
}

#[test]
fn names_are_those_that_generated_code_relies_on() {
    let set = current();
    let files = set.file.iter().filter(|file| file.package() == "countersign.v1").count();
    assert!(files >= 3, "{files} files");
    assert_eq!(lint(&set), Vec::<String>::new());
}

#[test]
fn each_broken_rule_is_found() {
    type Change = fn(&mut prost_types::FileDescriptorProto);
    let changes: [(&str, Change); 9] = [
        ("PACKAGE_DIRECTORY_MATCH", |file| file.package = Some("countersign.v2".to_owned())),
        ("MESSAGE_PASCAL_CASE", |file| file.message_type[0].name = Some("append".to_owned())),
        ("FIELD_LOWER_SNAKE_CASE", |file| {
            file.message_type.iter_mut().find(|m| !m.field.is_empty()).unwrap().field[0].name =
                Some("camelCase".to_owned());
        }),
        ("ENUM_VALUE_PREFIX", |file| {
            file.enum_type[0].value[1].name = Some("COMMITTED".to_owned());
        }),
        ("ENUM_ZERO_VALUE_SUFFIX", |file| file.enum_type[0].value.swap(0, 1)),
        ("SERVICE_SUFFIX", |file| file.service[0].name = Some("Log".to_owned())),
        ("RPC_REQUEST_STANDARD_NAME", |file| {
            file.service[0].method[0].name = Some("Add".to_owned());
        }),
        ("RPC_RESPONSE_STANDARD_NAME", |file| {
            file.service[0].method[0].output_type = Some(".countersign.v1.Inclusion".to_owned());
        }),
        ("RPC_REQUEST_RESPONSE_UNIQUE", |file| {
            let twice = file.service[0].method[0].clone();
            file.service[0].method.push(twice);
        }),
    ];
    for (rule, change) in changes {
        let mut set = current();
        let log = |file: &&mut prost_types::FileDescriptorProto| {
            file.service.iter().any(|service| service.name() == "LogService")
        };
        change(set.file.iter_mut().find(log).unwrap());
        let problems = lint(&set);
        assert!(problems.iter().any(|p| p.starts_with(rule)), "{rule} not found: {problems:?}");
    }
}

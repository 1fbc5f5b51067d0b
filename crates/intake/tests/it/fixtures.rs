//! The logs in `tests/evaldata`, and how tests look at imports.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use intake::{
    Code, Evaluation, Import, NoFolder, Options, Outcome, Refusal, import, import_folder,
};
use json::{Rules, Value};

/// A path below `tests/evaldata`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/evaldata").join(name)
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A JSON document below `tests/evaldata`.
pub(crate) fn document(name: &str) -> Value {
    json::parse(&bytes(name), Rules::LOG).unwrap()
}

/// The only file of this ending in a folder.
pub(crate) fn only(folder: &str, ending: &str) -> String {
    let files = std::fs::read_dir(path(folder)).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(ending));
    assert_eq!(names.len(), 1, "{folder}");
    format!("{folder}/{}", names[0])
}

/// All files of a folder.
pub(crate) fn folder(name: &str) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(path(name)).unwrap().map(Result::unwrap);
    files
        .filter(|file| file.file_type().unwrap().is_file())
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect()
}

/// Imports a path as a user would: a folder, or a file with those beside it.
pub(crate) fn import_path(name: &str, options: &Options) -> Import {
    let path = path(name);
    if path.is_dir() {
        return import_folder(&folder(name), options);
    }
    let (parent, file) = name.rsplit_once('/').unwrap();
    import(Cursor::new(bytes(name)), file, &folder(parent), options)
}

/// Imports bytes that stand alone.
pub(crate) fn import_bytes(bytes: &[u8]) -> Import {
    import_with(bytes, &Options::default())
}

pub(crate) fn import_with(bytes: &[u8], options: &Options) -> Import {
    import(Cursor::new(bytes), "log", &NoFolder, options)
}

/// The only evaluation.
pub(crate) fn evaluation(import: &Import) -> &Evaluation {
    match import.outcomes.as_slice() {
        [Outcome::Read(evaluation)] => evaluation,
        other => panic!("one evaluation was expected: {:?}", other.first().map(Outcome::refusal)),
    }
}

/// The only refusal.
pub(crate) fn refusal(import: &Import) -> &Refusal {
    match import.outcomes.as_slice() {
        [Outcome::Refused(refusal)] => refusal,
        _ => panic!("a refusal was expected: {}", import.to_json().to_text()),
    }
}

#[track_caller]
pub(crate) fn assert_refused(import: &Import, code: Code) {
    let refusal = refusal(import);
    assert_eq!(refusal.code, code, "{refusal:?}");
    assert_eq!(import.exit(), 2);
    assert!(import.evaluations().next().is_none());
}

/// Asserts the codes raised, sorted, and the exit status.
#[track_caller]
pub(crate) fn assert_flags(import: &Import, flags: &[&str], exit: u8) {
    let evaluation = evaluation(import);
    let raised: Vec<&str> = evaluation.flags.keys().map(|code| code.as_str()).collect();
    assert_eq!(raised, flags, "{:#?}", evaluation.findings);
    assert_eq!(import.exit(), exit);
}

/// Lets `change` work on the value at a path of member names and indices.
pub(crate) fn edit(value: &mut Value, path: &[&str], change: impl FnOnce(&mut Value)) {
    let Some((first, rest)) = path.split_first() else { return change(value) };
    match value {
        Value::Object(object) => {
            let mut member = object.get(first).cloned().unwrap_or(Value::Null);
            edit(&mut member, rest, change);
            object.insert(*first, member);
        }
        Value::Array(elements) => {
            edit(&mut elements[first.parse::<usize>().unwrap()], rest, change);
        }
        _ => panic!("nothing at {first}"),
    }
}

pub(crate) fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    edit(value, path, |value| *value = new.into());
}

pub(crate) fn remove(value: &mut Value, path: &[&str], name: &str) {
    edit(value, path, |value| {
        let Value::Object(object) = value else { panic!("no object") };
        object.remove(name).unwrap();
    });
}

/// A value from JSON text.
pub(crate) fn value(text: &str) -> Value {
    json::parse(text.as_bytes(), Rules::LOG).unwrap()
}

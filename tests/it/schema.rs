//! What `--json` prints, against `docs/schema`: whatever any test of this binary makes the program
//! print is checked here, member by member. Those who read it may be less strict: members may be
//! added later.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::help::leaves;
use crate::support::{World, copy_folder, evaldata, files, finish};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

/// The schemas by name, as they are published.
fn published() -> BTreeMap<String, Value> {
    let schemas = files(&folder()).into_iter().map(|path| {
        let text = fs::read(&path).unwrap();
        let schema = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        assert_eq!(path.extension(), Some(OsStr::new("json")), "{path:?}");
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), schema)
    });
    schemas.collect()
}

/// Lets no member pass that the schema doesn't describe.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(elements) => elements.iter_mut().for_each(close),
        _ => {}
    }
}

fn validators() -> &'static BTreeMap<String, Validator> {
    static VALIDATORS: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
    VALIDATORS.get_or_init(|| {
        let closed = published().into_iter().map(|(name, mut schema)| {
            close(&mut schema);
            let validator = jsonschema::validator_for(&schema);
            let validator = validator.unwrap_or_else(|e| panic!("{name}.json: {e}"));
            (name, validator)
        });
        closed.collect()
    })
}

/// The command that these arguments name, as the files of schemas are called.
fn name(arguments: &[&OsStr]) -> Option<String> {
    let words = arguments.iter().filter_map(|word| word.to_str());
    let words: Vec<&str> = words.filter(|word| !word.starts_with('-')).take(2).collect();
    let known = |name: &String| validators().contains_key(name);
    let one = words.first().map(|word| (*word).to_owned());
    Some(words.join("-")).filter(known).or_else(|| one.filter(known))
}

/// Checks what a command printed under `--json`, and says what is wrong with it. A command that
/// has no schema yet is left to the test that lists them.
pub(crate) fn check(arguments: &[&OsStr], printed: &str, code: Option<i32>) -> Result<(), String> {
    if printed.is_empty() || !arguments.iter().any(|word| *word == "--json") {
        return Ok(());
    }
    // Help and versions, which are asked for in words, come in words.
    if code == Some(0) && arguments.iter().any(|word| *word == "--help" || *word == "--version") {
        return Ok(());
    }
    // A service says first where it is, and may end with an error later: one document a line.
    let mut documents = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
    let all: Result<Vec<Value>, _> = documents.by_ref().collect();
    let all = all.map_err(|e| format!("it prints no JSON document under --json: {e}"))?;
    let most = match name(arguments).as_deref() {
        Some("serve" | "witness") => 2,
        // One for each pass.
        Some("monitor") => usize::MAX,
        _ => 1,
    };
    if all.is_empty() || all.len() > most {
        return Err(format!("it prints {} documents under --json", all.len()));
    }
    let last = all.len() - 1;
    for (at, document) in all.iter().enumerate() {
        check_document(arguments, document, if at == last { code } else { Some(0) })?;
    }
    Ok(())
}

fn check_document(arguments: &[&OsStr], document: &Value, code: Option<i32>) -> Result<(), String> {
    let error = document.get("error").is_some() && document.get("findings").is_none();
    let Some(name) = (if error { Some("error".to_owned()) } else { name(arguments) }) else {
        return Ok(());
    };
    if error && code == Some(0) {
        return Err("an error with exit code 0".to_owned());
    }
    let problems = validators()[&name]
        .iter_errors(document)
        .map(|problem| format!("\n  at \"{}\": {problem}", problem.instance_path()));
    let problems: String = problems.collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("it does not fit docs/schema/{name}.json:{problems}"))
}

#[test]
fn every_command_has_a_schema_and_every_schema_a_command() {
    let mut expected: BTreeSet<String> =
        leaves().into_iter().map(|words| words.join("-")).collect();
    expected.insert("error".to_owned());
    let published = published();
    let found: BTreeSet<String> = published.keys().cloned().collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let surplus: Vec<_> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "docs/schema lacks {missing:?} and has no command for {surplus:?}; write NAME.json by hand, \
         like docs/schema/keygen.json, for what NAME --json prints"
    );
    for (name, schema) in &published {
        if let Err(error) = jsonschema::meta::validate(schema) {
            panic!("{name}.json is no JSON Schema: {error}");
        }
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["$id"], json!(format!("urn:countersign:schema:{name}")));
        assert!(schema["title"].as_str().is_some_and(|title| !title.is_empty()), "{name}");
    }
}

#[test]
fn documents_that_do_not_fit_are_found() {
    let world = World::new();
    let command = || world.command(["keygen", "a.example"]);
    let good: Value = serde_json::from_str(&finish(command()).stdout).unwrap();
    let binding = command();
    let arguments: Vec<&OsStr> = binding.get_args().collect();
    let check = |document: &Value, code| check(&arguments, &document.to_string(), Some(code));
    assert_eq!(check(&good, 0), Ok(()));
    for (member, value) in [
        ("name", Value::Null),
        ("passphrase", json!("yes")),
        ("undescribed", json!(1)),
        ("vkey", json!(["a"])),
    ] {
        let mut changed = good.clone();
        changed[member] = value;
        let problem = check(&changed, 0).unwrap_err();
        assert!(problem.contains("keygen.json") && problem.contains(member), "{problem}");
    }
    let mut less = good.clone();
    less.as_object_mut().unwrap().remove("vault");
    check(&less, 0).unwrap_err();
    check(&json!([good]), 0).unwrap_err();
    assert_eq!(check(&json!({"error": "x", "next": "y"}), 2), Ok(()));
    check(&json!({"error": "x"}), 0).unwrap_err();
    check(&json!({"error": 1}), 2).unwrap_err();
    super::schema::check(&arguments, "in words", Some(0)).unwrap_err();
}

/// Answers of every shape; most of them are checked by [`finish`] alone, for their schemas.
#[test]
fn answers_of_every_shape_fit_their_schemas() {
    let world = World::new();
    world.run(["completions", "bash"]).good();
    world.run(["man"]).good();
    world.run(["man", "--out", "pages"]).good();
    let run = |path: &str| evaldata(path).into_os_string();
    let lm = run("real/every_eval_ever-repo/lm_eval/results_2026-01-21T03-44-18.458309.json");
    let helm = "real/every_eval_ever-repo/helm/\
                mmlu-subject=philosophy,method=multiple_choice_joint,model=openai_gpt2";
    let items = run("rivals/items.jsonl");
    world.run([OsStr::new("import"), &lm]).exits(2);
    world.run([OsStr::new("import"), &run(helm)]).exits(0);
    let both = [OsStr::new("import"), &run("rivals/lab-a.eval"), OsStr::new("--items"), &items];
    world.run(both).exits(0);
    let other = run("inspect-converted/arithmetic_match.original.eval");
    world.run([OsStr::new("import"), &other, OsStr::new("--items"), &items]).exits(1);
    world.write("broken.eval", "PK\u{3}\u{4}");
    world.run(["import", "broken.eval"]).exits(2);
    world.run(["import", "absent.eval"]).exits(2);

    let key = world.keygen("lab-a");
    world.write("run.eval", fs::read(evaldata("rivals/lab-a.eval")).unwrap());
    let server = world.serve("log", &["lab-a.vkey"]);
    let log = ["--log-key", "log/log.vkey"];
    let commit = ["commit", "run.eval", "--key", &key, "--server", &server.grpc, "--no-agreement"];
    world.run([&commit[..], &log].concat()).good();
    let open = ["open", "run.countersign", "--items", "all", "--field", "score:match", "--field"];
    let rest =
        ["output", "--total", "match", "--subject", "model", "--key", &key, "--no-agreement"];
    world.run([&open[..], &rest, &["--out", "all.opening"]].concat()).good();
    let verify = |inputs: &[&str]| world.run([&["verify"], inputs, &log[..]].concat());
    let everything = ["run.countersign", "all.opening", "run.tlog-proof", &server.http, "--server"];
    verify(&[&everything[..], &[&server.grpc, "--keep", "copy"]].concat()).good();
    verify(&["run.countersign", "--party", "lab-a.vkey"]).good();
    // What does not hold: a flipped tile, a changed opening, a receipt of something else.
    copy_folder(&world.path("copy"), &world.path("flipped"));
    let tile =
        files(&world.path("flipped")).into_iter().find(|f| f.to_str().unwrap().contains("entries"));
    let mut bytes = fs::read(tile.as_ref().unwrap()).unwrap();
    bytes[9] ^= 1;
    fs::write(tile.unwrap(), bytes).unwrap();
    verify(&["flipped"]).bad();
    // 01 ‖ "C" becomes 01 ‖ "I".
    let opening = String::from_utf8(world.read("all.opening")).unwrap();
    world.write("changed.opening", opening.replacen("\"AUM=\"", "\"AUk=\"", 1));
    verify(&["run.countersign", "changed.opening"]).bad();
    let receipt = String::from_utf8(world.read("run.tlog-proof")).unwrap();
    world.write("cut.tlog-proof", &receipt[..receipt.len() / 2]);
    verify(&["run.countersign", "cut.tlog-proof"]).bad();
    verify(&["absent.countersign"]).exits(2);
    server.stop();
}

//! The server's own log: that machines can read it, that a refusal can be found in it, and that
//! it holds no secret even when it says all it can.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::parties::{Voice, nonce, withdrawal};
use crate::service::{append, register, try_append};
use crate::support::{World, evaldata, finish, list, within};
use crate::tls::Lands;

/// Every line of a log in JSON.
fn lines(written: &str) -> Vec<Value> {
    let line = |line: &str| -> Value {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
    };
    written.lines().map(line).collect()
}

#[test]
fn a_refusal_is_found_in_the_log_by_the_number_that_the_caller_has() {
    let world = World::new();
    let party = world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let mut command = world.serve_command("log", &[&party]);
    command.args(["--log-format", "json"]);
    let server = crate::support::Server::start(command, &world.path("log.stderr")).unwrap();
    let id = within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        let intent = a.intent();
        append(&mut log, &intent).await;
        let early = a.draft_with(|common| common.number = 1, withdrawal(intent.id()));
        let status = try_append(&mut log, &early).await.unwrap_err();
        status.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned()
    });
    let lines = lines(&server.written());
    let line = lines.iter().find(|line| line["span"]["id"] == id.as_str());
    let line = line.unwrap_or_else(|| panic!("no line with {id} in {lines:#?}"));
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "refused");
    assert_eq!(line["reason"], "NUMBER_NOT_ABOVE");
    assert_eq!(line["code"], "ABORTED");
    assert_eq!(line["span"]["method"], "Append");
    assert_eq!(line["span"]["peer"], "address:127.0.0.1");
    assert!(line["timestamp"].is_string());
    server.stop();
}

/// What must never be seen, each with a name for the failure.
#[derive(Default)]
struct Canaries(Vec<(String, String)>);

impl Canaries {
    fn text(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        assert!(text.len() >= 6, "{name} is too short to be told from noise: {text:?}");
        self.0.push((name.to_owned(), text));
    }

    /// Bytes in the ways in which programs print them.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.text(name, hex::encode(bytes));
        self.text(name, hex::encode_upper(bytes));
        self.text(name, STANDARD.encode(bytes).trim_end_matches('='));
        let list: Vec<String> = bytes[..12].iter().map(u8::to_string).collect();
        self.text(name, list.join(", "));
        let list: Vec<String> = bytes[..12].iter().map(|b| format!("{b:x}")).collect();
        self.text(name, list.join(", "));
    }

    /// The body of a PEM file, line by line, and the Ed25519 seed in it if it is open.
    fn pem(&mut self, name: &str, pem: &str) {
        let body: Vec<_> = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for line in &body {
            self.text(name, *line);
        }
        let der = STANDARD.decode(body.concat()).unwrap();
        let open = pem.contains("BEGIN PRIVATE KEY");
        if open {
            // RFC 8410 section 7: the seed is an OCTET STRING within an OCTET STRING.
            let at = der.windows(4).position(|w| w == [4, 34, 4, 32]).expect("an Ed25519 key") + 4;
            self.bytes(name, &der[at..at + 32]);
        }
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, text: &str) {
        for (name, canary) in &self.0 {
            assert!(!text.contains(canary.as_str()), "{place} shows {name}: {canary:?}");
        }
    }
}

#[test]
fn nothing_secret_is_in_any_output_even_when_everything_is_logged() {
    let lands = Lands::new();
    let world = &lands.world;
    world.write_private("pass", "correct horse battery\n");
    world.write_private("vault-pass", "staple of the vault\n");
    world.write_private("wrong-pass", "wrong horse entirely\n");
    world.write("authority.pem", lands.authority.pem());
    world.write("a.pem", &lands.a.certificate);
    world.write_private("a.key", &lands.a.key);
    let keygen = ["keygen", "lab-a.example", "--out", "lab-a", "--passphrase-file", "pass"];
    let made = world.run(keygen.into_iter().chain(["--vault-passphrase-file", "vault-pass"]));
    made.exits(0);
    let party = "[[party]]\nname = \"lab-a.example\"\nvkey = \"lab-a.vkey\"\n";
    let telemetry = "[telemetry]\nlog_format = \"json\"\nlog_filter = \"trace\"\n";
    let server = world.serve_as(&format!("{telemetry}{}{party}", lands.config()));
    world.write("log.vkey", format!("{}\n", server.key));

    let log = evaldata("rivals/lab-a.eval");
    let commit = |pass: &str| {
        world.run([
            "commit",
            log.to_str().unwrap(),
            "--key",
            "lab-a.key",
            "--passphrase-file",
            pass,
            "--vault-passphrase-file",
            "vault-pass",
            "--server",
            &server.grpc,
            "--tls-ca",
            "authority.pem",
            "--tls-cert",
            "a.pem",
            "--tls-key",
            "a.key",
            "--log-key",
            "log.vkey",
            "--no-agreement",
            "--out",
            "run.countersign",
        ])
    };
    let wrong = commit("wrong-pass");
    wrong.exits(2);
    let committed = commit("pass");
    committed.exits(0);
    let open = ["open", "run.countersign", "--items", "0-9", "--field", "output", "--no-agreement"];
    let open = open.into_iter().chain(["--key", "lab-a.key", "--passphrase-file", "pass"]);
    let open = open.chain(["--vault-passphrase-file", "vault-pass", "--out", "some.opening"]);
    let opened = world.run(open);
    opened.exits(0);
    let verified = world.run(["verify", "run.countersign", "--log-key", "log.vkey"]);
    verified.exits(0);
    // A statement whose content is known to this test, and one that is refused.
    within(async {
        let mut log = lands.log(&server, &lands.a).await;
        let mut a = register(&mut log, &server, "a.example").await;
        let intent = a.intent();
        append(&mut log, &intent).await;
        let early = a.draft_with(|common| common.number = 1, withdrawal(intent.id()));
        try_append(&mut log, &early).await.unwrap_err();
    });

    let mut canaries = Canaries::default();
    canaries.text("the key's passphrase", "correct horse battery");
    canaries.text("the vault's passphrase", "staple of the vault");
    canaries.text("a wrong passphrase", "wrong horse entirely");
    let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
    canaries.pem("the log's key", &read("countersign-data/log.key"));
    canaries.pem("the server's TLS key", &read("server.key"));
    canaries.pem("a client's TLS key", &read("a.key"));
    canaries.pem("the lab's key", &read("lab-a.key"));
    let opening = json::parse(&world.read("some.opening"), json::Rules::LOG).unwrap();
    let mut values = 0;
    for item in list(&opening, "items") {
        for field in list(item, "fields") {
            let Some(salt) = field.get("salt").and_then(json::Value::as_str) else { continue };
            canaries.text("a salt", salt);
            let value = field.get("value").and_then(json::Value::as_str).unwrap();
            let value = STANDARD.decode(value).unwrap();
            let text = String::from_utf8_lossy(value.get(1..).unwrap_or_default()).into_owned();
            if text.len() > 12 {
                canaries.text("an output", text);
                values += 1;
            }
        }
    }
    assert!(values > 0, "no output was opened");
    for outcome in [&made, &wrong, &committed, &opened, &verified] {
        canaries.are_not_in("a command", &outcome.to_string());
    }
    // Not secret, but none of the log's business: what requests say.
    canaries.bytes("a nonce", &nonce("a.example 1"));
    for line in fs::read_to_string(evaldata("rivals/items.jsonl")).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        canaries.text("an item", row["input"].as_str().unwrap());
    }
    let log = server.log_file();
    server.stop();
    let written = fs::read_to_string(log).unwrap();
    let all = lines(&written);
    assert!(all.iter().any(|line| line["level"] == "TRACE"), "it did not say all it can");
    canaries.are_not_in("the server's log", &written);
    // The same words are found where they are: the search itself works.
    let found = std::panic::catch_unwind(|| canaries.are_not_in("the file", &read("server.key")));
    assert!(found.is_err());
}

#[test]
fn a_filter_that_is_none_stops_the_start() {
    let world = World::new();
    let outcome = finish(world.configured("[telemetry]\nlog_filter = \"server=loud\"\n"));
    outcome.exits(2).says(&["log filter \"server=loud\""]);
}

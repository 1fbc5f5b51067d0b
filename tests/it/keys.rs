//! Key files and passphrases, through the program and beside OpenSSL: what `keygen` makes, what
//! `key` says and changes, where a passphrase may come from, and that no secret is ever shown.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::Value;
use tlog::{KeyKind, KeyName, PublicKey, VerifierKey};

use crate::support::{Outcome, World, evaldata, files, finish, text};

const PASSPHRASE: &str = "canary words of a passphrase";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Writes a file that only its owner may read.
pub(crate) fn secret(world: &World, name: &str, content: &str) -> String {
    world.write(name, content);
    fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    name.to_owned()
}

fn flag(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_else(|| panic!("no flag {name}"))
}

/// `openssl` with these words, or `None` where it isn't installed.
fn openssl(world: &World, arguments: &[&str]) -> Option<Outcome> {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl is not installed");
        return None;
    }
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(world.path(""));
    Some(finish(command))
}

#[test]
fn keygen_writes_private_files_and_nothing_else() {
    let world = World::new();
    let said = world.run(["keygen", "lab-a.example"]).good();
    assert!(!flag(&said, "passphrase") && !flag(&said, "vault_passphrase"));
    let names: Vec<String> = fs::read_dir(world.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut names: Vec<&str> =
        names.iter().map(|name| name.strip_prefix("lab-a.example.").unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["key", "recovery.key", "recovery.vkey", "vault", "vault.key", "vkey"]);
    for path in files(&world.path("")) {
        let public = path.extension().is_some_and(|e| e == "vkey");
        assert_eq!(mode(&path) & 0o077 != 0, public, "{}", path.display());
    }
    // Nothing of it is ever written over, not even half of it.
    let before: Vec<_> =
        files(&world.path("")).iter().map(|path| fs::read(path).unwrap()).collect();
    for kept in ["key", "vkey", "recovery.key", "recovery.vkey", "vault.key"] {
        let moved = world.path("moved");
        fs::create_dir(&moved).unwrap();
        for other in ["key", "vkey", "recovery.key", "recovery.vkey", "vault.key", "vault"] {
            if other != kept {
                let name = format!("lab-a.example.{other}");
                fs::rename(world.path(&name), moved.join(&name)).unwrap();
            }
        }
        let name = format!("lab-a.example.{kept}");
        world.run(["keygen", "lab-a.example"]).exits(2).says(&[&name, "not overwritten", "--out"]);
        assert_eq!(fs::read_dir(world.path("")).unwrap().count(), 2);
        for entry in fs::read_dir(&moved).unwrap() {
            let entry = entry.unwrap();
            fs::rename(entry.path(), world.path(entry.file_name())).unwrap();
        }
        fs::remove_dir(&moved).unwrap();
    }
    let after: Vec<_> = files(&world.path("")).iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn openssl_reads_our_keys_and_we_read_its() {
    let world = World::new();
    let pass = secret(&world, "pass", PASSPHRASE);
    world.run(["keygen", "a.example"]).good();
    world.run(["keygen", "b.example", "--passphrase-file", &pass]).good();
    for (name, form) in [("a.example", "PRIVATE KEY"), ("b.example", "ENCRYPTED PRIVATE KEY")] {
        let pem = String::from_utf8(world.read(&format!("{name}.key"))).unwrap();
        assert!(pem.starts_with(&format!("-----BEGIN {form}-----\n")), "{pem}");
        let key = format!("{name}.key");
        let arguments = ["pkey", "-in", &key, "-passin", "file:pass", "-pubout"];
        let Some(public) = openssl(&world, &arguments) else { return };
        // SubjectPublicKeyInfo of RFC 8410: twelve bytes, then the key.
        let body: String = public.stdout.lines().filter(|line| !line.starts_with('-')).collect();
        let theirs = STANDARD.decode(&body).unwrap_or_else(|e| panic!("{e}\n{public}"));
        let ours = world.read(&format!("{name}.vkey"));
        let ours = VerifierKey::parse(std::str::from_utf8(&ours).unwrap().trim_end()).unwrap();
        assert_eq!(theirs[12..], *ours.public().as_bytes(), "{name}");
    }
    openssl(&world, &["pkey", "-in", "b.example.key", "-passin", "pass:wrong"]).unwrap().exits(1);

    // The other way round, with OpenSSL's own choice of derivation and cipher.
    let make =
        ["genpkey", "-algorithm", "ed25519", "-aes-192-cbc", "-pass", "file:pass", "-out", "c.key"];
    openssl(&world, &make).unwrap().exits(0);
    let arguments = [
        "pkey",
        "-in",
        "c.key",
        "-passin",
        "file:pass",
        "-pubout",
        "-outform",
        "DER",
        "-out",
        "c.der",
    ];
    openssl(&world, &arguments).unwrap().exits(0);
    let public = PublicKey::from_bytes(world.read("c.der")[12..].try_into().unwrap()).unwrap();
    let name = KeyName::parse("c.example").unwrap();
    world.write("c.vkey", VerifierKey::new(name, KeyKind::Ed25519, public).to_string());
    fs::set_permissions(world.path("c.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let said = world.run(["key", "show", "c.key"]).good();
    assert!(flag(&said, "passphrase") && flag(&said, "private"));
    let said = world.run(["key", "passwd", "c.key", "--passphrase-file", &pass, "--remove"]).good();
    assert!(!flag(&said, "passphrase"));
    assert!(world.read("c.key").starts_with(b"-----BEGIN PRIVATE KEY-----"));
    assert!(!flag(&world.run(["key", "show", "c.key"]).good(), "passphrase"));
}

#[test]
fn key_show_says_what_a_file_is() {
    let world = World::new();
    let said = world.run(["keygen", "a.example"]).good();
    let shown = world.run(["key", "show", "a.example.key"]).good();
    assert_eq!(text(&shown, "vkey"), text(&said, "vkey"));
    assert_eq!(text(&shown, "name"), "a.example");
    assert!(flag(&shown, "private") && !flag(&shown, "passphrase"));
    assert!(!flag(&world.run(["key", "show", "a.example.vkey"]).good(), "private"));
    world
        .run(["key", "show", "a.example.vault.key"])
        .exits(2)
        .says(&["as the key file of a vault"]);
    world.run(["key", "show", "none.key"]).exits(2).says(&["none.key: No such file"]);
}

#[test]
fn a_passphrase_is_changed_and_the_wrong_one_named() {
    let world = World::new();
    let old = secret(&world, "old", PASSPHRASE);
    let new = secret(&world, "new", "another passphrase\n");
    world.run(["keygen", "a.example", "--passphrase-file", &old]).good();
    let passwd = |old: &str, new: &str| {
        world.run([
            "key",
            "passwd",
            "a.example.key",
            "--passphrase-file",
            old,
            "--new-passphrase-file",
            new,
        ])
    };
    let before = world.read("a.example.key");
    passwd(&new, &old).exits(2).says(&["a.example.key: does not open: wrong passphrase", "backup"]);
    let short = secret(&world, "short", "seven77\n");
    passwd(&old, &short).exits(2).says(&["fewer than 8 characters", "random words"]);
    assert_eq!(world.read("a.example.key"), before, "a refusal changed the file");
    passwd(&old, &new).good();
    passwd(&old, &old).exits(2).says(&["wrong passphrase"]);
    passwd(&new, &new).good();
    // The recovery key has its own file, still under the first.
    let recovery =
        ["key", "passwd", "a.example.recovery.key", "--remove", "--passphrase-file", &old];
    world.run(recovery).good();
    assert_eq!(mode(&world.path("a.example.recovery.key")), 0o600);
}

#[test]
fn a_passphrase_file_must_be_private_and_one_line() {
    let world = World::new();
    let old = secret(&world, "old", PASSPHRASE);
    world.run(["keygen", "a.example", "--passphrase-file", &old]).good();
    let show = |pass: &str| {
        world.run(["key", "passwd", "a.example.key", "--remove", "--passphrase-file", pass])
    };
    for (content, words) in [
        ("", &["holds no passphrase", "in one line"][..]),
        ("\n", &["holds no passphrase"]),
        ("two\nlines\n", &["has several lines"]),
        (&"x".repeat(1_025), &["is larger than 1024 bytes"]),
    ] {
        show(&secret(&world, "wrong", content)).exits(2).says(words).says(&["wrong: "]);
    }
    fs::write(world.path("wrong"), b"\xff\xfe long enough").unwrap();
    show("wrong").exits(2).says(&["wrong: is not UTF-8 text"]);
    fs::set_permissions(world.path("old"), fs::Permissions::from_mode(0o644)).unwrap();
    show("old").exits(2).says(&["old: holds a secret, but others may access it", "chmod 600"]);
    show("absent").exits(2).says(&["absent: No such file"]);
    // A line's end, of either kind, is none of it.
    show(&secret(&world, "dos", &format!("{PASSPHRASE}\r\n"))).good();
}

#[test]
fn a_passphrase_comes_from_a_descriptor_or_a_file_in_the_environment() {
    let world = World::new();
    let pass = secret(&world, "pass", PASSPHRASE);
    let passwd = ["key", "passwd", "a.example.key", "--new-passphrase-file", "pass"];
    let new_key = || {
        for path in files(&world.path("")) {
            if path != world.path("pass") {
                fs::remove_file(path).unwrap();
            }
        }
        let _ = fs::remove_dir_all(world.path("a.example.vault"));
        world.run(["keygen", "a.example", "--passphrase-file", &pass]).good();
    };
    new_key();
    for descriptor in ["3<pass", "3< <(cat pass)"] {
        let line = format!(
            "exec {descriptor}; exec '{}' {} --passphrase-file /dev/fd/3",
            env!("CARGO_BIN_EXE_countersign"),
            passwd.join(" ")
        );
        let mut command = Command::new("bash");
        command.args(["-c", &line]).current_dir(world.path("")).stdin(Stdio::null());
        finish(command).exits(0);
    }
    let with = |variable: &str| {
        let mut command = world.command(passwd);
        command.env("COUNTERSIGN_PASSPHRASE_FILE", variable);
        finish(command)
    };
    with("pass").good();
    with("absent").exits(2).says(&["absent: No such file"]);
    // A variable that is empty is not set; nobody can be asked here.
    let advice = ["no terminal to ask on", "--passphrase-file or COUNTERSIGN_PASSPHRASE_FILE"];
    with("").exits(2).says(&advice);
    world.run(passwd).exits(2).says(&advice);
    world.run(["keygen", "b.example", "--passphrase"]).exits(2).says(&advice);
    assert!(!world.path("b.example.key").exists());
    world.run(["keygen", "b.example", "--vault-passphrase"]).exits(2).says(&[
        "the passphrase of the vault is needed",
        "--vault-passphrase-file or COUNTERSIGN_VAULT_PASSPHRASE_FILE",
    ]);
}

/// Runs on a terminal and types each answer once its prompt is there; all that is shown.
fn typed(world: &World, line: &str, answers: &[(&str, &str)]) -> Option<(i32, String)> {
    let version = Command::new("script").arg("--version").output();
    if !version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("util-linux")) {
        eprintln!("skipped: a terminal needs `script` of util-linux");
        return None;
    }
    let line = format!("'{}' {line}", env!("CARGO_BIN_EXE_countersign"));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(world.path(""));
    command
        .env("SHELL", "/bin/sh")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut byte) = (Vec::new(), [0]);
    let mut read = 0;
    for (prompt, answer) in answers {
        while !String::from_utf8_lossy(&shown[read..]).contains(prompt) {
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
            shown.push(byte[0]);
        }
        read = shown.len();
        keyboard.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    drop(keyboard);
    Some((child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&shown).into_owned()))
}

#[test]
fn a_passphrase_is_asked_for_on_a_terminal_and_a_new_one_twice() {
    let world = World::new();
    let twice = [("New passphrase of the key", PASSPHRASE), ("once more", PASSPHRASE)];
    let differ = [("New passphrase of the key", PASSPHRASE), ("once more", "another one")];
    let Some((code, shown)) = typed(&world, "keygen a.example --passphrase", &differ) else {
        return;
    };
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("the two passphrases differ"), "{shown}");
    assert!(!world.path("a.example.key").exists());
    let (code, shown) = typed(&world, "keygen a.example --passphrase", &twice).unwrap();
    assert_eq!(code, 0, "{shown}");
    let remove = "key passwd a.example.key --remove";
    let (code, shown) = typed(&world, remove, &[("Passphrase of the key", "wrong words")]).unwrap();
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("wrong passphrase"), "{shown}");
    let (code, shown) = typed(&world, remove, &[("Passphrase of the key", PASSPHRASE)]).unwrap();
    assert_eq!(code, 0, "{shown}");
    assert!(!flag(&world.run(["key", "show", "a.example.key"]).good(), "passphrase"));
}

/// What must stand in no output: the spellings of these bytes.
fn spellings(bytes: &[u8]) -> Vec<String> {
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers = format!("{bytes:?}");
    vec![
        hexadecimal.to_uppercase(),
        hexadecimal,
        STANDARD.encode(bytes).trim_end_matches('=').to_owned(),
        numbers.trim_matches(['[', ']']).to_owned(),
    ]
}

#[test]
fn no_secret_reaches_any_output_or_log() {
    let world = World::new();
    world.write("run.eval", fs::read(evaldata("rivals/lab-a.eval")).unwrap());
    let pass = secret(&world, "pass", PASSPHRASE);
    let mut said = String::new();
    let run = |arguments: &[&str], said: &mut String| {
        let mut command = world.command(arguments);
        command.env("RUST_LOG", "trace");
        let outcome = finish(command);
        said.push_str(&format!("{}{}", outcome.stdout, outcome.stderr));
        outcome.code()
    };
    let keygen = ["keygen", "lab-a.example", "--passphrase-file", &pass];
    assert_eq!(run(&keygen, &mut said), Some(0));
    let mut serve = world.serve_command("log", &["lab-a.example.vkey"]);
    serve.env("RUST_LOG", "trace");
    let server = crate::support::Server::start(serve, &world.path("log.stderr")).unwrap();
    let party = ["--key", "lab-a.example.key", "--passphrase-file", &pass];
    let log = ["--server", &server.grpc, "--log-key", "log/log.vkey", "--no-agreement"];
    let commit = [&["commit", "run.eval"][..], &party, &log].concat();
    assert_eq!(run(&commit, &mut said), Some(0));
    // Errors and listings show no more.
    let wrong = secret(&world, "wrong", "canary words, wrong ones");
    let key = ["--key", "lab-a.example.key"];
    for arguments in [
        &["vault", "list"][..],
        &["commit", "absent.eval", "--passphrase-file", &wrong],
        &["commit", "run.eval", "--passphrase-file", &wrong],
        &["vault", "export", "--record", "00000000", "--out", "x"],
    ] {
        let arguments = match arguments[0] {
            "commit" => [arguments, &key, &log].concat(),
            _ => [arguments, &key].concat(),
        };
        run(&arguments, &mut said);
    }
    run(&["key", "show", "lab-a.example.key"], &mut said);
    run(&["key", "passwd", "lab-a.example.key", "--remove", "--passphrase-file", &pass], &mut said);
    server.stop();
    said.push_str(&String::from_utf8(world.read("log.stderr")).unwrap());
    assert!(said.len() > 20_000, "nothing was traced: {} bytes", said.len());

    let seed = |name: &str| {
        let pem = String::from_utf8(world.read(name)).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(body).unwrap()[16..48].to_vec()
    };
    let vault_key: [u8; 32] = world.read("lab-a.example.vault.key").try_into().unwrap();
    let key = client::VaultKey::File(zeroize::Zeroizing::new(vault_key));
    let vault = client::Vault::open(&world.path("lab-a.example.vault"), key).unwrap();
    let records = vault.records().unwrap();
    assert_eq!(records.len(), 1);
    let mut secrets = vec![PASSPHRASE.to_owned(), "canary".to_owned()];
    for bytes in [
        seed("lab-a.example.key"),
        seed("log/log.key"),
        vault_key.to_vec(),
        vault.party().unwrap().sealing.to_vec(),
        records[0].secret.to_vec(),
        records[0].item_key.to_vec(),
    ] {
        assert_eq!(bytes.len(), 32);
        secrets.extend(spellings(&bytes));
    }
    // Nor what the items say.
    secrets.push("Continue the sequence".to_owned());
    for secret in secrets {
        assert!(!said.contains(&secret), "an output shows {secret:?}");
    }
}

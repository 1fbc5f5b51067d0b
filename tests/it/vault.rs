//! The vault through the program: listing, moving and shredding records, changing what opens it,
//! and doing so under kill -9.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use client::{Vault, VaultKey};
use json::Value;
use tlog::Hash;
use zeroize::Zeroizing;

use crate::keys::secret;
use crate::support::{
    Random, Server, World, copy_folder, evaldata, files, finish, list, number, text,
};

/// A folder with a party that has committed one run, and its log.
struct Committed {
    world: World,
    server: Server,
    record: String,
    intent: String,
}

const VAULT: [&str; 2] = ["--vault", "lab-a.vault"];

impl Committed {
    fn new() -> Self {
        let world = World::new();
        world.write("run.eval", fs::read(evaldata("rivals/lab-a.eval")).unwrap());
        let key = world.keygen("lab-a");
        let server = world.serve("log", &["lab-a.vkey"]);
        commit(&world, &server, &key, &[]).good();
        let listed = world.run([&["vault", "list"], &VAULT[..]].concat()).good();
        let [record] = list(&listed, "records") else { panic!("{}", listed.to_text()) };
        let (intent, record) =
            (text(record, "intent").to_owned(), text(record, "record").to_owned());
        Self { world, server, record, intent }
    }

    fn vault(&self, words: &[&str]) -> crate::support::Outcome {
        self.world.run([&["vault"], words, &VAULT[..]].concat())
    }

    fn verify(&self, files: &[&str]) -> crate::support::Outcome {
        self.world.run([&["verify"], files, &["--log-key", "log/log.vkey"][..]].concat())
    }

    fn open(&self, out: &str) -> crate::support::Outcome {
        self.world.run([
            "open",
            "run.countersign",
            "--items",
            "3,17",
            "--field",
            "score:match",
            "--key",
            "lab-a.key",
            "--no-agreement",
            "--out",
            out,
        ])
    }

    fn record_file(&self) -> std::path::PathBuf {
        self.world.path(format!("lab-a.vault/records/{}.vault", self.intent))
    }
}

fn commit(world: &World, server: &Server, key: &str, more: &[&str]) -> crate::support::Outcome {
    let commit = ["commit", "run.eval", "--key", key, "--server", &server.grpc];
    let log = ["--log-key", "log/log.vkey", "--no-agreement"];
    world.run([&commit[..], &log, more].concat())
}

#[test]
fn records_are_listed_and_described_without_any_value() {
    let committed = Committed::new();
    let shown = committed.vault(&["show", &committed.record[..8]]).good();
    assert_eq!(text(&shown, "record"), committed.record);
    assert_eq!(text(&shown, "party"), "lab-a.example");
    assert_eq!((number(&shown, "items"), number(&shown, "epochs")), (200, 1));
    let fields: Vec<_> = list(&shown, "fields").iter().filter_map(Value::as_str).collect();
    assert!(fields.contains(&"input") && fields.contains(&"score:match"), "{fields:?}");
    // By its intent as well, as whole ids or as their beginnings, but not by less than eight digits.
    assert_eq!(committed.vault(&["show", &committed.intent]).good(), shown);
    for (id, word) in [
        ("5f0c31a", "8 to 64 digits"),
        ("5F0C31AAA", "8 to 64 digits"),
        ("00000000", "has no record 00000000"),
    ] {
        committed.vault(&["show", id]).exits(2).says(&[word, "countersign vault list"]);
    }
    let plain = committed.world.run_plain(["vault", "list", "--key", "lab-a.key"]);
    plain.exits(0).says(&["lab-a.vault of lab-a.example: 1 records", &committed.record]);
    let everything = format!("{plain}{}", shown.to_text());
    assert!(!everything.contains("Continue the sequence"));
    committed.server.stop();
}

#[test]
fn a_shredded_record_stays_attested_and_shut() {
    let committed = Committed::new();
    let Committed { world, .. } = &committed;
    committed.open("before.opening").good();
    let refused = committed.vault(&["shred", &committed.record]);
    refused.exits(2).says(&["this would destroy record", "200 items", "--yes", "vault export"]);
    committed.open("still.opening").good();
    let said = committed.vault(&["shred", &committed.record, "--yes"]).good();
    assert_eq!(text(&said, "record"), committed.record);
    assert!(!committed.record_file().exists());

    // Nobody opens it again, and is told why.
    let name = format!("record {} was shredded", committed.record);
    committed.open("after.opening").exits(2).says(&[&name, "nobody can open", "vault import"]);
    assert!(!world.path("after.opening").exists());
    committed.vault(&["show", &committed.record]).exits(2).says(&[&name]);
    committed
        .vault(&["export", "--record", &committed.intent, "--out", "x"])
        .exits(2)
        .says(&[&name]);
    committed.vault(&["shred", &committed.record, "--yes"]).exits(2).says(&[&name]);
    let listed = committed.vault(&["list"]).good();
    assert!(list(&listed, "records").is_empty() && list(&listed, "leftovers").is_empty());
    assert_eq!(text(&list(&listed, "shredded")[0], "record"), committed.record);

    // What was said before stands: the attestation, and what was opened of it.
    committed.verify(&["run.countersign", "before.opening"]).good();
    committed.verify(&[&committed.server.http]).good();
    // The next run is recorded as ever.
    commit(world, &committed.server, "lab-a.key", &["--out", "second.countersign"]).good();
    committed.verify(&["second.countersign"]).good();
    assert_eq!(list(&committed.vault(&["list"]).good(), "records").len(), 1);
    committed.server.stop();
}

#[test]
fn an_exported_record_opens_from_another_vault_of_the_party() {
    let committed = Committed::new();
    let Committed { world, .. } = &committed;
    let pass = secret(world, "pass", "words for the journey");
    let export = ["export", "--record", &committed.record, "--out", "run.record"];
    let export = [&export[..], &["--export-passphrase-file", &pass]].concat();
    committed.vault(&export).good();
    committed.vault(&export).exits(2).says(&["run.record exists already", "--out"]);
    let mode = fs::metadata(world.path("run.record")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let sealed = world.read("run.record");
    assert!(sealed.starts_with(b"countersign.v1/vault\0\x01"));
    assert!(!String::from_utf8_lossy(&sealed).contains("Continue the sequence"));

    // Shredded here, it comes back from the file.
    committed.vault(&["shred", &committed.record, "--yes"]).good();
    let import = |file: &str, pass: &str| {
        committed.vault(&["import", file, "--export-passphrase-file", pass])
    };
    let wrong = secret(world, "wrong", "words for another one");
    import("run.record", &wrong).exits(2).says(&["run.record: does not open: wrong passphrase"]);
    world.write("cut.record", &sealed[..sealed.len() - 1]);
    import("cut.record", &pass)
        .exits(2)
        .says(&["cut.record: does not open", "the file was changed"]);
    world.write("short.record", &sealed[..50]);
    import("short.record", &pass).exits(2).says(&["short.record: is cut short", "backup"]);
    world.write("empty.record", "");
    import("empty.record", &pass).exits(2).says(&["empty.record: is empty"]);
    import("lab-a.key", &pass).exits(2).says(&["lab-a.key: is not a vault file"]);
    assert_eq!(import("run.record", &pass).good().get("new").and_then(Value::as_bool), Some(true));
    assert_eq!(import("run.record", &pass).good().get("new").and_then(Value::as_bool), Some(false));
    committed.open("scores.opening").good();
    committed.verify(&["run.countersign", "scores.opening"]).good();
    // No other party's vault takes it.
    world.keygen("lab-b");
    let arguments = ["vault", "import", "run.record", "--export-passphrase-file", &pass];
    let other = world.run([&arguments[..], &["--key", "lab-b.key"]].concat());
    other.exits(2).says(&["the record belongs to lab-a.example, the vault to lab-b.example"]);
    committed.server.stop();
}

#[test]
fn what_opens_a_vault_can_be_changed_and_everything_still_works() {
    let committed = Committed::new();
    let Committed { world, server, .. } = &committed;
    copy_folder(&world.path("lab-a.vault"), &world.path("backup"));
    let pass = secret(world, "pass", "a passphrase for the vault");
    // The slash is what completion leaves at the end of a folder.
    let passwd =
        ["vault", "passwd", "--vault", "lab-a.vault/", "--new-vault-passphrase-file", &pass];
    let said = world.run_plain(passwd);
    said.exits(0).says(&["opens with the new passphrase now", "delete lab-a.vault.key", "backup"]);
    committed.vault(&["list"]).exits(2).says(&["the passphrase of the vault is needed"]);
    committed.vault(&["list", "--vault-passphrase-file", &pass]).good();
    let wrong = secret(world, "wrong", "a passphrase for a vault");
    let refused = committed.vault(&["list", "--vault-passphrase-file", &wrong]);
    refused.exits(2).says(&["party.vault: does not open: wrong passphrase", "try again"]);
    let second = ["--out", "second.countersign", "--vault-passphrase-file", &pass];
    commit(world, server, "lab-a.key", &second).good();
    let mut variable = world.command([&["vault", "list"], &VAULT[..]].concat());
    variable.env("COUNTERSIGN_VAULT_PASSPHRASE_FILE", "pass");
    assert_eq!(list(&finish(variable).good(), "records").len(), 2);

    // Back to a key file, which must be a new one.
    let to_file =
        ["passwd", "--vault-passphrase-file", &pass, "--new-vault-key", "lab-a.vault.key"];
    committed.vault(&to_file).exits(2).says(&["lab-a.vault.key: exists already"]);
    let old = world.read("lab-a.vault.key");
    fs::rename(world.path("lab-a.vault.key"), world.path("old.vault.key")).unwrap();
    committed.vault(&to_file).good();
    assert_ne!(world.read("lab-a.vault.key"), old);
    assert_eq!(list(&committed.vault(&["list"]).good(), "records").len(), 2);
    // The backup of before still takes what it took then.
    for folder in ["backup", "backup/records", "backup/scopes", "backup/trust"] {
        fs::set_permissions(world.path(folder), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let backup = ["vault", "list", "--vault", "backup", "--vault-key"];
    world.run([&backup[..], &["old.vault.key"]].concat()).good();
    world
        .run([&backup[..], &["lab-a.vault.key"]].concat())
        .exits(2)
        .says(&["wrong passphrase or key"]);
    committed.server.stop();
}

#[test]
fn a_key_file_that_opens_nothing_is_not_left_behind() {
    let committed = Committed::new();
    fs::write(committed.record_file(), "damaged").unwrap();
    let refused = committed.vault(&["passwd", "--new-vault-key", "new.vault.key"]);
    refused.exits(2).says(&[&committed.intent, "is not a vault file"]);
    assert!(!committed.world.path("new.vault.key").exists());
    committed.server.stop();
}

#[test]
fn damage_is_listed_beside_what_is_whole() {
    let committed = Committed::new();
    let Committed { world, server, record, .. } = &committed;
    commit(world, server, "lab-a.key", &["--out", "second.countersign"]).good();
    let file = committed.record_file();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    fs::write(file.with_extension("vault.tmp"), "half").unwrap();
    let listed = committed.vault(&["list"]).bad();
    assert_eq!(list(&listed, "records").len(), 1);
    let damaged = list(&listed, "damaged")[0].as_str().unwrap();
    assert!(damaged.contains(&committed.intent) && damaged.contains("backup"), "{damaged}");
    assert!(list(&listed, "leftovers")[0].as_str().unwrap().ends_with(".vault.tmp"));
    committed.open("x.opening").exits(2).says(&[&committed.intent, "was changed or cut short"]);
    // It can't say which record it is, but its name is its intent's.
    committed.vault(&["show", record]).exits(2).says(&["1 can't"]);
    committed.vault(&["shred", &committed.intent, "--yes"]).good();
    assert!(files(&world.path("lab-a.vault/records")).iter().all(|f| !f.ends_with(".tmp")));
    committed.vault(&["list"]).good();
    committed.server.stop();
}

#[test]
fn somebody_elses_vault_and_open_permissions_are_refused_with_the_remedy() {
    let world = World::new();
    world.keygen("lab-a");
    let set = |name: &str, mode| {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let vault = || world.run(["vault", "list", "--vault", "lab-a.vault"]);
    for (name, open, shut) in [
        ("lab-a.vault", 0o755, 0o700),
        ("lab-a.vault/records", 0o701, 0o700),
        ("lab-a.vault/party.vault", 0o640, 0o600),
        ("lab-a.vault.key", 0o604, 0o600),
    ] {
        set(name, open);
        let remedy = format!("run: chmod {shut:o} {name}");
        vault().exits(2).says(&[name, &format!("mode {open:o}"), &remedy]);
        set(name, shut);
        vault().good();
    }
    if std::os::unix::fs::chown(world.path("lab-a.vault.key"), Some(12_345), None).is_ok() {
        vault().exits(2).says(&["lab-a.vault.key", "belongs to another user (id 12345)", "chown"]);
    }
    world.run(["vault", "list"]).exits(2).says(&["--vault"]);
}

#[test]
fn two_commands_never_sign_at_once() {
    let committed = Committed::new();
    let Committed { world, server, .. } = &committed;
    let vault = open(&world.path("lab-a.vault"), &world.path("lab-a.vault.key")).unwrap();
    let signing = vault.sign_alone().unwrap();
    let refused = commit(world, server, "lab-a.key", &["--out", "second.countersign"]);
    refused.exits(2).says(&["lab-a.vault is in use by another command", "run this again"]);
    // Looking is free meanwhile.
    committed.vault(&["list"]).good();
    committed.open("scores.opening").good();
    drop(signing);
    let refused = committed.vault(&["passwd", "--new-vault-key", "new.vault.key"]);
    refused.exits(2).says(&["is in use by another command"]);
    drop(vault);
    commit(world, server, "lab-a.key", &["--out", "second.countersign"]).good();
    committed.server.stop();
}

fn open(folder: &Path, key: &Path) -> Option<Vault> {
    let bytes: [u8; 32] = fs::read(key).ok()?.try_into().ok()?;
    Vault::open(folder, VaultKey::File(Zeroizing::new(bytes))).ok()
}

/// A change of the key is interrupted at moments that the seed chooses. Whatever the moment, one
/// of the two keys opens everything.
#[test]
fn kill_9_while_the_key_changes_leaves_the_old_vault_or_the_new_one() {
    const KILLS: u64 = 12;
    const RECORDS: u8 = 8;
    let committed = Committed::new();
    let world = &committed.world;
    let (folder, mut key) = (world.path("lab-a.vault"), world.path("lab-a.vault.key"));
    let vault = open(&folder, &key).unwrap();
    let mut record = vault.records().unwrap().remove(0);
    for run in 0..RECORDS {
        record.intent = Hash::new([run; 32]);
        record.record = Some(Hash::new([run | 0x80; 32]));
        vault.put_record(&record, &mut client::SystemEntropy).unwrap();
    }
    drop(vault);
    let passwd = |key: &Path, next: &Path| {
        let arguments = ["vault", "passwd", "--vault", "lab-a.vault", "--vault-key"];
        let mut command = world.command(arguments);
        command.arg(key).arg("--new-vault-key").arg(next);
        command
    };
    let (first, began) = (world.path("first.vault.key"), Instant::now());
    finish(passwd(&key, &first)).good();
    key = first;
    // Kills come from the first moment on until a little after the last one.
    let span = 1 + 5 * u64::try_from(began.elapsed().as_millis()).unwrap() / 4;
    let mut random = Random(0x7661_756c_7431);
    let (mut old, mut new, mut ended) = (0, 0, 0);
    for kill in 0..KILLS {
        let next = world.path(format!("{kill}.vault.key"));
        let mut command = passwd(&key, &next);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        // No synchronisation: any moment will do, and each is a different test.
        thread::sleep(Duration::from_millis(random.below(span)));
        let _ = child.kill();
        ended += u64::from(child.wait().unwrap().success());
        match (open(&folder, &key), open(&folder, &next)) {
            (Some(vault), None) => {
                assert_eq!(vault.records().unwrap().len(), usize::from(RECORDS) + 1);
                old += 1;
            }
            (None, Some(vault)) => {
                assert_eq!(vault.records().unwrap().len(), usize::from(RECORDS) + 1);
                key = next;
                new += 1;
            }
            (a, b) => panic!("kill {kill}: old key {}, new key {}", a.is_some(), b.is_some()),
        }
    }
    eprintln!("{KILLS} kills: {old} before, {new} after the change, {ended} of these too late");
    // What is left behind goes with the next change that is let be.
    finish(passwd(&key, &world.path("last.vault.key"))).good();
    assert!(open(&folder, &world.path("last.vault.key")).unwrap().leftovers().unwrap().is_empty());
    committed.server.stop();
}

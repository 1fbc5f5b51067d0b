//! The vault: what goes in comes out, with the right key only, and nothing is lost on the way.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use client::{
    ContainerError, Imported, Party, Scope, SystemEntropy, Vault, VaultError, VaultKey, VaultKind,
    VaultRecord, parsers,
};
use tempfile::TempDir;
use tlog::{Hash, KeyName};
use zeroize::Zeroizing;

use crate::support::{Seeded, contents, files_below, folder, give_away, mode, says, set_mode};

const PASSPHRASE: &str = "canary-passphrase of six words";
/// Stands in every secret of the vault below: as bytes, hexadecimal, base64 and numbers.
const CANARY: u8 = 0xca;
const CANARIES: [&str; 5] =
    ["canary", "cacacaca", "ysrKysr", "202, 202, 202", "\u{fffd}\u{fffd}\u{fffd}"];

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn party() -> Party {
    Party { name: name("lab-a.example"), sealing: Zeroizing::new([CANARY; 32]), recovery: [5; 32] }
}

fn by_file() -> VaultKey {
    VaultKey::File(Zeroizing::new([CANARY; 32]))
}

fn by_passphrase() -> VaultKey {
    VaultKey::Passphrase(Zeroizing::new(PASSPHRASE.to_owned()))
}

fn record(run: u8) -> VaultRecord {
    VaultRecord {
        origin: name("log.example"),
        exchange: Hash::new([0; 32]),
        party: name("lab-a.example"),
        intent: Hash::new([run; 32]),
        nonce: [2; 32],
        record: Some(Hash::new([run | 0x80; 32])),
        secret: Zeroizing::new([CANARY; 32]),
        item_key: Zeroizing::new([CANARY; 32]),
        items_file: "{\"id\":\"canary-1\",\"input\":\"canary question\"}\n".to_owned(),
        epochs: 1,
        items: vec![vec![("output".to_owned(), b"\x01canary answer".to_vec())]],
        subjects: vec![("model".to_owned(), Some("canary-model".to_owned()))],
        coins: vec![(Hash::new([9; 32]), [CANARY; 32])],
    }
}

fn scope(number: u64) -> Scope {
    Scope {
        origin: name("log.example"),
        exchange: Hash::new([0; 32]),
        number,
        previous: Some(Hash::new([3; 32])),
        registration: None,
        runs: 1,
        pending: Some(b"canary payload".to_vec()),
    }
}

/// A vault with one of everything.
struct Kept {
    world: TempDir,
    folder: PathBuf,
}

impl Kept {
    fn new(key: VaultKey) -> Self {
        let world = folder();
        let folder = world.path().join("lab-a.vault");
        let vault = Vault::create(&folder, key, &party(), &mut Seeded::default()).unwrap();
        vault.put_record(&record(1), &mut SystemEntropy).unwrap();
        vault.put_record(&record(2), &mut SystemEntropy).unwrap();
        vault.put_scope(&scope(7), &mut SystemEntropy).unwrap();
        vault.put_trusted_checkpoint(&name("log.example"), b"a checkpoint").unwrap();
        Self { world, folder }
    }

    fn open(&self) -> Vault {
        Vault::open(&self.folder, by_file()).unwrap()
    }

    fn file(&self, run: u8) -> PathBuf {
        self.folder.join("records").join(format!("{}.vault", Hash::new([run; 32])))
    }
}

/// All that a vault holds, as text.
fn all(vault: &Vault) -> Result<String, VaultError> {
    let party = vault.party()?;
    let mut all = format!("{} {:?} {:?}\n", party.name, party.sealing, party.recovery);
    for record in vault.records()? {
        let VaultRecord { intent, secret, item_key, items_file, items, subjects, coins, .. } =
            &record;
        let secrets = (secret, item_key, items_file, items, subjects, coins);
        all += &format!("{:?} {intent} {secrets:?}\n", record.record);
    }
    let (origin, zeros) = (name("log.example"), Hash::new([0; 32]));
    all += &format!("{:?}\n", vault.scope(&origin, &zeros)?);
    all += &format!("{:?}\n", vault.trusted_checkpoint(&origin)?);
    Ok(all)
}

#[track_caller]
fn silent(text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{text} shows {canary:?}");
    }
}

#[test]
fn what_goes_in_comes_out_and_lies_sealed_on_disk() {
    for key in [by_file(), by_passphrase()] {
        let kept = Kept::new(key.clone());
        let vault = Vault::open(&kept.folder, key).unwrap();
        let seen = all(&vault).unwrap();
        for canary in ["canary question", "canary-model", "202, 202"] {
            assert!(seen.contains(canary), "the canary {canary} would not be seen");
        }
        assert_eq!(
            vault.record(&Hash::new([0x81; 32])).unwrap().unwrap().intent,
            Hash::new([1; 32])
        );
        assert!(vault.record(&Hash::new([1; 32])).unwrap().is_none(), "that is an intent's");
        let zeros = Hash::new([0; 32]);
        assert_eq!(vault.scope(&name("log.example"), &zeros).unwrap(), Some(scope(7)));
        assert_eq!(vault.scope(&name("other.example"), &zeros).unwrap(), None);
        for (path, bytes) in contents(&kept.folder) {
            silent(&String::from_utf8_lossy(&bytes).replace('\u{fffd}', "?"));
            assert!(!bytes.windows(4).any(|four| four == [CANARY; 4]));
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        for part in ["", "records", "scopes", "trust"] {
            assert_eq!(mode(&kept.folder.join(part)), 0o700, "{part}");
        }
        assert!(vault.leftovers().unwrap().is_empty());
    }
}

#[test]
fn debug_and_errors_show_no_secret() {
    let kept = Kept::new(by_passphrase());
    let key = by_passphrase();
    let wrong = VaultKey::Passphrase(Zeroizing::new("canary-passphrase, wrong".to_owned()));
    let error = Vault::open(&kept.folder, wrong).unwrap_err();
    let vault = Vault::open(&kept.folder, key.clone()).unwrap();
    silent(&format!("{key:?} {:?} {:?} {:?}", by_file(), party(), record(1)));
    silent(&format!("{vault:?} {error:?} {error}"));
}

#[test]
fn documents_that_are_wrong_are_refused_without_their_values() {
    let record = parsers::record as fn(&[u8]) -> _;
    let member =
        |name: &str, value: &str| format!("{{\"format\":\"countersign/vault-{name}/v1\",{value}}}");
    for (parse, text) in [
        (record, member("record", "\"origin\":\"canary not a name\"")),
        (record, member("record", "\"R\":\"canary\"")),
        (record, member("party", "\"sealing\":\"canary\"")),
        (
            parsers::party,
            member("party", "\"name\":\"a\",\"sealing\":\"canary\",\"recovery\":\"\""),
        ),
        (parsers::party, member("party", "\"canary-secret\":1")),
        (parsers::scope, member("scope", "\"pending\":\"canary?\"")),
        (parsers::scope, "canary".to_owned()),
        (parsers::party, "{\"format\":\"canary-secret\"}".to_owned()),
    ] {
        let error = parse(text.as_bytes()).unwrap_err();
        // Names of members are no secrets; values are.
        silent(&format!("{error} {error:?}").replace("canary-secret", ""));
    }
}

#[test]
fn the_wrong_key_opens_nothing_and_says_so() {
    let kept = Kept::new(by_file());
    let other = VaultKey::File(Zeroizing::new([1; 32]));
    let error = Vault::open(&kept.folder, other).unwrap_err();
    says(&error, &["party.vault: does not open: wrong passphrase or key file", "backup"]);
    let error = Vault::open(&kept.folder, by_passphrase()).unwrap_err();
    says(&error, &["party.vault: was sealed with a key file, not with a passphrase"]);
    assert_eq!(Vault::kind(&kept.folder).unwrap(), VaultKind::KeyFile);

    let kept = Kept::new(by_passphrase());
    let wrong = VaultKey::Passphrase(Zeroizing::new("canary-passphrase of six word".to_owned()));
    let error = Vault::open(&kept.folder, wrong).unwrap_err();
    says(&error, &["does not open: wrong passphrase or key file", "try again"]);
    assert_eq!(Vault::kind(&kept.folder).unwrap(), VaultKind::Passphrase);
}

#[test]
fn every_damaged_file_is_named_and_the_others_still_open() {
    let kept = Kept::new(by_file());
    let whole = all(&kept.open()).unwrap();
    for (path, bytes) in contents(&kept.folder) {
        if path.extension().is_some_and(|e| e == "checkpoint") {
            continue;
        }
        let file = path.file_name().unwrap().to_str().unwrap();
        let check = |damaged: &[u8]| {
            fs::write(&path, damaged).unwrap();
            let error = Vault::open(&kept.folder, by_file()).and_then(|vault| all(&vault));
            let error = error.expect_err("damage goes unseen");
            says(&error, &[file, "backup"]);
            silent(&format!("{error} {error:?}"));
        };
        for bit in (0..8 * bytes.len()).step_by(11) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check(&flipped);
        }
        for length in (0..bytes.len()).step_by(7) {
            check(&bytes[..length]);
        }
        check(&[bytes.as_slice(), b"\0"].concat());
        fs::write(&path, &bytes).unwrap();
        assert_eq!(all(&kept.open()).unwrap(), whole);
    }
    // One bad record takes no other with it.
    fs::write(kept.file(1), "x").unwrap();
    let vault = kept.open();
    assert!(vault.record(&Hash::new([0x82; 32])).unwrap().is_some());
    says(&vault.record(&Hash::new([0x81; 32])).unwrap_err(), &["is not a vault file"]);
}

#[test]
fn a_file_of_another_vault_is_refused() {
    let (kept, other) = (Kept::new(by_file()), Kept::new(by_passphrase()));
    fs::copy(other.file(1), kept.file(1)).unwrap();
    let error = kept.open().records().unwrap_err();
    says(&error, &["was sealed with a passphrase, not with a key file", "another vault"]);
}

#[test]
fn foreign_permissions_owners_and_links_are_refused_with_the_remedy() {
    let kept = Kept::new(by_file());
    let whole = all(&kept.open()).unwrap();
    let error = |kept: &Kept| {
        let opened = Vault::open(&kept.folder, by_file());
        opened.and_then(|vault| all(&vault)).expect_err("it is refused")
    };
    for path in files_below(&kept.folder) {
        let file = path.file_name().unwrap().to_str().unwrap();
        set_mode(&path, 0o644);
        says(&error(&kept), &[file, "mode 644", "run: chmod 600"]);
        set_mode(&path, 0o600);
        let moved = kept.world.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        says(&error(&kept), &[file, "is a symbolic link"]);
        fs::rename(&moved, &path).unwrap();
    }
    for part in ["", "records", "scopes", "trust"] {
        let path = kept.folder.join(part);
        set_mode(&path, 0o750);
        says(&error(&kept), &["holds secrets", "mode 750", "run: chmod 700"]);
        set_mode(&path, 0o700);
    }
    assert_eq!(all(&kept.open()).unwrap(), whole);
    if give_away(&kept.file(1)) {
        says(&error(&kept), &["belongs to another user (id 12345)"]);
    }
}

#[test]
fn absent_and_half_written_vaults_say_what_to_do() {
    let kept = Kept::new(by_file());
    let error = |folder: &Path| Vault::open(folder, by_file()).unwrap_err();
    says(&error(&kept.world.path().join("none")), &["none: is not there", "countersign keygen"]);
    says(&error(&kept.file(1)), &["is not a folder"]);
    let party = kept.folder.join("party.vault");
    let temporary = kept.folder.join("party.vault.tmp");
    fs::rename(&party, &temporary).unwrap();
    says(&error(&kept.folder), &["party.vault: is not there, only", "party.vault.tmp", "backup"]);
    fs::remove_file(&temporary).unwrap();
    says(&error(&kept.folder), &["party.vault: is not there; restore it", "countersign keygen"]);
    fs::remove_dir(kept.folder.join("trust")).unwrap_err();
    fs::remove_dir_all(kept.folder.join("trust")).unwrap();
    says(&error(&kept.folder), &["trust: is missing", "mkdir -m 700"]);
    let again = Vault::create(&kept.folder, by_file(), &self::party(), &mut SystemEntropy);
    says(&again.unwrap_err(), &["lab-a.vault: exists already and is not overwritten"]);
}

#[test]
fn what_an_interrupted_write_left_is_listed_and_never_read() {
    let kept = Kept::new(by_file());
    let whole = all(&kept.open()).unwrap();
    let half = files_below(&kept.folder).into_iter().map(|path| {
        let temporary = path.with_extension("vault.tmp");
        fs::write(&temporary, "half").unwrap();
        temporary
    });
    let mut half: Vec<_> = half.collect();
    half.sort();
    let vault = kept.open();
    assert_eq!(all(&vault).unwrap(), whole);
    let mut listed = vault.leftovers().unwrap();
    listed.sort();
    assert_eq!(listed, half);
    vault.put_record(&record(1), &mut SystemEntropy).unwrap();
    assert_eq!(vault.leftovers().unwrap().len(), half.len() - 1);
}

#[test]
fn one_at_a_time_signs_and_rekeying_wants_the_vault_alone() {
    let kept = Kept::new(by_file());
    let (one, other) = (kept.open(), kept.open());
    let signing = one.sign_alone().unwrap();
    let error = other.sign_alone().unwrap_err();
    says(&error, &["lab-a.vault is in use by another command", "run this again when it has ended"]);
    other.put_record(&record(3), &mut SystemEntropy).unwrap();
    drop(signing);
    other.sign_alone().unwrap();
    let before = contents(&kept.folder);
    says(&other.rekey(by_passphrase(), &mut SystemEntropy).unwrap_err(), &["is in use"]);
    assert_eq!(contents(&kept.folder), before);
    drop(one);
    kept.open().rekey(by_passphrase(), &mut SystemEntropy).unwrap();
}

#[test]
fn a_new_key_opens_all_that_the_old_one_did_and_the_old_one_nothing() {
    let kept = Kept::new(by_file());
    let whole = all(&kept.open()).unwrap();
    fs::write(kept.folder.join("notes.txt"), "mine").unwrap();
    fs::write(kept.folder.join("party.vault.tmp"), "half").unwrap();
    let backup = kept.world.path().join("backup");
    let beside = kept.world.path().join("lab-a.vault.new");
    for copy in [&backup, &beside] {
        for (path, bytes) in contents(&kept.folder) {
            let target = copy.join(path.strip_prefix(&kept.folder).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
    }
    let untouched = contents(&beside);

    // The slash at the end is what completion leaves.
    let slash = PathBuf::from(format!("{}/", kept.folder.display()));
    let vault = Vault::open(&slash, by_file()).unwrap();
    let rekeyed = vault.rekey(by_passphrase(), &mut SystemEntropy).unwrap();
    assert!(rekeyed.left.is_none());
    assert_eq!(all(&rekeyed.vault).unwrap(), whole);
    drop(rekeyed);
    says(&Vault::open(&kept.folder, by_file()).unwrap_err(), &["was sealed with a passphrase"]);
    let vault = Vault::open(&kept.folder, by_passphrase()).unwrap();
    assert_eq!(all(&vault).unwrap(), whole);
    assert!(vault.leftovers().unwrap().is_empty());
    assert_eq!(fs::read(kept.folder.join("notes.txt")).unwrap(), b"mine");
    assert_eq!(contents(&beside), untouched, "a folder of the user's was taken for ours");
    let mut names: Vec<_> =
        fs::read_dir(kept.world.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["backup", "lab-a.vault", "lab-a.vault.new"]);
    for path in files_below(&kept.folder) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }

    // Through a link, the folder behind it is the one.
    let link = kept.world.path().join("link.vault");
    symlink(&kept.folder, &link).unwrap();
    drop(vault);
    let vault = Vault::open(&link, by_passphrase()).unwrap();
    assert!(vault.rekey(by_file(), &mut SystemEntropy).unwrap().left.is_none());
    assert!(link.is_symlink());
    assert_eq!(all(&kept.open()).unwrap(), whole);
}

#[test]
fn a_vault_with_a_damaged_file_keeps_its_key_until_that_is_settled() {
    let kept = Kept::new(by_file());
    fs::write(kept.file(2), "damaged").unwrap();
    let before = contents(kept.world.path());
    let error = kept.open().rekey(by_passphrase(), &mut SystemEntropy).unwrap_err();
    says(&error, &[kept.file(2).to_str().unwrap()]);
    assert_eq!(contents(kept.world.path()), before);
    kept.open().shred(&kept.file(2), &mut SystemEntropy).unwrap();
    kept.open().rekey(by_passphrase(), &mut SystemEntropy).unwrap();
}

#[test]
fn what_an_interrupted_rekeying_left_goes_with_the_next_one() {
    let kept = Kept::new(by_file());
    let staging = kept.world.path().join("lab-a.vault.rekeying");
    fs::create_dir_all(staging.join("records")).unwrap();
    fs::write(staging.join("records/half.vault"), "half").unwrap();
    let vault = kept.open();
    assert_eq!(vault.leftovers().unwrap(), [staging.canonicalize().unwrap()]);
    vault.rekey(by_passphrase(), &mut SystemEntropy).unwrap();
    assert!(!staging.exists());
    // Between the two steps of a system that can't exchange folders in one.
    fs::rename(&kept.folder, kept.world.path().join("lab-a.vault.rekeyed")).unwrap();
    let error = Vault::open(&kept.folder, by_passphrase()).unwrap_err();
    says(&error, &["is not there, but", "lab-a.vault.rekeyed", "give that folder its name back"]);
}

#[test]
fn a_shredded_record_is_gone_and_remembered() {
    let kept = Kept::new(by_file());
    let vault = kept.open();
    fs::write(kept.file(1).with_extension("vault.tmp"), "half of it").unwrap();
    // A second name of the same file shows whether it was overwritten.
    let second = kept.world.path().join("second-name");
    fs::hard_link(kept.file(1), &second).unwrap();
    let sealed = fs::read(&second).unwrap();
    vault.shred(&kept.file(1), &mut SystemEntropy).unwrap();
    assert_eq!(fs::read(&second).unwrap().len(), sealed.len());
    let same = fs::read(&second).unwrap().iter().zip(&sealed).filter(|(a, b)| a == b).count();
    assert!(same < sealed.len() / 10, "{same} bytes of {} stand", sealed.len());

    let id = Hash::new([0x81; 32]);
    assert!(vault.record(&id).unwrap().is_none());
    let left = fs::read_dir(kept.folder.join("records")).unwrap();
    assert_eq!(left.count(), 2, "the other record, and the note");
    let notes = vault.shredded().unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!((notes[0].record, notes[0].intent), (Some(id), Hash::new([1; 32])));
    assert_eq!(vault.records().unwrap().len(), 1);

    // The note outlives a new key, and ends when the record comes back.
    drop(vault);
    let vault = kept.open().rekey(by_passphrase(), &mut SystemEntropy).unwrap().vault;
    assert_eq!(vault.shredded().unwrap(), notes);
    assert_eq!(vault.import(&record(1), &mut SystemEntropy).unwrap(), Imported::New);
    assert!(vault.shredded().unwrap().is_empty());
    assert!(vault.record(&id).unwrap().is_some());
}

#[test]
fn a_record_that_does_not_open_can_be_shredded() {
    let kept = Kept::new(by_file());
    let vault = kept.open();
    fs::write(kept.file(1), "damaged").unwrap();
    vault.shred(&kept.file(1), &mut SystemEntropy).unwrap();
    let notes = vault.shredded().unwrap();
    assert_eq!((notes[0].record, notes[0].intent), (None, Hash::new([1; 32])));
    // A link leads to what is not the vault's.
    let outside = kept.world.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    fs::remove_file(kept.file(2)).unwrap();
    symlink(&outside, kept.file(2)).unwrap();
    says(&vault.shred(&kept.file(2), &mut SystemEntropy).unwrap_err(), &["is a symbolic link"]);
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
}

#[test]
fn a_record_goes_to_another_vault_of_the_same_party_only() {
    let kept = Kept::new(by_file());
    let vault = kept.open();
    let exported = record(4);
    let bytes = Vault::export(&exported, by_passphrase(), &mut SystemEntropy).unwrap();
    silent(&String::from_utf8_lossy(&bytes).replace('\u{fffd}', "?"));
    let file = kept.world.path().join("exported");
    fs::write(&file, &bytes).unwrap();
    let read = Vault::read_export(&file, by_passphrase()).unwrap();
    assert_eq!(vault.import(&read, &mut SystemEntropy).unwrap(), Imported::New);
    assert_eq!(vault.import(&read, &mut SystemEntropy).unwrap(), Imported::Known);
    let back = vault.record(&Hash::new([0x84; 32])).unwrap().unwrap();
    assert_eq!((*back.secret, back.items), ([CANARY; 32], exported.items));

    let mut other = record(4);
    other.epochs = 2;
    let error = vault.import(&other, &mut SystemEntropy).unwrap_err();
    says(&error, &["holds another record of the same run"]);
    let mut foreign = record(5);
    foreign.party = name("lab-b.example");
    let error = vault.import(&foreign, &mut SystemEntropy).unwrap_err();
    says(&error, &["the record belongs to lab-b.example, the vault to lab-a.example"]);

    let wrong = VaultKey::Passphrase(Zeroizing::new("another".to_owned()));
    let error = Vault::read_export(&file, wrong).unwrap_err();
    says(&error, &["exported: does not open: wrong passphrase"]);
    for (bytes, word) in [(&bytes[..0], "is empty"), (&bytes[..60], "is cut short")] {
        fs::write(&file, bytes).unwrap();
        says(&Vault::read_export(&file, by_passphrase()).unwrap_err(), &["exported: ", word]);
    }
}

#[test]
fn a_container_with_costs_beyond_the_limits_is_refused_before_any_work() {
    let bytes = parsers::seal(b"", &by_passphrase(), &mut Seeded::default());
    let costs = b"countersign.v1/vault\0".len() + 1;
    for (place, limit) in [(0, 4 << 20), (1, 64), (2, 16)] {
        let mut greedy = bytes.clone();
        greedy[costs + 4 * place..][..4].copy_from_slice(&(limit + 1_u32).to_be_bytes());
        let error = parsers::open(&greedy, &by_passphrase()).unwrap_err();
        let ContainerError::TooCostly { value, limit: stated, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((*value, *stated), (limit + 1, limit));
        says(&error, &["more than the limit of", "backup"]);
    }
}

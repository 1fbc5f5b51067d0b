//! `countersign vault`: what a vault holds, and moving, destroying and protecting it. No secret is
//! ever printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use client::{
    Entropy as _, Imported, Rekeyed, Shredded, SystemEntropy, Vault, VaultError, VaultKey,
    VaultRecord, files,
};
use exchange::Timestamp;
use json::Value;
use tlog::Hash;
use zeroize::Zeroizing;

use super::output::{Failure, Report, Verdict};
use super::party::{Paths, Unlock};
use super::passphrase;

/// Look into a vault, move or destroy records, change what opens it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign vault list --vault lab-a.example.vault\n  \
    countersign vault export --record 5f0c31aa --out run.record --vault lab-a.example.vault\n  \
    countersign vault shred 5f0c31aa --yes --vault lab-a.example.vault\n  \
    countersign vault passwd --vault lab-a.example.vault")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Export(Export),
    Import(Import),
    Shred(Shred),
    Passwd(Passwd),
}

/// Which vault, and what opens it.
#[derive(Debug, clap::Args)]
struct Which {
    /// The vault's folder.
    #[arg(long, value_name = "DIR", required_unless_present = "key")]
    vault: Option<PathBuf>,
    /// The party's signing key, to find the vault beside it; it is not read.
    #[arg(long, value_name = "NAME.key")]
    key: Option<PathBuf>,
    #[command(flatten)]
    unlock: Unlock,
}

impl Which {
    fn open(&self) -> Result<Vault, Failure> {
        let beside = || self.key.as_ref().map(|key| Paths::new(&key.with_extension("")).vault);
        let folder = self.vault.clone().or_else(beside);
        self.unlock.open(&folder.ok_or_else(|| Failure::new("no vault is named"))?)
    }
}

/// List the records: id, log, items and when it was written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign vault list --key lab-a.example.key")]
struct List {
    #[command(flatten)]
    which: Which,
}

/// Say what the vault keeps of one record, without any value.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign vault show 5f0c31aa --key lab-a.example.key")]
struct Show {
    /// Id of the record or of its intent, or the first eight digits or more of one.
    #[arg(value_name = "ID")]
    record: String,
    #[command(flatten)]
    which: Which,
}

/// Write one record to a file under a passphrase of its own, for another vault of the same party.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  countersign vault export --record 5f0c31aa --out run.record --key \
    lab-a.example.key"
)]
struct Export {
    /// Id of the record or of its intent, or the first eight digits or more of one.
    #[arg(long, value_name = "ID")]
    record: String,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The passphrase of the new file, in a file; without it you are asked twice.
    #[arg(long, value_name = "FILE")]
    export_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// Take a record in that `vault export` wrote.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign vault import run.record --key lab-a.example.key")]
struct Import {
    /// The exported record.
    file: PathBuf,
    /// Its passphrase, in a file; without it you are asked.
    #[arg(long, value_name = "FILE")]
    export_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// Destroy what opens a record. Nobody can open or prove anything of it again.
///
/// Its file is overwritten, then deleted. File systems that copy on write, snapshots, backups and
/// the spare blocks of an SSD may keep the old bytes; they are sealed, so they stay shut to whoever
/// lacks what opens the vault. To shut them for good, change that afterwards with `vault passwd`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  countersign vault shred 5f0c31aa --yes --key lab-a.example.key"
)]
struct Shred {
    /// Id of the record or of its intent, or the first eight digits or more of one.
    #[arg(value_name = "ID")]
    record: String,
    /// Do it. Without this the command only says what would be lost.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    which: Which,
}

/// Change what opens the vault: a new passphrase, or a new key file.
///
/// Everything is sealed again in a new folder, which then takes the place of the old one; until
/// then nothing changes. Backups still open with what opened them before.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign vault passwd --key lab-a.example.key\n  \
    countersign vault passwd --key lab-a.example.key --new-vault-key lab-a.new.vault.key")]
struct Passwd {
    /// The new passphrase, in a file; without it you are asked twice.
    #[arg(long, value_name = "FILE")]
    new_vault_passphrase_file: Option<PathBuf>,
    /// Use a key file instead of a passphrase; it is made, and must not exist.
    #[arg(long, value_name = "FILE", conflicts_with = "new_vault_passphrase_file")]
    new_vault_key: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    match &arguments.command {
        Command::List(arguments) => list(&arguments.which.open()?),
        Command::Show(arguments) => show(&arguments.which.open()?, &arguments.record),
        Command::Export(arguments) => export(arguments),
        Command::Import(arguments) => import(arguments),
        Command::Shred(arguments) => shred(arguments),
        Command::Passwd(arguments) => passwd(arguments),
    }
}

fn list(vault: &Vault) -> Result<Report, Failure> {
    let owner = vault.party()?.name;
    let files = vault.record_files()?;
    let mut lines =
        vec![format!("{} of {owner}: {} records", vault.folder().display(), files.len())];
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    for path in &files {
        match vault.read_record(path) {
            Ok(record) => {
                let entry = Entry::of(path, &record);
                lines.push(entry.line());
                records.push(entry.json());
            }
            Err(error) => {
                lines.push(format!("  DAMAGED {error}"));
                damaged.push(error.to_string());
            }
        }
    }
    let shredded = vault.shredded()?;
    lines.extend(shredded.iter().map(|note| format!("  {}  shredded", note_name(note))));
    let leftovers = vault.leftovers()?;
    lines.extend(leftovers.iter().map(|path| {
        format!("  {} was left by an interrupted command; it can be deleted", path.display())
    }));
    let verdict = if damaged.is_empty() { Verdict::Good } else { Verdict::Bad };
    let leftovers = leftovers.iter().map(|path| path.display().to_string());
    let json = json::object([
        ("vault", Value::from(vault.folder().display().to_string())),
        ("party", owner.as_str().into()),
        ("records", json::array(records)),
        ("damaged", json::array(damaged)),
        ("shredded", json::array(shredded.iter().map(note_json))),
        ("leftovers", json::array(leftovers)),
    ]);
    Ok(Report { text: lines.join("\n"), json, verdict })
}

fn note_name(note: &Shredded) -> String {
    note.record.map_or_else(|| format!("(intent {})", note.intent), |id| id.to_string())
}

fn note_json(note: &Shredded) -> Value {
    json::object([
        ("record", note.record.map(|id| id.to_string()).into()),
        ("intent", note.intent.to_string().into()),
    ])
}

/// What may be said of a record.
struct Entry {
    record: Option<Hash>,
    intent: Hash,
    origin: String,
    items: usize,
    epochs: u64,
    written: Option<Timestamp>,
    bytes: u64,
}

impl Entry {
    fn of(path: &Path, record: &VaultRecord) -> Self {
        let metadata = fs::metadata(path).ok();
        let written = metadata
            .as_ref()
            .and_then(|metadata| metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| Timestamp::from_unix(since.as_secs()).ok());
        Self {
            record: record.record,
            intent: record.intent,
            origin: record.origin.to_string(),
            items: record.items.len(),
            epochs: record.epochs,
            written,
            bytes: metadata.map_or(0, |metadata| metadata.len()),
        }
    }

    fn line(&self) -> String {
        let id = match self.record {
            Some(id) => id.to_string(),
            None => format!("(intent {})", self.intent),
        };
        let written = self.written.map_or_else(|| "?".to_owned(), |t| t.to_string());
        format!("  {id}  {}  {} items  written {written}", self.origin, self.items)
    }

    fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("record", self.record.map(|id| id.to_string()).into()),
            ("intent", self.intent.to_string().into()),
            ("origin", self.origin.as_str().into()),
            ("items", self.items.into()),
            ("epochs", self.epochs.into()),
            ("written", self.written.map(|t| t.to_string()).into()),
            ("bytes", self.bytes.into()),
        ]
    }

    fn json(&self) -> Value {
        json::object(self.members())
    }
}

fn show(vault: &Vault, id: &str) -> Result<Report, Failure> {
    let (path, record) = find(vault, id)?;
    let record = record?;
    let entry = Entry::of(&path, &record);
    let fields: BTreeSet<&str> =
        record.items.iter().flatten().map(|(name, _)| name.as_str()).collect();
    let fields: Vec<&str> = fields.into_iter().collect();
    let facts: Vec<&str> = record.subjects.iter().map(|(name, _)| name.as_str()).collect();
    let attested = match record.record {
        Some(id) => format!("record   {id}"),
        None => "record   none: it was never attested".to_owned(),
    };
    let text = format!(
        "{attested}\nintent   {}\nlog      {}\nparty    {}\nitems    {} in {} epochs\nfields   {}\n\
         facts    {}\nwritten  {}\nfile     {} ({} bytes)",
        record.intent,
        record.origin,
        record.party,
        record.items.len(),
        record.epochs,
        fields.join(", "),
        facts.join(", "),
        entry.written.map_or_else(|| "?".to_owned(), |t| t.to_string()),
        path.display(),
        entry.bytes,
    );
    let mut members = entry.members();
    members.extend([
        ("party", record.party.as_str().into()),
        ("exchange", record.exchange.to_string().into()),
        ("fields", json::array(fields)),
        ("facts", json::array(facts)),
        ("file", path.display().to_string().into()),
    ]);
    Ok(Report::good(text, json::object(members)))
}

fn export(arguments: &Export) -> Result<Report, Failure> {
    if arguments.out.exists() {
        return Err(Failure::new(format!("{} exists already", arguments.out.display()))
            .next("choose another --out"));
    }
    let vault = arguments.which.open()?;
    let (_, record) = find(&vault, &arguments.record)?;
    let record = record?;
    let file = arguments.export_passphrase_file.as_deref();
    let words = passphrase::chosen(passphrase::EXPORT, file)?;
    let bytes = Vault::export(&record, VaultKey::Passphrase(words), &mut SystemEntropy)
        .map_err(|e| Failure::new(format!("{}: {e}", arguments.out.display())))?;
    files::write_new(&arguments.out, &bytes, files::Access::Private)?;
    let out = arguments.out.display();
    let name = called(&record);
    let text = format!(
        "{out} opens record {name} to whoever has its passphrase.\n\
         next: take it to the other vault and run there\n      countersign vault import {out}"
    );
    let json = json::object([
        ("record", Value::from(record.record.map(|id| id.to_string()))),
        ("intent", record.intent.to_string().into()),
        ("out", out.to_string().into()),
    ]);
    Ok(Report::good(text, json))
}

fn import(arguments: &Import) -> Result<Report, Failure> {
    let vault = arguments.which.open()?;
    let file = arguments.export_passphrase_file.as_deref();
    let words = passphrase::known(passphrase::EXPORT, file)?;
    let record = Vault::read_export(&arguments.file, VaultKey::Passphrase(words))?;
    let imported = vault.import(&record, &mut SystemEntropy)?;
    let name = called(&record);
    let folder = vault.folder().display();
    let text = match imported {
        Imported::New => format!(
            "Record {name} is in {folder}.\nnext: shred {} if nobody else needs it",
            arguments.file.display()
        ),
        Imported::Known => format!("{folder} has record {name} already, just as it is"),
    };
    let json = json::object([
        ("record", Value::from(record.record.map(|id| id.to_string()))),
        ("intent", record.intent.to_string().into()),
        ("new", (imported == Imported::New).into()),
    ]);
    Ok(Report::good(text, json))
}

fn shred(arguments: &Shred) -> Result<Report, Failure> {
    let vault = arguments.which.open()?;
    let (path, record) = find(&vault, &arguments.record)?;
    let what = match &record {
        Ok(record) => format!("record {} ({} items)", called(record), record.items.len()),
        Err(_) => format!("{}, which can't be read", path.display()),
    };
    if !arguments.yes {
        return Err(Failure::new(format!(
            "this would destroy {what}: nobody could open or prove anything of it again"
        ))
        .next("run the same command with --yes to do it, or make a copy first with vault export"));
    }
    vault.shred(&path, &mut SystemEntropy)?;
    let text = format!(
        "What opens {what} is destroyed in this vault: {} was overwritten and deleted.\n\
         Exports, backups, snapshots, file systems that copy on write and the spare blocks of an \
         SSD may still hold sealed copies.\n\
         next: destroy those you know of, then shut the rest with\n      countersign vault passwd \
         --vault {}",
        path.display(),
        vault.folder().display()
    );
    let json = json::object([
        ("shredded", Value::from(path.display().to_string())),
        ("record", record.ok().and_then(|r| r.record).map(|id| id.to_string()).into()),
    ]);
    Ok(Report::good(text, json))
}

fn passwd(arguments: &Passwd) -> Result<Report, Failure> {
    let vault = arguments.which.open()?;
    let folder = vault.folder().to_owned();
    let old_key = files::with_ending(&folder, ".key");
    let mut entropy = SystemEntropy;
    let key = match &arguments.new_vault_key {
        None => VaultKey::Passphrase(passphrase::chosen(
            passphrase::NEW_VAULT,
            arguments.new_vault_passphrase_file.as_deref(),
        )?),
        Some(path) => {
            let secret = Zeroizing::new(entropy.bytes::<32>());
            // First: a vault whose key was never durable would be lost.
            files::write_new(path, &*secret, files::Access::Private)?;
            VaultKey::File(secret)
        }
    };
    let left = match vault.rekey(key.clone(), &mut entropy) {
        Ok(Rekeyed { left, .. }) => left,
        Err(error) => {
            // Rarely the new key counts already, and then its file is all that opens the vault.
            let counts = || Vault::open(&folder, key.clone()).is_ok();
            if let Some(path) = arguments.new_vault_key.as_ref().filter(|_| !counts()) {
                let _ = fs::remove_file(path);
            }
            return Err(error.into());
        }
    };
    let shown = folder.display();
    let (by, mut next) = match &arguments.new_vault_key {
        None => ("the new passphrase".to_owned(), Vec::new()),
        Some(path) => {
            let next = format!("name it with --vault-key, or move it to {}", old_key.display());
            (path.display().to_string(), vec![next])
        }
    };
    if old_key.exists() && arguments.new_vault_key.as_ref() != Some(&old_key) {
        next.insert(0, format!("delete {}, which opens old backups only", old_key.display()));
    }
    next.push("make a new backup, and destroy the old ones".to_owned());
    if let Some(left) = &left {
        next.insert(0, format!("remove what opens with the old key: {left}"));
    }
    let text = format!("{shown} opens with {by} now.\nnext: {}", next.join("; "));
    let json = json::object([
        ("vault", Value::from(shown.to_string())),
        ("passphrase", arguments.new_vault_key.is_none().into()),
        ("leftover", left.map(|left| left.path.display().to_string()).into()),
    ]);
    Ok(Report::good(text, json))
}

type Found = (PathBuf, Result<VaultRecord, VaultError>);

/// The one record that a person means. A file that doesn't open is found by its name, which is the
/// id of its intent.
fn find(vault: &Vault, id: &str) -> Result<Found, Failure> {
    let digits = id.len() >= 8 && id.len() <= 64;
    if !digits || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        let problem = format!("{id:?} is no id: 8 to 64 digits of lower-case hexadecimal");
        return Err(Failure::new(problem).next("see: countersign vault list"));
    }
    let mut found: Option<Found> = None;
    let mut unread = 0;
    for path in vault.record_files()? {
        let record = vault.read_record(&path);
        let by_name =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with(id));
        let by_id = match &record {
            Ok(record) => record.ids().any(|hash| hash.to_string().starts_with(id)),
            Err(_) => false,
        };
        unread += u64::from(record.is_err());
        if by_name || by_id {
            if found.is_some() {
                return Err(Failure::new(format!("several records begin with {id}"))
                    .next("give more digits"));
            }
            found = Some((path, record));
        }
    }
    if found.is_none()
        && let Some(note) = vault.shredded()?.iter().find(|note| {
            note.record.into_iter().chain([note.intent]).any(|h| h.to_string().starts_with(id))
        })
    {
        return Err(gone(vault, note));
    }
    found.ok_or_else(|| {
        let among = match unread {
            0 => String::new(),
            n => format!(" among those that can be read; {n} can't"),
        };
        Failure::new(format!("{} has no record {id}{among}", vault.folder().display()))
            .next("see: countersign vault list")
    })
}

/// What was shredded stays shut.
pub(super) fn gone(vault: &Vault, note: &Shredded) -> Failure {
    Failure::new(format!(
        "record {} was shredded in {}: nobody can open or prove anything of it",
        note_name(note),
        vault.folder().display()
    ))
    .next("if an export of it was kept, bring it back with: countersign vault import")
}

/// A name for people: the attestation's, or the intent's if there is none.
fn called(record: &VaultRecord) -> String {
    record.record.map_or_else(|| format!("of intent {}", record.intent), |id| id.to_string())
}

//! `countersign key`: what a key file is, and its passphrase.

use std::path::PathBuf;

use client::SystemEntropy;
use client::keys::{self, KeyFile};
use json::Value;
use tlog::VerifierKey;

use super::online::OnlineArguments;
use super::output::{Failure, Report};
use super::{party, passphrase};

/// Look at a key file, change its passphrase, or register the key in a log.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign key show lab-a.example.key\n  \
    countersign key passwd lab-a.example.key\n  \
    countersign key register --key lab-a.example.key --server http://127.0.0.1:7400 \\\n      \
    --log-key log.vkey")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(Show),
    Passwd(Passwd),
    Register(Register),
}

/// Register your keys in a log, so that others can agree with you and seal envelopes to you.
///
/// Registers the signing key, the vault's sealing key and the recovery key. A party that is
/// registered stays so, and nothing is said twice. Other commands register you if they need it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign key register --key lab-b.example.key \
    --server http://127.0.0.1:7400 --log-key log.vkey")]
struct Register {
    #[command(flatten)]
    online: OnlineArguments,
}

/// Print a key's name, public key and id. Asks for nothing and shows no secret.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign key show lab-a.example.key")]
struct Show {
    /// A .key file, with its .vkey beside it, or a .vkey file alone.
    file: PathBuf,
}

/// Put a private key under a new passphrase, or under none.
///
/// The file is replaced in one step: a power cut leaves either the old one or the new one.
/// Backups still open with the old passphrase.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign key passwd lab-a.example.key\n  \
    countersign key passwd lab-a.example.key --passphrase-file old --new-passphrase-file new")]
struct Passwd {
    /// The private key.
    #[arg(value_name = "NAME.key")]
    key: PathBuf,
    /// The passphrase that it has now, in a file; without it you are asked.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The passphrase from now on, in a file; without it you are asked twice.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Take the passphrase away: whoever reads the file has the key.
    #[arg(long, conflicts_with = "new_passphrase_file")]
    remove: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    match &arguments.command {
        Command::Show(arguments) => show(arguments),
        Command::Passwd(arguments) => passwd(arguments),
        Command::Register(arguments) => super::block_on(register(arguments)),
    }
}

async fn register(arguments: &Register) -> Result<Report, Failure> {
    let online = arguments.online.open()?;
    let mut session = online.session().await?;
    session.register().await?;
    let (name, id) = (online.key.name(), session.registration()?);
    let text = format!(
        "{name} is registered in {} by statement\n  {id}\n\
         next: give {name}.vkey to the other party by a way you both trust",
        session.origin()
    );
    let json = json::object([
        ("party", Value::from(name.as_str())),
        ("origin", session.origin().as_str().into()),
        ("statement", id.to_string().into()),
    ]);
    Ok(Report::good(text, json))
}

fn show(arguments: &Show) -> Result<Report, Failure> {
    let file = &arguments.file;
    let (vkey, private) = if file.extension().is_some_and(|e| e == "vkey") {
        (keys::read_vkey(file)?, None)
    } else {
        let key = KeyFile::read(file)?;
        (key.verifier(), Some(matches!(key, KeyFile::Protected(_))))
    };
    let what = match private {
        None => "public key alone",
        Some(true) => "private key under a passphrase",
        Some(false) => "private key without a passphrase",
    };
    let VerifierParts { name, id, text: vkey } = VerifierParts::of(&vkey);
    let file = file.display();
    let text = format!("{file}: {what}\nname {name}\nid   {id}\nvkey {vkey}");
    let json = json::object([
        ("file", Value::from(file.to_string())),
        ("name", name.into()),
        ("id", id.into()),
        ("vkey", vkey.into()),
        ("private", private.is_some().into()),
        ("passphrase", private.unwrap_or_default().into()),
    ]);
    Ok(Report::good(text, json))
}

struct VerifierParts {
    name: String,
    id: String,
    text: String,
}

impl VerifierParts {
    fn of(key: &VerifierKey) -> Self {
        Self { name: key.name().to_string(), id: key.id().to_string(), text: key.to_string() }
    }
}

fn passwd(arguments: &Passwd) -> Result<Report, Failure> {
    let path = &arguments.key;
    let key = party::signing_key(path, arguments.passphrase_file.as_deref())?;
    let new = match arguments.remove {
        true => None,
        false => {
            Some(passphrase::chosen(passphrase::NEW_KEY, arguments.new_passphrase_file.as_deref())?)
        }
    };
    keys::rewrite(path, &key, new.as_ref().map(|words| words.as_str()), &mut SystemEntropy)?;
    // What was written is read again before anyone relies on it.
    let reread = match KeyFile::read(path)? {
        KeyFile::Open(key) => key,
        KeyFile::Protected(key) => key.open(new.as_ref().map_or("", |words| words.as_str()))?,
    };
    if reread.public() != key.public() {
        return Err(Failure::new(format!("{} did not keep what was written", path.display())));
    }
    let shown = path.display();
    let state = if new.is_some() { "under the new passphrase" } else { "without a passphrase" };
    let text =
        format!("{shown} is {state} now.\nnext: make a new backup of it, and destroy the old ones");
    let json = json::object([
        ("key", Value::from(shown.to_string())),
        ("passphrase", new.is_some().into()),
    ]);
    Ok(Report::good(text, json))
}

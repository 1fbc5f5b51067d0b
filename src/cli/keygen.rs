//! `countersign keygen`: a party's keys and its vault.

use std::path::{Path, PathBuf};

use client::{Entropy as _, Party, SystemEntropy, Vault, VaultKey, files, keys};
use json::Value;
use tlog::{KeyKind, KeyName, SigningKey};
use zeroize::Zeroizing;

use super::output::{Failure, Report};
use super::party::Paths;
use super::passphrase;

/// Make a party's keys and its vault.
///
/// Writes five things next to each other: NAME.key and NAME.vkey (the signing key and its public
/// half), NAME.recovery.key and NAME.recovery.vkey (keep the private one offline: it alone can
/// take the signing key's place), NAME.vault.key (opens the vault) and the folder NAME.vault.
/// A vault under a passphrase has no NAME.vault.key.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign keygen lab-a.example\n  \
    countersign keygen lab-a.example --out keys/lab-a\n  \
    countersign keygen lab-a.example --passphrase --vault-passphrase")]
pub(super) struct Arguments {
    /// The party's name, as others will see it: 1 to 128 bytes, no spaces, no `+`.
    name: String,
    /// Path and file name without ending; by default the name in the current folder.
    #[arg(long, value_name = "STEM")]
    out: Option<PathBuf>,
    /// Put both private keys under a passphrase, which you are asked for twice.
    #[arg(long)]
    passphrase: bool,
    /// Put both private keys under the passphrase in this file.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Put the vault under a passphrase, which you are asked for twice, instead of a key file.
    #[arg(long)]
    vault_passphrase: bool,
    /// Put the vault under the passphrase in this file instead of a key file.
    #[arg(long, value_name = "FILE")]
    vault_passphrase_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let name = KeyName::parse(&arguments.name)
        .map_err(|e| Failure::new(format!("the name {:?}: {e}", arguments.name)))?;
    let stem = arguments.out.clone().unwrap_or_else(|| PathBuf::from(keys::file_stem(&name)));
    let paths = Paths::new(&stem);
    check_free(&stem, &paths)?;
    let for_keys = new_passphrase(
        passphrase::KEY,
        arguments.passphrase,
        arguments.passphrase_file.as_deref(),
    )?;
    let for_vault = new_passphrase(
        passphrase::VAULT,
        arguments.vault_passphrase,
        arguments.vault_passphrase_file.as_deref(),
    )?;

    let mut entropy = SystemEntropy;
    let signing = SigningKey::from_seed(name.clone(), &entropy.bytes());
    let recovery = SigningKey::from_seed(name.clone(), &entropy.bytes());
    let party = Party {
        name: name.clone(),
        sealing: Zeroizing::new(entropy.bytes()),
        recovery: *recovery.public().as_bytes(),
    };
    for (stem, key) in [(&stem, &signing), (&paths.recovery, &recovery)] {
        match &for_keys {
            None => keys::write_pair(stem, key)?,
            Some(words) => keys::write_protected_pair(stem, key, words, &mut entropy)?,
        };
    }
    let by_passphrase = for_vault.is_some();
    let vault_key = match for_vault {
        Some(words) => VaultKey::Passphrase(words),
        None => {
            let secret = Zeroizing::new(entropy.bytes::<32>());
            files::write_new(&paths.vault_key, &*secret, files::Access::Private)?;
            VaultKey::File(secret)
        }
    };
    Vault::create(&paths.vault, vault_key, &party, &mut entropy)?;

    let vkey = signing.verifier(KeyKind::Ed25519).to_string();
    let stem = stem.display();
    let under = match (for_keys.is_some(), by_passphrase) {
        (false, false) => "",
        (true, false) => "\nBoth private keys are under the passphrase.",
        (false, true) => "\nThe vault is under the passphrase.",
        (true, true) => "\nBoth private keys and the vault are under their passphrases.",
    };
    let text = format!(
        "Keys of {name} are in {stem}.key and {stem}.vkey, its vault is {stem}.vault.{under}\n\
         Public key: {vkey}\n\
         next: keep {stem}.recovery.key offline, and give {stem}.vkey to the log's operator and to the other party"
    );
    let json = json::object([
        ("name", Value::from(name.as_str())),
        ("vkey", vkey.into()),
        ("key", format!("{stem}.key").into()),
        ("vault", format!("{stem}.vault").into()),
        ("passphrase", for_keys.is_some().into()),
        ("vault_passphrase", by_passphrase.into()),
    ]);
    Ok(Report::good(text, json))
}

/// Nothing is written unless all of it can be.
fn check_free(stem: &Path, paths: &Paths) -> Result<(), Failure> {
    let pair = |stem: &Path| [".key", ".vkey"].map(|ending| files::with_ending(stem, ending));
    let keys = pair(stem).into_iter().chain(pair(&paths.recovery));
    for path in keys.chain([paths.vault_key.clone(), paths.vault.clone()]) {
        if path.exists() {
            return Err(Failure::new(format!(
                "{} exists already and is not overwritten",
                path.display()
            ))
            .next("choose another --out, or move the old files away"));
        }
    }
    Ok(())
}

fn new_passphrase(
    purpose: passphrase::Purpose,
    wanted: bool,
    file: Option<&Path>,
) -> Result<Option<Zeroizing<String>>, Failure> {
    if !wanted && file.is_none() {
        return Ok(None);
    }
    passphrase::chosen(purpose, file).map(Some)
}

//! `countersign keygen`: a party's keys and its vault.

use std::path::PathBuf;

use client::{Entropy as _, Party, SystemEntropy, Vault, VaultKey, files, keys};
use tlog::{KeyKind, KeyName, SigningKey};
use zeroize::Zeroizing;

use super::output::{Failure, Report};

/// Make a party's keys and its vault.
///
/// Writes five things next to each other: NAME.key and NAME.vkey (the signing key and its public
/// half), NAME.recovery.key and NAME.recovery.vkey (keep the private one offline: it alone can
/// take the signing key's place), NAME.vault.key (opens the vault) and the folder NAME.vault.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign keygen lab-a.example\n  \
    countersign keygen lab-a.example --out keys/lab-a")]
pub(super) struct Arguments {
    /// The party's name, as others will see it: 1 to 128 bytes, no spaces, no `+`.
    name: String,
    /// Path and file name without ending; by default the name in the current folder.
    #[arg(long, value_name = "STEM")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let name = KeyName::parse(&arguments.name)
        .map_err(|e| Failure::new(format!("the name {:?}: {e}", arguments.name)))?;
    let stem = arguments.out.clone().unwrap_or_else(|| PathBuf::from(keys::file_stem(&name)));
    let mut entropy = SystemEntropy;

    let signing = SigningKey::from_seed(name.clone(), &entropy.bytes());
    let recovery = SigningKey::from_seed(name.clone(), &entropy.bytes());
    let vault_key = Zeroizing::new(entropy.bytes::<32>());
    let party = Party {
        name: name.clone(),
        sealing: Zeroizing::new(entropy.bytes()),
        recovery: *recovery.public().as_bytes(),
    };

    let paths = super::party::Paths::new(&stem);
    for path in [&paths.vault_key, &paths.vault] {
        if path.exists() {
            return Err(Failure::new(format!("{} exists already", path.display()))
                .next("choose another --out, or move the old files away"));
        }
    }
    keys::write_pair(&stem, &signing)?;
    keys::write_pair(&paths.recovery, &recovery)?;
    files::write_new(&paths.vault_key, &*vault_key, files::Access::Private)?;
    Vault::create(&paths.vault, VaultKey::File(vault_key), &party, &mut entropy)?;

    let vkey = signing.verifier(KeyKind::Ed25519).to_string();
    let stem = stem.display();
    let text = format!(
        "Keys of {name} are in {stem}.key and {stem}.vkey, its vault is {stem}.vault.\n\
         Public key: {vkey}\n\
         next: keep {stem}.recovery.key offline, and give {stem}.vkey to the log's operator and to the other party"
    );
    let json = json::object([
        ("name", name.as_str().into()),
        ("vkey", vkey.into()),
        ("key", format!("{stem}.key").into()),
        ("vault", format!("{stem}.vault").into()),
    ]);
    Ok(Report::good(text, json))
}

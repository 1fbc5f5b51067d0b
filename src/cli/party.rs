//! What commands of a party share: where its files are, and opening them.

use std::path::{Path, PathBuf};

use client::{Vault, VaultKey, files, keys};
use tlog::{SigningKey, VerifierKey};
use zeroize::Zeroizing;

use super::output::Failure;

/// The files that belong to one stem, such as `keys/lab-a`.
pub(super) struct Paths {
    /// Stem of the recovery key's two files.
    pub(super) recovery: PathBuf,
    /// What opens the vault.
    pub(super) vault_key: PathBuf,
    /// The vault's folder.
    pub(super) vault: PathBuf,
}

impl Paths {
    pub(super) fn new(stem: &Path) -> Self {
        let with = |ending: &str| {
            let mut path = stem.as_os_str().to_owned();
            path.push(ending);
            PathBuf::from(path)
        };
        Self { recovery: with(".recovery"), vault_key: with(".vault.key"), vault: with(".vault") }
    }
}

/// The party that runs the command.
#[derive(Debug, clap::Args)]
pub(super) struct PartyArguments {
    /// The party's signing key; NAME.vkey and NAME.vault are looked for beside it.
    #[arg(long, value_name = "NAME.key")]
    key: PathBuf,
    /// The party's vault, if it is not beside the key.
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    /// What opens the vault, if it is not beside the key.
    #[arg(long, value_name = "FILE")]
    vault_key: Option<PathBuf>,
}

impl PartyArguments {
    /// The signing key and the opened vault.
    pub(super) fn open(&self) -> Result<(SigningKey, Vault), Failure> {
        let key = keys::read_signing(&self.key)?;
        let paths = Paths::new(&self.key.with_extension(""));
        let vault_key = self.vault_key.as_ref().unwrap_or(&paths.vault_key);
        let secret = Zeroizing::new(files::read_private(vault_key, 1 << 10)?);
        let secret: [u8; 32] = secret.as_slice().try_into().map_err(|_| {
            Failure::new(format!("{}: must hold exactly 32 bytes", vault_key.display()))
                .next("use the NAME.vault.key that keygen made")
        })?;
        let folder = self.vault.as_ref().unwrap_or(&paths.vault);
        let vault = Vault::open(folder, VaultKey::File(Zeroizing::new(secret)))?;
        let owner = vault.party()?.name;
        if owner != *key.name() {
            let problem = format!("{} belongs to {owner}, not {}", folder.display(), key.name());
            return Err(Failure::new(problem).next("name the right --vault"));
        }
        Ok((key, vault))
    }
}

/// The log that a command trusts.
#[derive(Debug, clap::Args)]
pub(super) struct LogArguments {
    /// The log's public key, which you got from its operator by a way you trust.
    #[arg(long, value_name = "FILE.vkey")]
    log_key: PathBuf,
}

impl LogArguments {
    /// The pinned key.
    pub(super) fn key(&self) -> Result<VerifierKey, Failure> {
        Ok(keys::read_vkey(&self.log_key)?)
    }
}

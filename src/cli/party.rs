//! What commands of a party share: where its files are, and opening them.

use std::path::{Path, PathBuf};

use client::keys::KeyFile;
use client::{Address, Tls, Vault, VaultKey, VaultKind, files};
use tlog::SigningKey;
use zeroize::Zeroizing;

use super::output::Failure;
use super::passphrase;

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
        let with = |ending: &str| files::with_ending(stem, ending);
        Self { recovery: with(".recovery"), vault_key: with(".vault.key"), vault: with(".vault") }
    }
}

/// The party that runs the command.
#[derive(Debug, clap::Args)]
pub(super) struct PartyArguments {
    /// The party's signing key; NAME.vkey and NAME.vault are looked for beside it.
    #[arg(long, value_name = "NAME.key")]
    key: PathBuf,
    /// The passphrase of the key, in a file; without it you are asked.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The party's vault, if it is not beside the key.
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    #[command(flatten)]
    unlock: Unlock,
}

/// What opens a vault.
#[derive(Debug, clap::Args)]
pub(super) struct Unlock {
    /// What opens the vault, if it is not beside it.
    #[arg(long, value_name = "FILE")]
    vault_key: Option<PathBuf>,
    /// The passphrase of the vault, in a file; without it you are asked.
    #[arg(long, value_name = "FILE")]
    vault_passphrase_file: Option<PathBuf>,
}

impl PartyArguments {
    /// The signing key and the opened vault.
    pub(super) fn open(&self) -> Result<(SigningKey, Vault), Failure> {
        let key = signing_key(&self.key, self.passphrase_file.as_deref())?;
        let folder = match &self.vault {
            Some(folder) => folder.clone(),
            None => Paths::new(&self.key.with_extension("")).vault,
        };
        let vault = self.unlock.open(&folder)?;
        let owner = vault.party()?.name;
        if owner != *key.name() {
            let problem = format!("{} belongs to {owner}, not {}", folder.display(), key.name());
            return Err(Failure::new(problem).next("name the right --vault"));
        }
        Ok((key, vault))
    }
}

impl Unlock {
    /// Opens the vault in this folder, by passphrase or key file as it was made.
    pub(super) fn open(&self, folder: &Path) -> Result<Vault, Failure> {
        // Without the slash that completion leaves at the end: NAME.vault.key is beside it.
        let folder = &folder.components().collect::<PathBuf>();
        let key = match Vault::kind(folder)? {
            VaultKind::Passphrase => VaultKey::Passphrase(passphrase::known(
                passphrase::VAULT,
                self.vault_passphrase_file.as_deref(),
            )?),
            VaultKind::KeyFile => {
                let beside = files::with_ending(folder, ".key");
                VaultKey::File(read_vault_key(self.vault_key.as_ref().unwrap_or(&beside))?)
            }
        };
        Ok(Vault::open(folder, key)?)
    }
}

/// A signing key; its passphrase is asked for if it has one.
pub(super) fn signing_key(path: &Path, file: Option<&Path>) -> Result<SigningKey, Failure> {
    match KeyFile::read(path)? {
        KeyFile::Open(key) => Ok(key),
        KeyFile::Protected(key) => Ok(key.open(&passphrase::known(passphrase::KEY, file)?)?),
    }
}

fn read_vault_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let bytes = Zeroizing::new(files::read_private(path, 1 << 10)?);
    let secret: [u8; 32] = bytes.as_slice().try_into().map_err(|_| {
        let problem = match bytes.len() {
            0 => "is empty: its writing was interrupted".to_owned(),
            length => format!("must hold exactly 32 bytes, not {length}"),
        };
        Failure::new(format!("{}: {problem}", path.display()))
            .next("use the NAME.vault.key that keygen made, or your backup of it")
    })?;
    Ok(Zeroizing::new(secret))
}

/// TLS of a command that talks to a server.
#[derive(Debug, clap::Args)]
pub(super) struct TlsArguments {
    /// For https: the authority that the server's certificate must come from.
    #[arg(long, value_name = "FILE.pem")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show if the server asks for one.
    #[arg(long, value_name = "FILE.pem", requires_all = ["tls_ca", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate.
    #[arg(long, value_name = "FILE.pem", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Certificates of a chain have some KiB each.
const MAX_PEM: u64 = 256 << 10;

impl TlsArguments {
    /// The server at this URL.
    pub(super) fn address(&self, url: &str) -> Result<Address, Failure> {
        let Some(authority) = &self.tls_ca else { return Ok(url.into()) };
        let authority = files::read(authority, MAX_PEM)?;
        let own = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some((
                files::read(chain, MAX_PEM)?,
                Zeroizing::new(files::read_private(key, MAX_PEM)?),
            )),
            _ => None,
        };
        let own = own.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
        let tls = Tls::new(&authority, own).map_err(Failure::new)?;
        Ok(Address::with_tls(url, tls))
    }
}

//! Passphrases: from a file, from a file named in the environment, or typed on a terminal.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use client::files;
use zeroize::Zeroizing;

use super::output::Failure;

/// What a passphrase is for; each kind is taken from a place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Purpose {
    /// In prompts: "Passphrase of …".
    of: &'static str,
    /// The flag that names a file.
    flag: &'static str,
    /// The variable that names a file.
    variable: Option<&'static str>,
}

/// A signing key.
pub(super) const KEY: Purpose = Purpose {
    of: "the key",
    flag: "--passphrase-file",
    variable: Some("COUNTERSIGN_PASSPHRASE_FILE"),
};

/// The key that takes a signing key's place.
pub(super) const NEW_KEY: Purpose =
    Purpose { of: "the key from now on", flag: "--new-passphrase-file", variable: None };

/// A vault.
pub(super) const VAULT: Purpose = Purpose {
    of: "the vault",
    flag: "--vault-passphrase-file",
    variable: Some("COUNTERSIGN_VAULT_PASSPHRASE_FILE"),
};

/// The key that takes a vault key's place.
pub(super) const NEW_VAULT: Purpose =
    Purpose { of: "the vault from now on", flag: "--new-vault-passphrase-file", variable: None };

/// A record that goes from one vault to another.
pub(super) const EXPORT: Purpose =
    Purpose { of: "the exported record", flag: "--export-passphrase-file", variable: None };

/// Shorter ones are no passphrases; how long one must be to hold depends on who attacks it.
const SHORTEST: usize = 8;
const LONGEST: u64 = 1 << 10;

/// A passphrase that was chosen before.
pub(super) fn known(purpose: Purpose, file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    match from_file(purpose, file)? {
        Some(passphrase) => Ok(passphrase),
        None => ask(purpose, &format!("Passphrase of {}: ", purpose.of)),
    }
}

/// A new passphrase; on a terminal it is typed twice.
pub(super) fn chosen(purpose: Purpose, file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let passphrase = match from_file(purpose, file)? {
        Some(passphrase) => passphrase,
        None => {
            let first = ask(purpose, &format!("New passphrase of {}: ", purpose.of))?;
            if ask(purpose, "The same once more: ")? != first {
                return Err(Failure::new("the two passphrases differ").next("try again"));
            }
            first
        }
    };
    if passphrase.chars().count() < SHORTEST {
        let problem = format!("the new passphrase has fewer than {SHORTEST} characters");
        return Err(Failure::new(problem).next("take five or more random words"));
    }
    Ok(passphrase)
}

fn from_file(purpose: Purpose, file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let set = purpose.variable.and_then(std::env::var_os).filter(|value| !value.is_empty());
    let named = || set.map(PathBuf::from);
    let Some(path) = file.map(Path::to_owned).or_else(named) else { return Ok(None) };
    let bytes = Zeroizing::new(files::read_private(&path, LONGEST)?);
    let wrong = |problem: &str| Failure::new(format!("{}: {problem}", path.display()));
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(wrong("holds no passphrase").next("write the passphrase into it, in one line"));
    }
    if text.contains(['\n', '\r']) {
        return Err(wrong("has several lines").next("write the passphrase into it, in one line"));
    }
    Ok(Some(Zeroizing::new(text.to_owned())))
}

fn ask(purpose: Purpose, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let nobody = || {
        let next = match purpose.variable {
            Some(variable) => format!("name a file with {} or {variable}", purpose.flag),
            None => format!("name a file with {}", purpose.flag),
        };
        Failure::new(format!(
            "the passphrase of {} is needed, and there is no terminal to ask on",
            purpose.of
        ))
        .next(next)
    };
    // Whoever redirected standard input does not expect to be asked.
    if !std::io::stdin().is_terminal() {
        return Err(nobody());
    }
    rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|_| nobody())
}

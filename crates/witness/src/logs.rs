//! The logs that a witness knows: an allow-list of keys, by origin.

use std::collections::BTreeMap;

use tlog::{KeyKind, VerifierKey};

/// What other signed messages begin with. A log of such a name could have its checkpoints taken
/// for something else, whatever comes to be signed one day.
const TAGS: [&str; 4] = ["cosignature/", "subtree/", "DSSEv1", "countersign.v1/"];

/// Keys of logs by origin. A log that changes its key has two for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs(BTreeMap<String, Vec<VerifierKey>>);

/// A key that is not taken for a log's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLog {
    /// Logs sign with keys of type 01.
    #[error("{0} is not a log's key: logs sign with keys of type 01")]
    Kind(String),
    /// The name could be taken for the beginning of another signed message.
    #[error("{0} is no name of a log: other signed messages begin like this")]
    Name(String),
}

impl Logs {
    /// A list of keys; one that is there twice counts once.
    pub fn new(keys: impl IntoIterator<Item = VerifierKey>) -> Result<Self, InvalidLog> {
        let mut logs = BTreeMap::<String, Vec<VerifierKey>>::new();
        for key in keys {
            let name = key.name().as_str();
            if key.kind() != KeyKind::Ed25519 {
                return Err(InvalidLog::Kind(key.to_string()));
            }
            if TAGS.iter().any(|tag| name.starts_with(tag)) {
                return Err(InvalidLog::Name(name.to_owned()));
            }
            let known = logs.entry(name.to_owned()).or_default();
            if !known.contains(&key) {
                known.push(key);
            }
        }
        Ok(Self(logs))
    }

    /// The keys of an origin; none if it is not known.
    pub fn keys(&self, origin: &str) -> &[VerifierKey] {
        self.0.get(origin).map_or(&[], Vec::as_slice)
    }

    /// All origins.
    pub fn origins(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use tlog::{KeyName, SigningKey};

    use super::{InvalidLog, KeyKind, Logs};

    fn key(name: &str) -> SigningKey {
        SigningKey::from_seed(KeyName::parse(name).unwrap(), &[1; 32])
    }

    #[test]
    fn knows_each_key_once_and_several_of_one_log() {
        let old = key("log.example").verifier(KeyKind::Ed25519);
        let new = SigningKey::from_seed(KeyName::parse("log.example").unwrap(), &[2; 32]);
        let new = new.verifier(KeyKind::Ed25519);
        let logs = Logs::new([old.clone(), new.clone(), old.clone()]).unwrap();
        assert_eq!(logs.keys("log.example"), [old, new]);
        assert!(logs.keys("log.example/other").is_empty());
        assert_eq!(logs.origins().collect::<Vec<_>>(), ["log.example"]);
    }

    #[test]
    fn refuses_keys_that_do_not_sign_checkpoints_and_names_of_other_messages() {
        let cosigner = key("log.example").verifier(KeyKind::Cosignature);
        assert!(matches!(Logs::new([cosigner]), Err(InvalidLog::Kind(_))));
        for name in ["cosignature/v1", "subtree/v1", "DSSEv1", "countersign.v1/stamp"] {
            let key = key(name).verifier(KeyKind::Ed25519);
            assert!(matches!(Logs::new([key]), Err(InvalidLog::Name(_))), "{name}");
        }
    }
}

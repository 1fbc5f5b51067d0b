//! `witness.toml`. Every key stands in `docs/witness.md`, which a test compares with this.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::output::Failure;
use crate::cli::serve::config::{Telemetry, TlsSection};

/// A configuration file has some KiB; one with ten thousand logs a MiB.
const MAX_FILE: u64 = 4 << 20;

/// What an operator can set.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::cli) struct Config {
    pub(super) data: PathBuf,
    pub(super) name: Option<String>,
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) published: Vec<String>,
    pub(super) published_ca: Option<PathBuf>,
    pub(super) connections: u32,
    pub(super) connections_per_address: u32,
    pub(super) checkpoints_per_second: u32,
    pub(super) checkpoints_burst: u32,
    pub(super) stamps_per_second: u32,
    pub(super) stamps_burst: u32,
    pub(super) tls: TlsSection,
    pub(super) telemetry: Telemetry,
    #[serde(rename = "log")]
    pub(super) logs: Vec<Log>,
    #[serde(rename = "party")]
    pub(super) parties: Vec<Party>,
}

/// A log to cosign.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) vkey: PathBuf,
    /// Where its files are, if the start-up check is to look there as well.
    pub(super) url: Option<String>,
}

/// A party whose statements are stamped.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Party {
    pub(super) vkey: PathBuf,
}

impl Log {
    pub(super) fn at(vkey: &Path) -> Self {
        Self { vkey: vkey.to_owned(), url: None }
    }
}

impl Party {
    pub(super) fn at(vkey: &Path) -> Self {
        Self { vkey: vkey.to_owned() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "countersign-witness".into(),
            name: None,
            http: SocketAddr::from(([127, 0, 0, 1], 7410)),
            grpc: SocketAddr::from(([127, 0, 0, 1], 7411)),
            admin: None,
            published: Vec::new(),
            published_ca: None,
            connections: 512,
            connections_per_address: 128,
            checkpoints_per_second: 50,
            checkpoints_burst: 500,
            stamps_per_second: 1,
            stamps_burst: 20,
            tls: TlsSection::default(),
            telemetry: Telemetry::default(),
            logs: Vec::new(),
            parties: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file. Its paths are relative to its folder.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = client::files::read(path, MAX_FILE)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(format!("{}: is not UTF-8", path.display())))?;
        let mut config = Self::parse(&text).map_err(|problem| {
            Failure::new(format!("{}:{problem}", path.display()))
                .next("see docs/witness.md for every key")
        })?;
        config.resolve(path.parent().unwrap_or_else(|| Path::new("")));
        Ok(config)
    }

    /// Parses a file; the error begins with the line.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..at].matches('\n').count() + 1;
            format!("{line}: {}", error.message())
        })
    }

    fn resolve(&mut self, folder: &Path) {
        let Self { tls, logs, parties, published_ca, data, .. } = self;
        let optional = [
            &mut tls.certificate,
            &mut tls.key,
            &mut tls.client_ca,
            &mut tls.client_crl,
            published_ca,
        ];
        let logs = logs.iter_mut().map(|log| &mut log.vkey);
        let parties = parties.iter_mut().map(|party| &mut party.vkey);
        for path in optional.into_iter().flatten().chain(logs).chain(parties).chain([data]) {
            // An absolute path stays as it is.
            *path = folder.join(&*path);
        }
    }

    /// What no type can say.
    pub(in crate::cli) fn check(&self) -> Result<(), Failure> {
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            let problem = "tls: certificate and key belong together; one is missing";
            return Err(Failure::new(problem).next("name both --tls-cert and --tls-key"));
        }
        if self.connections == 0 || self.connections_per_address == 0 {
            return Err(Failure::new("connections: must be at least 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Config;

    fn documentation() -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/witness.md");
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn every_key_stands_in_the_documentation() {
        let documentation = documentation();
        for (sample, prefix) in [("no-such-key = 1", ""), ("[[log]]\nno-such-key = 1", "log.")] {
            let error = toml::from_str::<Config>(sample).unwrap_err().message().to_owned();
            let (_, expected) = error.split_once("expected ").unwrap();
            let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            assert!(!keys.is_empty(), "{error}");
            for key in keys {
                let documented = documentation.contains(&format!("| `{prefix}{key}` |"));
                assert!(documented, "docs/witness.md lacks {prefix}{key}");
            }
        }
    }

    #[test]
    fn example_of_the_documentation_is_taken_and_paths_are_relative_to_it() {
        let documentation = documentation();
        let (_, rest) = documentation.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let mut config: Config = toml::from_str(example).unwrap();
        config.check().unwrap();
        config.resolve(Path::new("/etc/countersign"));
        assert!(config.logs.len() > 1 && config.logs[0].vkey.starts_with("/etc/countersign"));
    }
}

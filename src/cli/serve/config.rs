//! What an operator can set: one table of sections, keys, types, defaults and meanings. The
//! structures, the reading of `countersign.toml` and `docs/configuration.md` all come from it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::output::Failure;

/// A configuration file has some KiB.
const MAX_FILE: u64 = 1 << 20;

/// A type that a key may have, as the reference shows it.
trait Setting {
    /// In words.
    const KIND: &'static str;

    /// As TOML writes it; empty if there is no value.
    fn spelled(&self) -> String;

    /// The value, if it is a number.
    fn number(&self) -> Option<u64> {
        None
    }
}

macro_rules! settings {
    ($($type:ty: $kind:literal, $value:ident => $spelled:expr $(, $number:expr)?;)*) => {
        $(impl Setting for $type {
            const KIND: &'static str = $kind;

            fn spelled(&self) -> String {
                let $value = self;
                $spelled
            }

            $(fn number(&self) -> Option<u64> {
                let $value = self;
                Some($number)
            })?
        })*
    };
}

settings! {
    u32: "number", n => n.to_string(), u64::from(*n);
    u64: "number", n => n.to_string(), *n;
    bool: "true or false", b => b.to_string();
    String: "text", text => format!("{text:?}");
    PathBuf: "path", path => format!("{:?}", path.display().to_string());
    SocketAddr: "address and port", address => format!("\"{address}\"");
    LogFormat: "`\"text\"` or `\"json\"`", format => format!("\"{format}\"");
    Envelopes: "`\"parties\"` or `\"anyone\"`", who => format!("\"{who}\"");
}

impl<T: Setting> Setting for Option<T> {
    const KIND: &'static str = T::KIND;

    fn spelled(&self) -> String {
        self.as_ref().map(T::spelled).unwrap_or_default()
    }
}

/// One key of the reference.
struct Key {
    name: &'static str,
    kind: &'static str,
    default: String,
    doc: String,
}

/// One section of the reference.
struct Section {
    name: &'static str,
    doc: String,
    keys: Vec<Key>,
}

macro_rules! sections {
    ($(
        $(#[doc = $doc:literal])*
        [$section:ident] $struct:ident {
            $($(#[doc = $key_doc:literal])* $key:ident: $type:ty = $default:expr,)*
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub(in crate::cli) struct $struct {
                $($(#[doc = $key_doc])* pub(in crate::cli) $key: $type,)*
            }

            impl Default for $struct {
                fn default() -> Self {
                    Self { $($key: $default,)* }
                }
            }
        )*

        /// All that an operator can set.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(in crate::cli) struct Config {
            $($(#[doc = $doc])* pub(super) $section: $struct,)*
            /// The parties, one `[[party]]` each.
            #[serde(rename = "party")]
            pub(super) parties: Vec<Party>,
        }

        impl Config {
            /// All numbers, by section and key.
            fn numbers(&self) -> Vec<(&'static str, &'static str, u64)> {
                let all = [$($((
                    stringify!($section),
                    stringify!($key),
                    Setting::number(&self.$section.$key),
                ),)*)*];
                all.into_iter().filter_map(|(s, key, number)| Some((s, key, number?))).collect()
            }
        }

        fn reference() -> Vec<Section> {
            vec![$({
                let defaults = $struct::default();
                Section {
                    name: stringify!($section),
                    doc: concat!($($doc, "\n"),*).trim().to_owned(),
                    keys: vec![$(Key {
                        name: stringify!($key),
                        kind: <$type as Setting>::KIND,
                        default: Setting::spelled(&defaults.$key),
                        doc: concat!($($key_doc, "\n"),*).trim().to_owned(),
                    },)*],
                }
            },)*]
        }
    };
}

sections! {
    /// The log itself.
    [log] LogSection {
        /// Data folder; made if it is not there. Flag `--data`.
        data: PathBuf = "countersign-data".into(),
        /// The log's name for a new key: a URL without scheme, never used for another log. Random
        /// if nothing is said. Flag `--origin`.
        origin: Option<String> = None,
    }

    /// Where the server listens. Port 0 takes any free one.
    [listen] Listen {
        /// gRPC: statements and all reading. Flag `--listen`.
        grpc: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7400)),
        /// Checkpoint and tiles over HTTP, with `/healthz` and `/readyz`; on loopback with
        /// `/metrics` as well. Flag `--http`.
        http: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7401)),
        /// `/metrics`, `/healthz` and `/readyz` in the clear and for everybody who gets there, for
        /// when the others are not on loopback. Flag `--admin`.
        admin: Option<SocketAddr> = None,
    }

    /// TLS 1.3 for gRPC and HTTP. Without a certificate both are in the clear.
    [tls] TlsSection {
        /// The server's certificate and those that lead to its authority, PEM. Flag `--tls-cert`.
        certificate: Option<PathBuf> = None,
        /// Its private key, PEM, mode 0600; root's may be readable by its group. Flag `--tls-key`.
        key: Option<PathBuf> = None,
        /// The authority of client certificates: whoever shows none of them does not get in. Flag
        /// `--client-ca`.
        client_ca: Option<PathBuf> = None,
        /// Which client certificates that authority has revoked: a list (CRL) in PEM, read at the
        /// start. Flag `--client-crl`.
        client_crl: Option<PathBuf> = None,
    }

    /// Who may read the log. Statements are for whoever the log knows, by their signature.
    [read] Read {
        /// True lets everybody read, false only whoever shows a client certificate. If nothing is
        /// said, listeners on loopback are public and others are not. Flag `--public-read`.
        public: Option<bool> = None,
        /// Who gets sealed envelopes: `"parties"` gives one only to its sender, its reader and
        /// the auditors of its exchange, by the certificate of the connection; `"anyone"` to whoever may read. If nothing is said it
        /// is `"anyone"` where no client certificates are asked for and all listeners are on
        /// loopback, since nobody could be told apart and nobody else gets there; else `"parties"`.
        /// Flag `--envelopes`.
        envelopes: Option<Envelopes> = None,
    }

    /// How much goes on at once, and how long it may take.
    [limits] Limits {
        /// Open connections of one listener.
        connections: u32 = 1_024,
        /// Of these, from one address: IPv4, or an IPv6 /64.
        connections_per_address: u32 = 256,
        /// Calls with one answer that go on at once. Beyond it: `RESOURCE_EXHAUSTED`, `OVERLOADED`.
        calls: u32 = 2_048,
        /// Of these, by one party, certificate or address.
        calls_per_identity: u32 = 1_024,
        /// Uploads, downloads and streams of statements at once; as many watchers besides.
        streams: u32 = 512,
        /// Of these, by one party, certificate or address.
        streams_per_identity: u32 = 128,
        /// HTTP/2 streams that one connection may have open.
        streams_per_connection: u32 = 256,
        /// Bytes of a request's headers.
        header_bytes: u32 = 16 << 10,
        /// A TLS handshake must be done by then, and so must the first bytes after it.
        handshake_seconds: u64 = 5,
        /// A call with one answer must be answered by then.
        call_seconds: u64 = 10,
        /// The next message of a stream must come by then, and what is sent must be taken.
        idle_seconds: u64 = 60,
        /// One upload must be done by then.
        upload_seconds: u64 = 600,
        /// How often a silent connection is asked whether anybody is there.
        keepalive_seconds: u64 = 20,
        /// When it must have answered.
        keepalive_answer_seconds: u64 = 10,
        /// When a connection is asked to close; calls on it may end.
        connection_age_seconds: u64 = 1_800,
        /// On stopping: from "not serving" to closed doors, for load balancers to notice.
        notice_seconds: u64 = 0,
        /// On stopping: from closed doors to the end, for calls to end. The supervisor must wait
        /// longer than both together.
        grace_seconds: u64 = 5,
        /// Bytes of one artifact. The largest envelope has 65 MiB and a little.
        artifact_bytes: u64 = 66 << 20,
        /// Statements that may wait for the writer. Beyond it: `QUEUE_FULL`.
        queue_entries: u32 = 4_096,
        /// Bytes that may wait for the writer.
        queue_bytes: u64 = 64 << 20,
        /// Statements of one commit.
        batch_entries: u32 = 1_024,
        /// Bytes of one commit.
        batch_bytes: u64 = 16 << 20,
    }

    /// How much each party, certificate or address may send. Beyond it: `RATE_LIMITED` or
    /// `ARTIFACT_TOO_LARGE`, with the time to wait.
    [quota] Quota {
        /// Statements, sustained.
        statements_per_second: u32 = 2_000,
        /// Statements at once after a time of rest.
        statements_burst: u32 = 100_000,
        /// KiB of statements, sustained; each counts as one at least.
        statement_kib_per_second: u32 = 16 << 10,
        /// KiB of statements at once.
        statement_kib_burst: u32 = 1 << 20,
        /// Artifacts, sustained.
        artifacts_per_second: u32 = 200,
        /// Artifacts at once.
        artifacts_burst: u32 = 10_000,
        /// KiB of artifacts, sustained.
        artifact_kib_per_second: u32 = 64 << 10,
        /// KiB of artifacts at once; at least `limits.artifact_bytes`.
        artifact_kib_burst: u32 = 1 << 20,
        /// Bytes of artifacts that no statement has named yet.
        unnamed_bytes: u64 = 512 << 20,
        /// Their number.
        unnamed_artifacts: u64 = 1_000,
        /// Their bytes, of everybody together.
        unnamed_bytes_total: u64 = 4 << 30,
        /// An artifact that no statement has named by then is garbage and removed.
        unnamed_seconds: u64 = 3_600,
    }

    /// Who cosigns this log's checkpoints. With a policy, `/checkpoint` shows what a quorum cosigned.
    [witnesses] WitnessesSection {
        /// A tlog-policy file: each `witness` line with a URL is asked, and the `quorum` line says
        /// when a head counts as witnessed. Flag `--policy`.
        policy: Option<PathBuf> = None,
        /// The authority of the certificates of witnesses with an https URL, PEM.
        ca: Option<PathBuf> = None,
        /// How often they are asked about the newest head, in milliseconds.
        beat_ms: u64 = 1_000,
        /// When a witness must have answered, in milliseconds.
        deadline_ms: u64 = 5_000,
        /// When a head that does not change is cosigned again.
        refresh_seconds: u64 = 10,
        /// True lets the server log a cosigned head as a `tick` whenever an exchange waits for one,
        /// under the key `operator.key` in the data folder, which is made if it is not there. With
        /// false somebody else has to, or no deadline passes.
        ticks: bool = true,
    }

    /// What the server says about itself.
    [telemetry] Telemetry {
        /// Lines of the log on standard error. Flag `--log-format`.
        log_format: LogFormat = LogFormat::Text,
        /// Which of them, as `tracing` filters: `info`, `debug`, `warn,transport=debug`. The
        /// environment variable RUST_LOG counts for more.
        log_filter: String = "info".to_owned(),
        /// Where traces go over OTLP/gRPC, such as `http://127.0.0.1:4317`. Takes a program that was
        /// built with the feature `otel`. Flag `--otlp-endpoint`.
        otlp_endpoint: Option<String> = None,
    }
}

/// One party: who may register, and which certificate is theirs. A party with several
/// certificates has an entry for each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Party {
    /// The party's name; must be the one in its key file.
    pub(super) name: String,
    /// The party's public key file.
    pub(super) vkey: PathBuf,
    /// SHA-256 of its client certificate.
    #[serde(default)]
    pub(super) certificate_sha256: Option<String>,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object each.
    Json,
}

/// Who gets sealed envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Envelopes {
    /// Sender and reader.
    Parties,
    /// Whoever may read the log.
    Anyone,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Text { "text" } else { "json" })
    }
}

impl fmt::Display for Envelopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Parties { "parties" } else { "anyone" })
    }
}

/// A value that does not do, by its section and key.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Unfit {
    section: &'static str,
    key: &'static str,
    problem: String,
}

/// A configuration and the file it comes from.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) config: Config,
    file: Option<(PathBuf, String)>,
}

impl Loaded {
    /// Reads a file. Its paths are relative to its folder.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = client::files::read(path, MAX_FILE)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(format!("{}: is not UTF-8", path.display())))?;
        let mut config = parse(&text).map_err(|problem| {
            Failure::new(format!("{}:{problem}", path.display()))
                .next("see docs/configuration.md for every key")
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        config.resolve(folder);
        Ok(Self { config, file: Some((path.to_owned(), text)) })
    }

    /// Checks what no type can say. Names file, line and key, or the key alone if the value comes
    /// from a flag or a default.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.config.check().map_err(|unfit| self.failure(&unfit))
    }

    fn failure(&self, unfit: &Unfit) -> Failure {
        let Unfit { section, key, problem } = unfit;
        let place = self.file.as_ref().and_then(|(path, text)| {
            Some(format!("{}:{}: ", path.display(), line_of(text, section, key)?))
        });
        Failure::new(format!("{}{section}.{key}: {problem}", place.unwrap_or_default()))
            .next("see docs/configuration.md for every key")
    }
}

impl Config {
    fn resolve(&mut self, folder: &Path) {
        let tls = &mut self.tls;
        let optional = [
            &mut tls.certificate,
            &mut tls.key,
            &mut tls.client_ca,
            &mut tls.client_crl,
            &mut self.witnesses.policy,
            &mut self.witnesses.ca,
        ];
        let certificates = optional.into_iter().flatten();
        let keys = self.parties.iter_mut().map(|party| &mut party.vkey);
        for path in certificates.chain(keys).chain([&mut self.log.data]) {
            // An absolute path stays as it is.
            *path = folder.join(&*path);
        }
    }

    pub(in crate::cli) fn check(&self) -> Result<(), Unfit> {
        let unfit =
            |section, key, problem: &str| Err(Unfit { section, key, problem: problem.to_owned() });
        // Zero would refuse everybody, or never wait at all.
        for (section, key, value) in self.numbers() {
            if value == 0 && key != "notice_seconds" {
                return unfit(section, key, "must be at least 1");
            }
        }
        let Self { tls, limits, quota, .. } = self;
        if tls.certificate.is_some() != tls.key.is_some() {
            let key = if tls.key.is_some() { "certificate" } else { "key" };
            return unfit("tls", key, "certificate and key belong together; one is missing");
        }
        if tls.client_ca.is_some() && tls.certificate.is_none() {
            return unfit("tls", "client_ca", "takes a certificate and key of the server");
        }
        if tls.client_crl.is_some() && tls.client_ca.is_none() {
            return unfit("tls", "client_crl", "takes client_ca, whose certificates it revokes");
        }
        let burst = u64::from(quota.artifact_kib_burst) << 10;
        if burst < limits.artifact_bytes {
            let problem = format!(
                "{} KiB are less than one artifact of limits.artifact_bytes = {}",
                quota.artifact_kib_burst, limits.artifact_bytes
            );
            return unfit("quota", "artifact_kib_burst", &problem);
        }
        if quota.unnamed_bytes < limits.artifact_bytes {
            return unfit(
                "quota",
                "unnamed_bytes",
                "must hold one artifact of limits.artifact_bytes",
            );
        }
        Ok(())
    }
}

/// Parses a file; the error begins with the line and names the key.
pub(in crate::cli) fn parse(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..at].matches('\n').count() + 1;
        let content = text.lines().nth(line - 1).unwrap_or_default().trim();
        let key = content.split('=').next().unwrap_or_default().trim();
        format!("{line}: {key}: {}", error.message().replace('\n', " "))
    })
}

/// The line of a key, by a look at the text: it has been parsed before.
fn line_of(text: &str, section: &str, key: &str) -> Option<usize> {
    let mut within = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            within = line.starts_with(&format!("[{section}]"));
        } else if within && line.split('=').next().is_some_and(|name| name.trim() == key) {
            return Some(number + 1);
        }
    }
    None
}

/// `docs/configuration.md`.
pub(super) fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for Section { name, doc, keys } in reference() {
        out += &format!("\n## `[{name}]`\n\n{}\n\n", joined(&doc));
        out += "| key | type | default | meaning |\n|---|---|---|---|\n";
        for Key { name, kind, default, doc } in keys {
            let default =
                if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
            out += &format!("| `{name}` | {kind} | {default} | {} |\n", joined(&doc));
        }
    }
    out + PARTY
}

fn joined(doc: &str) -> String {
    doc.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

const INTRODUCTION: &str = "\
# Configuration of the server

`countersign serve --config countersign.toml` reads a TOML file; without one, everything has the default that stands here. Flags
count for more than the file. Paths in the file are relative to its folder. An unknown key is an error, and errors name file, line
and key. How to run a server is in [operations.md](operations.md).

This page is made by `countersign serve --configuration-reference`, and a test fails when it is stale.

```toml
# Two labs with certificates; everything else as it is.
[log]
data = \"/var/lib/countersign\"
origin = \"log.example/2026\"

[listen]
grpc = \"0.0.0.0:7400\"
http = \"0.0.0.0:7401\"
admin = \"127.0.0.1:7402\"

[tls]
certificate = \"server.pem\"
key = \"server.key\"
client_ca = \"clients-ca.pem\"

[[party]]
name = \"lab-a.example\"
vkey = \"lab-a.example.vkey\"
certificate_sha256 = \"8F:43:…\"   # openssl x509 -in lab-a.pem -noout -fingerprint -sha256

[[party]]
name = \"lab-b.example\"
vkey = \"lab-b.example.vkey\"
certificate_sha256 = \"1C:A0:…\"
```
";

const PARTY: &str = "
## `[[party]]`

One entry for each party, as `--party NAME.vkey`; one more for each further certificate of the same party.

| key | type | default | meaning |
|---|---|---|---|
| `name` | text | required | The party's name; must be the one in its key file. |
| `vkey` | path | required | The party's public key file: it may register. |
| `certificate_sha256` | text | – | SHA-256 of its client certificate, as `openssl x509 -noout -fingerprint -sha256` shows it. \
Its calls are charged to the party, and envelopes to and from it are given to it. |
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, Loaded, markdown, parse};

    #[test]
    fn reference_is_what_the_program_takes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(
            written == markdown(),
            "docs/configuration.md is stale; run: countersign serve --configuration-reference \
             > docs/configuration.md"
        );
    }

    #[test]
    fn example_of_the_reference_is_taken() {
        let reference = markdown();
        let (_, rest) = reference.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let config = parse(example).unwrap();
        config.check().unwrap();
        assert_eq!(config.parties.len(), 2);
        assert_eq!(config.listen.admin, Some("127.0.0.1:7402".parse().unwrap()));
    }

    #[test]
    fn nothing_said_is_the_default() {
        let config = parse("").unwrap();
        assert_eq!(config.listen.grpc.to_string(), "127.0.0.1:7400");
        assert_eq!(config.limits.queue_entries, 4_096);
        config.check().unwrap();
    }

    #[test]
    fn problem_has_a_line_and_a_key() {
        let of = |text: &str| parse(text).unwrap_err();
        let unknown = of("[limits]\ncalls = 3\nconections = 5\n");
        assert!(unknown.starts_with("3: conections: unknown field"), "{unknown}");
        let typed = of("\n[limits]\nconnections = \"many\"\n");
        assert!(typed.starts_with("3: connections: invalid type"), "{typed}");
        let section = of("[limit]\n");
        assert!(section.starts_with("1: [limit]: unknown field"), "{section}");
        let syntax = of("[limits]\ncalls 3\n");
        assert!(syntax.starts_with("2: calls 3: "), "{syntax}");
        let twice = of("[read]\npublic = true\npublic = false\n");
        assert!(twice.starts_with("3: public: duplicate key"), "{twice}");
        let wide = of("[quota]\nartifacts_burst = 99999999999\n");
        assert!(wide.starts_with("2: artifacts_burst: "), "{wide}");
        let party = of("[[party]]\nname = \"a\"\n");
        assert!(party.starts_with("1: [[party]]: missing field `vkey`"), "{party}");
    }

    #[test]
    fn value_that_does_not_do_is_found_in_its_line() {
        let of = |text: &str| {
            let file = Some(("c.toml".into(), text.to_owned()));
            let loaded = Loaded { config: parse(text).unwrap(), file };
            format!("{:?}", loaded.check().unwrap_err())
        };
        let zero = of("[quota]\n\ncalls_per_day = 1\n"
            .replace("calls_per_day = 1", "unnamed_bytes = 0")
            .as_str());
        assert!(zero.contains("c.toml:3: quota.unnamed_bytes: must be at least 1"), "{zero}");
        let alone = of("[tls]\ncertificate = \"a.pem\"\n");
        assert!(alone.contains("tls.key: certificate and key belong together"), "{alone}");
        let small = of("[quota]\nartifact_kib_burst = 1\n");
        assert!(small.contains("c.toml:2: quota.artifact_kib_burst"), "{small}");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let mut config: Config =
            parse("[tls]\nkey = \"k.pem\"\ncertificate = \"/c.pem\"\n").unwrap();
        config.resolve(Path::new("/etc/countersign"));
        assert_eq!(config.tls.key.as_deref(), Some(Path::new("/etc/countersign/k.pem")));
        assert_eq!(config.tls.certificate.as_deref(), Some(Path::new("/c.pem")));
        assert_eq!(config.log.data, Path::new("/etc/countersign/countersign-data"));
    }
}

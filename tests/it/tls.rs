//! TLS and client certificates: who gets in, whose calls they are, and to whom envelopes are
//! given. Here belongs what a connection may do; what a statement may say is in `refusals`.

use std::io;
use std::sync::Arc;

use api::v1;
use api::v1::artifact_service_client::ArtifactServiceClient;
use api::v1::exchange_service_client::ExchangeServiceClient;
use api::v1::log_service_client::LogServiceClient;
use bytes::Bytes;
use exchange::predicate::{Predicate, RevealContent};
use exchange::{Envelope, StatementId};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tlog::Hash;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::exchanging::{
    accepts, agreement, clock, disputes_items, envelope, opens, policy, reveals, run, schedule,
    tick,
};
use crate::metrics;
use crate::parties::{Recorded, Voice};
use crate::pki::{Authority, Issued};
use crate::service::{append, register};
use crate::support::{Answer, Outcome, Server, World, evaldata, eventually, within};

/// Two labs with certificates, a third party with one, and somebody whose certificate is nobody's.
pub(crate) struct Lands {
    pub(crate) world: World,
    pub(crate) authority: Authority,
    pub(crate) clients: Authority,
    pub(crate) a: Issued,
    pub(crate) b: Issued,
    c: Issued,
    nobody: Issued,
}

const NAMES: [&str; 3] = ["a.example", "b.example", "c.example"];

impl Lands {
    pub(crate) fn new() -> Self {
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let world = World::new();
        let issued = authority.server();
        world.write("server.pem", &issued.certificate);
        world.write_private("server.key", &issued.key);
        world.write("clients.pem", clients.pem());
        for name in NAMES {
            world.write_vkey(&format!("{name}.vkey"), &Voice::key_of(name));
        }
        let [a, b, c] = NAMES.map(|name| clients.client(name));
        let nobody = clients.client("nobody");
        Self { world, authority, clients, a, b, c, nobody }
    }

    /// A configuration with mutual TLS, to which a test adds.
    pub(crate) fn config(&self) -> String {
        let mut toml = String::from(
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \
             \"clients.pem\"\n",
        );
        for (name, issued) in NAMES.iter().zip([&self.a, &self.b, &self.c]) {
            toml += &format!(
                "[[party]]\nname = \"{name}\"\nvkey = \"{name}.vkey\"\ncertificate_sha256 = \
                 \"{}\"\n",
                issued.fingerprint
            );
        }
        toml
    }

    /// A connection of the owner of this certificate.
    pub(crate) async fn channel(
        &self,
        server: &Server,
        own: Option<&Issued>,
    ) -> Result<Channel, tonic::transport::Error> {
        let authority = tonic::transport::Certificate::from_pem(self.authority.pem());
        let mut tls = ClientTlsConfig::new().ca_certificate(authority);
        if let Some(own) = own {
            tls = tls.identity(tonic::transport::Identity::from_pem(&own.certificate, &own.key));
        }
        Endpoint::from_shared(server.grpc.clone())?.tls_config(tls)?.connect().await
    }

    pub(crate) async fn log(&self, server: &Server, own: &Issued) -> LogServiceClient<Channel> {
        LogServiceClient::new(self.channel(server, Some(own)).await.unwrap())
    }

    pub(crate) async fn artifacts(
        &self,
        server: &Server,
        own: &Issued,
    ) -> ArtifactServiceClient<Channel> {
        ArtifactServiceClient::new(self.channel(server, Some(own)).await.unwrap())
    }

    /// What becomes of a client who asks for the checkpoint over gRPC.
    async fn asks(&self, server: &Server, own: Option<&Issued>) -> Result<(), String> {
        let channel = self.channel(server, own).await.map_err(|e| format!("{e:?}"))?;
        let mut log = LogServiceClient::new(channel);
        match log.get_checkpoint(v1::GetCheckpointRequest::default()).await {
            Ok(_) => Ok(()),
            Err(status) => {
                let said = status.get_error_details().error_info().is_some();
                assert!(!said, "the service itself answered: {status:?}");
                Err(format!("{status:?}"))
            }
        }
    }

    /// The same over HTTP.
    fn fetches(&self, server: &Server, own: Option<&Issued>) -> io::Result<Answer> {
        let versions = rustls::ALL_VERSIONS;
        let (answer, tickets) = self.https(server, own, versions)?;
        assert_eq!(tickets, 0, "a resumed session would not be checked for revocation");
        Ok(answer)
    }

    fn https(
        &self,
        server: &Server,
        own: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<(Answer, u32)> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, Server::connect(&server.http));
        let answer = Answer::to("/checkpoint", &mut stream)?;
        Ok((answer, stream.conn.tls13_tickets_received()))
    }
}

#[test]
fn only_unrevoked_certificates_of_the_client_authority_get_in() {
    let lands = Lands::new();
    let revoked = lands.clients.client("revoked");
    lands.world.write("revoked.pem", lands.clients.revoke(&[&revoked]));
    let toml = lands.config().replace("[tls]", "[tls]\nclient_crl = \"revoked.pem\"");
    let server = lands.world.serve_as(&toml);
    let foreign = Authority::new("clients").client("a.example");
    let (expired, for_servers) = (lands.clients.expired("late"), lands.clients.server());
    let refused = [
        ("no certificate", None),
        ("one of a foreign authority with the same name", Some(&foreign)),
        ("a revoked one", Some(&revoked)),
        ("an expired one", Some(&expired)),
        ("one for servers", Some(&for_servers)),
    ];
    within(async {
        for (what, own) in refused {
            assert!(lands.asks(&server, own).await.is_err(), "{what} got in");
            assert!(lands.fetches(&server, own).is_err(), "{what} got in over HTTP");
        }
        for own in [&lands.a, &lands.b, &lands.nobody] {
            lands.asks(&server, Some(own)).await.unwrap();
            assert_eq!(lands.fetches(&server, Some(own)).unwrap().status, 200);
        }
    });
    // Each was refused in the handshake, and counted there.
    for listener in ["grpc", "http"] {
        let series = format!(
            "countersign_connections_refused_total{{listener=\"{listener}\",cause=\"handshake\"}}"
        );
        let count = metrics::value(server.admin("/metrics").text(), &series);
        assert!(count >= refused.len() as f64, "{series} {count}");
    }
    server.stop();
}

#[test]
fn what_speaks_no_tls_1_3_does_not_get_in() {
    let lands = Lands::new();
    let server = lands.world.serve_as(&lands.config());
    let old = lands.https(&server, Some(&lands.a), &[&rustls::version::TLS12]);
    assert!(old.is_err(), "TLS 1.2 was spoken");
    let plain = Answer::to("/checkpoint", Server::connect(&server.http));
    assert!(plain.is_err(), "{plain:?}");
    // A client that doesn't know the server's authority does not trust it.
    let stranger = Lands { authority: Authority::new("servers"), ..Lands::new() };
    assert!(stranger.fetches(&server, Some(&lands.a)).is_err());
    lands.fetches(&server, Some(&lands.a)).unwrap();
    server.stop();
}

/// An opening of A's record that is sealed to B, and the envelope. What is sealed is noise: only
/// its reader could tell.
fn opening(a: &Voice, b: &Voice, record: StatementId) -> (Predicate, Vec<u8>) {
    let (sealed, artifact) = envelope(a, record, b, 1024);
    (opens(record, [0, 0], &sealed), artifact)
}

pub(crate) async fn put(
    artifacts: &mut ArtifactServiceClient<Channel>,
    bytes: &[u8],
) -> Result<Hash, Status> {
    let piece = v1::PutArtifactRequest { chunk: Bytes::copy_from_slice(bytes) };
    let put = artifacts.put_artifact(tokio_stream::once(piece)).await?.into_inner();
    Ok(Hash::from_slice(&put.digest).unwrap())
}

async fn fetch(
    artifacts: &mut ArtifactServiceClient<Channel>,
    digest: &Hash,
) -> Result<Vec<u8>, Status> {
    let request = v1::GetArtifactRequest { digest: Bytes::copy_from_slice(digest.as_bytes()) };
    let mut pieces = artifacts.get_artifact(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?.chunk);
    }
    Ok(bytes)
}

#[test]
fn an_envelope_is_for_its_sender_and_its_reader() {
    let lands = Lands::new();
    let server = lands.world.serve_as(&lands.config());
    let digest = within(async {
        let mut log = lands.log(&server, &lands.a).await;
        let mut a = register(&mut log, &server, NAMES[0]).await;
        // Whoever brings a statement need not be who signed it.
        let b = register(&mut log, &server, NAMES[1]).await;
        let nonce = a.next_intent().nonce;
        let intent = a.intent();
        append(&mut log, &intent).await;
        let recorded = Recorded::new(&a, intent.id(), &nonce, 1);
        let mut own = lands.artifacts(&server, &lands.a).await;
        put(&mut own, &recorded.vector).await.unwrap();
        let attestation = a.say(recorded.predicate());
        append(&mut log, &attestation).await;

        let (predicate, artifact) = opening(&a, &b, attestation.id());
        let digest = put(&mut own, &artifact).await.unwrap();
        assert_eq!(fetch(&mut own, &digest).await.unwrap(), artifact);
        for other in [&lands.b, &lands.c, &lands.nobody] {
            let mut artifacts = lands.artifacts(&server, other).await;
            let status = fetch(&mut artifacts, &digest).await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound, "nobody has named it yet");
        }
        let named: Envelope = a.say(predicate);
        append(&mut log, &named).await;
        only_a_and_b_get(&lands, &server, &digest, &artifact).await;
        // C names the same envelope in a statement of its own: that opens nothing to C.
        let mut c = register(&mut log, &server, NAMES[2]).await;
        let nonce = c.next_intent().nonce;
        let intent = c.intent();
        append(&mut log, &intent).await;
        let recorded = Recorded::new(&c, intent.id(), &nonce, 3);
        put(&mut own, &recorded.vector).await.unwrap();
        let attestation = c.say(recorded.predicate());
        append(&mut log, &attestation).await;
        let (Predicate::Opening(mut stolen), _) = opening(&c, &c.clone(), attestation.id()) else {
            unreachable!()
        };
        stolen.envelope.digest = digest;
        let stolen = c.draft(Predicate::Opening(stolen));
        let status = crate::service::try_append(&mut log, &stolen).await.unwrap_err();
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "ARTIFACT_INVALID", "{status:?}");
        only_a_and_b_get(&lands, &server, &digest, &artifact).await;
        digest
    });
    server.stop();
    // After a start the log itself says whose envelope it is.
    let server = lands.world.serve_as(&lands.config());
    within(async {
        let artifact = fetch(&mut lands.artifacts(&server, &lands.b).await, &digest).await.unwrap();
        assert_eq!(Hash::of(&[&artifact]), digest);
        only_a_and_b_get(&lands, &server, &digest, &artifact).await;
    });
    server.stop();
}

#[test]
fn what_is_sealed_under_an_agreement_its_auditors_read_too() {
    const SOON: u64 = 1_900_000_000;
    let lands = Lands::new();
    let server = lands.world.serve_as(&lands.config());
    let (revealed, disputed) = within(async {
        let mut log = lands.log(&server, &lands.a).await;
        let mut own = lands.artifacts(&server, &lands.a).await;
        let mut voices = Vec::new();
        for name in NAMES {
            voices.push(register(&mut log, &server, name).await);
        }
        let [mut a, b, mut c] = <[Voice; 3]>::try_from(voices).unwrap_or_else(|_| panic!());
        let schedule = schedule([SOON, SOON + 10, SOON + 20], 60);
        let terms = agreement([&a, &b], &[&c], (policy(&server.key), "clock"), schedule);
        let proposal = a.say(Predicate::Agreement(Box::new(terms)));
        append(&mut log, &proposal).await;
        let [mut a, mut b] = [&a, &b].map(|party| party.under(proposal.id()));
        append(&mut log, &b.say(accepts(proposal.id()))).await;
        let mut records = Vec::new();
        for (seed, party) in [(1, &mut a), (2, &mut b)] {
            let (intent, record, evaluation) = run(party, seed);
            put(&mut own, &record.vector).await.unwrap();
            append(&mut log, &intent).await;
            append(&mut log, &evaluation).await;
            records.push(evaluation.id());
        }
        let head = log.get_checkpoint(v1::GetCheckpointRequest::default()).await.unwrap();
        let ticked = tick(&head.into_inner().checkpoint, &server.key, &clock(), SOON);
        append(&mut log, &c.say(ticked)).await;

        // To B, about A's record.
        let (sealed, artifact) = envelope(&a, records[0], &b, 1024);
        let revealed = put(&mut own, &artifact).await.unwrap();
        let content = RevealContent::Envelope(sealed);
        let said = a.say(reveals(records[0], Some("totals"), content));
        append(&mut log, &said).await;
        // From B to the auditor: nothing for A, who has to answer it all the same.
        let (sealed, artifact) = envelope(&b, said.id(), &c, 1024);
        let disputed = put(&mut own, &artifact).await.unwrap();
        append(&mut log, &b.say(disputes_items(said.id(), &sealed))).await;
        (revealed, disputed)
    });
    let get = async |server: &Server, own: &Issued, digest: &Hash| {
        fetch(&mut lands.artifacts(server, own).await, digest).await.map_err(|s| s.code())
    };
    let check = async |server: &Server| {
        for (digest, readers) in
            [(&revealed, vec![&lands.a, &lands.b, &lands.c]), (&disputed, vec![&lands.b, &lands.c])]
        {
            for own in [&lands.a, &lands.b, &lands.c, &lands.nobody] {
                let got = get(server, own, digest).await;
                if readers.iter().any(|reader| std::ptr::eq(*reader, own)) {
                    assert_eq!(Hash::of(&[&got.unwrap()]), *digest);
                } else {
                    assert_eq!(got.unwrap_err(), Code::PermissionDenied);
                }
            }
        }
    };
    within(check(&server));
    server.stop();
    let server = lands.world.serve_as(&lands.config());
    within(check(&server));
    server.stop();
}

#[test]
fn exchanges_are_told_to_their_members_and_where_reading_is_public_to_everybody() {
    const SOON: u64 = 1_900_000_000;
    let lands = Lands::new();
    let reading = |public: bool| format!("{}[read]\npublic = {public}\n", lands.config());
    let server = lands.world.serve_as(&reading(false));
    let id = within(async {
        let mut log = lands.log(&server, &lands.a).await;
        let mut a = register(&mut log, &server, NAMES[0]).await;
        let b = register(&mut log, &server, NAMES[1]).await;
        let schedule = schedule([SOON, SOON + 10, SOON + 20], 60);
        let terms = agreement([&a, &b], &[], (policy(&server.key), "clock"), schedule);
        let proposal = a.say(Predicate::Agreement(Box::new(terms)));
        append(&mut log, &proposal).await;
        proposal.id()
    });
    let id = Bytes::copy_from_slice(id.as_bytes());
    // What each call comes to, by a certificate: a code, or how much was told.
    let ask = async |server: &Server, own: &Issued| {
        let channel = lands.channel(server, Some(own)).await.unwrap();
        let mut exchanges = ExchangeServiceClient::new(channel);
        let code = |status: Status| status.code();
        let got = exchanges.get_exchange(v1::GetExchangeRequest { id: id.clone() }).await;
        let watch = v1::WatchExchangeRequest { id: id.clone(), from: 0 };
        let watched = match exchanges.watch_exchange(watch).await {
            Ok(stream) => stream.into_inner().next().await.unwrap().map(|answer| answer.next),
            Err(status) => Err(status),
        };
        let list = exchanges.list_exchanges(v1::ListExchangesRequest::default()).await.unwrap();
        let listed = list.into_inner().exchanges.len();
        (got.map(|_| ()).map_err(code), watched.map_err(code), listed)
    };
    let denied = || (Err(Code::PermissionDenied), Err(Code::PermissionDenied), 0);
    within(async {
        for own in [&lands.a, &lands.b] {
            assert_eq!(ask(&server, own).await, (Ok(()), Ok(3), 1));
        }
        for own in [&lands.c, &lands.nobody] {
            assert_eq!(ask(&server, own).await, denied());
        }
    });
    server.stop();
    let server = lands.world.serve_as(&reading(true));
    within(async {
        for own in [&lands.a, &lands.c, &lands.nobody] {
            assert_eq!(ask(&server, own).await, (Ok(()), Ok(3), 1));
        }
    });
    server.stop();
}

async fn only_a_and_b_get(lands: &Lands, server: &Server, digest: &Hash, artifact: &[u8]) {
    for own in [&lands.a, &lands.b] {
        let got = fetch(&mut lands.artifacts(server, own).await, digest).await.unwrap();
        assert_eq!(got, artifact);
    }
    for own in [&lands.c, &lands.nobody] {
        let status = fetch(&mut lands.artifacts(server, own).await, digest).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "NOT_THE_READER");
    }
}

#[test]
fn a_server_that_nobody_could_read_or_with_files_that_do_not_fit_does_not_start() {
    let lands = Lands::new();
    let world = &lands.world;
    let other = lands.authority.server();
    world.write_private("other.key", &other.key);
    world.write("open.key", &other.key);
    world.write("empty.pem", "");
    world.write("noise.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let foreign = Authority::new("others");
    world.write("foreign-list.pem", foreign.revoke(&[]));
    let good = lands.config();
    let cases = [
        ("[read]\npublic = false\n".to_owned(), "nobody could read from 127.0.0.1:0"),
        (good.replace("\"server.key\"", "\"other.key\""), "TLS: server certificate"),
        (good.replace("\"server.key\"", "\"open.key\""), "open.key"),
        (good.replace("\"server.key\"", "\"none.key\""), "none.key"),
        (good.replace("\"server.pem\"", "\"empty.pem\""), "TLS: server certificate: holds no"),
        (good.replace("\"clients.pem\"", "\"empty.pem\""), "TLS: client authority: holds no"),
        (good.replace("\"clients.pem\"", "\"noise.pem\""), "TLS: client authority"),
        (good.replace("[tls]", "[tls]\nclient_crl = \"empty.pem\""), "TLS: revocation list: holds"),
        (good.replace("[tls]", "[tls]\nclient_crl = \"noise.pem\""), "TLS: revocation list"),
        (
            good.replace("key = \"server.key\"\n", ""),
            "tls.key: certificate and key belong together",
        ),
        (
            good.replace("\"a.example\"\nvkey = \"a", "\"a.example\"\nvkey = \"b"),
            "a.example: b.example.vkey is of b.example",
        ),
        (good.replace(&lands.a.fingerprint, "8f:43"), "a.example: certificate_sha256 must be 64"),
        (
            good.replace(&lands.a.fingerprint, &lands.b.fingerprint),
            "certificate_sha256 is another party's",
        ),
    ];
    for (toml, words) in cases {
        let outcome: Outcome = crate::support::finish(world.configured(&toml));
        outcome.exits(2).says(&[words]);
        assert!(!outcome.stderr.contains(&other.key[30..60]), "a key is shown\n{outcome}");
    }
    // One that was handed over by the superuser: its group may read it, if it is the superuser's.
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let handed = world.path("server.key");
    for (mode, taken) in [(0o440, true), (0o640, true), (0o460, false), (0o444, false)] {
        std::fs::set_permissions(&handed, std::fs::Permissions::from_mode(mode)).unwrap();
        let taken = taken && std::fs::metadata(&handed).unwrap().uid() == 0;
        if taken {
            world.serve_as(&good).stop();
        } else {
            let outcome = crate::support::finish(world.configured(&good));
            outcome.exits(2).says(&["server.key", "chmod 600"]);
        }
    }
    std::fs::set_permissions(&handed, std::fs::Permissions::from_mode(0o600)).unwrap();
    // A list of another authority revokes nobody, but then nothing is known of anybody either.
    let toml = good.replace("[tls]", "[tls]\nclient_crl = \"foreign-list.pem\"");
    let server = world.serve_as(&toml);
    within(async { assert!(lands.asks(&server, Some(&lands.a)).await.is_err()) });
    // Beyond loopback and without certificates: refused before anything listens.
    let outcome = world.run(["serve", "--listen", "192.0.2.1:7400", "--http", "127.0.0.1:0"]);
    outcome.exits(2).says(&["nobody could read from 192.0.2.1:7400", "--client-ca"]);
}

#[test]
fn labs_commit_and_verify_over_mutual_tls() {
    let lands = Lands::new();
    let world = &lands.world;
    world.keygen("lab-a");
    world.write("authority.pem", lands.authority.pem());
    world.write("a.pem", &lands.a.certificate);
    world.write_private("a.key", &lands.a.key);
    let toml =
        format!("{}[[party]]\nname = \"lab-a.example\"\nvkey = \"lab-a.vkey\"\n", lands.config());
    let server = world.serve_as(&toml);
    world.write("log.vkey", format!("{}\n", server.key));
    let log = evaldata("rivals/lab-a.eval");
    let commit = |tls: &[&str]| {
        let mut arguments = vec!["commit", log.to_str().unwrap(), "--key", "lab-a.key"];
        arguments.extend(["--server", &server.grpc, "--log-key", "log.vkey", "--no-agreement"]);
        arguments.extend(["--out", "a.countersign"]);
        arguments.extend(tls);
        world.run(arguments)
    };
    commit(&[]).exits(2).says(&["--tls-ca"]);
    commit(&["--tls-ca", "authority.pem"]).exits(2).says(&["cannot reach", "--tls-cert"]);
    let own = ["--tls-ca", "authority.pem", "--tls-cert", "a.pem", "--tls-key", "a.key"];
    commit(&own).good();
    let verify = |place: &str, tls: &[&str]| {
        let mut arguments = vec!["verify", place, "--log-key", "log.vkey"];
        arguments.extend(tls);
        world.run(arguments)
    };
    verify(&server.http, &own).good();
    verify(&server.http, &own[..2]).exits(2);
    eventually("the client's connections are gone", || {
        let metrics = server.admin("/metrics");
        (metrics::value(metrics.text(), "countersign_connections{listener=\"http\"}") == 0.0)
            .then_some(())
    });
    server.stop();
}

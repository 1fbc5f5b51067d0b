//! TLS 1.3 with one provider, aws-lc-rs. Certificates decide who may connect; they say nothing
//! about what a statement is worth.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// What the files of a TLS server hold, as PEM. What they contain is never shown.
#[derive(Clone, Copy, Default)]
pub struct Pem<'a> {
    /// The server's certificate, and those that lead from it to its authority.
    pub certificate: &'a [u8],
    /// The private key of that certificate.
    pub key: &'a [u8],
    /// The authority whose certificates clients must show.
    pub client_ca: Option<&'a [u8]>,
    /// Which of those it has revoked.
    pub client_revoked: Option<&'a [u8]>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds nothing of the kind that belongs there, or it is damaged.
    #[error("{what}: {cause}")]
    Pem {
        /// What should be in it.
        what: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The parts do not fit together.
    #[error("{what}: {cause}")]
    Unfit {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        cause: String,
    },
}

/// A server's side of TLS.
#[derive(Clone)]
pub struct Tls {
    config: ServerConfig,
    asks_for_certificates: bool,
}

impl Tls {
    /// Reads certificates and key, and checks that they belong together.
    pub fn new(pem: &Pem<'_>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = certificates(pem.certificate, "server certificate")?;
        let key = PrivateKeyDer::from_pem_slice(pem.key)
            .map_err(|e| TlsError::Pem { what: "server key", cause: e.to_string() })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| TlsError::Unfit { what: "protocol", cause: e.to_string() })?;
        let builder = match pem.client_ca {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let revoked = pem.client_revoked;
                builder.with_client_cert_verifier(verifier(authority, revoked, provider)?)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|e| TlsError::Unfit { what: "server certificate", cause: e.to_string() })?;
        // A resumed session would not be checked against what has been revoked since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config, asks_for_certificates: pem.client_ca.is_some() })
    }

    /// True if clients must show a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.asks_for_certificates
    }

    /// Takes connections that speak this protocol.
    pub(crate) fn acceptor(&self, protocol: &[u8]) -> TlsAcceptor {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asks = self.asks_for_certificates;
        f.debug_struct("Tls").field("asks_for_certificates", &asks).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").finish_non_exhaustive()
    }
}

fn verifier(
    authority: &[u8],
    revoked: Option<&[u8]>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority, "client authority")? {
        roots
            .add(certificate)
            .map_err(|e| TlsError::Pem { what: "client authority", cause: e.to_string() })?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(revoked) = revoked {
        let what = "revocation list";
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(revoked)
            .collect::<Result<_, _>>()
            .map_err(|e| TlsError::Pem { what, cause: e.to_string() })?;
        if lists.is_empty() {
            return Err(TlsError::Pem { what, cause: "holds none".to_owned() });
        }
        builder = builder.with_crls(lists);
    }
    builder.build().map_err(|e| TlsError::Unfit { what: "client authority", cause: e.to_string() })
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::Pem { what, cause: e.to_string() })?;
    if found.is_empty() {
        return Err(TlsError::Pem { what, cause: "holds no certificate".to_owned() });
    }
    Ok(found)
}

/// Makes aws-lc-rs the provider for whoever in this process asks for the default. A second call
/// changes nothing.
pub fn install_provider() {
    // The error says only that one is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

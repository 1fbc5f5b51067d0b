//! Where a server is, and how the two ends of a connection prove who they are (TLS 1.3). The
//! certificates decide who may connect; what the log says is checked against its key alone.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use zeroize::Zeroizing;

/// A server's URL, and TLS if it is an `https` one.
#[derive(Debug, Clone)]
pub struct Address {
    url: String,
    tls: Option<Tls>,
}

impl Address {
    /// An address with TLS.
    pub fn with_tls(url: impl Into<String>, tls: Tls) -> Self {
        Self { url: url.into(), tls: Some(tls) }
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// TLS as the URL calls for it; the error says which flag is missing or too many.
    pub(crate) fn tls(&self) -> Result<Option<&Tls>, &'static str> {
        match (self.url.starts_with("https://"), &self.tls) {
            (true, Some(tls)) => Ok(Some(tls)),
            (false, None) => Ok(None),
            (true, None) => {
                Err("an https address takes the authority of its certificate (--tls-ca)")
            }
            (false, Some(_)) => Err("with TLS the address must begin with https://"),
        }
    }
}

impl From<&str> for Address {
    fn from(url: &str) -> Self {
        Self { url: url.to_owned(), tls: None }
    }
}

impl From<&String> for Address {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}

/// Why certificates can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct InvalidTls {
    /// Which of them.
    pub what: &'static str,
    /// What is wrong.
    pub cause: String,
}

/// A client's side of TLS. Never shows its key.
#[derive(Clone)]
pub struct Tls {
    config: ClientConfig,
    authority: Vec<u8>,
    own: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Tls {
    /// Trusts servers with a certificate of this authority; shows `own`, a certificate with its
    /// key, if the server asks for one. All are PEM.
    pub fn new(authority: &[u8], own: Option<(&[u8], &[u8])>) -> Result<Self, InvalidTls> {
        let mut roots = RootCertStore::empty();
        let what = "authority of the server";
        for certificate in certificates(authority, what)? {
            roots.add(certificate).map_err(|e| InvalidTls { what, cause: e.to_string() })?;
        }
        let config = trusting(roots, own)?;
        let own = own.map(|(chain, key)| (chain.to_vec(), Zeroizing::new(key.to_vec())));
        Ok(Self { config, authority: authority.to_vec(), own })
    }

    /// For HTTP.
    pub(crate) fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// For gRPC, which makes a configuration of its own.
    pub(crate) fn endpoint(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.authority));
        match &self.own {
            None => config,
            Some((chain, key)) => config.identity(Identity::from_pem(chain, key.as_slice())),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("own", &self.own.is_some()).finish_non_exhaustive()
    }
}

/// TLS 1.3 with aws-lc-rs, whatever the process's default is.
pub(crate) fn trusting(
    roots: RootCertStore,
    own: Option<(&[u8], &[u8])>,
) -> Result<ClientConfig, InvalidTls> {
    let wrong = |what| move |e: rustls::Error| InvalidTls { what, cause: e.to_string() };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(wrong("protocol"))?
        .with_root_certificates(roots);
    let Some((chain, key)) = own else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(chain, "own certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| InvalidTls { what: "key of the certificate", cause: e.to_string() })?;
    builder.with_client_auth_cert(chain, key).map_err(wrong("own certificate"))
}

fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, InvalidTls> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| InvalidTls { what, cause: e.to_string() })?;
    if found.is_empty() {
        return Err(InvalidTls { what, cause: "holds no certificate in PEM".to_owned() });
    }
    Ok(found)
}

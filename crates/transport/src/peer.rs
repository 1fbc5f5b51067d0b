//! Who is at the other end of a connection, as far as the transport can tell. It decides who may
//! connect and read; what a statement counts for its signature alone decides.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use tlog::{Hash, KeyName};

use crate::link::OpenCalls;

/// A certificate by the SHA-256 of its DER bytes, as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Hash);

/// Text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits, colons between the bytes allowed")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// The fingerprint of a certificate's DER bytes.
    pub fn of(der: &[u8]) -> Self {
        Self(Hash::of(&[der]))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.replace(':', "").to_ascii_lowercase();
        Hash::from_hex(&digits).map(Self).map_err(|_| InvalidFingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which party each certificate belongs to. A certificate of the client authority that is not
/// listed may connect and read, but is nobody's.
pub type Roster = BTreeMap<Fingerprint, KeyName>;

/// Whose quota a call is charged to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A party, by its certificate or by a statement's signature.
    Party(KeyName),
    /// A certificate that belongs to no party.
    Certificate(Fingerprint),
    /// Nobody known. An IPv6 address stands for its /64, since that is what one host has.
    Address(IpAddr),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Party(name) => write!(f, "party:{name}"),
            Self::Certificate(fingerprint) => write!(f, "certificate:{fingerprint}"),
            Self::Address(address) => write!(f, "address:{address}"),
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    identity: Identity,
    certified: bool,
    public_read: bool,
    calls: Arc<OpenCalls>,
}

impl Peer {
    /// `certificate` has been verified against the client authority. Whoever has one may read;
    /// others only where reading is public.
    pub fn new(
        address: IpAddr,
        certificate: Option<Fingerprint>,
        roster: &Roster,
        public_read: bool,
        calls: Arc<OpenCalls>,
    ) -> Self {
        let identity = match certificate {
            None => Identity::Address(network(address)),
            Some(fingerprint) => match roster.get(&fingerprint) {
                Some(party) => Identity::Party(party.clone()),
                None => Identity::Certificate(fingerprint),
            },
        };
        let certified = certificate.is_some();
        Self { identity, certified, public_read, calls }
    }

    /// Whose quota its calls are charged to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The party that the certificate belongs to.
    pub fn party(&self) -> Option<&KeyName> {
        match &self.identity {
            Identity::Party(name) => Some(name),
            _ => None,
        }
    }

    /// True if it showed a certificate.
    pub fn is_certified(&self) -> bool {
        self.certified
    }

    /// True if checkpoints, tiles, entries and artifacts are for it.
    pub fn may_read(&self) -> bool {
        self.certified || self.public_read
    }

    /// True if everybody may read where it has come in.
    pub fn reads_in_public(&self) -> bool {
        self.public_read
    }

    /// What it waits for on its connection.
    pub fn calls(&self) -> &Arc<OpenCalls> {
        &self.calls
    }
}

/// What one host has: an IPv4 address or an IPv6 /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Fingerprint, network};

    #[test]
    fn fingerprints_are_read_as_openssl_writes_them() {
        let plain: Fingerprint = "0f".repeat(32).parse().unwrap();
        let openssl = vec!["0F"; 32].join(":");
        assert_eq!(openssl.parse(), Ok(plain));
        assert!("0f".repeat(31).parse::<Fingerprint>().is_err());
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one() {
        let of = |text: &str| network(text.parse::<IpAddr>().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    }
}

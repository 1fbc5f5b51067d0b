//! Byte formulas shared by statements: labels that separate the domains of hashes and
//! signatures, and length prefixes (`docs/protocol.md`).

/// `countersign.v1/` ‖ name ‖ 00: the label that opens every hash and signature of the protocol.
pub(crate) fn label(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LABEL_PREFIX.len() + name.len() + 1);
    bytes.extend_from_slice(LABEL_PREFIX);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    bytes
}

/// u16 length ‖ text. Names have at most 128 bytes, so the length always fits.
pub(crate) fn push_prefixed(bytes: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names have at most 128 bytes");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

const LABEL_PREFIX: &[u8] = b"countersign.v1/";

/// Bytes of a label of this name.
pub(crate) const fn label_length(name: &str) -> u64 {
    (LABEL_PREFIX.len() + name.len() + 1) as u64
}

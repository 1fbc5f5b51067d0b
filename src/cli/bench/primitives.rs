//! The primitives that everything is made of, measured on all cores at once.

use std::hint::black_box;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::scalar::Scalar;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use tlog::{Hash, KeyName, SigningKey, node_hash};

use super::machine::on_all_cores;

/// Microseconds that the whole machine needs for one of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Primitives {
    /// HMAC-SHA256 of a salt's 28 bytes under a key that is set up.
    hmac256: f64,
    /// HMAC-SHA512 of a blind's 29 bytes and its reduction to a scalar.
    blind: f64,
    /// One block of 64 bytes of SHA-256, out of many.
    block: f64,
    /// A multiplication of the base point.
    multiplication: f64,
    /// A point to its 32 bytes.
    compression: f64,
}

impl Primitives {
    /// Takes about half a second.
    pub(super) fn measure() -> Self {
        let key = Hmac::<Sha256>::new_from_slice(&[1; 32]).expect("HMAC takes keys of any length");
        let wide = Hmac::<Sha512>::new_from_slice(&[1; 32]).expect("HMAC takes keys of any length");
        let scalar = Scalar::from_bytes_mod_order([0x5a; 32]);
        let point = &scalar * RISTRETTO_BASEPOINT_TABLE;
        let bytes = vec![0x5a; 64 << 10];
        Self {
            hmac256: on_all_cores(|| {
                let mut mac = key.clone();
                mac.update(black_box(&[2; 28]));
                black_box(mac.finalize());
            }),
            blind: on_all_cores(|| {
                let mut mac = wide.clone();
                mac.update(black_box(&[2; 29]));
                let output = <[u8; 64]>::from(mac.finalize().into_bytes());
                black_box(Scalar::from_bytes_mod_order_wide(&output));
            }),
            block: on_all_cores(|| {
                black_box(Sha256::digest(black_box(&bytes)));
            }) / (bytes.len() / 64) as f64,
            multiplication: on_all_cores(|| {
                black_box(black_box(&scalar) * RISTRETTO_BASEPOINT_TABLE);
            }),
            compression: on_all_cores(|| {
                black_box(black_box(&point).compress());
            }),
        }
    }

    /// The least that the formulas of one item ask for: a salt and a commitment for each field, the
    /// item's hash, its leaf and a node of the tree, and for each column a blind, two
    /// multiplications and a compression.
    pub(super) fn item(&self, fields: &[usize], columns: usize) -> f64 {
        let commitments: usize = fields.iter().map(|bytes| blocks(*bytes)).sum();
        let item = blocks(20 + 32 + 8 + 32 * fields.len());
        let leaf = blocks(1 + 32 * (1 + columns)) + blocks(65);
        let per_column = self.blind + 2.0 * self.multiplication + self.compression;
        self.hmac256 * fields.len() as f64
            + self.block * (commitments + item + leaf) as f64
            + per_column * columns as f64
    }

    /// For people: what was measured.
    pub(super) fn note(&self) -> String {
        format!(
            "primitives in µs on all cores: HMAC-SHA256 {:.3}, blind {:.3}, SHA-256 block {:.4}, \
             fixed-base multiplication {:.2}, compression {:.2}",
            self.hmac256, self.blind, self.block, self.multiplication, self.compression
        )
    }
}

/// Blocks of SHA-256 that a message of this length takes, padding included.
fn blocks(bytes: usize) -> usize {
    (bytes + 9).div_ceil(64)
}

/// Microseconds of one strict signature check on all cores.
pub(super) fn signature_check(message_bytes: usize) -> f64 {
    let name = KeyName::parse("bench.example").expect("it is a name");
    let key = SigningKey::from_seed(name, &[7; 32]);
    let message = vec![0x5a; message_bytes];
    let signature = key.sign(&message);
    let public = key.public();
    on_all_cores(|| {
        black_box(public.verify(black_box(&message), &signature)).expect("the signature is right");
    })
}

/// Microseconds of decoding one point on all cores.
pub(super) fn decompression() -> f64 {
    let scalar = Scalar::from_bytes_mod_order([0x5a; 32]);
    let point = (&scalar * RISTRETTO_BASEPOINT_TABLE).compress();
    on_all_cores(|| {
        black_box(black_box(&point).decompress());
    })
}

/// Microseconds of one node of a tree on this thread.
pub(super) fn node() -> f64 {
    let mut hash = Hash::new([1; 32]);
    super::machine::repeated(std::time::Duration::from_millis(100), || {
        for _ in 0..1_000 {
            hash = node_hash(&hash, &hash);
        }
    }) / 1_000.0
}

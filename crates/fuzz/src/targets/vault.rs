//! The vault: its container, and the documents in it.

use client::parsers::{self, open, seal};
use client::{DocumentError, Entropy, VaultKey};
use zeroize::Zeroizing;

use crate::fixtures::{at, exchange_vectors, made, statements, text};
use crate::mutate::Shape;
use crate::random::Random;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    let document = |name, seeds, run| Target {
        name,
        shape: Shape::Json,
        tokens: &[b"countersign/vault-", b"\"pending\":\"", b"\"coins\":[", b"\"items\":[{"],
        seeds,
        run,
        memory: Memory::USUAL,
    };
    vec![
        Target { shape: Shape::Bytes, ..document("vault-container", containers, container) },
        document("vault-party", parties, |input| round(input, parsers::party)),
        document("vault-scope", scopes, |input| round(input, parsers::scope)),
        document("vault-agreement", agreements, |input| round(input, parsers::agreement)),
        document("vault-record", records, |input| round(input, parsers::record)),
    ]
}

/// Chance that is none: containers must be the same in every run.
struct Fixed(Random);

impl Entropy for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.0.byte());
    }
}

fn key() -> VaultKey {
    VaultKey::File(Zeroizing::new([9; 32]))
}

const PLAIN: &[u8] = b"{\"format\":\"countersign/vault-party/v1\"}";

/// Bytes before the costs of key derivation: the label with its 00, and which derivation.
const COSTS: usize = b"countersign.v1/vault\0".len() + 1;

fn containers() -> Vec<Vec<u8>> {
    let mut entropy = Fixed(Random::new("vault-container", 0, 0));
    let mut seeds = vec![seal(PLAIN, &key(), &mut entropy), seal(b"", &key(), &mut entropy)];
    // One that asks for a passphrase, with costs that cost nothing.
    let mut passphrase = seeds[0].clone();
    passphrase[COSTS - 1] = 1;
    for (at, cost) in [8_u32, 1, 1].into_iter().enumerate() {
        passphrase[COSTS + 4 * at..][..4].copy_from_slice(&cost.to_be_bytes());
    }
    seeds.push(passphrase);
    seeds
}

fn container(input: &[u8]) -> Verdict {
    let opened = open(input, &key());
    if let Ok(plain) = &opened {
        assert!(**plain == PLAIN || plain.is_empty(), "nobody without the key sealed anything");
    }
    // Costs within the limits are paid; here only those that are cheap, or refused at once.
    let cost = |at: usize| {
        let field = input.get(COSTS + 4 * at..COSTS + 4 * at + 4);
        field.map_or(0, |field| field.iter().fold(0, |n: u32, byte| n << 8 | u32::from(*byte)))
    };
    let refused = cost(0) > 4 << 20 || cost(1) > 64 || cost(2) > 16;
    let cheap = cost(0) <= 64 && cost(1) <= 2 && cost(2) <= 4;
    if refused || cheap {
        let passphrase = VaultKey::Passphrase(Zeroizing::new("correct horse".to_owned()));
        assert!(open(input, &passphrase).is_err(), "nothing was sealed with a passphrase");
    }
    Verdict::of(opened.is_ok())
}

fn round(
    input: &[u8],
    read: impl Fn(&[u8]) -> Result<Zeroizing<String>, DocumentError>,
) -> Verdict {
    let Ok(written) = read(input) else { return Verdict::Refused };
    let again = read(written.as_bytes());
    assert!(again.is_ok_and(|again| *again == *written), "not the same when read again");
    Verdict::Accepted
}

const HEX: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

fn parties() -> Vec<Vec<u8>> {
    let text = format!(
        "{{\"format\":\"countersign/vault-party/v1\",\"name\":\"lab-a.example\",\
         \"sealing\":\"{HEX}\",\"recovery\":\"{HEX}\"}}"
    );
    vec![text.into_bytes()]
}

fn scopes() -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let payload = base64::engine::general_purpose::STANDARD.encode(statements()[14].payload);
    let scope = |previous: &str, pending: &str| {
        format!(
            "{{\"format\":\"countersign/vault-scope/v1\",\"origin\":\"log.example/one\",\
             \"exchange\":\"{HEX}\",\"number\":7,\"previous\":\"{previous}\",\
             \"registration\":\"{previous}\",\"runs\":2,\"pending\":\"{pending}\"}}"
        )
        .into_bytes()
    };
    vec![scope("", ""), scope(HEX, &payload)]
}

fn agreements() -> Vec<Vec<u8>> {
    let inputs = at(exchange_vectors(), "standalone_items/inputs");
    let items_file = json::Value::from(text(inputs, "items_file")).to_text();
    let text = format!(
        "{{\"format\":\"countersign/vault-agreement/v1\",\"origin\":\"log.example/one\",\
         \"agreement\":\"{HEX}\",\"item_key\":\"{HEX}\",\"items_file\":{items_file},\
         \"epochs\":2}}"
    );
    vec![text.into_bytes()]
}

fn records() -> Vec<Vec<u8>> {
    let inputs = at(exchange_vectors(), "standalone_items/inputs");
    let items_file = json::Value::from(text(inputs, "items_file")).to_text();
    let subjects = made().record.subject_values();
    let model = json::Value::from(subjects[0].as_deref().unwrap_or_default()).to_text();
    let record = |record: &str| {
        format!(
            "{{\"format\":\"countersign/vault-record/v1\",\"origin\":\"log.example/one\",\
             \"exchange\":\"{HEX}\",\"party\":\"lab-a.example\",\"intent\":\"{HEX}\",\
             \"nonce\":\"{}\",\"record\":\"{record}\",\"R\":\"{HEX}\",\"item_key\":\"{HEX}\",\
             \"items_file\":{items_file},\"epochs\":2,\"items\":[{{\"tag\":\"AQID\",\
             \"status\":\"AXNjb3JlZA==\",\"output\":\"AA==\"}},{{}}],\"subjects\":[{{\"name\":\
             \"model\",\"value\":{model}}},{{\"name\":\"source\"}}],\"coins\":[{{\"audit\":\
             \"{HEX}\",\"coin\":\"{HEX}\"}}]}}",
            hex::encode(made().nonce)
        )
        .into_bytes()
    };
    vec![record(""), record(HEX)]
}

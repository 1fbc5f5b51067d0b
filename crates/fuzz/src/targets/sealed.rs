//! Sealed envelopes as anybody sees them: the associated data, and the lengths behind it.

use exchange::predicate::{SealedEnvelope, SealingKeyId};
use exchange::{Common, SealedFor, StatementId, check_envelope};
use tlog::{Hash, TreeHead};

use crate::fixtures::name;
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "sealed-envelope",
        shape: Shape::Bytes,
        tokens: &[
            b"countersign.v1/envelope\0",
            b"\0\x0dlab-a.example",
            b"\0\x0dlab-b.example",
            b"\0\x20",
            b"\x04\x60",
            b"\0\0\x04\x10",
        ],
        seeds,
        run: check,
        memory: Memory::USUAL,
    }]
}

/// A statement that names an envelope about a record.
struct Named {
    common: Common,
    record: StatementId,
    envelope: SealedEnvelope,
}

/// One statement, and others that differ in one member each.
fn named() -> Vec<Named> {
    let base = || Named {
        common: Common {
            origin: name("log.example/one"),
            exchange: None,
            signer: name("lab-a.example"),
            number: 3,
            previous: None,
            seen: TreeHead::EMPTY,
        },
        record: StatementId::new([7; 32]),
        envelope: SealedEnvelope {
            digest: Hash::new([1; 32]),
            reader: name("lab-b.example"),
            key: SealingKeyId::new([2; 8]),
            padded: 1 << 10,
        },
    };
    let changes: [fn(&mut Named); 7] = [
        |_| {},
        |named| named.common.origin = name("log.example/two"),
        |named| named.common.exchange = Some(StatementId::new([7; 32])),
        |named| named.common.signer = name("lab-b.example"),
        |named| named.record = StatementId::new([0; 32]),
        |named| named.envelope.reader = name("lab-a.example"),
        |named| named.envelope.padded = 2 << 10,
    ];
    let changed = changes.into_iter().map(|change| {
        let mut named = base();
        change(&mut named);
        named
    });
    changed.collect()
}

/// After `docs/protocol.md`, "Envelopes", and shared with no other code.
fn artifact(named: &Named, suite: u8, enc: u16) -> Vec<u8> {
    let prefixed = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let padded = named.envelope.padded as u32;
    let exchange = named.common.exchange.map_or([0; 32], |id| *id.as_bytes());
    let parts: [&[u8]; 12] = [
        b"countersign.v1/envelope\0",
        &[suite],
        &prefixed(named.common.origin.as_str()),
        &exchange,
        named.record.as_bytes(),
        &prefixed(named.common.signer.as_str()),
        &prefixed(named.envelope.reader.as_str()),
        &prefixed("0202020202020202"),
        &padded.to_be_bytes(),
        &enc.to_be_bytes(),
        &vec![9; usize::from(enc)],
        &(padded + 16).to_be_bytes(),
    ];
    [parts.concat(), vec![8; padded as usize + 16]].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let named = named();
    let mut seeds = vec![artifact(&named[0], 1, 32), artifact(&named[0], 2, 1_120)];
    seeds.push(artifact(&named[2], 1, 32));
    // Lengths of one suite under the number of the other.
    seeds.push(artifact(&named[0], 2, 32));
    seeds
}

/// One artifact is the envelope of one statement only, and only what cannot be checked without the
/// reader's key is free: the bytes of `enc` and of the ciphertext.
fn check(input: &[u8]) -> Verdict {
    let all = named();
    let fits = |named: &&Named| {
        check_envelope(&named.common, &named.record, &named.envelope, input).is_ok()
    };
    let mut fitting = all.iter().filter(fits);
    let Some(one) = fitting.next() else { return Verdict::Refused };
    assert!(fitting.next().is_none(), "an envelope for two places");
    let honest = [(1, 32), (2, 1_120)].map(|(suite, enc)| (artifact(one, suite, enc), enc));
    let same = honest.iter().any(|(honest, enc)| {
        let enc = usize::from(*enc);
        let tail = one.envelope.padded as usize + 16;
        let free = honest.len() - tail - 4 - enc..honest.len() - tail - 4;
        honest.len() == input.len()
            && honest[..free.start] == input[..free.start]
            && honest[free.end..free.end + 4] == input[free.end..free.end + 4]
    });
    assert!(same, "an envelope that nobody would make");
    // What stands in front of `enc` says by itself whom the envelope is for.
    let aads =
        input.windows(2).enumerate().filter(|(_, length)| matches!(length, [0, 32] | [4, 96]));
    let said = aads.filter_map(|(end, _)| SealedFor::parse(&input[..end])).next();
    let said = said.expect("the associated data are read");
    let Common { origin, exchange, signer, .. } = &one.common;
    let exchange = exchange.unwrap_or(StatementId::ZERO);
    let reader = &one.envelope.reader;
    assert_eq!((&said.origin, said.exchange, said.record), (origin, exchange, one.record));
    assert_eq!((&said.sender, &said.reader), (signer, reader));
    Verdict::Accepted
}

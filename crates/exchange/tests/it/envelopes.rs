//! The one spelling of an envelope, and signatures that do not fit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use exchange::{Envelope, KeyReference, MAX_PAYLOAD, PAYLOAD_TYPE, Reason, SignedStatement};
use proptest::prelude::*;

use crate::log::{Log, key, register, seeded};
use crate::vectors::Vectors;

fn vector(index: usize) -> String {
    Vectors::read().entries()[index].text("envelope").to_owned()
}

#[test]
fn refuses_every_other_spelling() {
    use Reason::{EnvelopeNotCanonical, PayloadType};
    let leaf = vector(0);
    let (payload, rest) = leaf[12..].split_once('"').unwrap();
    // The payload of the first vector has 658 bytes, one more than a multiple of three.
    assert!(payload.ends_with("=="));
    let keyid = "\"keyid\":\"lab-a.example+f3e14878\"";
    let sig = &leaf[leaf.find("\"sig\":").unwrap()..leaf.rfind("\"}]}").unwrap() + 1];
    let signature = format!("{{{keyid},{sig}}}");
    assert!(leaf.contains(&signature));

    let unpadded = leaf.replacen(payload, payload.trim_end_matches('='), 1);
    let slack = {
        let mut digits = payload.as_bytes().to_vec();
        let last = digits.len() - 3;
        digits[last] += 1;
        leaf.replacen(payload, std::str::from_utf8(&digits).unwrap(), 1)
    };
    let short_sig = STANDARD.encode([1; 63]);
    let cases = [
        ("nothing", String::new()),
        ("not JSON", "{".to_owned()),
        ("not an object", "[]".to_owned()),
        ("white space after a comma", leaf.replacen(",", ", ", 1)),
        ("white space around", format!(" {leaf}")),
        ("final newline", format!("{leaf}\n")),
        ("trailing text", format!("{leaf}x")),
        ("byte order mark", format!("\u{feff}{leaf}")),
        ("escaped solidus", leaf.replacen("application/", "application\\/", 1)),
        ("escaped letter", leaf.replacen("lab-a", "\\u006cab-a", 1)),
        ("order of members", {
            let members =
                [format!("\"payload\":\"{payload}\""), rest[1..rest.len() - 1].to_owned()];
            format!("{{{},{}}}", members[1], members[0])
        }),
        ("order in the signature", leaf.replacen(&signature, &format!("{{{sig},{keyid}}}"), 1)),
        ("missing padding", unpadded),
        ("slack bits", slack),
        ("URL alphabet", leaf.replacen(sig, &sig.replace(['+', '/'], "_"), 1)),
        ("line break in base64", leaf.replacen("ey", "ey\\n", 1)),
        ("payload is no base64", leaf.replacen(payload, "!!!!", 1)),
        ("no signature", leaf.replacen(&signature, "", 1)),
        ("two signatures", leaf.replacen(&signature, &format!("{signature},{signature}"), 1)),
        ("one signature, no list", leaf.replacen(&format!("[{signature}]"), &signature, 1)),
        ("short signature", leaf.replacen(sig, &format!("\"sig\":\"{short_sig}\""), 1)),
        ("no keyid", leaf.replacen(&format!("{keyid},"), "", 1)),
        ("keyid without hash", leaf.replacen("+f3e14878", "", 1)),
        ("keyid in upper case", leaf.replacen("+f3e14878", "+F3E14878", 1)),
        ("keyid with a short hash", leaf.replacen("+f3e14878", "+f3e1487", 1)),
        ("keyid without name", leaf.replacen("lab-a.example+", "+", 1)),
        ("keyid with a space", leaf.replacen("lab-a.example+", "lab a.example+", 1)),
        ("unknown member", leaf.replacen("{\"payload\"", "{\"a\":1,\"payload\"", 1)),
        ("unknown member in the signature", leaf.replacen(keyid, &format!("{keyid},\"a\":1"), 1)),
        ("payload twice", leaf.replacen("{", &format!("{{\"payload\":\"{payload}\","), 1)),
        ("null for a member", leaf.replacen(&format!("\"{PAYLOAD_TYPE}\""), "null", 1)),
    ];
    for (case, changed) in cases {
        assert_ne!(changed, leaf, "{case}");
        let refusal = Envelope::parse(changed.as_bytes()).unwrap_err();
        assert_eq!(refusal.reason(), EnvelopeNotCanonical, "{case}: {refusal}");
    }
    let other_type = leaf.replacen("in-toto+json", "in-toto+cbor", 1);
    assert_eq!(Envelope::parse(other_type.as_bytes()).unwrap_err().reason(), PayloadType);
}

#[test]
fn refuses_bytes_beyond_the_limits() {
    let reason = |leaf: &[u8]| Envelope::parse(leaf).unwrap_err().reason();
    assert_eq!(reason(&vec![b' '; 65_536]), Reason::LeafTooLarge);
    assert_eq!(reason(&vec![b' '; 65_535]), Reason::EnvelopeNotCanonical);
    let signer = key("lab-a.example");
    let largest = Envelope::sign(&vec![b'x'; MAX_PAYLOAD], &signer).unwrap();
    assert_eq!(Envelope::parse(largest.as_bytes()), Ok(largest));
    let refusal = Envelope::sign(&vec![b'x'; MAX_PAYLOAD + 1], &signer).unwrap_err();
    assert_eq!(refusal.reason(), Reason::LeafTooLarge);
    let larger = format!(
        "{{\"payload\":\"{}\",\"payloadType\":\"{PAYLOAD_TYPE}\",\"signatures\":[{{\"keyid\":\"{}\",\"sig\":\"{}\"}}]}}",
        STANDARD.encode(vec![b'x'; MAX_PAYLOAD + 1]),
        signer.keyid(),
        STANDARD.encode([0; 64]),
    );
    assert!(larger.len() < 65_535);
    assert_eq!(reason(larger.as_bytes()), Reason::LeafTooLarge);
}

/// Moves a signature everywhere it does not belong: none verifies.
#[test]
fn refuses_signatures_of_others_and_over_others() {
    let (a, b) = (key("lab-a.example"), key("lab-b.example"));
    let envelope = Envelope::sign(b"statement", &a).unwrap();
    assert_eq!(envelope.verify(&a.public()), Ok(()));
    assert_eq!(envelope.verify(&b.public()).unwrap_err().reason(), Reason::BadSignature);
    // The key id stands outside of what is signed, so it is compared with the key.
    let text = std::str::from_utf8(envelope.as_bytes()).unwrap();
    let id = KeyReference::new(a.name(), b.public().as_bytes()).to_string();
    let renamed = Envelope::parse(text.replacen(&a.keyid(), &id, 1).as_bytes()).unwrap();
    assert_eq!(renamed.verify(&a.public()).unwrap_err().reason(), Reason::BadSignature);
    // DSSE signs the type and the length with the payload: the payload alone is another message.
    let other = seeded("lab-a.example", "other");
    for message in [b"statement".as_slice(), b"DSSEv1 ", b""] {
        assert!(other.public().verify(message, envelope.signature()).is_err());
        assert!(a.public().verify(message, envelope.signature()).is_err());
    }
}

#[test]
fn refuses_a_signer_other_than_the_keyid_says() {
    let log = Log::new();
    let (a, b) = (key("lab-a.example"), key("lab-b.example"));
    let payload = log.sign(&a, register(&a));
    let payload = Envelope::parse(&payload).unwrap().payload().to_vec();
    let leaf = Envelope::sign(&payload, &b).unwrap();
    let refusal = SignedStatement::parse(leaf.as_bytes()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::BadField);
    assert_eq!(refusal.pointer(), Some("/predicate/signer"));
}

/// Every bit matters: no change of a leaf verifies, not even in what the signature leaves out.
#[test]
fn no_changed_leaf_is_admitted() {
    let mut log = Log::new();
    let a = key("lab-a.example");
    let leaf = log.sign(&a, register(&a));
    for position in 0..leaf.len() {
        for bit in [0, 1, 5] {
            let mut changed = leaf.clone();
            changed[position] ^= 1 << bit;
            assert!(log.submit(&changed).is_err(), "byte {position}, bit {bit}");
        }
    }
    log.submit(&leaf).unwrap();
}

proptest! {
    #[test]
    fn parse_of_any_bytes_returns(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = SignedStatement::parse(&bytes);
    }

    #[test]
    fn parse_of_edited_vectors_returns_one_spelling(
        index in 0..34_usize,
        at in any::<proptest::sample::Index>(),
        delete in 0..20_usize,
        insert in "[\\[\\]{}\",:0-9a-f\\\\]{0,6}",
    ) {
        let mut leaf = vector(index).into_bytes();
        let at = at.index(leaf.len());
        let end = leaf.len().min(at + delete);
        leaf.splice(at..end, insert.bytes());
        if let Ok(envelope) = Envelope::parse(&leaf) {
            prop_assert_eq!(envelope.as_bytes(), leaf.as_slice());
        }
        let _ = SignedStatement::parse(&leaf);
    }

    #[test]
    fn sign_and_parse_agree(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let envelope = Envelope::sign(&payload, &key("lab-a.example")).unwrap();
        prop_assert_eq!(Envelope::parse(envelope.as_bytes()), Ok(envelope));
    }
}

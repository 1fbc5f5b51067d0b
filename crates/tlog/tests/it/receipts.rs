//! Receipts: the example byte for byte, and everything that must not pass.

use tlog::{MAX_PROOF, MAX_RECEIPT, Policy, Receipt, ReceiptError, SignedCheckpoint};

use crate::vectors::{assert_variant, example, list, log, text, why, witness};

fn policy() -> Policy {
    Policy::parse(example("policy").as_bytes()).unwrap()
}

#[test]
fn example_receipts_verify_and_write_their_bytes() {
    let entry = example("receipt_entry").as_bytes();
    for (name, extra) in
        [("receipt", None), ("receipt_with_extra", Some(b"context, not authenticated".as_slice()))]
    {
        let receipt = Receipt::parse(example(name).as_bytes()).unwrap();
        assert_eq!(receipt.to_string(), example(name));
        assert_eq!(receipt.extra(), extra);
        assert_eq!((receipt.index(), receipt.proof().len()), (2, 3));
        let signed = receipt.verify(entry, &log()).unwrap();
        assert_eq!(signed.head().size, 5);
        let verified = receipt.verify_under(entry, &policy()).unwrap();
        assert_eq!(verified.time_of(&witness()), Some(1_767_225_600));
    }
    let parsed = Receipt::parse(example("receipt").as_bytes()).unwrap();
    let made = Receipt::new(2, parsed.proof().to_vec(), parsed.checkpoint().as_bytes()).unwrap();
    assert_eq!(made.to_bytes(), example("receipt").as_bytes());
}

#[test]
fn rejects_every_bad_receipt_of_the_vectors() {
    let reasons = [
        ("another entry", "Proof"),
        ("another index", "Proof"),
        ("index not below the size", "Proof"),
        ("leading zero in the index", "Index"),
        ("hash missing", "Proof"),
        ("hash twice", "Proof"),
        ("hashes swapped", "Proof"),
        ("header missing", "Header"),
        ("header of another version", "Header"),
        ("extra line after the index", "Hash"),
        ("no empty line before the checkpoint", "Hash"),
        ("carriage returns", "Header"),
        ("checkpoint changed", "Untrusted"),
        ("checkpoint unsigned", "Note"),
    ];
    for vector in list("reject_receipts", 14) {
        let entry = text(vector, "entry").as_bytes();
        let parsed = Receipt::parse(text(vector, "receipt").as_bytes());
        let error = parsed
            .clone()
            .and_then(|receipt| receipt.verify_under(entry, &policy()).map(|_| ()))
            .expect_err(why(vector));
        assert_variant(&error, &reasons, why(vector));
        assert!(parsed.and_then(|receipt| receipt.verify(entry, &log())).is_err());
    }
}

#[test]
fn a_receipt_without_the_quorum_fails_under_the_policy_only() {
    let parsed = Receipt::parse(example("receipt").as_bytes()).unwrap();
    let checkpoint = example("checkpoint").as_bytes();
    let receipt = Receipt::new(2, parsed.proof().to_vec(), checkpoint).unwrap();
    assert!(receipt.verify(b"ccc", &log()).is_ok());
    let error = receipt.verify_under(b"ccc", &policy()).unwrap_err();
    assert!(
        matches!(error, ReceiptError::Untrusted(tlog::Untrusted::NoQuorum { .. })),
        "{error:?}"
    );
}

#[test]
fn rejects_receipts_in_another_form() {
    let receipt = example("receipt");
    let extra = example("receipt_with_extra");
    for (text, reason) in [
        (String::new(), "empty"),
        (receipt.replace("index 2", "index +2"), "sign in the index"),
        (receipt.replace("index 2", "index 9223372036854775808"), "index 2^63"),
        (receipt.replace("index 2", "index  2"), "two spaces"),
        (receipt.replace("index 2", "Index 2"), "upper case"),
        (receipt.replace("index 2\n", ""), "no index"),
        (format!("\n{receipt}"), "empty line first"),
        (format!("{receipt}\n"), "empty line last"),
        (format!("\u{feff}{receipt}"), "byte order mark"),
        (extra.replace("extra Y", "extra  Y"), "two spaces after extra"),
        (extra.replace("ZWQ=", "ZWQ"), "extra without padding"),
        (extra.replace("extra ", "extra\t"), "tab after extra"),
        (extra.replace("extra", "extra AAAA\nextra"), "extra twice"),
        (receipt.replacen("ig=\n", "ih=\n", 1), "stray bits in a hash"),
    ] {
        assert_ne!(text, receipt);
        assert!(Receipt::parse(text.as_bytes()).is_err(), "{reason}");
    }
}

#[test]
fn takes_63_hashes_and_no_more() {
    let checkpoint = example("checkpoint").as_bytes();
    let hash = SignedCheckpoint::open(checkpoint, &log()).unwrap().head().root;
    let receipt = Receipt::new(0, vec![hash; MAX_PROOF], checkpoint).unwrap();
    assert_eq!(Receipt::parse(&receipt.to_bytes()), Ok(receipt.clone()));
    let surplus = Receipt::new(0, vec![hash; MAX_PROOF + 1], checkpoint);
    assert_eq!(surplus, Err(ReceiptError::TooManyHashes));
    let text =
        receipt.to_string().replace("index 0\n", &format!("index 0\n{}\n", hash.to_base64()));
    assert_eq!(Receipt::parse(text.as_bytes()), Err(ReceiptError::TooManyHashes));
}

#[test]
fn rejects_what_is_too_large_before_it_looks_inside() {
    let size = MAX_RECEIPT + 1;
    assert_eq!(Receipt::parse(&vec![b'\n'; size]), Err(ReceiptError::TooLarge { size }));
}

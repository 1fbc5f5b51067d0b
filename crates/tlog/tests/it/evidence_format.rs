//! The text of evidence files: one spelling, and every other refused with its reason.

use proptest::prelude::*;
use tlog::evidence::{Accused, Evidence, FormatError, Kind, MAX_EVIDENCE, Role};
use tlog::{Hash, KeyKind};

use crate::vectors::{example, key, log, witness};

const HASH: &str = "rAfnHiX7yAtx2LmPneo4UPiDbKwtla7VLnQV1I3C89k=";

/// A file of the form of a prefix conflict, with what stands between kind and parts.
fn file(kind: &str, middle: &str, parts: &str) -> String {
    format!("countersign/evidence@v1\nkind {kind}\n{middle}{parts}")
}

fn accused() -> String {
    format!("accused log {}\n", log())
}

fn nodes(count: usize) -> String {
    format!("nodes {count}\n{}", format!("{HASH}\n").repeat(count))
}

const PARTS: &str = "part checkpoint-a 3\nab\npart checkpoint-b 3\n\ncd";

fn cases() -> Vec<(&'static str, String, &'static str)> {
    let (log_line, middle) = (accused(), accused() + &nodes(2));
    let good = file("prefix-conflict", &middle, PARTS);
    let witness_line = format!("accused witness {}\n", witness());
    let party_line = format!("accused party {}\n", log());
    vec![
        ("empty", String::new(), "Header"),
        ("header alone without newline", "countersign/evidence@v1".into(), "Header"),
        ("another version", good.replace("@v1", "@v2"), "Header"),
        ("carriage return", good.replacen('\n', "\r\n", 1), "Header"),
        ("no kind", good.replacen("kind prefix-conflict\n", "", 1), "Kind"),
        ("unknown kind", file("forgery", &middle, PARTS), "Kind"),
        ("kind with a space", file("two-heads ", &log_line, PARTS), "Kind"),
        ("kind in capitals", file("Two-heads", &log_line, PARTS), "Kind"),
        ("accused without a key", file("two-heads", "accused log\n", PARTS), "Accused"),
        (
            "accused in another role",
            file("two-heads", &log_line.replace("log ", "clerk "), PARTS),
            "Accused",
        ),
        (
            "a log's key as a witness's",
            file("two-heads", &log_line.replace("log ", "witness "), PARTS),
            "Accused",
        ),
        (
            "a witness's key as a log's",
            file("two-heads", &witness_line.replace("witness ", "log "), PARTS),
            "Accused",
        ),
        (
            "key with a wrong id",
            file("two-heads", &log_line.replace("e354eecf", "e354eece"), PARTS),
            "Accused",
        ),
        ("accused twice", file("two-heads", &(log_line.clone() + &log_line), PARTS), "Accused"),
        ("two spaces", file("two-heads", &log_line.replace("log ", "log  "), PARTS), "Accused"),
        ("nobody accused", file("two-heads", "", PARTS), "Roles"),
        ("a party accused of a log's deed", file("two-heads", &party_line, PARTS), "Roles"),
        (
            "witness in a log's kind",
            file("two-heads", &(log_line.clone() + &witness_line), PARTS),
            "Roles",
        ),
        ("log alone of double signing", file("witness-double-sign", &log_line, PARTS), "Roles"),
        (
            "log in a rollback",
            file("witness-rollback", &(log_line.clone() + &witness_line), PARTS),
            "Roles",
        ),
        (
            "a finding that accuses",
            file(
                "late-statement",
                &party_line,
                "part envelope 1\nxpart proof 1\nxpart checkpoint 1\nx",
            ),
            "Roles",
        ),
        (
            "nodes without a number",
            file("prefix-conflict", &(log_line.clone() + "nodes \n"), PARTS),
            "NodeCount",
        ),
        (
            "no nodes",
            file("prefix-conflict", &(log_line.clone() + "nodes 0\n"), PARTS),
            "NodeCount",
        ),
        (
            "too many nodes",
            file("prefix-conflict", &(log_line.clone() + &nodes(65)), PARTS),
            "NodeCount",
        ),
        (
            "leading zero",
            file(
                "prefix-conflict",
                &(log_line.clone() + &nodes(2).replace("nodes 2", "nodes 02")),
                PARTS,
            ),
            "NodeCount",
        ),
        (
            "fewer nodes than announced",
            file(
                "prefix-conflict",
                &(log_line.clone() + &nodes(2).replace("nodes 2", "nodes 3")),
                PARTS,
            ),
            "Node {",
        ),
        (
            "more nodes than announced",
            file(
                "prefix-conflict",
                &(log_line.clone() + &nodes(2).replace("nodes 2", "nodes 1")),
                PARTS,
            ),
            "Line",
        ),
        ("node with slack bits", good.replacen("89k=", "89l=", 1), "Node {"),
        ("node without padding", good.replacen("89k=", "89k", 1), "Node {"),
        ("nodes cut off", file("prefix-conflict", &log_line, "nodes 2\nrAfn"), "Line"),
        ("nodes twice", file("prefix-conflict", &(middle.clone() + &nodes(2)), PARTS), "Line"),
        (
            "accused after the nodes",
            file("prefix-conflict", &(nodes(2) + &log_line), PARTS),
            "Line",
        ),
        ("nodes where there are none", file("two-heads", &middle, PARTS), "Form"),
        ("no nodes where there are some", file("prefix-conflict", &log_line, PARTS), "Form"),
        (
            "a line of another kind",
            file("two-heads", &(log_line.clone() + "note: guilty!\n"), PARTS),
            "Line",
        ),
        ("no parts", file("two-heads", &log_line, ""), "Form"),
        ("one part", file("two-heads", &log_line, "part checkpoint-a 1\nx"), "Form"),
        (
            "parts exchanged",
            file("two-heads", &log_line, "part checkpoint-b 1\nxpart checkpoint-a 1\nx"),
            "Form",
        ),
        (
            "part twice",
            file("two-heads", &log_line, "part checkpoint-a 1\nxpart checkpoint-a 1\nx"),
            "Form",
        ),
        ("three parts", file("two-heads", &log_line, &format!("{PARTS}part proof-a 1\nx")), "Form"),
        (
            "parts of another kind",
            file("two-heads", &log_line, "part envelope-a 1\nxpart envelope-b 1\nx"),
            "Form",
        ),
        (
            "unknown part",
            file("two-heads", &log_line, &PARTS.replace("checkpoint-a", "checkpoint-c")),
            "Line",
        ),
        ("part without a length", file("two-heads", &log_line, "part checkpoint-a\nab\n"), "Line"),
        ("length with a sign", file("two-heads", &log_line, &PARTS.replace("a 3", "a +3")), "Line"),
        (
            "length with a leading zero",
            file("two-heads", &log_line, &PARTS.replace("a 3", "a 03")),
            "Line",
        ),
        (
            "length of 2^63",
            file("two-heads", &log_line, &PARTS.replace("a 3", "a 9223372036854775808")),
            "Line",
        ),
        (
            "length beyond the file",
            file("two-heads", &log_line, &PARTS.replace("b 3", "b 4")),
            "Truncated",
        ),
        (
            "length just below 2^63",
            file("two-heads", &log_line, &PARTS.replace("a 3", "a 9223372036854775807")),
            "Truncated",
        ),
        (
            "length a byte too short",
            file("two-heads", &log_line, &PARTS.replace("b 3", "b 2")),
            "Surplus",
        ),
        (
            "length within a character",
            file("two-heads", &log_line, "part checkpoint-a 1\né"),
            "Truncated",
        ),
        (
            "newline after the last part",
            file("two-heads", &log_line, &format!("{PARTS}\n")),
            "Surplus",
        ),
        (
            "empty line between parts",
            file(
                "two-heads",
                &log_line,
                &PARTS.replace("\npart checkpoint-b", "\n\npart checkpoint-b"),
            ),
            "Surplus",
        ),
        ("nine parts", file("two-heads", &log_line, &"part proof-a 0\n".repeat(9)), "Surplus"),
        ("a file in a file", file("two-heads", &log_line, &format!("{PARTS}{good}")), "Surplus"),
        ("too large", file("two-heads", &log_line, &" ".repeat(MAX_EVIDENCE)), "TooLarge"),
    ]
}

#[test]
fn rejects_every_other_spelling() {
    for (why, text, expected) in cases() {
        let error = Evidence::parse(text.as_bytes()).expect_err(why);
        let shown = format!("{error:?}");
        assert!(shown.starts_with(expected), "{why}: {shown}");
        assert!(!error.to_string().is_empty());
    }
    let bytes =
        [file("two-heads", &accused(), "part checkpoint-a 1\n").as_bytes(), &[0xff]].concat();
    assert_eq!(Evidence::parse(&bytes), Err(FormatError::Encoding));
    // At most 64 keys.
    let many: String = (0..=64)
        .map(|n| {
            let key = key(&format!("witness.example/{n}"), n).verifier(KeyKind::Cosignature);
            format!("accused witness {key}\n")
        })
        .collect();
    let error = Evidence::parse(file("witness-rollback", &many, PARTS).as_bytes()).unwrap_err();
    assert!(matches!(error, FormatError::Accused { place: 65, .. }), "{error:?}");
    let fewer: String = many.split_inclusive('\n').take(64).collect();
    assert!(Evidence::parse(file("witness-rollback", &fewer, PARTS).as_bytes()).is_ok());
}

#[test]
fn every_kind_has_its_form() {
    let hash_line = format!("{HASH}\n");
    let forms: [(Kind, &[&str], bool, &[Role]); 13] = [
        (Kind::TwoHeads, &["checkpoint-a", "checkpoint-b"], false, &[Role::Log]),
        (Kind::PrefixConflict, &["checkpoint-a", "checkpoint-b"], true, &[Role::Log]),
        (Kind::LeafConflict, &["leaf-a", "proof-a", "leaf-b", "proof-b"], false, &[Role::Log]),
        (Kind::WitnessDoubleSign, &["checkpoint-a", "checkpoint-b"], false, &[Role::Witness]),
        (
            Kind::WitnessDoubleSign,
            &["checkpoint-a", "checkpoint-b"],
            true,
            &[Role::Log, Role::Witness],
        ),
        (
            Kind::WitnessDoubleSign,
            &["leaf-a", "proof-a", "leaf-b", "proof-b"],
            false,
            &[Role::Witness],
        ),
        (Kind::WitnessRollback, &["checkpoint-a", "checkpoint-b"], false, &[Role::Witness]),
        (Kind::StatementFork, &["envelope-a", "envelope-b"], false, &[Role::Party]),
        (Kind::FalseOpening, &["attestation", "intent", "statement"], false, &[Role::Party]),
        (
            Kind::FalseOpening,
            &["attestation", "intent", "aad", "body", "signature"],
            false,
            &[Role::Party],
        ),
        (Kind::WeakSalt, &["attestation", "intent", "statement"], false, &[]),
        (Kind::WeakSalt, &["attestation", "intent", "aad", "body", "signature"], false, &[]),
        (Kind::LateStatement, &["envelope", "proof", "checkpoint"], false, &[]),
    ];
    let key_of = |role: &Role| if *role == Role::Witness { witness() } else { log() };
    for (kind, names, with_nodes, roles) in forms {
        let accused: String =
            roles.iter().map(|role| format!("accused {role} {}\n", key_of(role))).collect();
        let nodes = if with_nodes { format!("nodes 1\n{hash_line}") } else { String::new() };
        let parts: String = names.iter().map(|name| format!("part {name} 1\n\n")).collect();
        let text = file(kind.word(), &(accused + &nodes), &parts);
        let evidence = Evidence::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(evidence.to_bytes(), text.as_bytes());
        assert_eq!((evidence.kind(), evidence.accused().len()), (kind, roles.len()));
        assert_eq!(evidence.nodes().len(), usize::from(with_nodes));
        assert_eq!(evidence.parts().len(), names.len());
        let made = Evidence::new(
            kind,
            roles.iter().map(|role| Accused::new(*role, key_of(role)).unwrap()).collect(),
            evidence.nodes().to_vec(),
            evidence.parts().iter().map(|part| (part.name(), part.bytes().to_vec())),
        );
        assert_eq!(made, Ok(evidence));
        assert_eq!(Kind::of_word(kind.word()), Some(kind));
    }
    assert!(Kind::ALL.iter().all(|kind| forms.iter().any(|(known, ..)| known == kind)));
}

#[test]
fn making_a_file_is_as_strict_as_reading_one() {
    let accused = || vec![Accused::new(Role::Log, log()).unwrap()];
    let parts = |bytes: &[u8]| [("checkpoint-a", bytes.to_vec()), ("checkpoint-b", Vec::new())];
    let made = Evidence::new(Kind::TwoHeads, accused(), Vec::new(), parts(&[0xff]));
    assert_eq!(made, Err(FormatError::Encoding));
    let made = Evidence::new(Kind::TwoHeads, accused(), Vec::new(), parts(&[b' '; MAX_EVIDENCE]));
    assert!(matches!(made, Err(FormatError::TooLarge { .. })));
    let twice = [accused(), accused()].concat();
    assert!(Evidence::new(Kind::TwoHeads, twice, Vec::new(), parts(b"")).is_err());
    let nodes = vec![Hash::new([0; 32]); 65];
    let made = Evidence::new(Kind::PrefixConflict, accused(), nodes, parts(b""));
    assert_eq!(made, Err(FormatError::NodeCount));
    assert!(Evidence::is_likely(b"countersign/evidence@v2\n"));
    assert!(!Evidence::is_likely(example("checkpoint").as_bytes()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever parses is written back byte for byte, and nothing panics.
    #[test]
    fn damaged_files_panic_nothing(
        which in 0..120_usize, at in any::<prop::sample::Index>(), piece in "[0-9a-z \n=+-]{0,6}",
        cut in 0..5_usize,
    ) {
        let mut all: Vec<String> = cases().into_iter().map(|(_, text, _)| text).collect();
        all.retain(|text| text.len() < 8_192);
        let good = file("prefix-conflict", &(accused() + &nodes(2)), PARTS);
        assert!(Evidence::parse(good.as_bytes()).is_ok());
        // Every second one begins with a good file.
        let mut bytes = all.get(which).cloned().unwrap_or(good).into_bytes();
        let start = at.index(bytes.len() + 1);
        let end = (start + cut).min(bytes.len());
        bytes.splice(start..end, piece.into_bytes());
        if let Ok(evidence) = Evidence::parse(&bytes) {
            prop_assert_eq!(evidence.to_bytes(), bytes);
        }
    }
}

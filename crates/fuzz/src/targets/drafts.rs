//! Drafts of agreements, which one party writes and the other reads: TOML.

use std::sync::OnceLock;

use exchange::draft::{Draft, Material, Template, template};
use exchange::predicate::{Keys, Predicate, SealingKey};
use exchange::{Common, Statement, Timestamp};
use tlog::{KeyKind, KeyName, TreeHead, VerifierKey};

use crate::fixtures::{log_key, log_vkey, made, signer, signers, tlog_keys};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "draft",
        shape: Shape::Lines,
        tokens: &[
            b"[[party]]\n",
            b"[[auditor]]\n",
            b"[[rule]]\n",
            b"[[claim]]\n",
            b"[audit]\n",
            b"[escrow]\n",
            b"[runs]\n",
            b" = \"",
            b"\"\"\"",
            b"= 1979-05-27T07:32:00Z\n",
            b"hide_benchmark = true\n",
            b"what = \"totals\"\n",
            b"to = \"public\"\n",
            b"\"1d\"",
        ],
        seeds,
        run: read,
        memory: Memory::USUAL,
    }]
}

fn vkey(name: &str) -> VerifierKey {
    signer(name).verifier(KeyKind::Ed25519)
}

/// Parties first; the vectors' third signer audits.
fn names() -> [&'static str; 3] {
    ["lab-a.example", "lab-b.example", "auditor.example"]
}

fn seeds() -> Vec<Vec<u8>> {
    let [a, b, auditor] = names();
    let witness = tlog_keys()[1].verifier(KeyKind::Cosignature);
    let policy = format!("log {}\nwitness clock {witness}\nquorum clock\n", log_vkey());
    let time = |text| Timestamp::parse(text).expect("it is a time");
    let auditors = [vkey(auditor)];
    let draft = |auditors: &[VerifierKey], columns: &[(String, u64, u64)]| {
        template(&Template {
            own: (&vkey(a), Some(&tlog_keys()[2].verifier(KeyKind::Cosignature))),
            peer: (&vkey(b), None),
            auditors,
            policy: &policy,
            clock: "clock",
            texts: ["arithmetic \"easy\"", "items.jsonl", "zero-shot", "inspect_ai 0.3.285"],
            epochs: 2,
            columns,
            deadlines: ["2026-12-01T00:00:00Z", "2026-12-08T00:00:00Z", "2026-12-10T00:00:00Z"]
                .map(time),
            step: "1d",
        })
    };
    let one = [("match".to_owned(), 1, 1)];
    let two = [("match".to_owned(), 1, 1), ("grade".to_owned(), 100, 1)];
    [draft(&auditors, &one), draft(&[], &two)].map(String::into_bytes).to_vec()
}

/// What is registered under a name; as far as drafts go, by the key alone.
fn registered(name: &KeyName) -> Option<Keys> {
    let key = signers().iter().find(|key| key.name() == name)?;
    Some(Keys {
        name: name.clone(),
        key: *key.public().as_bytes(),
        sealing: SealingKey::X25519([7; 32]),
        recovery: [8; 32],
    })
}

/// Whatever a draft can be turned into, a log takes; and errors have a line of the draft.
fn read(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    let lines = text.matches('\n').count() + 1;
    let draft = match Draft::parse(text) {
        Ok(draft) => draft,
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "line {} of {lines}", error.line);
            assert!(!error.problem.is_empty());
            return Verdict::Refused;
        }
    };
    // More epochs only take more time.
    if draft.epochs() > 4 {
        return Verdict::Accepted;
    }
    let Ok(items) = made().file.agree(&made().key, draft.epochs()) else { return Verdict::Refused };
    static COMMON: OnceLock<Common> = OnceLock::new();
    let common = COMMON.get_or_init(|| Common {
        origin: log_key().name().clone(),
        exchange: None,
        signer: signer(names()[0]).name().clone(),
        number: 1,
        previous: None,
        seen: TreeHead::EMPTY,
    });
    let material = Material { common, keys: &registered, items: &items, item_key: &made().key };
    match draft.agreement(&material) {
        Ok(agreement) => {
            let predicate = Predicate::Agreement(Box::new(agreement));
            let statement = Statement::new(common.clone(), predicate).expect("a log takes it");
            let read = Statement::parse(&statement.to_payload());
            assert_eq!(read.as_ref(), Ok(&statement), "read again");
            Verdict::Accepted
        }
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "line {} of {lines}", error.line);
            Verdict::Refused
        }
    }
}

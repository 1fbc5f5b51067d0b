//! Bundles, and the openings that come with them.

use exchange::bundle::{Attested, Bundle, Opened, VectorState, Verdict};
use exchange::evidence::{SignedOpening, false_opening};
use exchange::{HeldKey, Predicate, Standing, StatementId, VerifiedStatement};
use json::Value;
use record::column::Column;
use tlog::{MemoryNodes, Note, Receipt, VerifierKey};

use super::history::{Histories, convicted, with_signer};
use super::{Inputs, Line, Pinned};
use crate::cli::output::Failure;

pub(super) fn check(
    place: &str,
    bundle: &Bundle,
    inputs: &Inputs,
    pinned: &Pinned,
    histories: &mut Histories,
    lines: &mut Vec<Line>,
) -> Result<(), Failure> {
    let log = pinned.trust.log_of(&bundle.origin)?;
    let verdict = match bundle.verify(log, &[]) {
        Ok(verdict) => verdict,
        Err(fault) => {
            lines.push(Line::bad(place, "bundle", &fault.to_string()));
            return Ok(());
        }
    };
    // The bundle verified, so its checkpoint is a note.
    let note = Note::parse(bundle.checkpoint.as_bytes()).map_err(Failure::bad)?;
    let cosigned = match pinned.trust.check(&note, pinned.age) {
        Ok(cosigned) => cosigned,
        Err(problem) => {
            lines.push(Line::bad(place, "bundle", &problem));
            return Ok(());
        }
    };
    let first = lines.len();
    for attested in &verdict.attested {
        lines.push(describe_attestation(place, attested, &verdict, log, &pinned.parties));
    }
    if verdict.attested.is_empty() {
        let text = format!(
            "{} statements are in {} (size {})",
            verdict.statements.len(),
            log.name(),
            verdict.head.size
        );
        lines.push(Line::good(place, "bundle", &text, Vec::new()));
    }
    if let Some(cosigned) = cosigned {
        let line = lines.remove(first);
        lines.insert(first, line.and(&cosigned.text(), cosigned.members()));
    }
    lines.extend(verdict.opened.iter().map(|opened| describe_opening(place, opened)));
    for (opening, bytes) in inputs.openings.iter().filter(|(_, bytes)| concerns(bundle, bytes)) {
        match bundle.verify(log, &[bytes]) {
            Ok(verdict) => {
                lines.extend(verdict.opened.last().map(|o| describe_opening(opening, o)));
            }
            Err(fault) => lines.push(Line::bad(opening, "opening", &fault.to_string())),
        }
    }
    for (_, verified) in &verdict.statements {
        histories.saw_statement(place, verified);
        lines.extend(check_opened(place, verified, &verdict, pinned));
    }
    for leaf in &bundle.leaves {
        let receipt = Receipt::new(leaf.index, leaf.proof.clone(), bundle.checkpoint.as_bytes());
        let hash = tlog::leaf_hash(&leaf.envelope);
        histories.saw_leaf(place, hash, receipt.map_err(Failure::bad)?);
    }
    if bundle.complete_from == 0 {
        let leaves = bundle.leaves.iter().map(|leaf| tlog::leaf_hash(&leaf.envelope));
        histories.saw_tree(place, leaves.collect::<MemoryNodes>());
    }
    histories.saw(place, note, verdict.head);
    Ok(())
}

/// What a statement opens in the clear of a record in the bundle must be what was committed to.
fn check_opened(
    place: &str,
    verified: &VerifiedStatement,
    verdict: &Verdict,
    pinned: &Pinned,
) -> Vec<Line> {
    let find = |id: &StatementId| {
        let all = verdict.statements.iter().map(|(_, statement)| statement);
        all.into_iter().find(|statement| statement.id() == *id)
    };
    let records = match verified.statement().predicate() {
        Predicate::Reveal(reveal) => vec![reveal.record],
        Predicate::Claim(claim) => claim.records.clone(),
        Predicate::Evaluation(_) => vec![verified.id()],
        _ => Vec::new(),
    };
    let mut lines = Vec::new();
    for record in records {
        let Some(attestation) = find(&record) else { continue };
        let Predicate::Evaluation(evaluation) = attestation.statement().predicate() else {
            continue;
        };
        let Some(intent) = find(&evaluation.intent) else { continue };
        let envelope = |statement: &VerifiedStatement| statement.signed().envelope().clone();
        let known = with_signer(&with_signer(&pinned.known, verified), attestation);
        let opening = envelope(verified);
        let made = false_opening(
            &known,
            &envelope(attestation),
            &envelope(intent),
            &SignedOpening::Statement(&opening),
        );
        if let Ok(Some(made)) = made {
            let signer = &verified.statement().common().signer;
            let problem = format!("{signer} opened its record {record} falsely");
            lines.push(convicted(place, "statements", &problem, &made, &pinned.evidence));
        }
    }
    lines
}

/// True if the opening is of a record in this bundle. Malformed openings concern every bundle,
/// so that checking says what is wrong with them.
pub(super) fn concerns(bundle: &Bundle, opening: &[u8]) -> bool {
    let Ok(body) = record::opening::Body::parse(opening) else { return true };
    bundle.leaves.iter().any(|leaf| {
        exchange::SignedStatement::parse(&leaf.envelope)
            .is_ok_and(|signed| signed.id().hash() == body.record)
    })
}

fn describe_attestation(
    place: &str,
    attested: &Attested,
    verdict: &Verdict,
    log: &VerifierKey,
    parties: &[VerifierKey],
) -> Line {
    let (header, head) = (&attested.header, &verdict.head);
    let columns: Vec<&str> = header.layout().columns().iter().map(Column::name).collect();
    let held = verdict.keys_of(&attested.signer);
    let pinned: Vec<&VerifierKey> =
        parties.iter().filter(|key| *key.name() == attested.signer).collect();
    let signed_by_pinned = pinned.iter().any(|key| *key.public() == attested.key);
    // Each key of a history was brought in by the one before it, or by the recovery key, and agreed.
    let in_history = |key: &&VerifierKey| held.iter().any(|held| held.public == *key.public());
    let key_text = if pinned.is_empty() {
        "signed by the key that the log has for it (pin your own with --party)"
    } else if signed_by_pinned {
        "signed by the key you pinned"
    } else if pinned.iter().any(in_history) {
        "signed by its key of that time, which is in one chain of rotations with the one you pinned"
    } else {
        let problem = format!(
            "{} is signed by another key than the one you pinned for {}",
            attested.record, attested.signer
        );
        return Line::bad(place, "attestation", &problem);
    };
    let standing = held.iter().find(|held| held.public == attested.key);
    let since = match standing {
        Some(HeldKey { standing: Standing::Rotated, since, .. }) => {
            format!(" (the key was rotated later, at entry {since})")
        }
        Some(HeldKey { standing: Standing::Revoked, since, .. }) => {
            format!(" (the key was revoked later, at entry {since})")
        }
        _ => String::new(),
    };
    let vector = match attested.vector {
        VectorState::Holds => {
            "its commitments rebuild the record and add up to the totals it can open"
        }
        VectorState::Absent => "its commitments are not in the bundle, so they were not checked",
    };
    let text = format!(
        "{} attests an evaluation of {} items ({}) as entry {} of {} (size {}), \
         {key_text}{since}; {vector}",
        attested.signer,
        header.layout().items(),
        columns.join(", "),
        attested.index,
        log.name(),
        head.size
    );
    let members = vec![
        ("record", attested.record.to_string().into()),
        ("party", attested.signer.as_str().into()),
        ("pinned", (!pinned.is_empty()).into()),
        ("key", attested.key.to_string().into()),
        ("key_standing", standing.map(|held| word(held.standing)).into()),
        ("all_keys_known", verdict.knows_all_keys_of(&attested.signer).into()),
        ("index", attested.index.into()),
        ("size", head.size.into()),
        ("root", head.root.to_string().into()),
        ("items", header.layout().items().into()),
        ("columns", json::array(columns)),
        ("vector", (attested.vector == VectorState::Holds).into()),
    ];
    Line::good(place, "attestation", &text, members)
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Current => "current",
        Standing::Rotated => "rotated",
        Standing::Revoked => "revoked",
    }
}

fn describe_opening(place: &str, opened: &Opened) -> Line {
    let proved = &opened.proved;
    let mut lines = vec![format!(
        "{} opened {} items, {} totals and {} facts of record {}; all match its \
         commitments",
        opened.signer,
        proved.items.len(),
        proved.totals.len(),
        proved.subjects.len(),
        opened.record
    )];
    for item in proved.items.iter().take(20) {
        let fields = item.fields.iter().map(|(name, value)| match value {
            // Texts are shown escaped: they come from the other side.
            Some(value) => format!("{name} = {}", Value::from(value.as_str()).to_text()),
            None => format!("{name} is absent"),
        });
        let status = item.status.iter().map(|status| format!("status = {}", status.as_str()));
        let all: Vec<String> = status.chain(fields).collect();
        lines.push(format!("  item {} epoch {}: {}", item.index, item.epoch, all.join(", ")));
    }
    if proved.items.len() > 20 {
        lines.push(format!("  … and {} more; --json has them all", proved.items.len() - 20));
    }
    lines.extend(proved.totals.iter().map(|t| format!("  total of {} = {}", t.column, t.total)));
    lines.extend(
        proved
            .subjects
            .iter()
            .map(|s| format!("  {} = {}", s.name, Value::from(s.value.as_str()).to_text())),
    );
    let items = proved.items.iter().map(|item| {
        let fields = item.fields.iter().map(|(n, v)| (n.as_str(), Value::from(v.clone())));
        let scores = item.scores.iter().map(|(n, s)| (n.as_str(), Value::from(*s)));
        json::object([
            ("index", item.index.into()),
            ("epoch", item.epoch.into()),
            ("tag", item.tag.to_string().into()),
            ("status", item.status.map(record::subject::Status::as_str).into()),
            ("fields", json::object(fields)),
            ("scores", json::object(scores)),
        ])
    });
    let members = vec![
        ("record", opened.record.to_string().into()),
        ("party", opened.signer.as_str().into()),
        ("items", json::array(items)),
        (
            "totals",
            json::object(proved.totals.iter().map(|t| (t.column.as_str(), Value::from(t.total)))),
        ),
        (
            "subjects",
            json::object(
                proved.subjects.iter().map(|s| (s.name.as_str(), Value::from(s.value.as_str()))),
            ),
        ),
    ];
    Line::good(place, "opening", &lines.join("\n"), members)
}

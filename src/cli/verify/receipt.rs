//! Receipts, and checkpoints by themselves.

use exchange::bundle::Bundle;
use tlog::{Checkpoint, KeyName, Note, Receipt, SignedCheckpoint};

use super::history::Histories;
use super::{Line, Pinned};
use crate::cli::output::Failure;

pub(super) fn check(
    place: &str,
    bytes: &[u8],
    bundles: &[(String, Bundle)],
    pinned: &Pinned,
    histories: &mut Histories,
) -> Result<Line, Failure> {
    let receipt = match Receipt::parse(bytes) {
        Ok(receipt) => receipt,
        Err(error) => return Ok(Line::bad(place, "receipt", &error.to_string())),
    };
    let leaf = bundles
        .iter()
        .flat_map(|(_, bundle)| &bundle.leaves)
        .find(|leaf| leaf.index == receipt.index())
        .ok_or_else(|| {
            Failure::new(format!("{place}: no bundle with entry {} is given", receipt.index()))
                .next("name the bundle of the statement beside its receipt")
        })?;
    let log = match origin_of(receipt.checkpoint()) {
        Some(origin) => pinned.trust.log_of(&origin)?,
        None => pinned.trust.log()?,
    };
    let checkpoint = match receipt.verify(&leaf.envelope, log) {
        Err(error) => return Ok(Line::bad(place, "receipt", &error.to_string())),
        Ok(checkpoint) => checkpoint,
    };
    let cosigned = match pinned.trust.check(receipt.checkpoint(), pinned.age) {
        Err(problem) => return Ok(Line::bad(place, "receipt", &problem)),
        Ok(cosigned) => cosigned,
    };
    let size = checkpoint.head().size;
    let text =
        format!("The statement is entry {} of {} (size {size})", receipt.index(), log.name());
    let members = vec![("index", receipt.index().into()), ("size", size.into())];
    let line = Line::good(place, "receipt", &text, members);
    histories.saw_leaf(place, tlog::leaf_hash(&leaf.envelope), receipt);
    histories.saw(place, checkpoint.note().clone(), *checkpoint.head());
    Ok(match cosigned {
        Some(cosigned) => line.and(&cosigned.text(), cosigned.members()),
        None => line,
    })
}

/// A checkpoint alone says what a log signed; beside others it is compared with them.
pub(super) fn check_checkpoint(
    place: &str,
    note: &Note,
    pinned: &Pinned,
    histories: &mut Histories,
) -> Result<Line, Failure> {
    let log = match origin_of(note) {
        Some(origin) => pinned.trust.log_of(&origin)?,
        None => pinned.trust.log()?,
    };
    let signed = match SignedCheckpoint::of_note(note.clone(), log) {
        Ok(signed) => signed,
        Err(error) => return Ok(Line::bad(place, "checkpoint", &error.to_string())),
    };
    let cosigned = match pinned.trust.check(note, pinned.age) {
        Err(problem) => return Ok(Line::bad(place, "checkpoint", &problem)),
        Ok(cosigned) => cosigned,
    };
    let head = *signed.head();
    let text = format!("{} signed the root {} for its size {}", log.name(), head.root, head.size);
    let members = vec![("size", head.size.into()), ("root", head.root.to_string().into())];
    let line = Line::good(place, "checkpoint", &text, members);
    histories.saw(place, note.clone(), head);
    Ok(match cosigned {
        Some(cosigned) => line.and(&cosigned.text(), cosigned.members()),
        None => line,
    })
}

/// The log that a note says it is about. Decides which key it is checked under, and no more.
fn origin_of(note: &Note) -> Option<KeyName> {
    let checkpoint = Checkpoint::parse_text(note.text()).ok()?;
    KeyName::parse(checkpoint.origin()).ok()
}

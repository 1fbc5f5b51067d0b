//! What the operator could have learned: every text of both logs, looked for in all that it holds.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;

use intake::NoFolder;

use super::stage::Stage;
use super::{LAB_A, LAB_B, attack};
use crate::cli::output::Failure;

/// What was looked for, and in how much.
pub(super) struct Searched {
    pub(super) needles: usize,
    pub(super) bytes: usize,
}

/// Looks for every text of both evaluation logs, of 8 bytes and more, in the server's folder.
pub(super) fn search(stage: &Stage) -> Result<Searched, Failure> {
    let mut needles = BTreeSet::new();
    for log in [LAB_A, LAB_B] {
        let import = intake::import(Cursor::new(log), "run.eval", &NoFolder, &Default::default());
        for item in import.evaluations().flat_map(|evaluation| &evaluation.items) {
            let texts = [&item.input, &item.target, &item.output, &item.explanation];
            needles.insert(item.id.as_text().to_owned());
            needles.extend(texts.into_iter().flatten().map(|text| text.to_string()));
        }
    }
    needles.retain(|needle| needle.len() >= 6);
    let mut bytes = 0;
    for path in attack::files(&stage.path("log"))? {
        let content = fs::read(&path)?;
        bytes += content.len();
        if let Some(found) = needles.iter().find(|needle| contains(&content, needle.as_bytes())) {
            let place = path.display();
            return Err(Failure::bad(format!("the server's file {place} holds {found:?}")));
        }
    }
    Ok(Searched { needles: needles.len(), bytes })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

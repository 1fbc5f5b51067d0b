//! The items that a record is about, and what the log says of each.

use std::collections::BTreeMap;
use std::path::Path;

use intake::{Evaluation, MappingRule, map_rows, rows_from_log};
use record::column::Column;
use record::commit::ItemValues;
use record::items::{AgreedItems, ItemsFile};
use record::subject::{Flag, Flags};

use crate::cli::import;
use crate::cli::output::Failure;

/// The items that the record is about, and where each sample of the log belongs.
pub(super) struct Items {
    pub(super) file: ItemsFile,
    pub(super) epochs: u64,
    /// For each item of the evaluation its row and epoch.
    places: Vec<intake::Place>,
    pub(super) flags: Flags,
}

impl Items {
    pub(super) fn of(path: Option<&Path>, evaluation: &Evaluation) -> Result<Self, Failure> {
        let declared = evaluation.epochs.unwrap_or(1);
        let epochs = evaluation.items.iter().map(|item| item.epoch).fold(declared, u64::max);
        let (file, rule) = match path {
            Some(path) => (import::read_items_file(path)?, MappingRule::default()),
            None => {
                let rows = rows_from_log(evaluation).map_err(unmapped)?;
                let rows = rows.into_iter().map(|row| (row.id, row.input, row.target));
                let rule =
                    MappingRule { integer_ids: true, structured: true, ..MappingRule::default() };
                (ItemsFile::from_rows(rows).map_err(Failure::new)?, rule)
            }
        };
        let rows = import::rows(&file);
        let mapping = map_rows(evaluation, &rows, epochs, rule).map_err(unmapped)?;
        Ok(Self { file, epochs, places: mapping.places, flags: flags(evaluation) })
    }

    /// What the log says about each agreed item, in record order.
    pub(super) fn values(
        &self,
        evaluation: &Evaluation,
        columns: &[Column],
        agreed: &AgreedItems,
    ) -> Vec<Option<ItemValues>> {
        let wanted: Vec<usize> =
            columns.iter().filter_map(|column| evaluation.column(column.name())).collect();
        let samples: BTreeMap<intake::Place, usize> =
            self.places.iter().copied().zip(0..).collect();
        agreed
            .items()
            .iter()
            .map(|item| {
                let place = intake::Place { row: item.row, epoch: item.epoch };
                let sample = &evaluation.items[*samples.get(&place)?];
                let text = |part: &Option<Box<str>>| part.as_deref().map(str::to_owned);
                let score = |column: &usize| {
                    sample.scores[*column].as_ref().map(|raw| raw.literal().to_owned())
                };
                Some(ItemValues {
                    invalidated: sample.invalidated,
                    errored: sample.errored,
                    limited: sample.limited,
                    input: text(&sample.input),
                    target: text(&sample.target),
                    output: text(&sample.output),
                    explanation: text(&sample.explanation),
                    metadata: text(&sample.metadata),
                    scores: wanted.iter().map(score).collect(),
                })
            })
            .collect()
    }
}

fn unmapped(error: intake::MappingError) -> Failure {
    let findings: Vec<String> = error.findings.iter().take(5).map(|f| format!("\n  {f}")).collect();
    Failure::bad(format!("{error}{}", findings.concat()))
        .next("commit to the log that belongs to these items, or leave --items out")
}

/// The importer's flags that a record commits to; those it counts itself are left to it.
fn flags(evaluation: &Evaluation) -> Flags {
    let mut flags = Flags::default();
    for (code, count) in &evaluation.flags {
        if let Some(flag) = Flag::from_code(code.as_str()).filter(|flag| !flag.counted()) {
            flags.set(flag, *count);
        }
    }
    flags
}

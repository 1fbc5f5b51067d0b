//! The items that a record is about, and what the log says of each.

use std::collections::BTreeMap;
use std::path::Path;

use intake::{Evaluation, MappingRule, MatchBy, map_rows, rows_from_log};
use record::column::Column;
use record::commit::ItemValues;
use record::items::{AgreedItems, ItemsFile};
use record::subject::{Flag, Flags};

use crate::cli::import;
use crate::cli::output::Failure;

/// How samples are matched with the rows of an items file.
#[derive(Debug, clap::Args)]
pub(super) struct MapArguments {
    /// Match samples by id, with equal texts, or by their texts alone. Without it by id if any id is
    /// that of a row, else by texts.
    #[arg(long = "match", value_name = "BY", value_enum)]
    by: Option<By>,
    /// A sample with the integer id 7 is the row "7".
    #[arg(long)]
    integer_ids: bool,
    /// Compare message lists and lists of targets as the JSON text that `items make` writes.
    #[arg(long)]
    structured: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum By {
    /// The id, with input and target equal to the row's.
    Id,
    /// Input and target.
    Content,
}

impl MapArguments {
    fn rule(&self) -> MappingRule {
        let by = self.by.map(|by| match by {
            By::Id => MatchBy::Id,
            By::Content => MatchBy::Content,
        });
        MappingRule { by, integer_ids: self.integer_ids, structured: self.structured }
    }
}

/// The items that the record is about, and where each sample of the log belongs.
pub(super) struct Items {
    pub(super) file: ItemsFile,
    pub(super) epochs: u64,
    /// For each item of the evaluation its row and epoch.
    places: Vec<intake::Place>,
    /// The mapping in words, where somebody else made the items file.
    pub(super) summary: Option<String>,
    pub(super) flags: Flags,
}

impl Items {
    pub(super) fn of(
        path: Option<&Path>,
        map: &MapArguments,
        evaluation: &Evaluation,
    ) -> Result<Self, Failure> {
        let declared = evaluation.epochs.unwrap_or(1);
        let epochs = evaluation.items.iter().map(|item| item.epoch).fold(declared, u64::max);
        match path {
            Some(path) => {
                let file = import::read_items_file(path)?;
                Self::map(file, epochs, map.rule(), evaluation)
            }
            None => {
                let rows = rows_from_log(evaluation).map_err(unmapped)?;
                let rows = rows.into_iter().map(|row| (row.id, row.input, row.target));
                let file = ItemsFile::from_rows(rows).map_err(Failure::new)?;
                let rule =
                    MappingRule { integer_ids: true, structured: true, ..MappingRule::default() };
                Self::map(file, epochs, rule, evaluation)
            }
        }
    }

    /// The items of an agreement: those that the log lacks are missing in the record, and a sample
    /// that no row explains is an error.
    pub(super) fn agreed(
        file: ItemsFile,
        epochs: u64,
        map: &MapArguments,
        evaluation: &Evaluation,
    ) -> Result<Self, Failure> {
        Self::map(file, epochs, map.rule(), evaluation)
    }

    fn map(
        file: ItemsFile,
        epochs: u64,
        rule: MappingRule,
        evaluation: &Evaluation,
    ) -> Result<Self, Failure> {
        let rows = import::rows(&file);
        let mapping = map_rows(evaluation, &rows, epochs, rule).map_err(unmapped)?;
        let summary = Some(mapping.summary());
        Ok(Self { file, epochs, places: mapping.places, summary, flags: flags(evaluation) })
    }

    /// What the log says about each agreed item, in record order, under these columns of the log.
    /// Takes the items out of the
    /// evaluation, since a large log should not be in memory twice.
    pub(super) fn values(
        &self,
        evaluation: &mut Evaluation,
        names: &[String],
        agreed: &AgreedItems,
    ) -> Vec<Option<ItemValues>> {
        let wanted: Vec<usize> = names.iter().filter_map(|name| evaluation.column(name)).collect();
        let samples = std::mem::take(&mut evaluation.items).into_iter();
        let mut samples: BTreeMap<intake::Place, intake::Item> =
            self.places.iter().copied().zip(samples).collect();
        agreed
            .items()
            .iter()
            .map(|item| {
                let place = intake::Place { row: item.row, epoch: item.epoch };
                let sample = samples.remove(&place)?;
                let score = |column: &usize| {
                    sample.scores[*column].as_ref().map(|raw| raw.literal().to_owned())
                };
                Some(ItemValues {
                    invalidated: sample.invalidated,
                    errored: sample.errored,
                    limited: sample.limited,
                    scores: wanted.iter().map(score).collect(),
                    input: sample.input.map(String::from),
                    target: sample.target.map(String::from),
                    output: sample.output.map(String::from),
                    explanation: sample.explanation.map(String::from),
                    metadata: sample.metadata.map(String::from),
                })
            })
            .collect()
    }
}

/// Every score must have a place on its scale. Checked before the run is announced, since an
/// announced run stays visible.
pub(super) fn check_scores(
    evaluation: &Evaluation,
    columns: &[Column],
    names: &[String],
) -> Result<(), Failure> {
    for (column, name) in columns.iter().zip(names) {
        let Some(place) = evaluation.column(name) else { continue };
        for item in &evaluation.items {
            let Some(raw) = &item.scores[place] else { continue };
            column.convert(raw.literal()).map_err(|e| {
                Failure::new(format!("item {}, column {}: {e}", item.key(), column.name()))
                    .next("give the column a scale that holds all its scores: --column NAME:MAX[:RAW_MAX]")
            })?;
        }
    }
    Ok(())
}

fn unmapped(error: intake::MappingError) -> Failure {
    let findings: Vec<String> = error.findings.iter().take(5).map(|f| format!("\n  {f}")).collect();
    Failure::bad(format!("{error}{}", findings.concat())).next(
        "commit to the log that belongs to these items; countersign import FILE --items shows how \
         samples and rows match, --match, --integer-ids and --structured how they are compared",
    )
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

//! Which score columns are committed to, and on which scale.

use exchange::predicate::{Direction, Scale};
use intake::{ColumnValues, Evaluation};
use record::column::{Better, Column};

use crate::cli::output::Failure;

/// The columns to commit to with their scales, and the names of those left out.
pub(in crate::cli) fn choose(
    specified: &[String],
    evaluation: &Evaluation,
) -> Result<(Vec<Column>, Vec<String>), Failure> {
    let better = |column: &intake::Column| match column.higher_is_better {
        Some(false) => Better::Lower,
        _ => Better::Higher,
    };
    let mut columns = Vec::new();
    let mut left_out = Vec::new();
    for column in &evaluation.columns {
        let scale = if specified.is_empty() {
            match column.values {
                ColumnValues::Binary => Some((1, 1)),
                ColumnValues::Graded => Some((2, 1)),
                _ => None,
            }
        } else {
            specified.iter().find_map(|text| scale_of(text, &column.name))
        };
        match scale {
            Some((max, raw_max)) => columns.push(
                Column::new(&column.name, max, raw_max, better(column)).map_err(Failure::new)?,
            ),
            None => left_out.push(column.name.clone()),
        }
    }
    let unused = specified
        .iter()
        .find(|text| !evaluation.columns.iter().any(|c| scale_of(text, &c.name).is_some()));
    let names =
        || evaluation.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(text) = unused {
        return Err(Failure::new(format!("--column {text} names no column of the log"))
            .next(format!("write NAME:MAX or NAME:MAX:RAW_MAX with one of: {}", names())));
    }
    if columns.is_empty() {
        return Err(Failure::new("no score column has a scale that is plain from its values")
            .next(format!(
                "say the scale with --column NAME:MAX[:RAW_MAX]; there is: {}",
                names()
            )));
    }
    Ok((columns, left_out))
}

/// `NAME:MAX` or `NAME:MAX:RAW_MAX` for this very name, which may hold colons itself.
fn scale_of(text: &str, name: &str) -> Option<(u64, u64)> {
    let scale = text.strip_prefix(name)?.strip_prefix(':')?;
    match scale.split_once(':') {
        Some((max, raw_max)) => Some((max.parse().ok()?, raw_max.parse().ok()?)),
        None => {
            let max = scale.parse().ok()?;
            Some((max, max))
        }
    }
}

/// The columns of an agreement, and for each its name in the log: the same, unless `named` says
/// `AGREED=NAME`. A run under another harness calls its scores differently.
pub(super) fn agreed(
    scales: &[Scale],
    named: &[String],
    evaluation: &Evaluation,
) -> Result<(Vec<Column>, Vec<String>), Failure> {
    let mut columns = Vec::new();
    let mut names = Vec::new();
    for scale in scales {
        let agreed = scale.name.as_str();
        let other = named.iter().find_map(|pair| pair.strip_prefix(agreed)?.strip_prefix('='));
        let name = other.unwrap_or(agreed);
        if evaluation.column(name).is_none() {
            let known: Vec<&str> = evaluation.columns.iter().map(|c| c.name.as_str()).collect();
            return Err(Failure::new(format!(
                "the log has no column {name:?} for the agreed column {agreed:?}"
            ))
            .next(format!("say --score {agreed}=NAME with one of: {}", known.join(", "))));
        }
        let better = match scale.better {
            Direction::Higher => Better::Higher,
            Direction::Lower => Better::Lower,
        };
        columns.push(Column::new(agreed, scale.max, scale.raw_max, better).map_err(Failure::new)?);
        names.push(name.to_owned());
    }
    let unknown = named.iter().find(|pair| {
        !scales.iter().any(|scale| {
            pair.strip_prefix(scale.name.as_str()).is_some_and(|rest| rest.starts_with('='))
        })
    });
    match unknown {
        Some(pair) => Err(Failure::new(format!("--score {pair} names no agreed column"))
            .next("write --score AGREED=NAME; countersign agree show lists the agreed columns")),
        None => Ok((columns, names)),
    }
}

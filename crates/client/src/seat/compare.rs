//! Two results side by side: one's own record, and what the other side has shown of its own.

use std::collections::BTreeMap;

use exchange::{ColumnName, Side};
use record::items::Tag;
use record::opening::ProvedItem;
use record::subject::Status;

use super::{Received, Seat, SeatError};
use crate::Entropy;
use crate::own::OwnRecord;

/// Both sides of an exchange, as far as this party knows.
#[derive(Debug)]
pub struct Comparison {
    /// Which side is one's own.
    pub own: Side,
    /// One's own record, to show items from.
    pub record: OwnRecord,
    /// By status: how many items of each side; none for what the other side has not shown.
    pub counts: Vec<(Status, [Option<u64>; 2])>,
    /// Column by column.
    pub columns: Vec<ColumnComparison>,
    /// Everything that was shown, what can't be used included.
    pub received: Vec<Received>,
    /// Items of the other side of which a status is known.
    pub opened: u64,
}

/// One column of both sides.
#[derive(Debug, Clone)]
pub struct ColumnComparison {
    /// The column.
    pub column: ColumnName,
    /// Largest score of an item.
    pub max: u64,
    /// Results by side.
    pub figures: [Option<Figures>; 2],
    /// First side less the second, from the totals alone.
    pub difference: Option<Difference>,
    /// First side less the second over the items that both scored and that were opened.
    pub paired: Option<Paired>,
    /// Items of which both scores are known and differ, or of which one side alone has a score.
    pub disagreements: Vec<Disagreement>,
}

/// A column's result on one side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Sum of the integer scores. Items without a score count 0.
    pub total: u64,
    /// The greatest total there could be.
    pub of: u64,
    /// Items with a score, if that is known.
    pub scored: Option<u64>,
    /// Mean of the items with a score, as a share of the largest score.
    pub mean: Option<f64>,
    /// Its standard error, where the total tells it: with scores 0 and 1.
    pub stderr: Option<f64>,
}

/// A difference of two means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// First less second, as a share of the largest score.
    pub value: f64,
    /// Standard error as of two independent samples.
    pub stderr: Option<f64>,
}

/// A difference item by item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Items that both scored, and of which both scores are known.
    pub items: u64,
    /// Mean of the differences, as a share of the largest score.
    pub value: f64,
    /// Standard error of that mean; none for less than two items.
    pub stderr: Option<f64>,
    /// Items on which the first is better in points, the second, or neither.
    pub first: u64,
    /// As above.
    pub second: u64,
    /// As above.
    pub equal: u64,
}

/// An item on which the two sides differ. Status and score by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disagreement {
    /// Its index in both records.
    pub index: u64,
    /// The tag of its row.
    pub tag: Tag,
    /// Its epoch.
    pub epoch: u64,
    /// What became of it on each side.
    pub status: [Status; 2],
    /// The score of each side, where there is one.
    pub score: [Option<u64>; 2],
}

impl<E: Entropy> Seat<'_, E> {
    /// Compares one's own record with what the other side has shown.
    pub async fn compare(&mut self) -> Result<Comparison, SeatError> {
        self.refresh().await?;
        let own = self.party()?;
        let record = self.own_record().await?;
        let received = self.received().await?;
        let peer = self.counted(own.peer()).map(|placed| placed.id());
        let shown = Shown::of(received.iter().filter(|shown| Some(shown.record) == peer));
        let mut grades = Vec::new();
        for index in 0..record.items.count() {
            grades.push(record.graded(index)?);
        }
        let place = |mine: Option<u64>, theirs: Option<u64>| match own {
            Side::First => [mine, theirs],
            Side::Second => [theirs, mine],
        };
        let count = |status: Status| grades.iter().filter(|g| g.status == status).count() as u64;
        let counts = Status::ALL
            .into_iter()
            .map(|status| {
                let theirs = shown.counts.get(status.as_str()).copied();
                (status, place(Some(count(status)), theirs))
            })
            .collect();
        let items = record.items.count();
        let mut columns = Vec::new();
        for (at, column) in record.columns().iter().enumerate() {
            let name = column.name();
            let max = column.max();
            let total = grades.iter().map(|graded| graded.integers[at]).sum();
            let mine = Figures::of(total, items, max, Some(count(Status::Scored)));
            let scored = shown.counts.get("scored").copied();
            let theirs =
                shown.totals.get(name).map(|total| Figures::of(*total, items, max, scored));
            let figures = match own {
                Side::First => [Some(mine), theirs],
                Side::Second => [theirs, Some(mine)],
            };
            let mut pairs = Vec::new();
            for (index, item) in &shown.items {
                let Some(status) = item.status else { continue };
                let score = item.scores.iter().find(|(known, _)| known == name);
                // Without its score nothing can be said of a scored item in this column.
                let Some((_, score)) = score else { continue };
                let Some(graded) = usize::try_from(*index).ok().and_then(|i| grades.get(i)) else {
                    continue;
                };
                let scored = |status, score| (status == Status::Scored).then_some(score);
                let mine = (graded.status, scored(graded.status, graded.integers[at]));
                let theirs = (status, scored(status, *score));
                let [first, second] = match own {
                    Side::First => [mine, theirs],
                    Side::Second => [theirs, mine],
                };
                pairs.push(Disagreement {
                    index: *index,
                    tag: item.tag,
                    epoch: item.epoch,
                    status: [first.0, second.0],
                    score: [first.1, second.1],
                });
            }
            let paired = Paired::of(&pairs, max);
            pairs.retain(|pair| pair.score[0] != pair.score[1]);
            columns.push(ColumnComparison {
                column: ColumnName::parse(name).map_err(|_| SeatError::NotKept(record.id))?,
                max,
                figures,
                difference: Difference::of(figures),
                paired,
                disagreements: pairs,
            });
        }
        let opened = shown.items.len() as u64;
        Ok(Comparison { own, record, counts, columns, received, opened })
    }
}

/// What the other side has proved of its record, put together.
#[derive(Default)]
struct Shown<'a> {
    totals: BTreeMap<&'a str, u64>,
    /// By status.
    counts: BTreeMap<&'a str, u64>,
    items: BTreeMap<u64, ProvedParts>,
}

/// What is known of an item from all openings of it.
struct ProvedParts {
    tag: Tag,
    epoch: u64,
    status: Option<Status>,
    scores: Vec<(String, u64)>,
}

impl<'a> Shown<'a> {
    fn of(received: impl Iterator<Item = &'a Received>) -> Self {
        let mut shown = Self::default();
        for proved in received.filter_map(|received| received.proved.as_ref().ok()) {
            shown.totals.extend(proved.totals.iter().map(|t| (t.column.as_str(), t.total)));
            for subject in &proved.subjects {
                let count = subject.name.strip_prefix("count:").zip(subject.value.parse().ok());
                shown.counts.extend(count);
            }
            for item in &proved.items {
                shown.add(item);
            }
        }
        shown
    }

    fn add(&mut self, item: &ProvedItem) {
        let known = self.items.entry(item.index).or_insert(ProvedParts {
            tag: item.tag,
            epoch: item.epoch,
            status: None,
            scores: Vec::new(),
        });
        known.status = known.status.or(item.status);
        known.scores.extend(item.scores.iter().cloned());
    }
}

#[expect(clippy::cast_precision_loss, reason = "totals are below 2^31")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Figures {
    fn of(total: u64, items: u64, max: u64, scored: Option<u64>) -> Self {
        let scored_items = scored.filter(|scored| *scored > 0);
        let mean = scored_items.map(|n| float(total) / float(max) / float(n));
        // Sample standard deviation over the square root of n, as harnesses report it.
        let stderr = match (scored_items, mean) {
            (Some(n), Some(mean)) if max == 1 && n > 1 => {
                Some((mean * (1.0 - mean) / float(n - 1)).max(0.0).sqrt())
            }
            _ => None,
        };
        Self { total, of: items * max, scored, mean, stderr }
    }
}

impl Difference {
    fn of([first, second]: [Option<Figures>; 2]) -> Option<Self> {
        let (first, second) = (first?, second?);
        let value = first.mean? - second.mean?;
        let stderr = first.stderr.zip(second.stderr).map(|(a, b)| a.hypot(b));
        Some(Self { value, stderr })
    }
}

impl Paired {
    fn of(pairs: &[Disagreement], max: u64) -> Option<Self> {
        let both = pairs.iter().filter_map(|pair| Some((pair.score[0]?, pair.score[1]?)));
        let differences: Vec<f64> = both.map(|(a, b)| (float(a) - float(b)) / float(max)).collect();
        let items = differences.len() as u64;
        if items == 0 {
            return None;
        }
        let value = differences.iter().sum::<f64>() / float(items);
        let squares: f64 = differences.iter().map(|d| (d - value).powi(2)).sum();
        let stderr = (items > 1).then(|| (squares / float(items - 1)).sqrt() / float(items).sqrt());
        let count = |wanted: fn(f64) -> bool| {
            differences.iter().filter(|difference| wanted(**difference)).count() as u64
        };
        Some(Self {
            items,
            value,
            stderr,
            first: count(|d| d > 0.0),
            second: count(|d| d < 0.0),
            equal: count(|d| d == 0.0),
        })
    }
}

//! What has been shown of a benchmark's items to whom, over all exchanges, and what follows.
//!
//! Disclosures add up: a bound on a total, together with the items that were opened, narrows what
//! the rest can be. A ledger is kept by each party for itself, for one items file; it can't take
//! back what was shown, it can say what was.

use std::collections::{BTreeMap, BTreeSet};

use crate::predicate::Bound;
use crate::values::StatementId;

/// One act of showing something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disclosure {
    /// The exchange; none if standalone.
    pub exchange: Option<StatementId>,
    /// The statement by which it was shown.
    pub statement: StatementId,
    /// The record that it is about. Bounds and items of one record add up; two records of one
    /// benchmark are two runs.
    pub record: StatementId,
    /// `public`, or the name of the reader.
    pub audience: String,
    /// What.
    pub shown: Shown,
}

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// A field of items, with the items' indices.
    Field {
        /// The field, `score:<column>` included.
        field: String,
        /// Indices in the record.
        items: Vec<u64>,
    },
    /// The integer scores of items.
    Scores {
        /// The column.
        column: String,
        /// Index and integer.
        items: Vec<(u64, u64)>,
    },
    /// A column's exact total.
    Total {
        /// The column.
        column: String,
        /// The total.
        total: u64,
    },
    /// A proved bound on a column's total.
    Bound {
        /// The column.
        column: String,
        /// Least possible total.
        least: u64,
        /// Greatest possible total.
        most: u64,
    },
    /// A count by status, or a flag.
    Subject {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

impl Shown {
    /// What a claim on one record shows, given the largest total; none for differences, which
    /// bound nothing by themselves.
    pub fn of_bound(column: &str, bound: Bound, largest: u64) -> Option<Self> {
        let (least, most) = match bound {
            Bound::AtLeast { q } => (q, largest),
            Bound::AtMost { q } => (0, q),
            Bound::Between { p, q } => (p, q),
            Bound::Equals { q } => (q, q),
            Bound::DifferByAtMost { .. } | Bound::Equal => return None,
        };
        Some(Self::Bound { column: column.to_owned(), least, most })
    }
}

/// Size and scale of a record's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnScale {
    /// Items in the record.
    pub items: u64,
    /// Largest integer of an item.
    pub max: u64,
}

/// What an audience can know about one column of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knowledge {
    /// Who.
    pub audience: String,
    /// The record.
    pub record: StatementId,
    /// The column.
    pub column: String,
    /// Items whose score it has seen.
    pub opened: u64,
    /// The total lies between these.
    pub total: (u64, u64),
    /// The sum over the other items lies between these.
    pub rest: (u64, u64),
    /// How many other items there are.
    pub rest_items: u64,
}

impl Knowledge {
    /// True if every remaining score follows from what was shown.
    pub fn is_complete(&self, max: u64) -> bool {
        let (least, most) = self.rest;
        let all = self.rest_items.saturating_mul(max);
        self.rest_items == 0 || most == 0 || least == all || self.rest_items == 1 && least == most
    }
}

/// All disclosures of one party about one items file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger(BTreeSet<Disclosure>);

impl Ledger {
    /// Adds one. The same again changes nothing, so a repeated command does no harm.
    pub fn add(&mut self, disclosure: Disclosure) {
        self.0.insert(disclosure);
    }

    /// All, by exchange and statement.
    pub fn disclosures(&self) -> impl ExactSizeIterator<Item = &Disclosure> {
        self.0.iter()
    }

    /// Everybody to whom something was shown.
    pub fn audiences(&self) -> BTreeSet<&str> {
        self.0.iter().map(|disclosure| disclosure.audience.as_str()).collect()
    }

    /// The indices of a record of which an audience has seen a field, what is public included.
    pub fn seen(&self, audience: &str, record: &StatementId, field: &str) -> BTreeSet<u64> {
        let known = self.known_to(audience).filter(|disclosure| disclosure.record == *record);
        let mut seen = BTreeSet::new();
        for disclosure in known {
            match &disclosure.shown {
                Shown::Field { field: shown, items } if shown == field => seen.extend(items),
                Shown::Scores { column, items } if field == format!("score:{column}") => {
                    seen.extend(items.iter().map(|(index, _)| index));
                }
                _ => {}
            }
        }
        seen
    }

    /// What follows for an audience about every column of which it knows something.
    pub fn knowledge(
        &self,
        audience: &str,
        scale: &dyn Fn(&StatementId, &str) -> Option<ColumnScale>,
    ) -> Vec<Knowledge> {
        let mut scores: BTreeMap<(StatementId, &str), BTreeMap<u64, u64>> = BTreeMap::new();
        let mut bounds: BTreeMap<(StatementId, &str), Vec<(u64, u64)>> = BTreeMap::new();
        for disclosure in self.known_to(audience) {
            match &disclosure.shown {
                Shown::Scores { column, items } => {
                    let known = scores.entry((disclosure.record, column)).or_default();
                    known.extend(items.iter().copied());
                }
                Shown::Total { column, total } => {
                    bounds.entry((disclosure.record, column)).or_default().push((*total, *total));
                }
                Shown::Bound { column, least, most } => {
                    bounds.entry((disclosure.record, column)).or_default().push((*least, *most));
                }
                _ => {}
            }
        }
        let columns: BTreeSet<(StatementId, &str)> =
            scores.keys().chain(bounds.keys()).copied().collect();
        let known = columns.into_iter().filter_map(|(record, column)| {
            let scale = scale(&record, column)?;
            let opened = scores.get(&(record, column));
            let sum: u64 = opened.iter().flat_map(|opened| opened.values()).sum();
            let opened = opened.map_or(0, |opened| opened.len() as u64);
            let rest_items = scale.items.saturating_sub(opened);
            // What is opened bounds the total as well.
            let room = (sum, sum.saturating_add(rest_items.saturating_mul(scale.max)));
            let total = bounds
                .get(&(record, column))
                .into_iter()
                .flatten()
                .fold(room, |(least, most), (p, q)| (least.max(*p), most.min(*q)));
            let rest = (total.0.saturating_sub(sum), total.1.saturating_sub(sum));
            Some(Knowledge {
                audience: audience.to_owned(),
                record,
                column: column.to_owned(),
                opened,
                total,
                rest,
                rest_items,
            })
        });
        known.collect()
    }

    /// What an audience was shown, and what everybody was.
    fn known_to<'a>(&'a self, audience: &'a str) -> impl Iterator<Item = &'a Disclosure> {
        self.0.iter().filter(move |shown| shown.audience == audience || shown.audience == PUBLIC)
    }
}

/// The audience that is everybody.
pub const PUBLIC: &str = "public";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORD: StatementId = StatementId::new([1; 32]);

    fn show(ledger: &mut Ledger, audience: &str, shown: Shown) {
        ledger.add(Disclosure {
            exchange: None,
            statement: StatementId::new([2; 32]),
            record: RECORD,
            audience: audience.to_owned(),
            shown,
        });
    }

    fn scores(items: &[(u64, u64)]) -> Shown {
        Shown::Scores { column: "c".to_owned(), items: items.to_vec() }
    }

    fn bound(least: u64, most: u64) -> Shown {
        Shown::Bound { column: "c".to_owned(), least, most }
    }

    proptest! {
        /// Against every assignment of scores that fits what was shown.
        #[test]
        fn knows_no_more_and_no_less_than_follows(
            scores_of in prop::collection::vec(0_u64..3, 5),
            opened in prop::collection::btree_set(0_usize..5, 0..5),
            slack in (0_u64..4, 0_u64..4),
        ) {
            let total: u64 = scores_of.iter().sum();
            let (least, most) = (total.saturating_sub(slack.0), total + slack.1);
            let mut ledger = Ledger::default();
            let items: Vec<_> = opened.iter().map(|i| (*i as u64, scores_of[*i])).collect();
            show(&mut ledger, "b", scores(&items));
            show(&mut ledger, PUBLIC, bound(least, most));
            let scale = ColumnScale { items: 5, max: 2 };
            let known = &ledger.knowledge("b", &|_, _| Some(scale))[0];

            let mut possible = Vec::new();
            for code in 0..3_u64.pow(5) {
                let guess: Vec<u64> = (0..5).map(|i| code / 3_u64.pow(i) % 3).collect();
                let fits = opened.iter().all(|i| guess[*i] == scores_of[*i]);
                if fits && (least..=most).contains(&guess.iter().sum()) {
                    possible.push(guess);
                }
            }
            let totals = possible.iter().map(|guess| guess.iter().sum::<u64>());
            prop_assert_eq!(known.total.0, totals.clone().min().unwrap());
            prop_assert_eq!(known.total.1, totals.max().unwrap());
            prop_assert_eq!(known.is_complete(2), possible.len() == 1);
        }
    }

    #[test]
    fn what_is_public_is_known_to_everybody_and_nothing_else_is() {
        let mut ledger = Ledger::default();
        show(&mut ledger, "b", scores(&[(0, 1), (3, 0)]));
        show(&mut ledger, PUBLIC, scores(&[(7, 1)]));
        show(&mut ledger, "b", scores(&[(3, 0)]));
        assert_eq!(ledger.seen("b", &RECORD, "score:c"), BTreeSet::from([0, 3, 7]));
        assert_eq!(ledger.seen("auditor", &RECORD, "score:c"), BTreeSet::from([7]));
        assert_eq!(ledger.audiences(), BTreeSet::from(["b", PUBLIC]));
        assert_eq!(ledger.seen("b", &StatementId::ZERO, "score:c"), BTreeSet::new());
    }
}

//! Which row of the agreed items file each sample of a log answers.
//!
//! A row is its `input` and `target`, byte for byte; its id is a handle. By id, a sample must
//! also carry the row's texts: an id alone would let easier questions in. Where no id fits, the
//! texts alone decide, and equal rows are told apart by order only. Nothing is dropped: a
//! sample that no row explains refuses the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use json::Value;

use crate::model::{DocumentRow, ItemRow};
use crate::{Code, Evaluation, Finding, Item, ItemId};

/// A row of the items file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Unique in the file.
    pub id: String,
    /// What is asked.
    pub input: String,
    /// What is expected; absent is not the same as empty.
    pub target: Option<String>,
}

/// What decides which row a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchBy {
    /// The id, with input and target equal to the row's.
    Id,
    /// Input and target; of equal rows the k-th sample gets the k-th.
    Content,
}

/// Rules that the user names; the default is the strict reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MappingRule {
    /// Without it: by id if the id of any sample is that of a row, else by content.
    pub by: Option<MatchBy>,
    /// An integer id `7` is the row `"7"`.
    pub integer_ids: bool,
    /// Message lists, lists of targets, choices kept apart and prompts without a row's text in
    /// their document are compared as the texts that [`rows_from_log`] writes for them.
    pub structured: bool,
}

/// One item of the agreement: a row and an epoch from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index of the row in the items file.
    pub row: usize,
    /// From 1.
    pub epoch: u64,
}

/// Where every sample of a log belongs.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// What decided.
    pub by: MatchBy,
    /// The rule it was made under.
    pub rule: MappingRule,
    /// For each of [`Evaluation::items`] its place.
    pub places: Vec<Place>,
    /// Rows of the items file.
    pub rows: usize,
    /// Epochs of the agreement.
    pub epochs: u64,
    /// `map.missing` and `map.order`, with counts of items.
    pub flags: BTreeMap<Code, u64>,
    /// At most 200 for each code.
    pub findings: Vec<Finding>,
}

/// Why a log does not fit an items file: codes `map.differs`, `map.foreign`, `items.duplicate`
/// and `items.colliding`, each with the item's key and no text of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct MappingError {
    /// Everything that does not fit, at most 200 for each code.
    pub findings: Vec<Finding>,
    /// How often each code was raised.
    pub flags: BTreeMap<Code, u64>,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.flags.iter().map(|(code, n)| format!("{code} {n} times"));
        let counts: Vec<String> = counts.collect();
        write!(f, "the log does not fit the items file: {}", counts.join(", "))
    }
}

/// What a sample offers for comparison.
struct Sample<'a> {
    id: Option<&'a str>,
    /// Nothing if the sample has no text that a row could be equal to.
    texts: Option<(&'a str, Option<&'a str>)>,
}

impl<'a> Sample<'a> {
    fn new(item: &'a Item, id: &'a ItemId, rule: MappingRule) -> Self {
        let id = match id {
            ItemId::Text(text) => Some(&**text),
            ItemId::Integer(literal) => rule.integer_ids.then_some(&**literal),
        };
        let (input, target) = match &item.row {
            ItemRow::Fields { plain_input, plain_target } => (
                item.input.as_deref().filter(|_| *plain_input || rule.structured),
                (*plain_target || rule.structured).then_some(item.target.as_deref()),
            ),
            ItemRow::Document(row) => {
                let rendered =
                    |part: &'a Option<Box<str>>| part.as_deref().filter(|_| rule.structured);
                (
                    row.input.as_deref().or_else(|| rendered(&item.input)),
                    Some(row.target.as_deref().or_else(|| rendered(&item.target))),
                )
            }
        };
        Self { id, texts: input.zip(target) }
    }
}

/// The id of each item as a row has it: that of the document if every document has one of its
/// own, else the item's.
fn row_ids(evaluation: &Evaluation) -> Vec<&ItemId> {
    let own = |item: &'_ Item| match &item.row {
        ItemRow::Document(row) => row.id.clone(),
        ItemRow::Fields { .. } => None,
    };
    let mut by_document: BTreeMap<String, &ItemId> = BTreeMap::new();
    let distinct = evaluation.items.iter().all(|item| {
        own(item).is_some_and(|id| {
            **by_document.entry(id.as_text().to_owned()).or_insert(&item.id) == item.id
        })
    });
    let mut ids = Vec::with_capacity(evaluation.items.len());
    for item in &evaluation.items {
        ids.push(match &item.row {
            ItemRow::Document(row) if distinct => row.id.as_ref().unwrap_or(&item.id),
            _ => &item.id,
        });
    }
    ids
}

/// Maps the items of `evaluation` to `rows` × `epochs`. Ids of rows must be distinct, which the
/// items file's parser sees to.
pub fn map_rows(
    evaluation: &Evaluation,
    rows: &[Row],
    epochs: u64,
    rule: MappingRule,
) -> Result<Mapping, MappingError> {
    let ids = row_ids(evaluation);
    let samples: Vec<Sample<'_>> =
        evaluation.items.iter().zip(ids).map(|(item, id)| Sample::new(item, id, rule)).collect();
    let by_id: BTreeMap<&str, usize> =
        rows.iter().enumerate().map(|(at, row)| (row.id.as_str(), at)).collect();
    let fits = |sample: &Sample<'_>| sample.id.is_some_and(|id| by_id.contains_key(id));
    let by = rule
        .by
        .unwrap_or_else(|| if samples.iter().any(fits) { MatchBy::Id } else { MatchBy::Content });

    let mut work = Work {
        evaluation,
        rows,
        epochs,
        samples,
        findings: crate::finding::Findings::default(),
        places: Vec::with_capacity(evaluation.items.len()),
    };
    match by {
        MatchBy::Id => work.match_ids(&by_id),
        MatchBy::Content => work.match_contents(),
    }
    let used = work.unique();
    if work.findings.flags.keys().any(|code| code.weight() != crate::Weight::Informs) {
        return Err(MappingError { findings: work.findings.list, flags: work.findings.flags });
    }
    let all = (rows.len() as u64).saturating_mul(epochs);
    let missing = all.saturating_sub(used.len() as u64);
    let mut mapping = Mapping {
        by,
        rule,
        places: work.places.into_iter().flatten().collect(),
        rows: rows.len(),
        epochs,
        flags: work.findings.flags,
        findings: work.findings.list,
    };
    if missing > 0 {
        mapping.flags.insert(Code::MapMissing, missing);
        let absent: Vec<Finding> = mapping
            .missing()
            .take(200)
            .map(|place| {
                let key = Value::from(rows[place.row].id.as_str()).to_text();
                Finding::new(Code::MapMissing, "the log lacks an agreed item")
                    .of_item(format!("{key} epoch {}", place.epoch))
            })
            .collect();
        mapping.findings.extend(absent);
    }
    Ok(mapping)
}

struct Work<'a> {
    evaluation: &'a Evaluation,
    rows: &'a [Row],
    epochs: u64,
    samples: Vec<Sample<'a>>,
    findings: crate::finding::Findings,
    /// Nothing where there is a finding.
    places: Vec<Option<Place>>,
}

impl Work<'_> {
    fn refuse(&mut self, code: Code, at: usize, message: &'static str) {
        let item = &self.evaluation.items[at];
        self.findings.add(Finding::new(code, message).of_item(item.key()));
        self.places.push(None);
    }

    fn match_ids(&mut self, by_id: &BTreeMap<&str, usize>) {
        for at in 0..self.samples.len() {
            let sample = &self.samples[at];
            let epoch = self.evaluation.items[at].epoch;
            let Some(row) = sample.id.and_then(|id| by_id.get(id).copied()) else {
                self.refuse(Code::MapForeign, at, "no row has this id");
                continue;
            };
            let Some((input, target)) = sample.texts else {
                let message = "input or target is no plain text, and no rule was named";
                self.refuse(Code::MapDiffers, at, message);
                continue;
            };
            if input != self.rows[row].input || target != self.rows[row].target.as_deref() {
                let message = "input or target is not that of the row with this id";
                self.refuse(Code::MapDiffers, at, message);
                continue;
            }
            self.place(at, Place { row, epoch });
        }
    }

    fn match_contents(&mut self) {
        let mut by_texts: BTreeMap<(&str, Option<&str>), Vec<usize>> = BTreeMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            by_texts.entry((row.input.as_str(), row.target.as_deref())).or_default().push(at);
        }
        // How many samples of one epoch have had these texts; items come in the log's order.
        let mut taken: BTreeMap<(u64, (String, Option<String>)), usize> = BTreeMap::new();
        for at in 0..self.samples.len() {
            let epoch = self.evaluation.items[at].epoch;
            let texts = self.samples[at].texts;
            let Some(rows) = texts.and_then(|texts| by_texts.get(&texts)) else {
                let message = match texts {
                    Some(_) => "no row has this input and target",
                    None => "input or target is no plain text, and no rule was named",
                };
                self.refuse(Code::MapForeign, at, message);
                continue;
            };
            if let [row] = rows.as_slice() {
                self.place(at, Place { row: *row, epoch });
                continue;
            }
            let (input, target) = texts.expect("rows were found by these texts");
            let key = (epoch, (input.to_owned(), target.map(str::to_owned)));
            let next = taken.entry(key).or_default();
            let Some(row) = rows.get(*next).copied() else {
                let message = "more samples of one epoch than equal rows";
                self.refuse(Code::ItemsDuplicate, at, message);
                continue;
            };
            *next += 1;
            let message = "one of several equal rows, by order";
            let finding = Finding::new(Code::MapOrder, message);
            self.findings.add(finding.of_item(self.evaluation.items[at].key()));
            self.place(at, Place { row, epoch });
        }
    }

    fn place(&mut self, at: usize, place: Place) {
        if place.epoch > self.epochs {
            let message = "an epoch that was not agreed";
            return self.refuse(Code::MapForeign, at, message);
        }
        self.places.push(Some(place));
    }

    /// Places in use; two samples of one place are a finding.
    fn unique(&mut self) -> BTreeSet<Place> {
        let mut used = BTreeSet::new();
        for (at, place) in self.places.iter().enumerate() {
            if place.is_some_and(|place| !used.insert(place)) {
                let message = "two samples of one row and epoch";
                let key = self.evaluation.items[at].key();
                self.findings.add(Finding::new(Code::ItemsDuplicate, message).of_item(key));
            }
        }
        used
    }
}

impl Mapping {
    /// Places of the agreement that no sample takes, in the order of the items file.
    pub fn missing(&self) -> impl Iterator<Item = Place> {
        let used: BTreeSet<Place> = self.places.iter().copied().collect();
        let epochs = self.epochs;
        (0..self.rows)
            .flat_map(move |row| (1..=epochs).map(move |epoch| Place { row, epoch }))
            .filter(move |place| !used.contains(place))
    }

    /// The mapping in a few lines, for people.
    pub fn summary(&self) -> String {
        let by = match self.by {
            MatchBy::Id => "by id; input and target equal the row's byte for byte",
            MatchBy::Content => "by input and target, byte for byte; no id was used",
        };
        let count = |code| self.flags.get(&code).copied().unwrap_or(0);
        let mut lines = vec![
            format!("{} samples matched {by}", self.places.len()),
            format!(
                "{} rows × {} epochs agreed, {} of them missing in the log",
                self.rows,
                self.epochs,
                count(Code::MapMissing)
            ),
        ];
        if count(Code::MapOrder) > 0 {
            lines.push(format!(
                "{} samples belong to one of several equal rows, told apart by order alone",
                count(Code::MapOrder)
            ));
        }
        if self.rule.integer_ids {
            lines.push("rule: an integer id is the row with these digits".to_owned());
        }
        if self.rule.structured {
            lines.push("rule: structured inputs and targets count as their JSON text".to_owned());
        }
        lines.join("\n")
    }

    /// The mapping for machines: counts and findings, no texts.
    pub fn to_json(&self) -> Value {
        let by = match self.by {
            MatchBy::Id => "id",
            MatchBy::Content => "content",
        };
        json::object([
            ("by", Value::from(by)),
            ("integer_ids", self.rule.integer_ids.into()),
            ("structured", self.rule.structured.into()),
            ("items", self.places.len().into()),
            ("rows", self.rows.into()),
            ("epochs", self.epochs.into()),
            ("flags", json::object(self.flags.iter().map(|(c, n)| (c.as_str(), Value::from(*n))))),
            ("findings", json::array(self.findings.iter().map(Finding::to_json))),
        ])
    }
}

/// The rows that a standalone record's items file has: one for each sample id, in the log's
/// order. They map back under `integer_ids` and `structured`.
pub fn rows_from_log(evaluation: &Evaluation) -> Result<Vec<Row>, MappingError> {
    let ids = row_ids(evaluation);
    let mut rows: Vec<Row> = Vec::new();
    let mut first: BTreeMap<&str, (usize, &ItemId)> = BTreeMap::new();
    let mut findings = crate::finding::Findings::default();
    for (item, id) in evaluation.items.iter().zip(ids) {
        let empty = DocumentRow::default();
        let own = match &item.row {
            ItemRow::Document(row) => row,
            ItemRow::Fields { .. } => &empty,
        };
        let owned = |part: &Option<Box<str>>| part.as_deref().map(str::to_owned);
        let row = Row {
            id: id.as_text().to_owned(),
            input: owned(&own.input).or_else(|| owned(&item.input)).unwrap_or_default(),
            target: owned(&own.target).or_else(|| owned(&item.target)),
        };
        let mut add = |code: Code, message: &'static str| {
            findings.add(Finding::new(code, message).of_item(item.key()));
        };
        match first.get(id.as_text()) {
            None => {
                first.insert(id.as_text(), (rows.len(), id));
                rows.push(row);
            }
            Some((_, other)) if *other != id => {
                add(Code::ItemsColliding, "another id is equal to this one as text");
            }
            Some((at, _)) if rows[*at] != row => {
                add(Code::MapDiffers, "input or target differs between epochs of one id");
            }
            Some(_) => {}
        }
    }
    if findings.flags.is_empty() {
        return Ok(rows);
    }
    Err(MappingError { findings: findings.list, flags: findings.flags })
}

//! An evaluation while it is being read: score columns appear as items bring them, equal
//! scores share memory, and the order of items is settled at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use json::Value;

use crate::fault::{Fault, LimitPassed};
use crate::finding::Findings;
use crate::model::{ItemRow, column_values};
use crate::{Code, Column, Finding, Item, ItemId, Limits, RawKind, RawScore};

/// A column's identity: a scorer, and the key within its value if that is an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ColumnKey {
    pub(crate) scorer: String,
    pub(crate) key: Option<String>,
}

impl ColumnKey {
    pub(crate) fn plain(scorer: &str) -> Self {
        Self { scorer: scorer.to_owned(), key: None }
    }

    pub(crate) fn of(scorer: &str, key: &str) -> Self {
        Self { scorer: scorer.to_owned(), key: Some(key.to_owned()) }
    }

    /// `scorer` or `scorer/key`.
    pub(crate) fn name(&self) -> String {
        match &self.key {
            None => self.scorer.clone(),
            Some(key) => format!("{}/{key}", self.scorer),
        }
    }
}

/// What is known of one item before the columns are settled.
pub(crate) struct DraftItem {
    /// Everything but the scores.
    pub(crate) item: Item,
    cells: Vec<(usize, Arc<RawScore>)>,
}

impl DraftItem {
    pub(crate) fn new(id: ItemId, epoch: u64) -> Self {
        let item = Item {
            id,
            epoch,
            input: None,
            target: None,
            output: None,
            explanation: None,
            metadata: None,
            scores: Box::default(),
            errored: false,
            invalidated: false,
            limited: false,
            edited: false,
            row: ItemRow::Fields { plain_input: false, plain_target: false },
        };
        Self { item, cells: Vec::new() }
    }
}

/// Distinct raw scores that are shared between items. Beyond this many, scores are measured
/// values that seldom repeat.
const SHARED_SCORES: usize = 4_096;

pub(crate) struct Draft {
    pub(crate) findings: Findings,
    pub(crate) items: Vec<DraftItem>,
    limits: Limits,
    keys: Vec<ColumnKey>,
    /// Columns with a cell that no reducer takes: lists, objects within objects, `null`.
    irregular: Vec<bool>,
    by_key: BTreeMap<ColumnKey, usize>,
    shared: BTreeMap<RawScore, Arc<RawScore>>,
}

/// Items and columns in their final order.
pub(crate) struct Settled {
    pub(crate) keys: Vec<ColumnKey>,
    pub(crate) irregular: Vec<bool>,
    pub(crate) columns: Vec<Column>,
    pub(crate) items: Vec<Item>,
}

impl Settled {
    pub(crate) fn find(&self, key: &ColumnKey) -> Option<usize> {
        self.keys.iter().position(|other| other == key)
    }
}

impl Draft {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            findings: Findings::default(),
            items: Vec::new(),
            limits,
            keys: Vec::new(),
            irregular: Vec::new(),
            by_key: BTreeMap::new(),
            shared: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, item: DraftItem) -> Result<(), Fault> {
        if self.items.len() as u64 >= self.limits.items {
            return Err(LimitPassed::Items(self.limits.items).into());
        }
        self.items.push(item);
        Ok(())
    }

    /// The column of this key, made if it is new.
    pub(crate) fn column(&mut self, key: ColumnKey) -> Result<usize, Fault> {
        if let Some(at) = self.by_key.get(&key) {
            return Ok(*at);
        }
        if self.keys.len() as u64 >= self.limits.columns {
            return Err(LimitPassed::Columns(self.limits.columns).into());
        }
        let at = self.keys.len();
        self.keys.push(key.clone());
        self.irregular.push(false);
        self.by_key.insert(key, at);
        Ok(at)
    }

    /// Adds a score whose value may be an object with a column for each key (Inspect).
    pub(crate) fn score(
        &mut self,
        item: &mut DraftItem,
        scorer: &str,
        value: &Value,
    ) -> Result<(), Fault> {
        let Some(object) = value.as_object() else {
            return self.cell(item, ColumnKey::plain(scorer), value);
        };
        for (key, value) in object.iter() {
            self.cell(item, ColumnKey::of(scorer, key), value)?;
        }
        Ok(())
    }

    /// Adds one cell. `null` is no score, but keeps the column from being recomputed.
    pub(crate) fn cell(
        &mut self,
        item: &mut DraftItem,
        key: ColumnKey,
        value: &Value,
    ) -> Result<(), Fault> {
        let at = self.column(key)?;
        let Some(raw) = raw_score(value) else {
            self.irregular[at] = true;
            return Ok(());
        };
        self.irregular[at] |= raw.kind() == RawKind::Structured;
        let raw = match self.shared.get(&raw) {
            Some(shared) => Arc::clone(shared),
            None => {
                let new = Arc::new(raw.clone());
                if self.shared.len() < SHARED_SCORES {
                    self.shared.insert(raw, Arc::clone(&new));
                }
                new
            }
        };
        item.cells.push((at, raw));
        Ok(())
    }

    /// Calls a scorer by another name, unless that name is taken.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        if self.keys.iter().any(|key| key.scorer == to) {
            return;
        }
        for key in self.keys.iter_mut().filter(|key| key.scorer == from) {
            let at = self.by_key.remove(key);
            to.clone_into(&mut key.scorer);
            at.map(|at| self.by_key.insert(key.clone(), at));
        }
    }

    /// True if there is a column of this key.
    pub(crate) fn has(&self, key: &ColumnKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// Settles columns (those of `first` in that order, then the others by name) and items (by
    /// epoch, then by place in `declared`, then by id).
    pub(crate) fn settle(
        &mut self,
        first: &[ColumnKey],
        declared: &BTreeMap<ItemId, usize>,
    ) -> Settled {
        self.spread_root_nan();
        let mut used = vec![false; self.keys.len()];
        self.items.iter().for_each(|item| item.cells.iter().for_each(|(at, _)| used[*at] = true));
        let named = first.iter().filter_map(|key| self.by_key.get(key).copied());
        let mut order: Vec<usize> = Vec::new();
        for at in named {
            if !order.contains(&at) {
                order.push(at);
            }
        }
        for at in self.by_key.values() {
            if (used[*at] || self.irregular[*at]) && !order.contains(at) {
                order.push(*at);
            }
        }
        let mut place = vec![usize::MAX; self.keys.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }

        self.shared.clear();
        let mut items = Vec::with_capacity(self.items.len());
        for draft in std::mem::take(&mut self.items) {
            let mut item = draft.item;
            item.scores = vec![None; order.len()].into_boxed_slice();
            for (at, raw) in draft.cells {
                if let Some(cell) = item.scores.get_mut(place[at]) {
                    *cell = Some(raw);
                }
            }
            items.push(item);
        }
        let position = |item: &Item| declared.get(&item.id).copied().unwrap_or(usize::MAX);
        items.sort_by(|a, b| {
            let by_place = (a.epoch, position(a)).cmp(&(b.epoch, position(b)));
            by_place.then_with(|| a.id.cmp(&b.id))
        });

        let keys: Vec<ColumnKey> = order.iter().map(|at| self.keys[*at].clone()).collect();
        let columns = keys.iter().enumerate().map(|(at, key)| {
            let values = items.iter().filter_map(|item| item.scores[at].as_deref());
            Column { name: key.name(), higher_is_better: None, values: column_values(values) }
        });
        let columns = columns.collect();
        let irregular = order.iter().map(|at| self.irregular[*at]).collect();
        Settled { keys, irregular, columns, items }
    }

    /// A scorer with an object of values marks an unscored item with `NaN` in place of the
    /// object: that is a `NaN` in each of its columns.
    fn spread_root_nan(&mut self) {
        let keyed = |scorer: &str| -> Vec<usize> {
            let of_scorer = self.by_key.iter().filter(|(key, _)| key.scorer == scorer);
            of_scorer.filter(|(key, _)| key.key.is_some()).map(|(_, at)| *at).collect()
        };
        let plain = self.by_key.iter().filter(|(key, _)| key.key.is_none());
        let spread: BTreeMap<usize, Vec<usize>> = plain
            .map(|(key, at)| (*at, keyed(&key.scorer)))
            .filter(|(_, keyed)| !keyed.is_empty())
            .collect();
        for item in &mut self.items {
            let mut more = Vec::new();
            item.cells.retain(|(at, raw)| match spread.get(at).filter(|_| raw.is_nan()) {
                None => true,
                Some(columns) => {
                    more.extend(columns.iter().map(|at| (*at, Arc::clone(raw))));
                    false
                }
            });
            item.cells.append(&mut more);
        }
    }
}

/// The raw score in a JSON value; nothing for `null`.
pub(crate) fn raw_score(value: &Value) -> Option<RawScore> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => RawScore::new(if *truth { "true" } else { "false" }, RawKind::Bool),
        Value::Number(number) => RawScore::new(number.literal(), RawKind::Number),
        Value::String(text) => RawScore::new(text, RawKind::Text),
        Value::Array(_) | Value::Object(_) => RawScore::new(&value.to_text(), RawKind::Structured),
    })
}

/// The id in a JSON value: a string or an integer.
pub(crate) fn item_id(value: &Value, limits: &Limits) -> Result<ItemId, Fault> {
    let id = match value {
        Value::String(text) => ItemId::Text(text.as_str().into()),
        Value::Number(number) if !number.is_finite() => {
            return Err(Fault::new(Code::JsonNonFinite, "a number that is not finite"));
        }
        Value::Number(number) if !number.literal().contains(['.', 'e', 'E']) => {
            ItemId::Integer(number.literal().into())
        }
        _ => return Err(Fault::shape("an id must be a string or an integer")),
    };
    if id.as_text().len() as u64 > limits.id {
        return Err(LimitPassed::Id(limits.id).into());
    }
    Ok(id)
}

/// What can be said about ids and epochs of any harness: duplicates, ids that are equal only
/// as text. Returns the index of every item by key.
pub(crate) fn check_ids(items: &[Item], findings: &mut Findings) -> BTreeMap<(ItemId, u64), usize> {
    let mut index = BTreeMap::new();
    let mut texts: BTreeMap<&str, &ItemId> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        if index.insert((item.id.clone(), item.epoch), at).is_some() {
            let finding = Finding::new(Code::ItemsDuplicate, "the item stands there twice");
            findings.add(finding.of_item(item.key()));
        }
        let first = texts.entry(item.id.as_text()).or_insert(&item.id);
        if **first != item.id {
            let message = "another id is equal to this one as text";
            findings.add(Finding::new(Code::ItemsColliding, message).of_item(item.key()));
        }
    }
    index
}

/// Flags that items raise by themselves.
pub(crate) fn flag_items(items: &[Item], findings: &mut Findings) {
    let count = |holds: fn(&Item) -> bool| items.iter().filter(|item| holds(item)).count() as u64;
    findings.set(Code::ItemsErrored, count(|item| item.errored));
    findings.set(Code::ItemsLimited, count(|item| item.limited));
    findings.set(Code::ItemsEdited, count(|item| item.edited));
    findings.set(Code::ItemsUnscored, count(|item| item.status() == crate::Status::Unscored));
}

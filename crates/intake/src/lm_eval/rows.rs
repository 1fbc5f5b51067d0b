//! Rows of a samples file: one for each document and filter, filter by filter.

use std::collections::{BTreeMap, BTreeSet};

use json::{Located, Object, Value};
use sha2::{Digest as _, Sha256};

use super::Reported;
use crate::draft::{ColumnKey, Draft, DraftItem, item_id};
use crate::fault::Fault;
use crate::model::{DocumentRow, ItemRow};
use crate::python::{indented, sha256_hex};
use crate::stream::{finite, member, pick, text, text_or_json};
use crate::{Code, Finding, ItemId, Options, RowMembers};

/// What the rows of a samples file add up to.
pub(super) struct Rows<'a> {
    file: &'a str,
    reported: &'a [Reported<'a>],
    options: &'a Options,
    /// The place of every document among the items, and its hash.
    documents: BTreeMap<ItemId, (usize, String)>,
    seen: BTreeSet<(usize, String)>,
    /// Filtered replies by filter, for each item.
    replies: Vec<Object>,
    /// Over the hashes of all rows, in their order.
    hasher: Sha256,
}

/// Members of a row that are no metrics.
const KNOWN: [&str; 11] = [
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
];

impl<'a> Rows<'a> {
    pub(super) fn new(file: &'a str, reported: &'a [Reported<'a>], options: &'a Options) -> Self {
        Self {
            file,
            reported,
            options,
            documents: BTreeMap::new(),
            seen: BTreeSet::new(),
            replies: Vec::new(),
            hasher: Sha256::new(),
        }
    }

    /// Takes the next row of the file.
    pub(super) fn row(&mut self, row: &Value, draft: &mut Draft) -> Result<(), Fault> {
        let object = row.as_object().ok_or_else(|| Fault::shape("a row must be an object"))?;
        let filter = text(row, "filter").unwrap_or("none");
        let own = member(row, "metrics").and_then(Value::as_array).unwrap_or(&[]);
        let mut metrics: BTreeSet<&str> = own.iter().filter_map(Value::as_str).collect();
        metrics.extend(self.reported.iter().filter(|f| f.filter == filter).map(|f| f.base));
        // A metric can't pass for a document.
        metrics.retain(|name| !KNOWN.contains(name));
        for (name, value) in object.iter().filter(|(name, _)| !metrics.contains(name)) {
            finite(value).map_err(|fault| fault.within(name))?;
        }
        let doc = member(row, "doc").ok_or_else(|| Fault::shape("a row has no doc"))?;
        let id = member(row, "doc_id").ok_or_else(|| Fault::shape("a row has no doc_id"))?;
        let id = item_id(id, &self.options.limits).map_err(|fault| fault.within("doc_id"))?;
        let doc_hash = sha256_hex(&indented(doc));

        let at = match self.documents.get(&id) {
            Some((at, hash)) => {
                if *hash != doc_hash {
                    let message = "one doc_id stands for two documents";
                    let finding = Finding::new(Code::ItemsColliding, message).in_member(self.file);
                    draft.findings.add(finding.of_item(draft.items[*at].item.key()));
                }
                *at
            }
            None => {
                let at = draft.items.len();
                draft.push(document(row, id.clone(), doc, &self.options.row_members))?;
                self.documents.insert(id, (at, doc_hash.clone()));
                self.replies.push(Object::default());
                at
            }
        };
        let key = draft.items[at].item.key();
        if !self.seen.insert((at, filter.to_owned())) {
            let message = "the document has two rows of one filter";
            let finding = Finding::new(Code::ItemsDuplicate, message).in_member(self.file);
            draft.findings.add(finding.of_item(key.clone()));
        } else {
            if let Some(reply) = member(row, "filtered_resps") {
                self.replies[at].insert(filter, reply.clone());
            }
            let mut item = std::mem::replace(&mut draft.items[at], placeholder());
            for metric in metrics {
                if let Some(value) = row.get(metric) {
                    let column = ColumnKey::plain(&format!("{metric},{filter}"));
                    draft.cell(&mut item, column, value)?;
                }
            }
            draft.items[at] = item;
        }

        // A prompt in a form that is not hashed as text keeps the hash that the row declares.
        let prompt = first_argument(row).and_then(Value::as_str).map(sha256_hex);
        let target = member(row, "target").and_then(Value::as_str).map(sha256_hex);
        let hashes =
            [("doc_hash", Some(doc_hash)), ("prompt_hash", prompt), ("target_hash", target)];
        for (name, hash) in hashes {
            let declared = text(row, name);
            if declared.is_some() && hash.as_deref().is_some_and(|hash| Some(hash) != declared) {
                let message = "the row is not the one that was hashed";
                let finding = Finding::new(Code::LmRowHash, message).in_member(self.file);
                draft.findings.add(finding.of_item(key.clone()).at(format!("/{name}")));
            }
            let counted = hash.as_deref().or(declared).unwrap_or_default();
            self.hasher.update(counted.as_bytes());
        }
        Ok(())
    }

    /// Gives every item the replies of its rows. Returns the order of the documents and the
    /// hash over all rows, in hexadecimal digits.
    pub(super) fn finish(self, draft: &mut Draft) -> (BTreeMap<ItemId, usize>, String) {
        for (item, replies) in draft.items.iter_mut().zip(self.replies) {
            item.item.explanation = text_or_json(&Value::Object(replies));
        }
        let order = self.documents.into_iter().map(|(id, (at, _))| (id, at)).collect();
        (order, hex::encode(self.hasher.finalize()))
    }
}

/// Stands in an item's place while the item is worked on.
fn placeholder() -> DraftItem {
    DraftItem::new(ItemId::Integer("0".into()), 1)
}

/// Requests made for the row: `{gen_args_0: {arg_0, …}, …}`, or in old logs `[[…], …]`.
fn requests(row: &Value) -> Vec<&Value> {
    match member(row, "arguments") {
        Some(Value::Object(object)) => object.iter().map(|(_, request)| request).collect(),
        Some(Value::Array(requests)) => requests.iter().collect(),
        _ => Vec::new(),
    }
}

fn prompt(request: &Value) -> Option<&Value> {
    match request {
        Value::Object(_) => member(request, "arg_0"),
        Value::Array(arguments) => arguments.first(),
        _ => None,
    }
}

fn first_argument(row: &Value) -> Option<&Value> {
    prompt(requests(row).first()?)
}

/// An item from the first row of its document.
fn document(row: &Value, id: ItemId, doc: &Value, members: &RowMembers) -> DraftItem {
    let mut draft = DraftItem::new(id, 1);
    let item = &mut draft.item;
    let requests = requests(row);
    item.input = match requests.as_slice() {
        [only] if prompt(only).is_some_and(|prompt| prompt.as_str().is_some()) => {
            prompt(only).and_then(text_or_json)
        }
        _ => member(row, "arguments").and_then(text_or_json),
    };
    item.target = member(row, "target").and_then(text_or_json);
    let single = |value: &Value| {
        let [only] = value.as_array()? else { return None };
        let [reply] = only.as_array()? else { return None };
        reply.as_str().map(Box::<str>::from)
    };
    let replies = member(row, "resps");
    item.output = replies.and_then(|replies| single(replies).or_else(|| text_or_json(replies)));
    let metadata = pick(row, &["doc_id", "doc"]);
    item.metadata = text_or_json(&Value::Object(metadata));
    let part = |name: &str| text(doc, name).map(Box::<str>::from);
    item.row = ItemRow::Document(Box::new(DocumentRow {
        id: match member(doc, &members.id) {
            Some(Value::String(text)) => Some(ItemId::Text(text.as_str().into())),
            Some(Value::Number(number)) if number.as_i64().is_some() => {
                Some(ItemId::Integer(number.literal().into()))
            }
            _ => None,
        },
        input: part(&members.input),
        target: part(&members.target),
    }));
    draft
}

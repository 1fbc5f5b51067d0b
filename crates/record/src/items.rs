//! The items file that both parties hold, and the order it gives to items (`docs/protocol.md`,
//! "Items").
//!
//! UTF-8 JSONL: each line is `{"id": text, "input": text, "target"?: text}`. The file never goes to
//! the log; what the log shows is the items root over `tag ‖ epoch`, and without the item key no
//! tag can be guessed. Errors name line and member, never the text in it.

use std::collections::BTreeMap;
use std::fmt;

use json::{Fields, Node, Rules, Value, object};
use tlog::{CompactRange, Hash, leaf_hash};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::column::MAX_ITEMS;
use crate::context::label;
use crate::redacted;
use crate::secret::hmac256_hash;

/// Bytes of one line, without the 0A at its end.
pub const MAX_LINE: usize = 1 << 20;

/// Bytes of an id.
pub const MAX_ID: usize = 1 << 10;

/// What an item's tag covers: the row's texts, and how many earlier rows have the same.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    input: String,
    target: Option<String>,
    occurrence: u64,
}

/// One row of an items file.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    id: String,
    content: Content,
}

/// The rows of an items file, in its order; ids are distinct.
#[derive(Clone, PartialEq, Eq)]
pub struct ItemsFile {
    rows: Vec<Row>,
}

/// The key of the tags: fresh for each agreement, known to its parties and auditors.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ItemKey([u8; 32]);

redacted!(Content Row ItemsFile ItemKey);

/// Names an item's row without telling it: HMAC-SHA256 under the item key. Epochs share it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag([u8; 32]);

/// One item of an agreement: a row in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgreedItem {
    /// Tag of the row.
    pub tag: Tag,
    /// 1, 2, … up to the agreed number of epochs.
    pub epoch: u64,
    /// Place of the row in the items file, from 0.
    pub row: usize,
}

/// All items of an agreement in the order of records: by tag, then by epoch. 1 to 2^20 of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedItems {
    items: Vec<AgreedItem>,
    root: Hash,
}

/// Why a file is not an items file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemsFileError {
    /// One line is wrong; lines count from 1.
    #[error("line {line}{pointer}: {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// JSON pointer to the member, empty for the line as a whole.
        pointer: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There are no rows.
    #[error("an items file has at least one row")]
    Empty,
    /// There are more than 2^20 rows.
    #[error("an items file has at most 2^20 rows")]
    TooManyRows,
}

/// Why there is no agreed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rows} rows × {epochs} epochs is not from 1 to 2^20 items")]
pub struct ItemsLimit {
    /// Rows of the file.
    pub rows: usize,
    /// Epochs asked for.
    pub epochs: u64,
}

impl ItemsFile {
    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ItemsFileError> {
        let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if body.is_empty() && bytes.len() <= 1 {
            return Err(ItemsFileError::Empty);
        }
        let mut rows = Collector::default();
        for line in body.split(|byte| *byte == b'\n') {
            rows.next_line()?;
            rows.check_length(line.len())?;
            if line.is_empty() {
                return Err(rows.error("", "is empty"));
            }
            let value = json::parse(line, Rules { depth: 1, ..Rules::SIGNED })
                .map_err(|e| rows.error(&e.pointer(), &e.problem().to_string()))?;
            let (id, input, target) =
                read_row(&value).map_err(|e| rows.error(&e.pointer, &e.problem))?;
            rows.add(id, input, target)?;
        }
        rows.finish()
    }

    /// Makes a file from rows (id, input, target), for a record whose items come from its own log.
    /// The limits are those of a file that is read.
    pub fn from_rows<I>(rows: I) -> Result<Self, ItemsFileError>
    where
        I: IntoIterator<Item = (String, String, Option<String>)>,
    {
        let mut collector = Collector::default();
        for (id, input, target) in rows {
            collector.next_line()?;
            if id.len() > MAX_ID {
                return Err(collector.error("/id", &format!("must be at most {MAX_ID} bytes")));
            }
            collector.check_length(line_of(&id, &input, target.as_deref()).len())?;
            collector.add(id, input, target)?;
        }
        collector.finish()
    }

    /// The file in the spelling this project writes; [`parse`](Self::parse) gives the same rows.
    pub fn to_jsonl(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            out.push_str(&line_of(&row.id, &row.content.input, row.content.target.as_deref()));
            out.push('\n');
        }
        out
    }

    /// Rows in the file's order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The agreed items: rows × epochs 1…`epochs`, by tag and epoch.
    pub fn agree(&self, key: &ItemKey, epochs: u64) -> Result<AgreedItems, ItemsLimit> {
        let limit = ItemsLimit { rows: self.rows.len(), epochs };
        let count = (self.rows.len() as u64).checked_mul(epochs).ok_or(limit)?;
        if !(1..=MAX_ITEMS).contains(&count) {
            return Err(limit);
        }
        let mut order: Vec<(Tag, usize)> = self
            .rows
            .iter()
            .enumerate()
            .map(|(place, row)| (key.tag(&row.content), place))
            .collect();
        order.sort_unstable();
        let items: Vec<AgreedItem> = order
            .iter()
            .flat_map(|(tag, row)| {
                (1..=epochs).map(|epoch| AgreedItem { tag: *tag, epoch, row: *row })
            })
            .collect();
        let root = items.iter().map(AgreedItem::leaf).collect::<CompactRange>().root();
        Ok(AgreedItems { items, root })
    }
}

/// Rows as they come, with what makes the next one wrong.
#[derive(Default)]
struct Collector {
    rows: Vec<Row>,
    line: usize,
    ids: BTreeMap<String, usize>,
    /// How often a content came already, by its digest: the texts themselves are kept once.
    seen: BTreeMap<[u8; 32], u64>,
}

impl Collector {
    fn next_line(&mut self) -> Result<(), ItemsFileError> {
        if self.rows.len() as u64 >= MAX_ITEMS {
            return Err(ItemsFileError::TooManyRows);
        }
        self.line += 1;
        Ok(())
    }

    fn error(&self, pointer: &str, problem: &str) -> ItemsFileError {
        let (pointer, problem) = (pointer.to_owned(), problem.to_owned());
        let pointer = if pointer.is_empty() { pointer } else { format!(" {pointer}") };
        ItemsFileError::Line { line: self.line, pointer, problem }
    }

    fn check_length(&self, length: usize) -> Result<(), ItemsFileError> {
        if length > MAX_LINE {
            return Err(self.error("", &format!("must be at most {MAX_LINE} bytes, is {length}")));
        }
        Ok(())
    }

    fn add(
        &mut self,
        id: String,
        input: String,
        target: Option<String>,
    ) -> Result<(), ItemsFileError> {
        if let Some(earlier) = self.ids.get(&id) {
            return Err(self.error("/id", &format!("is also the id of line {earlier}")));
        }
        self.ids.insert(id.clone(), self.line);
        let mut content = Content { input, target, occurrence: 0 };
        let seen = self.seen.entry(*Hash::of(&[&content.parts()]).as_bytes()).or_insert(0);
        content.occurrence = *seen;
        *seen += 1;
        self.rows.push(Row { id, content });
        Ok(())
    }

    fn finish(self) -> Result<ItemsFile, ItemsFileError> {
        if self.rows.is_empty() {
            return Err(ItemsFileError::Empty);
        }
        Ok(ItemsFile { rows: self.rows })
    }
}

fn read_row(value: &Value) -> Result<(String, String, Option<String>), json::FieldError> {
    let mut fields = Node::root(value).fields()?;
    let id = fields.required("id")?.text(MAX_ID)?.to_owned();
    let (input, target) = read_texts(&mut fields)?;
    fields.finish()?;
    Ok((id, input, target))
}

/// Members `input` and `target` of a row.
fn read_texts(fields: &mut Fields<'_>) -> Result<(String, Option<String>), json::FieldError> {
    let input = fields.required("input")?.text(MAX_LINE)?.to_owned();
    let target = fields.optional("target").map(|t| t.text(MAX_LINE)).transpose()?;
    Ok((input, target.map(str::to_owned)))
}

fn line_of(id: &str, input: &str, target: Option<&str>) -> String {
    let mut members = vec![("id", Value::from(id)), ("input", input.into())];
    members.extend(target.map(|target| ("target", target.into())));
    object(members).to_text()
}

impl Row {
    /// The handle for people and for the mapping of logs; it isn't in the tag.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the tag covers.
    pub fn content(&self) -> &Content {
        &self.content
    }
}

impl Content {
    /// The question, after JSON unescaping, otherwise as it is.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The expected answer; an absent one differs from an empty one.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// How many earlier rows of the file have the same input and target.
    pub fn occurrence(&self) -> u64 {
        self.occurrence
    }

    /// Reads a row as openings carry it: `input`, `target`?, `occurrence`.
    pub(crate) fn from_json(node: &Node<'_>) -> Result<Self, json::FieldError> {
        let mut fields = node.fields()?;
        let (input, target) = read_texts(&mut fields)?;
        let occurrence = fields.required("occurrence")?.uint()?;
        fields.finish()?;
        Ok(Self { input, target, occurrence })
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut members = vec![("input", Value::from(self.input.as_str()))];
        members.extend(self.target.as_deref().map(|target| ("target", target.into())));
        members.push(("occurrence", self.occurrence.into()));
        object(members)
    }

    /// `part(input) ‖ part(target)`, where part is 00 for nothing, else 01 ‖ u32 length ‖ bytes.
    fn parts(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in [Some(self.input.as_str()), self.target.as_deref()] {
            let Some(text) = part else {
                out.push(0);
                continue;
            };
            let length = u32::try_from(text.len()).expect("a text fits a line of at most 1 MiB");
            out.push(1);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

impl ItemKey {
    /// Wraps 32 bytes from the agreement's key envelope, or fresh ones for a standalone record.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for the vault and for the envelope.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the agreement shows of the key.
    pub fn commitment(&self) -> Hash {
        Hash::of(&[&label("item-key"), &self.0])
    }

    /// What the agreement shows of the benchmark's name.
    pub fn benchmark(&self, text: &str) -> Hash {
        hmac256_hash(&self.0, &[&label("benchmark"), text.as_bytes()])
    }

    /// What the agreement shows of the elicitation.
    pub fn elicitation(&self, text: &str) -> Hash {
        hmac256_hash(&self.0, &[&label("elicitation"), text.as_bytes()])
    }

    /// The tag of a row.
    pub fn tag(&self, content: &Content) -> Tag {
        let occurrence = content.occurrence.to_be_bytes();
        let parts: [&[u8]; 3] = [&label("item-tag"), &content.parts(), &occurrence];
        Tag(*hmac256_hash(&self.0, &parts).as_bytes())
    }
}

impl Tag {
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl AgreedItem {
    /// Leaf of the items root.
    pub fn leaf(&self) -> Hash {
        item_leaf(&self.tag, self.epoch)
    }
}

/// `SHA-256(00 ‖ tag ‖ u64 epoch)`.
pub(crate) fn item_leaf(tag: &Tag, epoch: u64) -> Hash {
    let mut data = [0; 40];
    data[..32].copy_from_slice(&tag.0);
    data[32..].copy_from_slice(&epoch.to_be_bytes());
    leaf_hash(&data)
}

impl AgreedItems {
    /// Items in order: the item at i is item i of every record of the agreement.
    pub fn items(&self) -> &[AgreedItem] {
        &self.items
    }

    /// How many there are, n.
    pub fn count(&self) -> u64 {
        self.items.len() as u64
    }

    /// The items root of the agreement.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Leaves of the items root, in order.
    pub fn leaves(&self) -> Vec<Hash> {
        self.items.iter().map(AgreedItem::leaf).collect()
    }
}

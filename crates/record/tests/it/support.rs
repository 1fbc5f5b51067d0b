//! Records of the shared vectors, made by the crate from the vectors' inputs.

use std::sync::OnceLock;

use json::{Rules, Value};
use record::column::{Better, Column};
use record::commit::{Declared, ItemValues, Record, RecordBuilder};
use record::context::Context;
use record::items::{AgreedItems, ItemKey, ItemsFile};
use record::opening::{Against, Disclosure, OpeningBuilder, RecordParts, Scope};
use record::secret::RecordSecret;
use record::subject::{Flag, Flags};
use tlog::Hash;

/// `exchange` of `tests/vectors/record.json`.
pub(crate) fn exchange() -> &'static Value {
    at(whole(), "exchange")
}

pub(crate) fn whole() -> &'static Value {
    static VALUE: OnceLock<Value> = OnceLock::new();
    VALUE.get_or_init(|| {
        let bytes = include_bytes!("../../../../tests/vectors/record.json");
        json::parse(bytes, Rules::LOG).unwrap()
    })
}

/// A member, by path.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |value, name| {
        value.get(name).unwrap_or_else(|| panic!("the vectors lack {path}"))
    })
}

pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| panic!("{path} is no text"))
}

pub(crate) fn number(value: &Value, path: &str) -> u64 {
    at(value, path).as_number().and_then(json::Number::as_u64).unwrap()
}

pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().unwrap()
}

pub(crate) fn bytes32(value: &Value, path: &str) -> [u8; 32] {
    *Hash::from_hex(text(value, path)).unwrap().as_bytes()
}

/// A record with everything its party knows.
pub(crate) struct Made {
    pub(crate) expected: &'static Value,
    pub(crate) file: ItemsFile,
    pub(crate) key: ItemKey,
    pub(crate) items: AgreedItems,
    pub(crate) context: Context,
    pub(crate) secret: RecordSecret,
    pub(crate) values: Vec<Option<ItemValues>>,
    pub(crate) record: Record,
    pub(crate) id: Hash,
}

impl Made {
    pub(crate) fn opening(&self) -> OpeningBuilder<'_> {
        OpeningBuilder::new(self.parts()).unwrap()
    }

    pub(crate) fn parts(&self) -> RecordParts<'_> {
        RecordParts {
            id: self.id,
            header: self.record.header(),
            context: &self.context,
            secret: &self.secret,
            vector: self.record.vector(),
            items: &self.items,
        }
    }

    pub(crate) fn against<'a>(&'a self, scope: Scope<'a>) -> Against<'a> {
        Against {
            record: &self.id,
            header: self.record.header(),
            context: &self.context,
            item_key: Some(&self.key),
            scope,
        }
    }

    pub(crate) fn exactly<'a>(&'a self, disclosure: &'a Disclosure) -> Against<'a> {
        self.against(Scope::Exactly(disclosure))
    }
}

pub(crate) fn items_inputs(name: &str) -> &'static Value {
    let list = if name == "standalone" { "standalone_items" } else { "items" };
    at(exchange(), list)
}

pub(crate) fn agreed(name: &str) -> (ItemsFile, ItemKey, AgreedItems) {
    let inputs = at(items_inputs(name), "inputs");
    let file = ItemsFile::parse(text(inputs, "items_file").as_bytes()).unwrap();
    let key = ItemKey::new(bytes32(inputs, "item_key"));
    let items = file.agree(&key, number(inputs, "epochs")).unwrap();
    (file, key, items)
}

pub(crate) fn columns(inputs: &Value) -> Vec<Column> {
    let columns = list(inputs, "columns").iter().map(|column| {
        let (max, raw_max) = (number(column, "max"), number(column, "raw_max"));
        Column::new(text(column, "name"), max, raw_max, Better::Higher).unwrap()
    });
    columns.collect()
}

fn optional(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn item_values(sample: &Value) -> ItemValues {
    let flag = |name| sample.get(name).and_then(Value::as_bool).unwrap_or(false);
    ItemValues {
        invalidated: flag("invalidated"),
        errored: flag("errored"),
        limited: flag("limited"),
        input: optional(sample, "input"),
        target: optional(sample, "target"),
        output: optional(sample, "output"),
        explanation: optional(sample, "explanation"),
        metadata: optional(sample, "metadata"),
        scores: list(sample, "scores").iter().map(|s| s.as_str().map(str::to_owned)).collect(),
    }
}

/// Record `a`, `b` or `standalone` of the vectors.
pub(crate) fn made(name: &str) -> Made {
    let expected = at(exchange(), &format!("records/{name}"));
    let secret = RecordSecret::new(bytes32(expected, "inputs/R"));
    let nonce = bytes32(expected, "inputs/run_nonce");
    made_with(name, secret, nonce)
}

/// The same inputs under another secret and nonce.
pub(crate) fn made_with(name: &str, secret: RecordSecret, nonce: [u8; 32]) -> Made {
    let expected = at(exchange(), &format!("records/{name}"));
    let inputs = at(expected, "inputs");
    let (file, key, items) = agreed(name);
    let agreement = Hash::new(bytes32(expected, "agreement_id"));
    let agreement = (name != "standalone").then_some(&agreement);
    let origin = text(exchange(), "inputs/origin");
    let context = Context::new(origin, agreement, text(inputs, "party"), &nonce).unwrap();

    let samples = list(inputs, "samples");
    let values: Vec<Option<ItemValues>> = items
        .items()
        .iter()
        .map(|item| {
            let id = file.rows()[item.row].id();
            let sample =
                samples.iter().find(|s| text(s, "row") == id && number(s, "epoch") == item.epoch);
            sample.map(item_values)
        })
        .collect();

    let mut flags = Flags::default();
    for (code, count) in at(inputs, "flags").as_object().unwrap().iter() {
        flags.set(Flag::from_code(code).unwrap(), count.as_number().unwrap().as_u64().unwrap());
    }
    let subjects = at(inputs, "subjects");
    let declared = Declared {
        model: optional(subjects, "model"),
        elicitation: optional(subjects, "elicitation"),
        environment: optional(subjects, "environment"),
        source: optional(subjects, "source").map(|hex| Hash::from_hex(&hex).unwrap()),
        flags,
    };
    let entropy = bytes32(inputs, "entropy");
    let mut builder = RecordBuilder::new(&context, &secret, &items, columns(inputs)).unwrap();
    builder.extend(values.iter().cloned()).unwrap();
    let record = builder.finish(declared, &entropy).unwrap();
    let id = Hash::new(bytes32(exchange(), &format!("record_ids/{name}")));
    Made { expected, file, key, items, context, secret, values, record, id }
}

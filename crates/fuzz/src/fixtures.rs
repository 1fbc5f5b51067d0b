//! What targets are run against: the published vectors, with the keys and the record behind them.

use std::sync::OnceLock;

use exchange::Envelope;
use exchange::bundle::{Bundle, BundleLeaf};
use json::{Rules, Value};
use record::column::{Better, Column};
use record::commit::{Declared, ItemValues, Record, RecordBuilder};
use record::context::Context;
use record::items::{AgreedItems, ItemKey, ItemsFile};
use record::opening::{Against, Body, OpeningBuilder, Proved, RecordParts, Scope};
use record::secret::RecordSecret;
use record::subject::{Flag, Flags, SUBJECTS};
use tlog::{
    CompactRange, Hash, KeyKind, KeyName, MemoryNodes, SignedCheckpoint, SigningKey, VerifierKey,
    leaf_hash, prove_consistency, prove_inclusion,
};

const RECORD: &str = include_str!("../../../tests/vectors/record.json");
const TLOG: &str = include_str!("../../../tests/vectors/tlog.json");

fn parsed(cell: &'static OnceLock<Value>, text: &str) -> &'static Value {
    cell.get_or_init(|| json::parse(text.as_bytes(), Rules::LOG).expect("the vectors are JSON"))
}

/// `tests/vectors/tlog.json`.
pub(crate) fn tlog_vectors() -> &'static Value {
    static VALUE: OnceLock<Value> = OnceLock::new();
    parsed(&VALUE, TLOG)
}

/// `exchange` of `tests/vectors/record.json`.
pub(crate) fn exchange_vectors() -> &'static Value {
    static VALUE: OnceLock<Value> = OnceLock::new();
    at(parsed(&VALUE, RECORD), "exchange")
}

/// A member, by path; the vectors have it.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |value, name| {
        value.get(name).unwrap_or_else(|| panic!("the vectors lack {path}"))
    })
}

pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_else(|| panic!("{path} is no text"))
}

pub(crate) fn number(value: &Value, path: &str) -> u64 {
    let number = at(value, path).as_number().and_then(json::Number::as_u64);
    number.unwrap_or_else(|| panic!("{path} is no number"))
}

pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().unwrap_or_else(|| panic!("{path} is no list"))
}

fn bytes32(hex: &str) -> [u8; 32] {
    *Hash::from_hex(hex).expect("the vectors spell 32 bytes").as_bytes()
}

pub(crate) fn name(text: &str) -> KeyName {
    KeyName::parse(text).expect("the vectors have good names")
}

/// Members of `example` of the tlog vectors.
pub(crate) fn example(member: &str) -> &'static str {
    text(at(tlog_vectors(), "example"), member)
}

/// The key pairs of the tlog vectors: the first is the log's, the others are witnesses'.
pub(crate) fn tlog_keys() -> &'static [SigningKey] {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let pairs = list(tlog_vectors(), "keys").iter().map(|key| {
            SigningKey::from_seed(name(text(key, "name")), &bytes32(text(key, "seed_hex")))
        });
        pairs.collect()
    })
}

/// The tlog vectors' log.
pub(crate) fn tlog_log() -> &'static VerifierKey {
    static KEY: OnceLock<VerifierKey> = OnceLock::new();
    KEY.get_or_init(|| tlog_keys()[0].verifier(KeyKind::Ed25519))
}

/// The key of the exchange vectors' log.
pub(crate) fn log_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let inputs = at(exchange_vectors(), "inputs");
        SigningKey::from_seed(name(text(inputs, "origin")), &bytes32(text(inputs, "log_seed")))
    })
}

/// Its public half.
pub(crate) fn log_vkey() -> &'static VerifierKey {
    static KEY: OnceLock<VerifierKey> = OnceLock::new();
    KEY.get_or_init(|| log_key().verifier(KeyKind::Ed25519))
}

/// The keys of the exchange vectors' parties.
pub(crate) fn signers() -> &'static [SigningKey] {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let pairs = list(exchange_vectors(), "inputs/signers").iter().map(|pair| {
            let texts: Vec<&str> =
                pair.as_array().into_iter().flatten().flat_map(Value::as_str).collect();
            SigningKey::from_seed(name(texts[0]), &bytes32(texts[1]))
        });
        pairs.collect()
    })
}

/// The key of this party, or the first party's.
pub(crate) fn signer(of: &str) -> &'static SigningKey {
    let keys = signers();
    keys.iter().find(|key| key.name().as_str() == of).unwrap_or(&keys[0])
}

/// One statement of the exchange vectors.
pub(crate) struct Logged {
    pub(crate) kind: &'static str,
    pub(crate) payload: &'static str,
    pub(crate) envelope: &'static str,
    pub(crate) id: &'static str,
}

/// All of them, in the order of the log.
pub(crate) fn statements() -> &'static [Logged] {
    static STATEMENTS: OnceLock<Vec<Logged>> = OnceLock::new();
    STATEMENTS.get_or_init(|| {
        let statements = list(exchange_vectors(), "statements").iter();
        let logged = statements.map(|statement| Logged {
            kind: text(statement, "kind"),
            payload: text(statement, "payload"),
            envelope: text(statement, "envelope"),
            id: text(statement, "statement_id"),
        });
        logged.collect()
    })
}

/// The tree over these leaves, whose nodes can be read.
pub(crate) fn tree<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> MemoryNodes {
    let mut nodes = MemoryNodes::new();
    leaves.into_iter().for_each(|leaf| nodes.append(leaf_hash(leaf)));
    nodes
}

/// The roots of all prefixes of these leaves, the empty one first.
pub(crate) fn roots<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Vec<Hash> {
    let mut range = CompactRange::new();
    let mut roots = vec![range.root()];
    for leaf in leaves {
        range.append(leaf_hash(leaf));
        roots.push(range.root());
    }
    roots
}

/// The standalone record of the vectors, with everything its party knows.
pub(crate) struct Made {
    pub(crate) id: Hash,
    pub(crate) context: Context,
    pub(crate) record: Record,
    pub(crate) key: ItemKey,
    pub(crate) items: AgreedItems,
    pub(crate) file: ItemsFile,
    pub(crate) secret: RecordSecret,
    pub(crate) nonce: [u8; 32],
    values: Vec<Option<ItemValues>>,
}

/// That record, made once.
pub(crate) fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let vectors = exchange_vectors();
        let inputs = at(vectors, "records/standalone/inputs");
        let items_inputs = at(vectors, "standalone_items/inputs");
        let file = ItemsFile::parse(text(items_inputs, "items_file").as_bytes());
        let file = file.expect("the vectors have an items file");
        let key = ItemKey::new(bytes32(text(items_inputs, "item_key")));
        let items = file.agree(&key, number(items_inputs, "epochs")).expect("it is small");
        let nonce = bytes32(text(inputs, "run_nonce"));
        let (origin, party) = (text(vectors, "inputs/origin"), text(inputs, "party"));
        let context = Context::new(origin, None, party, &nonce).expect("names are short");
        let secret = RecordSecret::new(bytes32(text(inputs, "R")));
        let samples = list(inputs, "samples");
        let values: Vec<Option<ItemValues>> = items
            .items()
            .iter()
            .map(|item| {
                let id = file.rows()[item.row].id();
                let is_it = |s: &&Value| text(s, "row") == id && number(s, "epoch") == item.epoch;
                samples.iter().find(is_it).map(item_values)
            })
            .collect();
        let column = Column::new("accuracy", 1, 1, Better::Higher).expect("it is a column");
        let mut flags = Flags::default();
        flags.set(Flag::ItemsCount, 1);
        let optional = |name: &str| at(inputs, "subjects").get(name)?.as_str().map(str::to_owned);
        let declared = Declared {
            model: optional("model"),
            elicitation: optional("elicitation"),
            environment: optional("environment"),
            source: optional("source").map(|hex| Hash::new(bytes32(&hex))),
            flags,
        };
        let mut builder = RecordBuilder::new(&context, &secret, &items, vec![column])
            .expect("one column fits four items");
        builder.extend(values.iter().cloned()).expect("the vectors' scores are on the scale");
        let record = builder.finish(declared, &bytes32(text(inputs, "entropy")));
        let record = record.expect("all items came");
        let id = Hash::new(bytes32(text(vectors, "record_ids/standalone")));
        Made { id, context, record, key, items, file, secret, nonce, values }
    })
}

fn item_values(sample: &Value) -> ItemValues {
    let optional = |name| sample.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name| sample.get(name).and_then(Value::as_bool).unwrap_or(false);
    ItemValues {
        invalidated: flag("invalidated"),
        errored: flag("errored"),
        limited: flag("limited"),
        input: optional("input"),
        target: optional("target"),
        output: optional("output"),
        explanation: optional("explanation"),
        metadata: optional("metadata"),
        scores: list(sample, "scores").iter().map(|s| s.as_str().map(str::to_owned)).collect(),
    }
}

impl Made {
    fn opening(&self) -> OpeningBuilder<'_> {
        OpeningBuilder::new(RecordParts {
            id: self.id,
            header: self.record.header(),
            context: &self.context,
            secret: &self.secret,
            vector: self.record.vector(),
            items: &self.items,
        })
        .expect("the parts are of one record")
    }

    pub(crate) fn against(&self) -> Against<'_> {
        Against {
            record: &self.id,
            header: self.record.header(),
            context: &self.context,
            item_key: Some(&self.key),
            scope: Scope::Anything,
        }
    }

    /// An opening of these items and fields, with rows, totals and subjects if asked for.
    pub(crate) fn open(&self, items: &[usize], fields: &[&str], whole: bool) -> Body {
        let mut opening = self.opening();
        for item in items {
            let row = self.file.rows()[self.items.items()[*item].row].content();
            let values = self.values[*item].as_ref();
            opening
                .item(*item as u64, values, fields, whole.then_some(row))
                .expect("these values were committed");
        }
        if whole {
            opening.total("accuracy", &self.record.totals()[0]).expect("it is the total");
            for (subject, value) in SUBJECTS.iter().zip(self.record.subject_values()) {
                if let Some(value) = value {
                    opening.subject(subject, value).expect("it is the subject");
                }
            }
        }
        opening.finish().expect("the items ascend")
    }

    /// Everything.
    pub(crate) fn open_all(&self) -> Body {
        let fields =
            ["status", "input", "target", "output", "explanation", "metadata", "score:accuracy"];
        self.open(&[0, 1, 2, 3], &fields, true)
    }

    /// What the opening of everything proves: the truth that no other opening may contradict.
    pub(crate) fn truth(&self) -> &'static Proved {
        static TRUTH: OnceLock<Proved> = OnceLock::new();
        TRUTH.get_or_init(|| {
            self.open_all().verify(&self.against()).expect("an honest opening holds")
        })
    }
}

/// A bundle of the vectors' log: lab A, its standalone intent and evaluation, the vector, and two
/// openings.
pub(crate) fn bundle() -> &'static Bundle {
    static BUNDLE: OnceLock<Bundle> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let made = made();
        // Lab A's opening without rows: who reads a bundle does not hold the item key.
        let some = made.open(&[0, 2], &["status", "score:accuracy"], false);
        let openings = [some, made.open(&[], &[], false)];
        let envelopes: Vec<Vec<u8>> =
            statements().iter().map(|logged| logged.envelope.as_bytes().to_vec()).collect();
        let openings = openings.map(|body| body.to_bytes().expect("it is short"));
        bundle_of(&envelopes, &[0, 14, 15], &[made.record.vector()], openings.to_vec())
    })
}

/// A bundle of chosen leaves of a log, under the vectors' log key. Heads that leaves have seen
/// are proved where they can be.
pub(crate) fn bundle_of(
    leaves: &[Vec<u8>],
    chosen: &[usize],
    artifacts: &[&[u8]],
    openings: Vec<Vec<u8>>,
) -> Bundle {
    let nodes = tree(leaves.iter().map(Vec::as_slice));
    let size = leaves.len() as u64;
    let seen = |leaf: &[u8]| {
        let signed = exchange::SignedStatement::parse(leaf).ok()?;
        Some(signed.statement().common().seen.size).filter(|seen| (1..=size).contains(seen))
    };
    let checkpoint = SignedCheckpoint::sign(log_key(), nodes.head());
    let proof = |index: u64| {
        let Ok(proof) = prove_inclusion(&nodes, index, size);
        proof
    };
    let consistency = |old: u64| {
        let Ok(proof) = prove_consistency(&nodes, old, size);
        proof
    };
    Bundle {
        origin: log_key().name().clone(),
        policy: format!("log {}\nquorum none\n", log_vkey()),
        checkpoint: checkpoint.to_string(),
        leaves: chosen
            .iter()
            .map(|index| BundleLeaf {
                index: *index as u64,
                envelope: leaves[*index].clone(),
                proof: proof(*index as u64),
            })
            .collect(),
        heads: chosen
            .iter()
            .filter_map(|index| seen(&leaves[*index]))
            .map(|size| (size, consistency(size)))
            .collect(),
        complete_from: size,
        artifacts: artifacts.iter().map(|bytes| (Hash::of(&[bytes]), bytes.to_vec())).collect(),
        openings,
    }
}

/// Signs a payload with the key of the party that it names as its signer.
pub(crate) fn sign(payload: &[u8]) -> Option<Vec<u8>> {
    let document = json::parse(payload, Rules::SIGNED).ok();
    let of = document.as_ref().and_then(|d| d.get("predicate")?.get("signer")?.as_str());
    let envelope = Envelope::sign(payload, signer(of.unwrap_or_default())).ok()?;
    Some(envelope.as_bytes().to_vec())
}

//! Records made by hand, every hash without the crate, the way a dishonest party would: what their
//! commitments open to must not pass.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use json::{Node, Rules, Value, object};
use record::column::ScoreError;
use record::context::Context;
use record::header::Header;
use record::items::{ItemKey, ItemsFile};
use record::multiproof::MultiproofError;
use record::opening::{
    Against, Body, BodyItem, Cell, OpenedSubject, OpeningError, Scope, ScoreCell,
};
use record::subject::SUBJECTS;
use tlog::{Hash, leaf_hash};

use crate::support::made;

/// An item that a dishonest party committed to just like this, as a record of its own.
struct Forged {
    values: [Option<Vec<u8>>; 9],
    integer: u64,
    open: [bool; 9],
    score_open: bool,
}

fn forge(status: &str, raw: Option<&str>, integer: u64) -> Forged {
    let text = |t: &str| Some(t.as_bytes().to_vec());
    let epoch = Some(1_u64.to_be_bytes().to_vec());
    Forged {
        values: [None, epoch, text(status), None, None, None, None, None, raw.and_then(text)],
        integer,
        open: [true; 9],
        score_open: true,
    }
}

impl Forged {
    /// The opening against its own header: every hash is made here, without the crate.
    fn outcome(mut self) -> Result<(), OpeningError> {
        let file = ItemsFile::parse(b"{\"id\":\"a\",\"input\":\"x\"}").unwrap();
        let key = ItemKey::new([1; 32]);
        let agreed = file.agree(&key, 1).unwrap();
        if self.values[0].is_none() {
            self.values[0] = Some(agreed.items()[0].tag.as_bytes().to_vec());
        }
        let context = Context::new("o", None, "p", &[0; 32]).unwrap();
        let names = [
            "tag",
            "epoch",
            "status",
            "input",
            "target",
            "output",
            "explanation",
            "metadata",
            "score:s",
        ];
        let mut cells = Vec::new();
        let mut joined = Vec::new();
        for (field, name) in names.iter().enumerate() {
            let salt = [u8::try_from(field).unwrap(); 32];
            let value = match &self.values[field] {
                None => vec![0],
                Some(value) => [&[1], &value[..]].concat(),
            };
            let length = u16::try_from(name.len()).unwrap().to_be_bytes();
            let c = Hash::of(&[
                b"countersign.v1/field\0",
                context.as_bytes(),
                &[0; 8],
                &length,
                name.as_bytes(),
                &salt,
                &value,
            ]);
            joined.extend_from_slice(c.as_ref());
            let open = self.open[field];
            cells.push(if open { Cell::Open { salt, value } } else { Cell::Closed(c) });
        }
        let h = Hash::of(&[b"countersign.v1/item\0", context.as_bytes(), &[0; 8], &joined]);
        let blind = Scalar::from(77_u64);
        let generator = CompressedRistretto(record::generator()).decompress().unwrap();
        let point = Scalar::from(self.integer) * RISTRETTO_BASEPOINT_POINT + blind * generator;
        let point = point.compress().to_bytes();
        let root = leaf_hash(&[h.as_ref(), &point[..]].concat());
        let score = if self.score_open {
            ScoreCell::Open { integer: self.integer, blind: blind.to_bytes() }
        } else {
            ScoreCell::Closed(point)
        };

        let made = made("standalone");
        let mut members = made.record.header().members();
        let renamed = json::parse(
            object(members.clone()).to_text().replace("accuracy", "s").as_bytes(),
            Rules::SIGNED,
        )
        .unwrap();
        for (name, value) in &mut members {
            *value = match *name {
                "items" => 1_u64.into(),
                "items_root" => agreed.root().to_string().into(),
                "record_root" => root.to_string().into(),
                name => renamed.get(name).unwrap().clone(),
            };
        }
        let value = object(members);
        let header = Header::from_fields(&mut Node::root(&value).fields().unwrap()).unwrap();
        let body = Body {
            record: root,
            items: vec![BodyItem { index: 0, fields: cells, scores: vec![score], row: None }],
            record_proof: Vec::new(),
            items_proof: Vec::new(),
            totals: Vec::new(),
            subjects: Vec::new(),
        };
        let body = Body::parse(&body.to_bytes().unwrap()).unwrap();
        let against = Against {
            record: &root,
            header: &header,
            context: &context,
            item_key: None,
            scope: Scope::Anything,
        };
        body.verify(&against).map(|_| ())
    }

    fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }
}

#[test]
fn accepts_honest_items_that_were_made_by_hand() {
    assert_eq!(forge("scored", Some("1"), 1).outcome(), Ok(()));
    assert_eq!(forge("scored", Some("0.5"), 0).outcome(), Ok(()));
    assert_eq!(forge("errored", Some("1"), 0).outcome(), Ok(()));
    assert_eq!(forge("unscored", Some("NaN"), 0).outcome(), Ok(()));
    assert_eq!(forge("limited", None, 0).outcome(), Ok(()));
    assert_eq!(forge("missing", None, 0).outcome(), Ok(()));
    // Status alone, or everything closed but tag and epoch.
    let closed = |item: &mut Forged, from: usize| {
        item.open[from..].fill(false);
        item.score_open = false;
    };
    assert_eq!(forge("scored", Some("1"), 1).with(|i| closed(i, 3)).outcome(), Ok(()));
    assert_eq!(forge("scored", Some("1"), 1).with(|i| closed(i, 2)).outcome(), Ok(()));
}

#[test]
fn refuses_items_that_were_committed_dishonestly() {
    let (index, column) = (0, "s".to_owned());
    let no_integer = |source| OpeningError::NoInteger { index: 0, column: "s".to_owned(), source };
    let conversion = OpeningError::Conversion { index, column: column.clone() };
    let not_scored = OpeningError::NotScored { index, column: column.clone() };
    let together = |field: &str| OpeningError::Together { index: 0, field: field.to_owned() };
    let encoding = |field: &str| OpeningError::Encoding { index: 0, field: field.to_owned() };
    let closed = |field: usize| move |item: &mut Forged| item.open[field] = false;
    let value = |field: usize, bytes: &'static [u8]| {
        move |item: &mut Forged| item.values[field] = Some(bytes.to_vec())
    };
    for (item, error) in [
        (forge("scored", Some("0"), 1), conversion.clone()),
        (forge("scored", Some("1"), 0), conversion),
        (forge("scored", Some("1"), 2), OpeningError::AboveMax { index, column }),
        (forge("scored", None, 0), no_integer(None)),
        (forge("scored", Some("NaN"), 0), no_integer(None)),
        (forge("scored", Some("True"), 1), no_integer(Some(ScoreError::NotANumber))),
        (forge("scored", Some("7"), 1), no_integer(Some(ScoreError::OutsideScale))),
        (forge("errored", Some("1"), 1), not_scored.clone()),
        (forge("missing", None, 1), not_scored),
        (forge("unscored", Some("1"), 0), OpeningError::Status { index }),
        (forge("limited", Some("1"), 0), OpeningError::Status { index }),
        (forge("missing", Some("1"), 0), OpeningError::Status { index }),
        (forge("missing", None, 0).with(value(5, b"x")), OpeningError::Status { index }),
        (forge("Scored", Some("1"), 1), encoding("status")),
        (forge("scored", Some("1"), 1).with(|i| i.values[2] = None), encoding("status")),
        (forge("scored", Some("1"), 1).with(|i| i.values[1] = None), encoding("epoch")),
        (forge("scored", Some("1"), 1).with(value(1, &[0; 7])), encoding("epoch")),
        (forge("scored", Some("1"), 1).with(value(0, &[0; 31])), encoding("tag")),
        (forge("scored", Some("1"), 1).with(value(5, b"\xff")), encoding("output")),
        (forge("errored", Some("1"), 0).with(value(8, b"\xff")), encoding("score:s")),
        (
            forge("scored", Some("1"), 1).with(value(1, &[0, 0, 0, 0, 0, 0, 0, 2])),
            OpeningError::ItemsProof(MultiproofError::Root),
        ),
        (
            forge("scored", Some("1"), 1).with(value(0, &[0; 32])),
            OpeningError::ItemsProof(MultiproofError::Root),
        ),
        (forge("scored", Some("1"), 1).with(closed(0)), together("tag")),
        (forge("scored", Some("1"), 1).with(closed(1)), together("epoch")),
        (forge("scored", Some("1"), 1).with(closed(2)), together("status")),
        (forge("scored", Some("1"), 1).with(closed(8)), together("score:s")),
        (forge("scored", Some("1"), 1).with(|i| i.score_open = false), together("s")),
    ] {
        assert_eq!(item.outcome(), Err(error));
    }
}

#[test]
fn refuses_numbers_that_no_record_can_have() {
    let made = made("a");
    let header = made.record.header();
    let commit = |name: &str, value: &str| {
        let length = u16::try_from(name.len()).unwrap().to_be_bytes();
        let parts: [&[u8]; 7] = [
            b"countersign.v1/subject\0",
            made.context.as_bytes(),
            &length,
            name.as_bytes(),
            &[5; 32],
            &[1],
            value.as_bytes(),
        ];
        Hash::of(&parts)
    };
    // A header whose subjects open to whatever a dishonest party likes.
    let outcome = |opened: &[(&str, &str)]| {
        let mut members = header.members();
        let subjects = json::array(SUBJECTS.map(|name| {
            let value = opened.iter().find(|(n, _)| *n == name).map_or("0", |(_, value)| *value);
            let commitment = commit(name, value).to_string();
            object([("name", Value::from(name)), ("commitment", commitment.into())])
        }));
        members.last_mut().unwrap().1 = subjects;
        let value = object(members);
        let header = Header::from_fields(&mut Node::root(&value).fields().unwrap()).unwrap();
        let mut body = made.opening().finish().unwrap();
        body.subjects = opened
            .iter()
            .map(|(name, value)| OpenedSubject {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
                salt: [5; 32],
            })
            .collect();
        let against = made.against(Scope::Anything);
        body.verify(&Against { header: &header, ..against }).map(|_| ())
    };
    let number = |name: &str| Err(OpeningError::Number(name.to_owned()));
    assert_eq!(outcome(&[("count:scored", "4"), ("flag:items.edited", "9")]), Ok(()));
    for value in ["5", "", "-1", "+1", "01", "1.0", "4 ", "x", "9007199254740992"] {
        assert_eq!(outcome(&[("count:scored", value)]), number("count:scored"), "{value}");
    }
    assert_eq!(outcome(&[("flag:log.status", "yes")]), number("flag:log.status"));
    assert_eq!(outcome(&[("count:missing", "3"), ("count:scored", "2")]), number("count:scored"));
    let counts = |missing, scored| {
        outcome(&[
            ("count:missing", missing),
            ("count:invalidated", "0"),
            ("count:errored", "0"),
            ("count:limited", "0"),
            ("count:unscored", "0"),
            ("count:scored", scored),
        ])
    };
    assert_eq!(counts("1", "3"), Ok(()));
    assert_eq!(counts("1", "2"), Err(OpeningError::Counts));
    let twice = outcome(&[("model", "m"), ("model", "m")]);
    assert_eq!(twice, Err(OpeningError::Twice("model".to_owned())));
}

//! Every byte that `tests/vectors/record.json` gives for items, records and multiproofs. Another
//! implementation, on hashlib and libsodium, made that file.

use json::{Node, Value, object};
use record::header::Header;
use record::multiproof::{self, Indices};
use record::opening::{Body, Cell, Scope, ScoreCell};
use record::subject::SUBJECTS;
use record::vector::{Vector, verify_vector};
use tlog::Hash;

use crate::support::{
    agreed, at, bytes32, exchange, items_inputs, list, made, number, text, whole,
};

const RECORDS: [&str; 3] = ["a", "b", "standalone"];

fn hex_of(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

#[test]
fn generator_is_the_published_point() {
    assert_eq!(hex_of(record::generator()), text(whole(), "generator_H"));
    assert_eq!(
        hex_of(record::generator()),
        "b459383c2d1863eade2f581d3f13d61836fc372d6c7c0c0b66b0df7572b3190d"
    );
    let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED;
    assert_ne!(record::generator(), base.to_bytes());
}

#[test]
fn items_tags_roots_and_commitments_match() {
    for name in ["a", "standalone"] {
        let expected = items_inputs(name);
        let (file, key, items) = agreed(name);
        assert_eq!(key.commitment().to_string(), text(expected, "item_key_commitment"));
        let benchmark = key.benchmark(text(expected, "inputs/benchmark"));
        assert_eq!(benchmark.to_string(), text(expected, "benchmark_commitment"));
        let elicitation = key.elicitation(text(expected, "inputs/elicitation"));
        assert_eq!(elicitation.to_string(), text(expected, "elicitation_commitment"));
        assert_eq!(items.root().to_string(), text(expected, "items_root"));
        assert_eq!(items.items().len(), list(expected, "items").len());
        for (item, expected) in items.items().iter().zip(list(expected, "items")) {
            let row = &file.rows()[item.row];
            assert_eq!(row.id(), text(expected, "id"));
            assert_eq!(row.content().occurrence(), number(expected, "occurrence"));
            assert_eq!(item.tag.to_string(), text(expected, "tag"));
            assert_eq!(item.epoch, number(expected, "epoch"));
            assert_eq!(item.leaf().to_string(), text(expected, "leaf"));
        }
        check_multiproofs(expected, &items.leaves(), &items.root());
    }
}

fn check_multiproofs(expected: &Value, leaves: &[Hash], root: &Hash) {
    for proof in list(expected, "multiproofs") {
        let numbers = list(proof, "indices").iter().map(|i| i.as_number().unwrap().as_u64());
        let indices: Vec<u64> = numbers.map(Option::unwrap).collect();
        let chosen = Indices::new(&indices, leaves.len() as u64).unwrap();
        let bytes = multiproof::prove(leaves, &chosen).unwrap();
        assert_eq!(hex_of(&bytes), text(proof, "proof"));
        let opened: Vec<Hash> =
            indices.iter().map(|i| leaves[usize::try_from(*i).unwrap()]).collect();
        multiproof::verify(root, &chosen, &opened, &bytes).unwrap();
    }
}

#[test]
fn records_match_byte_for_byte() {
    for name in RECORDS {
        let made = made(name);
        let expected = made.expected;
        assert_eq!(made.context.to_string(), text(expected, "context"));
        let header = made.record.header();
        let layout = header.layout();
        let fields: Vec<&str> =
            list(expected, "fields").iter().map(|f| f.as_str().unwrap()).collect();
        assert_eq!(layout.fields(), fields);
        for field in layout.fields() {
            let key = made.secret.field_key(field);
            assert_eq!(hex_of(key.as_bytes()), text(at(expected, "field_keys"), field));
        }
        assert_eq!(header.record_root().to_string(), text(expected, "record_root"));
        assert_eq!(header.items_root().to_string(), text(expected, "items_root"));
        assert_eq!(header.vector().to_string(), text(expected, "vector_digest"));
        assert_eq!(Hash::of(&[made.record.vector()]), *header.vector());

        let vector = Vector::new(layout, made.record.vector()).unwrap();
        let leaves = vector.leaves();
        for (index, item) in list(expected, "items").iter().enumerate() {
            let entry = vector.entry(index as u64).unwrap();
            assert_eq!(hex_of(&entry[..32]), text(item, "h"));
            assert_eq!(leaves[index].to_string(), text(item, "leaf"));
            for (place, column) in layout.columns().iter().enumerate() {
                let expected = at(at(item, "columns"), column.name());
                let point = &entry[32 * (1 + place)..32 * (2 + place)];
                assert_eq!(hex_of(point), text(expected, "C"));
                let blind = made.secret.field_key(&column.field()).blind(index as u64);
                assert_eq!(hex_of(blind.to_bytes()), text(expected, "r"));
            }
        }

        for ((column, opening), expected) in
            header.columns().iter().zip(made.record.totals()).zip(list(expected, "columns"))
        {
            assert_eq!(hex_of(column.total), text(expected, "T"));
            assert_eq!(hex_of(column.proof.as_bytes()), text(expected, "proof_of_total"));
            assert_eq!(opening.sum(), number(expected, "total"));
            assert_eq!(hex_of(opening.blind().to_bytes()), text(expected, "blind_total"));
            let again = record::total::TotalOpening::from_secret(
                &made.secret,
                &column.column,
                layout.items(),
                opening.sum(),
            );
            assert!(again == *opening);
        }
        for (name, commitment) in SUBJECTS.iter().zip(header.subjects()) {
            let expected = at(at(expected, "subjects"), name);
            assert_eq!(commitment.to_string(), text(expected, "commitment"));
            let salt = made.secret.subject_salt(name);
            assert_eq!(hex_of(salt.as_bytes()), text(expected, "salt"));
        }
        let names: Vec<&str> =
            at(expected, "subjects").as_object().unwrap().iter().map(|(n, _)| n).collect();
        assert_eq!(SUBJECTS[..], names);
        check_multiproofs(expected, &leaves, header.record_root());
        verify_vector(header, &made.context, made.record.vector()).unwrap();
    }
}

#[test]
fn opened_cells_match_and_prove_the_vectors_values() {
    for name in RECORDS {
        let made = made(name);
        let layout = made.record.header().layout();
        let all: Vec<&str> = layout.fields().iter().map(String::as_str).collect();
        let mut opening = made.opening();
        for (index, values) in made.values.iter().enumerate() {
            let row = made.file.rows()[made.items.items()[index].row].content();
            opening.item(index as u64, values.as_ref(), &all, Some(row)).unwrap();
        }
        let body = opening.finish().unwrap();
        for (item, expected) in body.items.iter().zip(list(made.expected, "items")) {
            for (field, cell) in layout.fields().iter().zip(&item.fields) {
                let expected = at(at(expected, "fields"), field);
                let Cell::Open { salt, value } = cell else { panic!("{field} is closed") };
                assert_eq!(hex_of(salt), text(expected, "salt"));
                assert_eq!(hex_of(value), text(expected, "value_bytes"));
            }
            for (column, cell) in layout.columns().iter().zip(&item.scores) {
                let expected = at(at(expected, "columns"), column.name());
                let ScoreCell::Open { integer, blind } = cell else { panic!("closed score") };
                assert_eq!(*integer, number(expected, "s"));
                assert_eq!(hex_of(blind), text(expected, "r"));
            }
        }
        // The closed spelling of a cell is its c.
        let mut closed = made.opening();
        for (index, values) in made.values.iter().enumerate() {
            closed.item(index as u64, values.as_ref(), &[], None).unwrap();
        }
        for (item, expected) in
            closed.finish().unwrap().items.iter().zip(list(made.expected, "items"))
        {
            for (field, cell) in layout.fields().iter().zip(&item.fields).skip(2) {
                let Cell::Closed(c) = cell else { panic!("{field} is open") };
                assert_eq!(c.to_string(), text(at(at(expected, "fields"), field), "c"));
            }
        }

        let again = Body::parse(&body.to_bytes().unwrap()).unwrap();
        assert!(again == body);
        let proved = again.verify(&made.against(Scope::Anything)).unwrap();
        for (item, expected) in proved.items.iter().zip(list(made.expected, "items")) {
            assert_eq!(item.index, number(expected, "index"));
            for (column, integer) in &item.scores {
                assert_eq!(*integer, number(at(at(expected, "columns"), column), "s"));
            }
        }
    }
}

#[test]
fn headers_are_those_of_the_evaluation_statements() {
    let mut found = 0;
    for statement in list(exchange(), "statements") {
        if text(statement, "kind") != "evaluation" {
            continue;
        }
        let payload = json::parse(text(statement, "payload").as_bytes(), json::Rules::SIGNED);
        let payload = payload.unwrap();
        let predicate = at(&payload, "predicate");
        let header = Header::from_fields(&mut Node::root(predicate).fields().unwrap()).unwrap();
        let id = text(statement, "statement_id");
        let name = RECORDS
            .into_iter()
            .find(|name| at(exchange(), "record_ids").get(name) == Some(&id.into()));
        let made = made(name.unwrap());
        assert_eq!(header, *made.record.header());
        for (name, value) in header.members() {
            assert_eq!(value, *at(predicate, name), "{name}");
        }
        let written = object(header.members());
        let read = Header::from_fields(&mut Node::root(&written).fields().unwrap()).unwrap();
        assert_eq!(read, header);
        found += 1;
    }
    assert_eq!(found, 3);
}

#[test]
fn a_standalone_record_has_zeros_for_the_agreement() {
    let expected = at(exchange(), "records/standalone");
    assert_eq!(bytes32(expected, "agreement_id"), [0; 32]);
}

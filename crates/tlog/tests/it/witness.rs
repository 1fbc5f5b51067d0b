//! `add-checkpoint`: 25 requests to a witness in a known state, and the limits.

use tlog::{
    AddCheckpoint, MAX_PROOF, MAX_REQUEST, RequestError, SIZE_CONTENT_TYPE, SignedCheckpoint,
    decide, monitoring_path, parse_size_answer,
};

use crate::vectors::{example, example_head, list, log, log_key, text, uint, why};

#[test]
fn answers_every_request_of_the_vectors() {
    for vector in list("add_checkpoint", 25) {
        let known = example_head(uint(vector, "known_size") as usize);
        let body = text(vector, "body");
        let request = AddCheckpoint::parse(body.as_bytes());
        if let Ok(request) = &request {
            assert_eq!(request.to_string(), body);
        }
        let decided = request.as_ref().map(|request| decide(request, &[log()], &known));
        let status = match &decided {
            Err(_) => 400,
            Ok(Err(refusal)) => refusal.status(),
            Ok(Ok(())) => 200,
        };
        assert_eq!(u64::from(status), uint(vector, "status"), "{}: {decided:?}", why(vector));
        if status == 409 {
            assert_eq!(text(vector, "content_type"), SIZE_CONTENT_TYPE);
            let answer = text(vector, "response").as_bytes();
            assert_eq!(parse_size_answer(answer), Some(known.size));
        }
    }
}

#[test]
fn malformed_requests_of_the_vectors_are_parse_errors() {
    for vector in list("add_checkpoint", 25) {
        let parsed = AddCheckpoint::parse(text(vector, "body").as_bytes());
        let expected = match why(vector) {
            "old with a leading zero"
            | "old missing"
            | "old line misspelt"
            | "carriage returns" => Some(RequestError::Old),
            "no empty line" => Some(RequestError::Hash { position: 0 }),
            "64 proof lines" => Some(RequestError::TooManyHashes),
            "proof line that is not 32 bytes" => Some(RequestError::Hash { position: 0 }),
            _ => None,
        };
        assert_eq!(parsed.err(), expected, "{}", why(vector));
    }
}

#[test]
fn a_request_is_written_as_it_is_read() {
    let signed = SignedCheckpoint::sign(&log_key(), example_head(5));
    let request = AddCheckpoint::new(3, vec![example_head(3).root; MAX_PROOF], &signed);
    assert_eq!(AddCheckpoint::parse(&request.to_bytes()), Ok(request));
}

#[test]
fn rejects_what_is_no_request() {
    let good = format!("old 0\n\n{}", example("checkpoint"));
    assert!(AddCheckpoint::parse(good.as_bytes()).is_ok());
    for (body, reason) in [
        (String::new(), "empty"),
        ("old 0\n".to_owned(), "nothing but old"),
        ("old 0\n\n".to_owned(), "no checkpoint"),
        (good.replace("old 0", "old +0"), "sign"),
        (good.replace("old 0", "old 9223372036854775808"), "2^63"),
        (good.replace("old 0", "old  0"), "two spaces"),
        (good.replace("old 0", "old 0 "), "space at the end"),
        (good.replace("\n5\n", "\n05\n"), "size with a leading zero"),
        (format!("{good}\n"), "empty line at the end"),
    ] {
        assert!(AddCheckpoint::parse(body.as_bytes()).is_err(), "{reason}");
    }
    let size = MAX_REQUEST + 1;
    assert_eq!(AddCheckpoint::parse(&vec![b'x'; size]), Err(RequestError::TooLarge { size }));
    assert_eq!(AddCheckpoint::parse(&[0xff]), Err(RequestError::Encoding));
}

#[test]
fn the_size_in_a_conflict_is_a_canonical_line() {
    assert_eq!(parse_size_answer(b"0\n"), Some(0));
    for body in ["", "\n", "5", "05\n", "5\n\n", "5\r\n", " 5\n", "-5\n", "9223372036854775808\n"] {
        assert_eq!(parse_size_answer(body.as_bytes()), None, "{body:?}");
    }
    assert_eq!(parse_size_answer(&[0xff, b'\n']), None);
}

#[test]
fn the_monitoring_path_is_the_vectors() {
    assert_eq!(monitoring_path("evallog.example/ab"), example("witness_monitoring"));
}

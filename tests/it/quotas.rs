//! How much one party may send: statements, bytes, artifacts, and what no statement names. Here
//! belongs what a refused party is told and that nobody else notices.

use std::time::Instant;

use api::v1;
use bytes::Bytes;
use exchange::Envelope;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::metrics;
use crate::parties::{Recorded, Voice};
use crate::service::{Client, append, register, request, try_append};
use crate::support::{World, within};
use crate::tls::{Lands, put};

/// More than any quota of these tests, so that a loop ends.
const MANY: usize = 200;

/// Checks a refusal for too much: whose quota, which one, and whether waiting helps.
#[track_caller]
fn exceeds(status: &Status, reason: &str, subject: &str, quota: &str, helps: bool) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, reason, "{status:?}");
    let violations = &details.quota_failure().unwrap().violations;
    assert_eq!(violations.len(), 1, "{status:?}");
    assert_eq!(violations[0].subject, subject);
    let description = &violations[0].description;
    assert!(description.starts_with(&format!("{quota}: ")), "{description}");
    let after = details.retry_info().map(|info| info.retry_delay.unwrap());
    assert_eq!(after.is_some(), helps, "{status:?}");
    assert!(after.is_none_or(|after| !after.is_zero()), "{status:?}");
}

/// Sends statements until one is refused; returns it, why, and how many were taken.
async fn until_refused(log: &mut Client, voice: &mut Voice) -> (Envelope, Status, usize) {
    for taken in 0..MANY {
        let next = if voice.number == 0 { voice.register() } else { voice.intent() };
        if let Err(status) = try_append(log, &next).await {
            return (next, status, taken);
        }
    }
    panic!("no quota refused anything");
}

#[test]
fn a_party_over_its_rate_is_told_when_to_come_back_and_nobody_else_notices() {
    let lands = Lands::new();
    let quota = "[quota]\nstatements_per_second = 1\nstatements_burst = 5\n";
    let server = lands.world.serve_as(&(quota.to_owned() + &lands.config()));
    within(async {
        let mut log = lands.log(&server, &lands.a).await;
        let mut a = Voice::new("a.example", &server.key);
        let began = Instant::now();
        let (refused, status, taken) = until_refused(&mut log, &mut a).await;
        exceeds(&status, "RATE_LIMITED", "party:a.example", "statements", true);
        let most = 5 + began.elapsed().as_secs() as usize + 1;
        assert!((5..=most).contains(&taken), "{taken} statements of at most {most} were taken");
        // Another party has a quota of its own.
        let mut other = lands.log(&server, &lands.b).await;
        let mut b = register(&mut other, &server, "b.example").await;
        append(&mut other, &b.intent()).await;
        // The same bytes after the time that was named are taken.
        let wait = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
        tokio::time::sleep(wait).await;
        append(&mut log, &refused).await;
    });
    let series = "countersign_retry_info_total{reason=\"RATE_LIMITED\"}";
    assert!(metrics::value(server.admin("/metrics").text(), series) >= 1.0);
    server.stop();
}

#[test]
fn a_party_gets_no_more_by_the_connections_of_others() {
    let lands = Lands::new();
    let quota = "[quota]\nstatements_per_second = 1\nstatements_burst = 5\n";
    let server = lands.world.serve_as(&(quota.to_owned() + &lands.config()));
    within(async {
        // B brings A's statements: both are charged, A for what it signed.
        let mut log = lands.log(&server, &lands.b).await;
        let mut a = Voice::new("a.example", &server.key);
        let (refused, status, _) = until_refused(&mut log, &mut a).await;
        let details = status.get_error_details();
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "party:b.example");
        // With a connection of its own there is some left of A's: B was charged for each try.
        let mut own = lands.log(&server, &lands.a).await;
        let mut more = 0;
        let mut next = refused;
        let status = loop {
            match try_append(&mut own, &next).await {
                Ok(_) => (more, next) = (more + 1, a.intent()),
                Err(status) => break status,
            }
            assert!(more < MANY, "no quota refused anything");
        };
        exceeds(&status, "RATE_LIMITED", "party:a.example", "statements", true);
    });
    server.stop();
}

#[test]
fn more_bytes_than_a_party_may_send_at_once_are_never_taken() {
    let world = World::new();
    world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let server = world.serve_as(
        "[quota]\nstatement_kib_per_second = 1\nstatement_kib_burst = 4\n[[party]]\nname = \
         \"a.example\"\nvkey = \"a.vkey\"\n",
    );
    within(async {
        let mut log = server.log().await;
        let large = v1::AppendRequest { envelope: vec![b'x'; 5000].into(), wait_for: 1 };
        let status = log.append(large).await.unwrap_err();
        let subject = "address:127.0.0.1";
        exceeds(&status, "RATE_LIMITED", subject, "statement_kib", false);
        // Small ones are, until these are too many as well.
        let mut a = Voice::new("a.example", &server.key);
        let (_, status, taken) = until_refused(&mut log, &mut a).await;
        assert!(taken > 0);
        exceeds(&status, "RATE_LIMITED", subject, "statement_kib", true);
    });
    server.stop();
}

#[test]
fn artifacts_are_limited_by_number_and_by_bytes() {
    let lands = Lands::new();
    for (quota, name) in [
        ("artifacts_per_second = 1\nartifacts_burst = 3", "artifacts"),
        ("artifact_kib_per_second = 1\nartifact_kib_burst = 8", "artifact_kib"),
    ] {
        let toml = format!("[limits]\nartifact_bytes = 8192\n[quota]\n{quota}\n");
        let server = lands.world.serve_as(&(toml + &lands.config()));
        within(async {
            let mut a = lands.artifacts(&server, &lands.a).await;
            let mut b = lands.artifacts(&server, &lands.b).await;
            let mut refused = None;
            for number in 0..MANY {
                if let Err(status) = put(&mut a, &[number as u8; 3000]).await {
                    refused = Some(status);
                    break;
                }
            }
            exceeds(&refused.unwrap(), "RATE_LIMITED", "party:a.example", name, true);
            put(&mut b, &[0; 3000]).await.expect("another party has a quota of its own");
        });
        server.stop();
    }
}

#[test]
fn what_no_statement_names_takes_room_until_one_does() {
    let lands = Lands::new();
    let quota = "[limits]\nartifact_bytes = 8192\n[quota]\nunnamed_bytes = 9000\n\
                 unnamed_artifacts = 2\nunnamed_bytes_total = 17000\n";
    let server = lands.world.serve_as(&(quota.to_owned() + &lands.config()));
    within(async {
        let mut log = lands.log(&server, &lands.a).await;
        let mut a = register(&mut log, &server, "a.example").await;
        let nonce = a.next_intent().nonce;
        let intent = a.intent();
        append(&mut log, &intent).await;
        let recorded = Recorded::new(&a, intent.id(), &nonce, 1);

        let mut own = lands.artifacts(&server, &lands.a).await;
        put(&mut own, &recorded.vector).await.unwrap();
        let subject = "party:a.example";
        let status =
            put(&mut own, &[1; 8192]).await.map(|_| ()).and(put(&mut own, &[2; 8192]).await);
        exceeds(&status.unwrap_err(), "ARTIFACT_TOO_LARGE", subject, "unnamed_artifacts", true);
        // A statement names one of the two.
        append(&mut log, &a.say(recorded.predicate())).await;
        let status = put(&mut own, &[2; 8192]).await.unwrap_err();
        exceeds(&status, "ARTIFACT_TOO_LARGE", subject, "unnamed_bytes", true);
        put(&mut own, &[2; 500]).await.unwrap();
        // All together have a limit, too: what is left is not enough for B.
        let mut other = lands.artifacts(&server, &lands.b).await;
        put(&mut other, &[3; 8000]).await.unwrap();
        let status = put(&mut other, &[4; 500]).await.unwrap_err();
        exceeds(&status, "ARTIFACT_TOO_LARGE", "party:b.example", "unnamed_bytes_total", true);
        let unnamed = server.admin("/metrics");
        let unnamed = metrics::value(unnamed.text(), "countersign_artifact_unnamed_bytes");
        assert_eq!(unnamed, f64::from(8192 + 500 + 8000));
    });
    server.stop();
}

#[test]
fn one_artifact_that_is_too_large_is_refused_for_good() {
    let lands = Lands::new();
    let server =
        lands.world.serve_as(&format!("[limits]\nartifact_bytes = 8192\n{}", lands.config()));
    within(async {
        let mut artifacts = lands.artifacts(&server, &lands.a).await;
        put(&mut artifacts, &[4; 8192]).await.unwrap();
        let status = put(&mut artifacts, &[4; 8193]).await.unwrap_err();
        exceeds(&status, "ARTIFACT_TOO_LARGE", "artifact", "artifact_bytes", false);
    });
    server.stop();
}

#[test]
fn a_full_queue_sends_callers_away_at_once() {
    let world = World::new();
    world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let server = world.serve_as(
        "[limits]\nqueue_entries = 1\nbatch_entries = 1\n[[party]]\nname = \"a.example\"\nvkey = \
         \"a.vkey\"\n",
    );
    within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        let mut full = None;
        for _ in 0..MANY {
            // Copies of one statement, all at once, of which only one fits into the queue.
            let next = a.intent();
            let mut copies = tokio::task::JoinSet::new();
            for _ in 0..32 {
                let (mut log, request) = (log.clone(), request(&next));
                copies.spawn(async move { log.append(request).await.map(|_| ()) });
            }
            let mut taken = 0;
            while let Some(copy) = copies.join_next().await {
                match copy.unwrap() {
                    Ok(()) => taken += 1,
                    Err(status) => full = Some(status),
                }
            }
            assert!(taken > 0, "the first one found the queue full: {full:?}");
            if full.is_some() {
                break;
            }
        }
        exceeds(&full.expect("the queue was never full"), "QUEUE_FULL", "log", "queue", true);
        append(&mut log, &a.intent()).await;
    });
    server.stop();
}

#[test]
fn a_refusal_within_a_stream_names_quota_and_time_as_well() {
    use api::v1::append_stream_response::Result as Streamed;
    use tokio_stream::StreamExt as _;

    let world = World::new();
    world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let server = world.serve_as(
        "[quota]\nstatements_per_second = 1\nstatements_burst = 3\n[[party]]\nname = \
         \"a.example\"\nvkey = \"a.vkey\"\n",
    );
    within(async {
        let mut log = server.log().await;
        let mut a = Voice::new("a.example", &server.key);
        let mut all = vec![a.register()];
        all.extend((1..MANY).map(|_| a.intent()));
        let requests: Vec<_> = all
            .iter()
            .map(|e| v1::AppendStreamRequest { envelope: Bytes::copy_from_slice(e.as_bytes()) })
            .collect();
        let answers = log.append_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
        let refused = answers.filter_map(|answer| match answer.unwrap().result.unwrap() {
            Streamed::Refused(refusal) => Some(refusal),
            Streamed::Appended(_) => None,
        });
        let refused: Vec<_> = refused.collect().await;
        let limited = refused.iter().find(|r| r.reason == "RATE_LIMITED").expect("none is limited");
        assert_eq!(limited.code, Code::ResourceExhausted as i32);
        assert_eq!(limited.metadata["quota"], "statements");
        assert_eq!(limited.metadata["subject"], "address:127.0.0.1");
        assert!(limited.metadata["retry_after_ms"].parse::<u64>().unwrap() > 0);
    });
    server.stop();
}

//! The end of a server: what ends by itself, what is cut after the grace, and that it ends. Here
//! belongs who waits for whom; what is answered before the end is in `service`.

use std::io::Write as _;
use std::process::ExitStatus;

use api::v1;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::limits::{HELLO, frames};
use crate::parties::Voice;
use crate::service::register;
use crate::support::{Server, World, eventually, text, within};

fn world(limits: &str) -> (World, Server) {
    let world = World::new();
    world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let party = "[[party]]\nname = \"a.example\"\nvkey = \"a.vkey\"\n";
    let server = world.serve_as(&format!("[limits]\n{limits}\n{party}"));
    (world, server)
}

fn is_stopping(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "STOPPING");
    assert!(details.retry_info().is_some(), "{status:?}");
}

#[test]
fn peers_that_say_nothing_are_cut_when_the_grace_is_over() {
    let (_world, server) = world("grace_seconds = 1");
    let admin = text(&server.said, "admin").to_owned();
    let _idle = [&server.grpc, &server.http, &admin].map(|url| Server::connect(url));
    let mut after_preface = Server::connect(&server.grpc);
    after_preface.write_all(HELLO).unwrap();
    let mut half = Server::connect(&server.http);
    half.write_all(b"GET /checkpoint HTTP/1.1\r\n").unwrap();
    eventually("all are let in", || {
        let metrics = server.admin("/metrics");
        let open = |listener| {
            let series = format!("countersign_connections{{listener=\"{listener}\"}}");
            crate::metrics::value(metrics.text(), &series)
        };
        // The one that asks is at the admin listener.
        (open("grpc") == 2.0 && open("http") == 2.0 && open("admin") == 2.0).then_some(())
    });
    server.terminate();
    let log = server.log_file();
    let status: ExitStatus = server.ended();
    assert_eq!(status.code(), Some(0), "{status}");
    let written = std::fs::read_to_string(log).unwrap();
    assert!(written.contains("some connections did not end in time"), "{written}");
    // It was told that the connection ends: GOAWAY.
    assert!(frames(&mut after_preface).contains(&7));
}

#[test]
fn watchers_and_open_streams_do_not_hold_up_the_end() {
    // Nobody would wait for an hour: whatever does not end by itself fails this test.
    let (_world, server) = world("grace_seconds = 3600");
    let ended = within(async {
        let mut log = server.log().await;
        register(&mut log, &server, "a.example").await;
        let mut watch =
            log.watch_checkpoints(v1::WatchCheckpointsRequest {}).await.unwrap().into_inner();
        watch.next().await.unwrap().unwrap();
        let mut stream = log
            .append_stream(tokio_stream::pending::<v1::AppendStreamRequest>())
            .await
            .unwrap()
            .into_inner();
        server.terminate();
        is_stopping(&watch.next().await.unwrap().unwrap_err());
        is_stopping(&stream.next().await.unwrap().unwrap_err());
        assert!(watch.next().await.is_none());
        // The connection itself stays open on this side until the other end closes it.
        tokio::task::spawn_blocking(move || server.ended()).await.unwrap()
    });
    assert_eq!(ended.code(), Some(0), "{ended}");
}

#[test]
fn without_anybody_connected_it_ends_at_once() {
    let (_world, server) = world("grace_seconds = 3600");
    server.stop();
}

#[test]
fn asked_twice_it_does_not_wait() {
    let (_world, server) = world("notice_seconds = 3600");
    server.terminate();
    eventually("it drains", || (server.admin("/readyz").status == 503).then_some(()));
    server.terminate();
    let status = server.ended();
    assert_eq!(status.code(), Some(130), "{status}");
}

//! Health tells the truth: while the server drains, and when its disk fails. Here belongs what
//! orchestrators and load balancers rely on.

use std::process::{Command, Stdio};

use api::v1;
use tokio_stream::StreamExt as _;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_types::StatusExt as _;

use crate::metrics;
use crate::parties::Voice;
use crate::service::{checkpoint, register, try_append};
use crate::support::{Answer, Server, World, eventually, within};

const SERVICES: [&str; 3] = ["", "countersign.v1.LogService", "countersign.v1.ArtifactService"];

fn toml(limits: &str) -> String {
    format!("[limits]\n{limits}\n[[party]]\nname = \"a.example\"\nvkey = \"a.vkey\"\n")
}

fn world() -> World {
    let world = World::new();
    world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    world
}

/// A watch of each service's health, which says SERVING first.
async fn watches(server: &Server) -> Vec<Streaming<HealthCheckResponse>> {
    let mut watches = Vec::new();
    for service in SERVICES {
        let request = HealthCheckRequest { service: service.to_owned() };
        let watch = HealthClient::new(server.channel().await).watch(request).await;
        let mut watch = watch.unwrap().into_inner();
        let first = watch.next().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving, "{service:?}");
        watches.push(watch);
    }
    watches
}

fn says(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text()), (status, text));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn a_server_that_drains_says_so_before_it_closes_its_doors() {
    let world = world();
    let server = world.serve_as(&toml("notice_seconds = 3600"));
    for path in ["/healthz", "/readyz"] {
        says(&server.get(path), 200, "serving\n");
        says(&server.admin(path), 200, "serving\n");
    }
    within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        let mut watches = watches(&server).await;
        assert_eq!(metrics::value(server.admin("/metrics").text(), "countersign_serving"), 1.0);
        server.terminate();
        for watch in &mut watches {
            let now = watch.next().await.unwrap().unwrap();
            assert_eq!(now.status(), ServingStatus::NotServing);
        }
        for path in ["/healthz", "/readyz"] {
            says(&server.get(path), 503, "draining\n");
            says(&server.admin(path), 503, "draining\n");
        }
        assert_eq!(metrics::value(server.admin("/metrics").text(), "countersign_serving"), 0.0);
        // Nothing is taken, everything is read, and new connections are let in.
        let status = try_append(&mut server.log().await, &a.intent()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "STOPPING");
        assert!(details.retry_info().is_some());
        assert_eq!(checkpoint(&mut server.log().await, &server).await.head().size, 1);
        assert_eq!(server.get("/checkpoint").status, 200);
    });
    server.terminate();
    server.ended();
}

/// The same command where no file may grow beyond some hundred KiB, and a write beyond that fails
/// as on a full disk.
fn on_a_small_disk(command: &Command) -> Command {
    let mut small = Command::new("sh");
    small.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\""]);
    small.arg(command.get_program()).args(command.get_args());
    small.current_dir(command.get_current_dir().unwrap());
    small.stdin(Stdio::null()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    small
}

#[test]
fn a_writer_that_met_a_failing_disk_says_so_and_the_next_start_recovers() {
    let world = world();
    let toml = toml("grace_seconds = 3600");
    let command = on_a_small_disk(&world.configured(&toml));
    let server = Server::start(command, &world.path("server.stderr")).unwrap();
    // Keeps the process alive until this test has seen how it is.
    let idle = Server::connect(&server.grpc);
    let (acknowledged, unanswered, mut a) = within(async {
        let mut log = server.log().await;
        let mut a = Voice::new("a.example", &server.key);
        let mut watches = watches(&server).await;
        let mut acknowledged = 0;
        let (unanswered, status) = loop {
            let next = if a.number == 0 { a.register() } else { a.intent() };
            match try_append(&mut log, &next).await {
                Ok(answer) => {
                    assert_eq!(answer.inclusion.unwrap().index, acknowledged);
                    acknowledged += 1;
                }
                Err(status) => break (next, status),
            }
            assert!(acknowledged < 20_000, "the disk never failed");
        };
        // Whether it was written is not known: the client is to send the same again.
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
        for watch in &mut watches {
            match watch.next().await.unwrap() {
                Ok(now) => assert_eq!(now.status(), ServingStatus::NotServing),
                // The doors closed first.
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
            }
        }
        (acknowledged, unanswered, a)
    });
    assert!(acknowledged > 10, "the disk failed too early: {acknowledged}");
    for path in ["/healthz", "/readyz"] {
        says(&server.admin(path), 503, "the writer has stopped\n");
    }
    let scraped = server.admin("/metrics");
    assert_eq!(metrics::value(scraped.text(), "countersign_serving"), 0.0);
    let fatal = "countersign_writer_fatal_total{cause=\"storage\"}";
    assert_eq!(metrics::value(scraped.text(), fatal), 1.0);
    drop(idle);
    let log = server.log_file();
    let status = server.ended();
    assert_eq!(status.code(), Some(2), "{status}");
    let written = std::fs::read_to_string(log).unwrap();
    assert!(written.contains("the writer stopped"), "{written}");

    let server = world.serve_as(&toml);
    assert!(server.size >= acknowledged, "{} of {acknowledged} statements", server.size);
    within(async {
        let mut log = server.log().await;
        let again = try_append(&mut log, &unanswered).await.unwrap();
        assert_eq!(again.inclusion.unwrap().index, acknowledged);
        let next = try_append(&mut log, &a.intent()).await.unwrap();
        assert_eq!(next.inclusion.unwrap().index, acknowledged + 1);
        let request = v1::GetCheckpointRequest::default();
        log.get_checkpoint(request).await.unwrap();
    });
    eventually("it serves", || (server.get("/readyz").status == 200).then_some(()));
    server.stop();
}

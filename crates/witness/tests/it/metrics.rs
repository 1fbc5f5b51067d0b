//! Metrics and health: what is counted, and that the documentation names all of it.

use crate::support::{Hands, Log, Running, logs};

#[test]
fn every_metric_stands_in_the_documentation() {
    let log = Log::new("log.example/one").grown(9, "a");
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), logs([&log]), &Hands::new());
    assert_eq!(running.add(&log.request(0, 7)).status, 200);
    assert_eq!(running.add(&log.request(3, 9)).status, 409);
    let scraped = running.get("/metrics").body;
    let says = |line: &str| assert!(scraped.lines().any(|l| l == line), "{line}\n{scraped}");
    says("countersign_witness_requests_total{status=\"200\"} 1");
    says("countersign_witness_requests_total{status=\"409\"} 1");
    says("countersign_witness_requests_total{status=\"422\"} 0");
    says("countersign_witness_signing 1");
    says("countersign_witness_logs 1");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/witness.md");
    let documented = std::fs::read_to_string(path).unwrap();
    for line in scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, _) = line.split_once(' ').unwrap();
        assert!(documented.contains(&format!("`{name}`")), "docs/witness.md lacks {name}");
    }
    running.stop();
}

#[test]
fn health_is_there_for_people_and_for_grpc() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let log = Log::new("log.example/one");
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), logs([&log]), &Hands::new());
    assert_eq!(running.get("/healthz").status, 200);
    assert_eq!(running.get("/readyz").status, 200);
    running.runtime.block_on(async {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", running.grpc));
        let channel = channel.unwrap().connect().await.unwrap();
        let service = "countersign.v1.WitnessService".to_owned();
        let answer = HealthClient::new(channel).check(HealthCheckRequest { service }).await;
        assert_eq!(answer.unwrap().into_inner().status, 1);
    });
    running.stop();
}

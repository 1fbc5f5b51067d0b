//! `countersign.toml`: where it is wrong is said by file, line and key; flags count for more;
//! paths are relative to the file. Here belongs what an operator meets who edits it.

use std::fs;
use std::path::Path;

use crate::support::{Server, World, finish, text};

#[test]
fn mistakes_are_named_by_file_line_and_key() {
    let world = World::new();
    for (toml, words) in [
        ("[limits]\ncalls = 3\nconections = 5\n", "countersign.toml:3: conections: unknown field"),
        ("[limits]\ncalls = \"many\"\n", "countersign.toml:2: calls: invalid type"),
        ("[limits]\n\ncalls = -1\n", "countersign.toml:3: calls: "),
        ("[limit]\n", "countersign.toml:1: [limit]: unknown field"),
        ("[limits]\ncalls 3\n", "countersign.toml:2: calls 3: "),
        ("[read]\npublic = true\npublic = false\n", "countersign.toml:3: public: duplicate key"),
        ("[listen]\ngrpc = \"7400\"\n", "countersign.toml:2: grpc: "),
        ("[telemetry]\nlog_format = \"xml\"\n", "countersign.toml:2: log_format: unknown variant"),
        ("[[party]]\nname = \"a\"\n", "countersign.toml:1: [[party]]: missing field `vkey`"),
        ("[limits]\ncalls = 0\n", "countersign.toml:2: limits.calls: must be at least 1"),
        ("[tls]\nkey = \"k.pem\"\n", "tls.certificate: certificate and key belong together"),
        ("[quota]\nunnamed_bytes = 1\n", "countersign.toml:2: quota.unnamed_bytes: "),
    ] {
        let outcome = finish(world.configured(toml));
        outcome.exits(2).says(&[words, "docs/configuration.md"]);
    }
    assert!(!world.path("countersign-data").exists(), "a folder was made for a wrong file");
    world.write("latin1.toml", b"# \xe9\n");
    world.run(["serve", "--config", "latin1.toml"]).exits(2).says(&["latin1.toml", "UTF-8"]);
    world.write("long.toml", vec![b'#'; (1 << 20) + 1]);
    world.run(["serve", "--config", "long.toml"]).exits(2).says(&["long.toml"]);
    world.run(["serve", "--config", "none.toml"]).exits(2).says(&["none.toml"]);
}

#[test]
fn flags_count_for_more_and_paths_start_at_the_file() {
    let world = World::new();
    let toml = "[log]\ndata = \"kept\"\norigin = \"log.example/one\"\n[listen]\ngrpc = \
                \"192.0.2.1:1\"\nhttp = \"192.0.2.1:1\"\n";
    world.write("etc/countersign.toml", toml);
    let start = |flags: &[&str]| {
        let mut command = world.configured_by("etc/countersign.toml");
        command.args(flags);
        Server::start(command, &world.path("server.stderr")).unwrap_or_else(|e| panic!("{e}"))
    };
    let server = start(&[]);
    assert_eq!(text(&server.said, "origin"), "log.example/one");
    server.stop();
    assert!(world.path("etc/kept/log.db").exists(), "paths are not relative to the file");
    // A flag wins over the file, and its path is relative to where one stands.
    let server = start(&["--data", "other", "--origin", "log.example/two"]);
    assert_eq!(text(&server.said, "origin"), "log.example/two");
    server.stop();
    assert!(world.path("other/log.db").exists());
    // An origin never changes.
    let mut command = world.serve_command("other", &[]);
    command.args(["--origin", "log.example/three"]);
    finish(command).exits(2).says(&["is the log log.example/two, not log.example/three"]);
}

#[test]
fn the_reference_in_the_documentation_is_the_one_of_this_program() {
    let world = World::new();
    let outcome = world.run_plain(["serve", "--configuration-reference"]);
    outcome.exits(0);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    assert!(
        outcome.stdout == fs::read_to_string(path).unwrap(),
        "docs/configuration.md is stale; run: countersign serve --configuration-reference > \
         docs/configuration.md"
    );
}

#[cfg(not(feature = "otel"))]
#[test]
fn traces_take_a_program_that_was_built_for_them() {
    let world = World::new();
    let toml = "[telemetry]\notlp_endpoint = \"http://127.0.0.1:4317\"\n";
    finish(world.configured(toml)).exits(2).says(&["built without traces", "--features otel"]);
}

//! The read path as plain HTTP: types, caching, and paths that are no tiles. Here belongs what a
//! proxy or a browser would notice.

use crate::parties::Voice;
use crate::service::{append, register};
use crate::support::{World, within};

/// A log of three statements.
fn with_three() -> (World, crate::support::Server) {
    let world = World::new();
    let party = world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let server = world.serve("log", &[&party]);
    within(async {
        let mut log = server.log().await;
        let mut a = register(&mut log, &server, "a.example").await;
        for _ in 0..2 {
            append(&mut log, &a.intent()).await;
        }
    });
    (world, server)
}

#[test]
fn what_is_there_comes_with_its_type_and_how_long_it_may_be_kept() {
    let (_world, server) = with_three();
    let checkpoint = server.get("/checkpoint");
    assert_eq!(checkpoint.status, 200);
    assert_eq!(checkpoint.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(checkpoint.header("cache-control"), Some("no-cache"));
    assert!(checkpoint.body.starts_with(format!("{}\n3\n", server.key.name()).as_bytes()));
    for path in ["/tile/0/000.p/3", "/tile/entries/000.p/3", "/tile/0/000.p/1"] {
        let tile = server.get(path);
        assert_eq!(tile.status, 200, "{path}");
        assert_eq!(tile.header("content-type"), Some("application/octet-stream"), "{path}");
        let caching = tile.header("cache-control").unwrap();
        assert!(caching.contains("immutable") && caching.contains("max-age="), "{path}: {caching}");
    }
    assert_eq!(server.get("/tile/0/000.p/3").body.len(), 96);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn what_is_not_a_tile_or_not_there_yet_is_not_found_and_not_to_be_kept() {
    let (_world, server) = with_three();
    let long = format!("/tile/0/{}000", "x001/".repeat(900));
    for path in [
        // Not there yet: the tile may be full a second later.
        "/tile/0/000",
        "/tile/0/000.p/4",
        "/tile/0/000.p/255",
        "/tile/0/001",
        "/tile/0/x001/067",
        "/tile/1/000",
        "/tile/1/000.p/1",
        "/tile/entries/000",
        "/tile/entries/000.p/4",
        "/tile/entries/x999/x999/999",
        // No paths of tiles, whatever the log has.
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/000.p/999999999999999999999",
        "/tile/0/000.p/03",
        "/tile/0/000.p/+3",
        "/tile/0/000.p/",
        "/tile/0/000.p",
        "/tile/0/000.p/3/",
        "/tile/0/0",
        "/tile/0/00",
        "/tile/0/0000.p/3",
        "/tile/0/x000/000.p/3",
        "/tile/00/000.p/3",
        "/tile/64/000.p/3",
        "/tile/-1/000.p/3",
        "/tile/256/000.p/3",
        "/tile/entry/000.p/3",
        "/tile/0",
        "/tile/0/",
        "/tile//000.p/3",
        "/tile/0/000.p/3%00",
        "/tile/0/../0/000.p/3",
        "/tile/entries/..%2f..%2flog.key",
        long.as_str(),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(answer.body.len() < 200, "{path}: {} bytes", answer.body.len());
    }
}

#[test]
fn nothing_but_the_read_path_is_served() {
    let (_world, server) = with_three();
    for path in [
        "/",
        "/tile",
        "/tile/",
        "/checkpoint/",
        "/log.key",
        "/log.db",
        "/../log.key",
        "/tile/%ff%fe",
    ] {
        let answer = server.get(path);
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
}

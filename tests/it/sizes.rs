//! Logs of the sizes at which tiles begin and end, each checked by `verify` over HTTP and by a
//! recomputation from the entries that shares no code with the product.

use api::v1::append_stream_response::Result as Streamed;
use tokio_stream::StreamExt as _;

use crate::oracle::{self, Node};
use crate::parties::Voice;
use crate::service::{checkpoint, entries, streamed};
use crate::support::{Server, World, list, number, text, within};

const NAME: &str = "a.example";

/// Statements that are signed and sent before the first answer is awaited.
const AHEAD: usize = 1_000;

/// Grows the log to `size` statements of one party, by a stream.
fn grow(server: &Server, voice: &mut Voice, size: u64) {
    within(async {
        let mut log = server.log().await;
        while voice.number < size {
            let count = AHEAD.min((size - voice.number) as usize);
            let requests: Vec<_> = (0..count)
                .map(|_| if voice.number == 0 { voice.register() } else { voice.intent() })
                .map(|envelope| streamed(&envelope))
                .collect();
            let mut answers =
                log.append_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
            let mut answered = 0;
            while let Some(answer) = answers.next().await {
                match answer.unwrap().result.unwrap() {
                    Streamed::Appended(_) => answered += 1,
                    Streamed::Refused(refusal) => panic!("{refusal:?}"),
                }
            }
            assert_eq!(answered, count);
        }
    });
}

/// Checks all that is served of a log of this size.
fn check(world: &World, server: &Server, size: u64) {
    let leaves = within(async {
        let mut log = server.log().await;
        let newest = checkpoint(&mut log, server).await;
        assert_eq!(newest.head().size, size);
        entries(&mut log, 0).await
    });
    assert_eq!(leaves.len() as u64, size);
    let hashes: Vec<Node> = leaves.iter().map(|leaf| oracle::leaf(leaf)).collect();
    let root = oracle::root(&hashes);

    // The checkpoint, read by hand.
    let note = String::from_utf8(server.get("/checkpoint").body).unwrap();
    let lines: Vec<&str> = note.lines().collect();
    let expected = [server.key.name().as_str(), &size.to_string(), &base64(&root), ""];
    assert_eq!(lines[..4], expected);
    assert!(lines[4].starts_with(&format!("— {} ", server.key.name())), "{note}");

    for (level, tiles) in oracle::tiles(&hashes).iter().enumerate() {
        for (n, tile) in tiles.iter().enumerate() {
            let path = oracle::tile_path(&level.to_string(), n, tile.len());
            let answer = server.get(&path);
            assert_eq!(answer.status, 200, "{path} of {size}");
            assert_eq!(answer.body, tile.concat(), "{path} of {size}");
        }
        // There is nothing after the last one.
        let beyond = oracle::tile_path(&level.to_string(), tiles.len(), 1);
        assert_eq!(server.get(&beyond).status, 404, "{beyond} of {size}");
    }
    for (n, bundle) in leaves.chunks(256).enumerate() {
        let path = oracle::tile_path("entries", n, bundle.len());
        let mut expected = Vec::new();
        for leaf in bundle {
            expected.extend_from_slice(&u16::try_from(leaf.len()).unwrap().to_be_bytes());
            expected.extend_from_slice(leaf);
        }
        let answer = server.get(&path);
        assert_eq!(answer.status, 200, "{path} of {size}");
        assert!(answer.body == expected, "{path} of {size} holds other entries");
    }

    world.write("log.vkey", format!("{}\n", server.key));
    let verdict = world.run(["verify", &server.http, "--log-key", "log.vkey"]).good();
    let check = &list(&verdict, "checks")[0];
    assert_eq!(number(check, "size"), size);
    assert_eq!(text(check, "root"), hex::encode(root));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn serve(world: &World) -> Server {
    let party = world.write_vkey("a.vkey", &Voice::key_of(NAME));
    world.serve("log", &[&party])
}

#[test]
fn logs_around_one_tile_are_what_their_entries_make_them() {
    let world = World::new();
    let mut server = serve(&world);
    let mut voice = Voice::new(NAME, &server.key);
    for size in [0, 1, 2, 255, 256, 257, 512, 513] {
        grow(&server, &mut voice, size);
        check(&world, &server, size);
        // The same after a restart, where partial tiles are rebuilt from what is staged.
        server.stop();
        server = serve(&world);
        assert_eq!(server.size, size);
        check(&world, &server, size);
    }
    server.stop();
}

/// 70,000 entries have 273 full tiles and a partial one on level 0, and a second tile on level 1.
#[test]
#[ignore = "takes minutes; tests/interop/run shows the same to other programs"]
fn a_log_of_seventy_thousand_statements_is_what_its_entries_make_it() {
    let world = World::new();
    let server = serve(&world);
    let mut voice = Voice::new(NAME, &server.key);
    for size in (10_000..=70_000).step_by(10_000) {
        grow(&server, &mut voice, size);
    }
    check(&world, &server, 70_000);
    server.stop();
    let server = serve(&world);
    assert_eq!(server.size, 70_000);
    check(&world, &server, 70_000);
    server.stop();
}

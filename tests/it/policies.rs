//! Trust policies as their users meet them: written, shown, checked, and deciding verdicts.

use std::time::{SystemTime, UNIX_EPOCH};

use exchange::bundle::Bundle;
use json::Value;
use tlog::{
    Checkpoint, Hash, KeyKind, Note, Policy, SignedCheckpoint, SigningKey, TreeHead, cosign,
};

use crate::parties::{Voice, seeded};
use crate::support::{Server, World, list, number, text, within};

/// A witness's key, with its public half as `<stem>.vkey`.
fn witness(world: &World, stem: &str) -> SigningKey {
    let key = seeded(&format!("{stem}.example"), stem);
    world.write(&format!("{stem}.vkey"), format!("{}\n", key.verifier(KeyKind::Cosignature)));
    key
}

fn log_key(world: &World) -> SigningKey {
    let key = seeded("log.example/one", "a log");
    world.write("log.vkey", format!("{}\n", key.verifier(KeyKind::Ed25519)));
    key
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn strings(value: &Value, name: &str) -> Vec<String> {
    list(value, name).iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_policy_is_written_shown_and_checked() {
    let world = World::new();
    let log = log_key(&world).verifier(KeyKind::Ed25519);
    let [w1, w2, w3, w4] = ["w1", "w2", "w3", "w4"].map(|stem| witness(&world, stem));
    let made = world.run([
        "policy",
        "new",
        "--log",
        "log.vkey=https://log.example/",
        "--witness",
        "w1.vkey=https://w1.example/",
        "--witness",
        "w2.vkey=https://w2.example/",
        "--witness",
        "w3.vkey=https://w3.example/",
        "--witness",
        "w4.vkey=https://w4.example/",
        "--owner",
        "w1=lab-a",
    ]);
    let made = made.good();
    let vkey = |key: &SigningKey| key.verifier(KeyKind::Cosignature);
    let expected = format!(
        "log {log} https://log.example/\nwitness w1 {} https://w1.example/\nwitness w2 {} \
         https://w2.example/\nwitness w3 {} https://w3.example/\nwitness w4 {} https://w4.example/\n\
         # owner w1 lab-a\ngroup quorum 3 w1 w2 w3 w4\nquorum quorum\n",
        vkey(&w1),
        vkey(&w2),
        vkey(&w3),
        vkey(&w4)
    );
    assert_eq!(text(&made, "text"), expected);
    assert_eq!(String::from_utf8(world.read("trust.policy")).unwrap(), expected);
    let digest = Hash::of(&[expected.as_bytes()]).to_string();
    let checked = world.run(["policy", "check", "trust.policy"]).good();
    assert_eq!(text(&checked, "policy"), digest);
    let figures = ["corrupt", "silent", "witnesses", "minimal_quorums"];
    assert_eq!(figures.map(|name| number(&checked, name)), [1, 1, 4, 4]);
    assert_eq!(list(&checked, "warnings").len(), 0, "{}", checked.to_text());
    let shown = world.run(["policy", "show", "trust.policy"]).good();
    assert_eq!(text(&shown, "policy"), digest);
    assert_eq!(text(&list(&shown, "witnesses")[0], "owner"), "lab-a");
    world.run_plain(["policy", "show", "trust.policy"]).says(&["quorum: 3 of 4", "owned by lab-a"]);
    // What is there is not overwritten.
    world.run(["policy", "new", "--log", "log.vkey"]).exits(2).says(&["exists already"]);
}

/// 2k > n + f, for every small case, and two quorums whenever it does not hold.
#[test]
fn the_linter_says_for_how_many_corrupt_witnesses_a_quorum_is_safe() {
    let world = World::new();
    log_key(&world);
    for n in 1..=4_usize {
        let stems: Vec<String> = (1..=n).map(|i| format!("n{i}")).collect();
        stems.iter().for_each(|stem| drop(witness(&world, stem)));
        for k in 1..=n {
            let file = format!("{k}-of-{n}.policy");
            let threshold = k.to_string();
            let mut words = vec!["policy", "new", "--log", "log.vkey", "--out", &file];
            words.extend(["--quorum", &threshold]);
            let vkeys: Vec<String> = stems.iter().map(|stem| format!("{stem}.vkey")).collect();
            for vkey in &vkeys {
                words.extend(["--witness", vkey]);
            }
            world.run(words).good();
            for f in 0..n {
                let asked = f.to_string();
                let outcome = world.run(["policy", "check", &file, "--corrupt", &asked]);
                let safe = 2 * k > n + f;
                let checked = if safe { outcome.good() } else { outcome.bad() };
                let splits = list(&checked, "splits");
                assert_eq!(splits.is_empty(), safe, "{k} of {n}, {f} corrupt");
                let Some(split) = splits.first() else { continue };
                let side = |name| text(split, name).split(", ").map(str::to_owned).collect();
                let (a, b): (Vec<String>, Vec<String>) = (side("a"), side("b"));
                assert_eq!((a.len(), b.len()), (k, k), "two quorums");
                let both = a.iter().filter(|witness| b.contains(witness)).count();
                assert!(both <= f, "{k} of {n}: {f} corrupt ones are enough");
            }
        }
    }
}

#[test]
fn the_linter_warns_of_owners_and_of_parties_that_keep_the_clock() {
    let world = World::new();
    log_key(&world);
    for stem in ["a", "b", "n1", "n2", "n3", "spare"] {
        witness(&world, stem);
    }
    let mut words = vec!["policy", "new", "--log", "log.vkey", "--quorum", "all"];
    for vkey in ["a.vkey", "b.vkey", "n1.vkey", "n2.vkey", "n3.vkey"] {
        words.extend(["--witness", vkey]);
    }
    words.extend(["--group", "labs=all:a,b", "--group", "neutral=2:n1,n2,n3"]);
    world.run(words).good();
    let check = |more: &[&str]| {
        let words = ["policy", "check", "trust.policy"].into_iter().chain(more.iter().copied());
        world.run(words)
    };
    // Both labs are in every quorum, and one of the neutral ones at least.
    let checked = check(&["--corrupt", "2"]).good();
    assert_eq!((number(&checked, "corrupt"), number(&checked, "silent")), (2, 0));
    check(&["--corrupt", "3"]).bad();
    // One owner behind all who are in two quorums at once.
    let owners = ["--owner", "a=empire", "--owner", "b=empire", "--owner", "n1=empire"];
    let owned = check(&[&["--corrupt", "2"], owners.as_slice()].concat()).bad();
    let split = &list(&owned, "splits")[0];
    assert!(text(split, "who").contains("empire"), "{}", owned.to_text());
    let all = [owners.as_slice(), &["--owner", "n2=empire"]].concat();
    let alone = check(&all).bad();
    assert!(
        strings(&alone, "problems").iter().any(|p| p.contains("empire reaches the quorum alone"))
    );
    // The clock.
    let neutral = check(&["--clock", "neutral", "--party-witness", "a.vkey"]).good();
    assert!(!strings(&neutral, "warnings").iter().any(|w| w.contains("not neutral")));
    for party in ["a", "a.vkey"] {
        let partial = check(&["--clock", "labs", "--party-witness", party]).good();
        let warnings = strings(&partial, "warnings");
        assert!(warnings.iter().any(|w| w.contains("not neutral")), "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains("stops the clock")), "{warnings:?}");
    }
    check(&["--clock", "nobody"]).exits(2).says(&["no group or witness"]);
    check(&["--owner", "x=y"]).exits(2).says(&["no witness x"]);
    check(&["--owner", "x"]).exits(2).says(&["WITNESS=OWNER"]);
    // A witness that counts for nothing, and no witness at all.
    world
        .run([
            "policy",
            "new",
            "--log",
            "log.vkey",
            "--witness",
            "spare.vkey",
            "--quorum",
            "none",
            "--out",
            "none.policy",
        ])
        .good();
    let none = world.run(["policy", "check", "none.policy"]).bad();
    assert!(strings(&none, "problems")[0].contains("the log alone"));
    assert!(strings(&none, "warnings").iter().any(|w| w.contains("spare is in no quorum")));
}

#[test]
fn broken_policies_are_refused_with_their_line() {
    let world = World::new();
    log_key(&world);
    witness(&world, "w1");
    world.write("broken.policy", "log x\nquorum none\n");
    world
        .run(["policy", "check", "broken.policy"])
        .exits(2)
        .says(&["line 1", "docs/trust-policy.md"]);
    world.write("owner.policy", "# owner w1 me\nquorum none\n");
    world.run(["policy", "check", "owner.policy"]).exits(2).says(&["line 1"]);
    for (words, said) in [
        (vec!["--witness", "log.vkey"], "key of type 04"),
        (vec!["--witness", "w1.vkey", "--witness", "w1.vkey"], "same public key"),
        (vec!["--witness", "w1.vkey", "--quorum", "2"], "threshold"),
        (vec!["--witness", "w1.vkey", "--quorum", "w2"], "not defined"),
        (vec!["--witness", "w1.vkey", "--group", "g"], "NAME=K:A,B,C"),
        (vec!["--witness", "w1.vkey", "--group", "g=1:w2"], "not defined"),
        (vec!["--witness", "w1.vkey", "--owner", "w1"], "WITNESS=OWNER"),
        (vec!["--witness", "nowhere.vkey"], "nowhere.vkey"),
    ] {
        let words = ["policy", "new", "--log", "log.vkey"].into_iter().chain(words);
        world.run(words).exits(2).says(&[said]);
    }
    assert!(!world.path("trust.policy").exists(), "nothing was written");
}

/// With the cosignatures of these witnesses at these times.
fn cosigned(note: &str, witnesses: &[(&SigningKey, u64)]) -> String {
    let mut note = Note::parse(note.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse_text(note.text()).unwrap();
    for (witness, time) in witnesses {
        note = note.with_signature(cosign(&checkpoint, witness, *time).unwrap()).unwrap();
    }
    note.to_string()
}

/// A log with a party's two statements, as a bundle.
fn bundle(world: &World) -> (Server, Bundle) {
    let key = Voice::key_of("lab-a.example");
    let vkey = world.write_vkey("lab-a.vkey", &key);
    let server = world.serve("data", &[&vkey]);
    world.write("log.vkey", format!("{}\n", server.key));
    let mut voice = Voice::new("lab-a.example", &server.key);
    let envelopes = [voice.register(), voice.intent()];
    let bundle = within(async {
        for envelope in &envelopes {
            let mut connection = connect(&server).await;
            connection.append(envelope).await.unwrap();
        }
        let ids = envelopes.iter().map(exchange::Envelope::id);
        client::BundleMaker::new(ids).collect(&mut connect(&server).await).await.unwrap()
    });
    (server, bundle)
}

async fn connect(server: &Server) -> client::Connection {
    client::Connection::open(server.grpc.as_str(), server.key.clone(), None).await.unwrap()
}

#[test]
fn a_verdict_under_a_policy_asks_for_its_witnesses_and_names_its_digest() {
    let world = World::new();
    let (server, bundle) = bundle(&world);
    let [w1, w2, w3] = ["w1", "w2", "w3"].map(|stem| witness(&world, stem));
    let mut words = vec!["policy", "new", "--log", "log.vkey", "--quorum", "2"];
    for vkey in ["w1.vkey", "w2.vkey", "w3.vkey"] {
        words.extend(["--witness", vkey]);
    }
    world.run(words).good();
    let digest = Policy::parse(&world.read("trust.policy")).unwrap().digest().to_string();
    let verify = |file: &str, more: &[&str]| {
        let words = ["verify", file, "--policy", "trust.policy"];
        world.run(words.into_iter().chain(more.iter().copied()))
    };
    let write = |file: &str, witnesses: &[(&SigningKey, u64)]| {
        let checkpoint = cosigned(&bundle.checkpoint, witnesses);
        world.write(file, Bundle { checkpoint, ..bundle.clone() }.to_bytes());
    };
    let long_ago = 1_000_000_000;
    write("none.countersign", &[]);
    write("one.countersign", &[(&w2, now())]);
    write("two.countersign", &[(&w1, long_ago), (&w3, now())]);
    write("fresh.countersign", &[(&w1, now()), (&w3, now())]);
    verify("none.countersign", &[]).exits(1).says(&["no quorum"]);
    verify("one.countersign", &[]).exits(1).says(&["no quorum of the policy: w2"]);
    // What a file proves doesn't age, unless one asks.
    let verdict = verify("two.countersign", &[]).good();
    assert_eq!(text(&verdict, "policy"), digest);
    let check = &list(&verdict, "checks")[0];
    assert_eq!((text(check, "policy"), number(check, "quorum_time")), (digest.as_str(), long_ago));
    assert_eq!(list(check, "witnesses").len(), 2);
    verify("two.countersign", &["--max-age", "30d"]).exits(1).says(&["longer than the 2592000 s"]);
    verify("fresh.countersign", &["--max-age", "1h"]).good();
    let people = world.run_plain(["verify", "two.countersign", "--policy", "trust.policy"]);
    people.exits(0).says(&["cosigned by w1, w3", &digest[..12], "2001-09-09T01:46:40Z"]);
    // Without a policy nobody asks for witnesses, and with one the log must be in it.
    let plain = world.run(["verify", "none.countersign", "--log-key", "log.vkey"]).good();
    assert_eq!(plain.get("policy"), Some(&Value::Null));
    log_key(&world);
    verify("two.countersign", &["--log-key", "log.vkey"]).exits(2).says(&["does not name the log"]);
    // The log itself, whose newest head nobody has cosigned.
    verify(&server.http, &[]).exits(1).says(&["no quorum"]);
}

#[test]
fn a_head_from_the_future_is_refused_where_freshness_counts() {
    let world = World::new();
    let (_, bundle) = bundle(&world);
    let w1 = witness(&world, "w1");
    world.run(["policy", "new", "--log", "log.vkey", "--witness", "w1.vkey"]).good();
    let ahead = now() + 1_000_000;
    let checkpoint = cosigned(&bundle.checkpoint, &[(&w1, ahead)]);
    world.write("ahead.countersign", Bundle { checkpoint, ..bundle }.to_bytes());
    let words = ["verify", "ahead.countersign", "--policy", "trust.policy"];
    world.run(words.into_iter().chain(["--max-age", "1h"])).exits(1).says(&["ahead of"]);
}

/// Two heads that witnesses cosigned both convict them too, from two checkpoint files.
#[test]
fn witnesses_that_cosigned_two_histories_are_named_with_the_log() {
    let world = World::new();
    let log = log_key(&world);
    let [w1, w2, w3] = ["w1", "w2", "w3"].map(|stem| witness(&world, stem));
    let mut words = vec!["policy", "new", "--log", "log.vkey", "--quorum", "2"];
    for vkey in ["w1.vkey", "w2.vkey", "w3.vkey"] {
        words.extend(["--witness", vkey]);
    }
    world.run(words).good();
    let head = |root: u8| {
        let head = TreeHead { size: 7, root: Hash::new([root; 32]) };
        SignedCheckpoint::sign(&log, head).to_string()
    };
    world.write("a.checkpoint", cosigned(&head(1), &[(&w1, 100), (&w2, 100)]));
    world.write("b.checkpoint", cosigned(&head(2), &[(&w2, 200), (&w3, 200)]));
    let both = ["verify", "a.checkpoint", "b.checkpoint", "--policy", "trust.policy"];
    let outcome = world.run(both);
    let verdict = outcome.bad();
    let check = list(&verdict, "checks").last().unwrap();
    let file = text(check, "evidence").to_owned();
    let verdict = world.run(["verify", &file, "--policy", "trust.policy"]).good();
    let check = &list(&verdict, "checks")[0];
    let guilty: Vec<(&str, &str)> =
        list(check, "guilty").iter().map(|g| (text(g, "role"), text(g, "name"))).collect();
    // 2k − n of them at least: here the one that is in both quorums.
    assert_eq!(guilty, [("log", "log.example/one"), ("witness", "w2.example")]);
    // Whoever knows that witness alone convicts it alone.
    let alone = world.run_plain(["verify", &file, "--witness", "w2.vkey"]);
    alone.exits(0).says(&["Guilty is witness w2.example", "Not known to you: log.example/one"]);
    alone.says(&["convicts a key"]);
}

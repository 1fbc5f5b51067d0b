//! Opening a log as a service: what is stored is believed only as far as it can be checked.

use sequencer::{Entry, Log, MemoryStore, ReadError, StatementKey};
use server::{Admitted, OpenError, Service, Settings};
use tlog::{TileKind, TilePath};

use crate::parties::seeded;
use crate::scene::{NAMES, Scene, append, log_key, settings, start, voice};

/// Opens the store of a service that has ended.
fn reopen(store: &MemoryStore) -> Result<Service, OpenError> {
    let log = Log::open(store.copy(), log_key())?;
    let (service, _) = Service::start(log, &log_key(), settings())?;
    Ok(std::sync::Arc::into_inner(service).unwrap())
}

#[tokio::test]
async fn who_is_registered_stays_so_whomever_the_operator_admits_today() {
    let mut scene = Scene::new().await;
    let log = Log::open(scene.store.copy(), log_key()).unwrap();
    let nobody = Settings { admitted: Admitted::default(), ..Settings::default() };
    let (service, _writer) = Service::start(log, &log_key(), nobody).unwrap();
    assert_eq!(append(&service, &scene.a.intent()).await.index, 5);
    let refusal = service.append(voice(NAMES[2]).register().as_bytes()).await.unwrap_err();
    assert_eq!(refusal.reason(), exchange::Reason::NotAdmitted);
}

#[tokio::test]
async fn an_entry_that_was_never_admitted_is_named() {
    let leaf = |bytes: &[u8], key: u8| Entry::new(bytes, StatementKey::new([key; 32])).unwrap();
    let mut a = voice(NAMES[0]);
    let registration = a.register();
    let skipped = a.intent();
    let after = a.intent();
    for (what, entries, index) in [
        ("no statement", vec![leaf(b"hello", 1)], 0),
        ("one out of order", vec![leaf(registration.as_bytes(), 1), leaf(after.as_bytes(), 2)], 1),
        ("one of a stranger", vec![leaf(skipped.as_bytes(), 1)], 0),
    ] {
        // A writer without the state machine, under the log's own key.
        let store = MemoryStore::new();
        let mut log = Log::create(store.clone(), log_key()).unwrap();
        log.step(&entries).unwrap();
        let error = reopen(&store).unwrap_err();
        let OpenError::Foreign { index: found, .. } = &error else { panic!("{what}: {error}") };
        assert_eq!(*found, index, "{what}");
        assert!(error.to_string().contains("fsck"), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_tile_or_a_foreign_key_keeps_the_service_from_starting() {
    let store = MemoryStore::new();
    let (service, _writer) = start(store.clone());
    let mut a = voice(NAMES[0]);
    append(&service, &a.register()).await;
    for _ in 0..256 {
        append(&service, &a.intent()).await;
    }
    drop(service);
    assert!(reopen(&store).is_ok());

    let path = |kind| TilePath::new(kind, 0, 256).unwrap();
    for kind in [TileKind::Entries, TileKind::Hashes { level: 0 }] {
        let good = {
            use sequencer::StoreReads as _;
            store.tile(&path(kind)).unwrap().unwrap()
        };
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            store.damage_tile(&path(kind), Some(bytes));
            let error = reopen(&store).unwrap_err();
            let named = matches!(
                &error,
                OpenError::Read(ReadError::Damaged { .. })
                    | OpenError::Log(sequencer::OpenError::Root { .. })
            );
            assert!(named, "{kind:?} at {at}: {error}");
        }
        store.damage_tile(&path(kind), None);
        assert!(reopen(&store).is_err(), "{kind:?} is gone");
        store.damage_tile(&path(kind), Some(good));
    }
    assert!(reopen(&store).is_ok());

    let other = seeded(log_key().name().as_str(), "another key");
    let error = Log::open(store.copy(), other).unwrap_err();
    assert!(matches!(error, sequencer::OpenError::Checkpoint(_)), "{error}");
}

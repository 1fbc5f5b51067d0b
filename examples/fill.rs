//! Fills a log with statements, to see how it behaves at size:
//!
//! ```text
//! cargo run --release --example fill -- http://127.0.0.1:7400 lab-a.example.key LOG_ORIGIN 70000 \
//!     receipts
//! ```
//!
//! The party registers and then announces runs, one after another. Each statement names the one
//! before by an id that is known before the log has it, so all of them go through one stream
//! without waiting. The party must be new to the log.
//!
//! With a folder at the end, the receipts of some entries are kept in it as they were answered:
//! `N.tlog-proof` beside the entry itself, `N.leaf`. They are those around the ends of tiles.

#![allow(clippy::print_stdout)] // it is a program, not a library

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use api::v1::append_stream_response::Result as Answer;
use api::v1::log_service_client::LogServiceClient;
use bytes::Bytes;
use client::keys;
use exchange::predicate::{Intent, Keys, Party, Predicate, SealingKey};
use exchange::{Common, Envelope, Statement, StatementId};
use tlog::{Hash, KeyName, Receipt, SigningKey, TreeHead};
use tokio_stream::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (server, key, origin, count, receipts) = match arguments.as_slice() {
        [server, key, origin, count] => (server, key, origin, count, None),
        [server, key, origin, count, folder] => (server, key, origin, count, Some(folder)),
        _ => return Err("usage: fill SERVER NAME.key LOG_ORIGIN COUNT [RECEIPTS]".into()),
    };
    let key = keys::read_signing(Path::new(key))?;
    let origin = KeyName::parse(origin)?;
    let count: u64 = count.parse()?;

    let mut log = LogServiceClient::connect(server.clone()).await?;
    let kept = Arc::new(Mutex::new(BTreeMap::new()));
    let mut previous = None;
    let leaves = Arc::clone(&kept);
    let statements = (1..=count).map(move |number| {
        let envelope = envelope(&key, &origin, number, previous);
        previous = Some(envelope.id());
        let bytes = Bytes::copy_from_slice(envelope.as_bytes());
        if is_kept(number - 1, count) {
            leaves.lock().expect("nobody panics with it").insert(number - 1, bytes.clone());
        }
        api::v1::AppendStreamRequest { envelope: bytes }
    });
    let began = Instant::now();
    let mut answers = log.append_stream(tokio_stream::iter(statements)).await?.into_inner();
    let mut appended = 0_u64;
    while let Some(answer) = answers.next().await {
        match answer?.result {
            Some(Answer::Appended(answer)) => {
                let inclusion = answer.inclusion.ok_or("an answer without a receipt")?;
                if let Some(folder) = receipts.filter(|_| is_kept(appended, count)) {
                    let leaves = kept.lock().expect("nobody panics with it");
                    let leaf = leaves.get(&appended).ok_or("an answer before its statement")?;
                    keep(Path::new(folder), &inclusion, leaf)?;
                }
                appended += 1;
            }
            Some(Answer::Refused(refusal)) => {
                return Err(format!("{}: {}", refusal.reason, refusal.message).into());
            }
            None => return Err("an answer says nothing".into()),
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if appended != count {
        return Err(format!("the log answered {appended} of {count} statements").into());
    }
    println!("{appended} statements in {seconds:.1} s, {:.0}/s", appended as f64 / seconds);
    Ok(())
}

/// First and last ones, and those around the ends of tiles.
fn is_kept(index: u64, count: u64) -> bool {
    let near = |place: u64| index.abs_diff(place) <= 1;
    [0, 256, 65_536, count - 1].into_iter().any(near) || index == count / 2
}

fn keep(folder: &Path, inclusion: &api::v1::Inclusion, leaf: &[u8]) -> Result<(), Box<dyn Error>> {
    let hashes = inclusion.proof.iter().map(|hash| Hash::from_slice(hash));
    let proof = hashes.collect::<Result<Vec<_>, _>>()?;
    let receipt = Receipt::new(inclusion.index, proof, &inclusion.checkpoint)?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join(format!("{}.tlog-proof", inclusion.index)), receipt.to_bytes())?;
    Ok(fs::write(folder.join(format!("{}.leaf", inclusion.index)), leaf)?)
}

fn envelope(
    key: &SigningKey,
    origin: &KeyName,
    number: u64,
    previous: Option<StatementId>,
) -> Envelope {
    let common = Common {
        origin: origin.clone(),
        exchange: None,
        signer: key.name().clone(),
        number,
        previous,
        seen: TreeHead::EMPTY,
    };
    let fresh =
        |what: &str| *Hash::of(&[what.as_bytes(), &number.to_be_bytes(), &*key.seed()]).as_bytes();
    let predicate = if number == 1 {
        let recovery = SigningKey::from_seed(key.name().clone(), &fresh("recovery"));
        let keys = Keys {
            name: key.name().clone(),
            key: *key.public().as_bytes(),
            sealing: SealingKey::X25519(fresh("sealing")),
            recovery: *recovery.public().as_bytes(),
        };
        Predicate::Party(Box::new(Party::Register { keys }))
    } else {
        Predicate::Intent(Intent { run: number - 1, nonce: fresh("nonce") })
    };
    let statement = Statement::new(common, predicate).expect("the statement keeps every rule");
    Envelope::sign(&statement.to_payload(), key).expect("the statement is short")
}

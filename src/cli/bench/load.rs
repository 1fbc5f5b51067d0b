//! What is put into a log to measure it: parties, each with a chain of signed statements.
//!
//! A statement names its signer's last one, so one party's statements go one after another; what
//! is in flight together comes from as many parties. All of it is signed before the clock starts.

use std::thread;

use exchange::predicate::{Intent, Keys, Party, Predicate, SealingKey};
use exchange::{Common, Envelope, Statement, StatementId};
use tlog::{Hash, KeyName, SigningKey, TreeHead};

use super::machine::cores;
use crate::cli::output::Failure;

/// The measured log's name.
pub(super) const ORIGIN: &str = "bench.example/log";
/// Whose records and bundles are measured.
pub(super) const PARTY: &str = "party-0.bench.example";
/// The nonce of that party's run.
pub(super) const NONCE: [u8; 32] = [4; 32];

/// The log's key.
pub(super) fn log_key() -> Result<SigningKey, Failure> {
    Ok(SigningKey::from_seed(KeyName::parse(ORIGIN).map_err(Failure::new)?, &[5; 32]))
}

/// One who signs, and what it has signed last.
pub(super) struct Signer {
    pub(super) key: SigningKey,
    number: u64,
    previous: Option<StatementId>,
}

impl Signer {
    pub(super) fn new(place: usize) -> Result<Self, Failure> {
        let name = format!("party-{place}.bench.example");
        let seed = Hash::of(&[b"countersign bench", name.as_bytes()]);
        let name = KeyName::parse(&name).map_err(Failure::new)?;
        let key = SigningKey::from_seed(name, seed.as_bytes());
        Ok(Self { key, number: 0, previous: None })
    }

    /// Signs the next statement of the chain.
    pub(super) fn say(
        &mut self,
        predicate: Predicate,
        seen: TreeHead,
    ) -> Result<Envelope, Failure> {
        self.number += 1;
        let common = Common {
            origin: KeyName::parse(ORIGIN).map_err(Failure::new)?,
            exchange: None,
            signer: self.key.name().clone(),
            number: self.number,
            previous: self.previous,
            seen,
        };
        let payload = Statement::new(common, predicate).map_err(Failure::new)?.to_payload();
        let envelope = Envelope::sign(&payload, &self.key).map_err(Failure::new)?;
        self.previous = Some(envelope.id());
        Ok(envelope)
    }

    /// Its first statement.
    pub(super) fn register(&mut self) -> Result<Envelope, Failure> {
        let seed = Hash::of(&[b"countersign bench recovery", self.key.public().as_bytes()]);
        let recovery = SigningKey::from_seed(self.key.name().clone(), seed.as_bytes());
        let keys = Keys {
            name: self.key.name().clone(),
            key: *self.key.public().as_bytes(),
            sealing: SealingKey::X25519([9; 32]),
            recovery: *recovery.public().as_bytes(),
        };
        self.say(Predicate::Party(Box::new(Party::Register { keys })), TreeHead::EMPTY)
    }

    /// So many announced runs. Of all kinds they are the cheapest to make, and as dear as any to
    /// admit: signature, chain, number, nonce, and a head that the log must have gone through.
    fn intents(&mut self, count: u64, seen: TreeHead) -> Result<Vec<Vec<u8>>, Failure> {
        let mut leaves = Vec::new();
        for run in 1..=count {
            let nonce = *Hash::of(&[self.key.public().as_bytes(), &run.to_be_bytes()]).as_bytes();
            let envelope = self.say(Predicate::Intent(Intent { run, nonce }), seen)?;
            leaves.push(envelope.as_bytes().to_vec());
        }
        Ok(leaves)
    }
}

/// The chains of all signers, in their order, signed on all cores.
pub(super) fn chains(
    mut signers: Vec<Signer>,
    each: u64,
    seen: TreeHead,
) -> Result<Vec<Vec<Vec<u8>>>, Failure> {
    let share = signers.len().div_ceil(cores()).max(1);
    thread::scope(|scope| {
        let threads: Vec<_> = signers
            .chunks_mut(share)
            .map(|part| {
                scope.spawn(move || -> Result<Vec<Vec<Vec<u8>>>, Failure> {
                    part.iter_mut().map(|signer| signer.intents(each, seen)).collect()
                })
            })
            .collect();
        let mut chains = Vec::new();
        for thread in threads {
            chains.extend(thread.join().map_err(|_| Failure::new("signing panicked"))??);
        }
        Ok(chains)
    })
}

//! A log as files in memory, so that a test can change any of them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use client::{FetchError, LogFiles};
use exchange::predicate::{Intent, Keys, Party, Predicate, SealingKey};
use exchange::{Common, Envelope, Statement, StatementId};
use tlog::{
    CompactRange, Hash, KeyKind, KeyName, MemoryNodes, SignedCheckpoint, SigningKey, TILE_WIDTH,
    TileKind, TreeHead, VerifierKey, leaf_hash,
};

pub(crate) fn key(name: &str) -> SigningKey {
    let seed = Hash::of(&[name.as_bytes()]);
    SigningKey::from_seed(KeyName::parse(name).unwrap(), seed.as_bytes())
}

/// A log with one party, and its entries.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) key: SigningKey,
    pub(crate) leaves: Vec<Vec<u8>>,
    tree: CompactRange,
    number: u64,
    previous: Option<StatementId>,
    nonce: u64,
}

impl Log {
    pub(crate) fn new() -> Self {
        let mut log = Self {
            key: key("log.example/monitored"),
            leaves: Vec::new(),
            tree: CompactRange::new(),
            number: 0,
            previous: None,
            nonce: 0,
        };
        let lab = key("lab-a.example");
        let keys = Keys {
            name: lab.name().clone(),
            key: *lab.public().as_bytes(),
            sealing: SealingKey::X25519([9; 32]),
            recovery: *key("recovery.example").public().as_bytes(),
        };
        log.say(Predicate::Party(Box::new(Party::Register { keys })));
        log
    }

    pub(crate) fn vkey(&self) -> VerifierKey {
        self.key.verifier(KeyKind::Ed25519)
    }

    /// Makes what follows differ from a copy of this log.
    pub(crate) fn fork(&self) -> Self {
        Self { nonce: self.nonce + 1_000_000, ..self.clone() }
    }

    pub(crate) fn grow(&mut self, size: u64) {
        while (self.leaves.len() as u64) < size {
            self.nonce += 1;
            let mut nonce = [0; 32];
            nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
            let run = self.number;
            self.say(Predicate::Intent(Intent { run, nonce }));
        }
    }

    /// Says something under the number of the last statement, as no honest client does.
    pub(crate) fn say_again(&mut self) {
        self.number -= 1;
        self.say(Predicate::Intent(Intent { run: self.number + 1, nonce: [7; 32] }));
    }

    fn say(&mut self, predicate: Predicate) {
        let lab = key("lab-a.example");
        self.number += 1;
        let common = Common {
            origin: self.key.name().clone(),
            exchange: None,
            signer: lab.name().clone(),
            number: self.number,
            previous: self.previous,
            seen: self.tree.head(),
        };
        let payload = Statement::new(common, predicate).unwrap().to_payload();
        let envelope = Envelope::sign(&payload, &lab).unwrap();
        self.previous = Some(envelope.id());
        self.push(envelope.as_bytes().to_vec());
    }

    /// An entry that no honest server would take.
    pub(crate) fn push(&mut self, leaf: Vec<u8>) {
        self.tree.append(leaf_hash(&leaf));
        self.leaves.push(leaf);
    }

    pub(crate) fn head(&self, size: u64) -> TreeHead {
        let mut nodes = MemoryNodes::new();
        for leaf in &self.leaves[..size as usize] {
            nodes.append(leaf_hash(leaf));
        }
        nodes.head()
    }

    pub(crate) fn checkpoint(&self, size: u64) -> SignedCheckpoint {
        SignedCheckpoint::sign(&self.key, self.head(size))
    }

    /// The log as it is served at some size.
    pub(crate) fn files(&self, size: u64) -> Files {
        let mut files = BTreeMap::new();
        files.insert("checkpoint".to_owned(), self.checkpoint(size).as_bytes().to_vec());
        for path in tlog::tiles_of(size).filter(|path| path.kind() == TileKind::Entries) {
            let first = (path.index() * TILE_WIDTH) as usize;
            let mut bytes = Vec::new();
            for leaf in &self.leaves[first..first + usize::from(path.width())] {
                bytes.extend_from_slice(&(leaf.len() as u16).to_be_bytes());
                bytes.extend_from_slice(leaf);
            }
            files.insert(path.to_string(), bytes);
        }
        Files { files, fetched: RefCell::default() }
    }
}

/// What a server gives, and what was asked of it.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) fetched: RefCell<Vec<String>>,
}

impl LogFiles for Files {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        self.fetched.borrow_mut().push(path.to_owned());
        match self.files.get(path) {
            Some(bytes) if bytes.len() > max => {
                Err(FetchError { place: path.to_owned(), problem: "too long".to_owned() })
            }
            other => Ok(other.cloned()),
        }
    }
}

//! A small log for tests: parties with fixed seeds, a tree beside the state, and statements that
//! are right unless a test makes them wrong.

use exchange::predicate::{Intent, Keys, Party, SealingKey, Tick, Withdrawal, WithdrawalCode};
use exchange::{
    Common, Envelope, History, Predicate, Refusal, Replayed, SignedStatement, State, Statement,
    StatementId,
};
use tlog::{
    CompactRange, Hash, KeyKind, KeyName, SignedCheckpoint, SigningKey, TreeHead, leaf_hash,
};

pub(crate) const ORIGIN: &str = "log.example/test";

pub(crate) fn key(name: &str) -> SigningKey {
    seeded(name, name)
}

pub(crate) fn recovery_key(name: &str) -> SigningKey {
    seeded(name, &format!("{name} recovery"))
}

pub(crate) fn seeded(name: &str, seed: &str) -> SigningKey {
    let seed = Hash::of(&[b"exchange tests: ", seed.as_bytes()]);
    SigningKey::from_seed(KeyName::parse(name).unwrap(), seed.as_bytes())
}

pub(crate) fn keys(signing: &SigningKey) -> Keys {
    Keys {
        name: signing.name().clone(),
        key: *signing.public().as_bytes(),
        sealing: SealingKey::X25519([9; 32]),
        recovery: *recovery_key(signing.name().as_str()).public().as_bytes(),
    }
}

pub(crate) fn register(signing: &SigningKey) -> Predicate {
    Predicate::Party(Box::new(Party::Register { keys: keys(signing) }))
}

pub(crate) fn intent(run: u64, nonce: u64) -> Predicate {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&nonce.to_be_bytes());
    Predicate::Intent(Intent { run, nonce: bytes })
}

pub(crate) fn withdrawal(intent: StatementId) -> Predicate {
    Predicate::Withdrawal(Withdrawal { intent, code: WithdrawalCode::Crash })
}

/// The roots of all prefixes of a log.
#[derive(Clone)]
pub(crate) struct Roots(pub(crate) Vec<Hash>);

impl Roots {
    pub(crate) fn of<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut range = CompactRange::new();
        let mut roots = vec![range.root()];
        for leaf in leaves {
            range.append(leaf_hash(leaf));
            roots.push(range.root());
        }
        Self(roots)
    }
}

impl History for Roots {
    fn root(&self, size: u64) -> Option<Hash> {
        self.0.get(usize::try_from(size).ok()?).copied()
    }
}

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) key: SigningKey,
    pub(crate) state: State,
    pub(crate) leaves: Vec<Vec<u8>>,
    pub(crate) roots: Roots,
    range: CompactRange,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self::of(key(ORIGIN))
    }

    pub(crate) fn of(key: SigningKey) -> Self {
        let state = State::new(key.verifier(KeyKind::Ed25519));
        let range = CompactRange::new();
        let roots = Roots(vec![range.root()]);
        Self { key, state, leaves: Vec::new(), roots, range }
    }

    /// A log in which these parties are registered.
    pub(crate) fn with(names: &[&str]) -> Self {
        let mut log = Self::new();
        for name in names {
            log.say(&key(name), register(&key(name))).unwrap();
        }
        log
    }

    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(crate) fn head(&self) -> TreeHead {
        self.range.head()
    }

    /// The common members of the signer's next statement outside of exchanges.
    pub(crate) fn common(&self, signer: &SigningKey) -> Common {
        let last = self.state.last(signer.name(), None);
        Common {
            origin: self.key.name().clone(),
            exchange: None,
            signer: signer.name().clone(),
            number: last.map_or(1, |(number, _)| number + 1),
            previous: last.map(|(_, id)| id),
            seen: self.head(),
        }
    }

    pub(crate) fn tick(&self) -> Predicate {
        let checkpoint = SignedCheckpoint::sign(&self.key, self.head());
        let note = std::str::from_utf8(checkpoint.as_bytes()).unwrap();
        Predicate::Tick(Tick::parse(note).unwrap())
    }

    pub(crate) fn sign(&self, signer: &SigningKey, predicate: Predicate) -> Vec<u8> {
        sign(signer, self.common(signer), predicate)
    }

    /// What a server does with a leaf.
    pub(crate) fn submit(&mut self, leaf: &[u8]) -> Result<StatementId, Refusal> {
        let signed = SignedStatement::parse(leaf)?;
        let verified = self.state.registry().verify(signed)?;
        let before = self.state.digest();
        let checked = self.state.check(self.size(), &verified, &self.roots);
        assert_eq!(before, self.state.digest(), "a check changes nothing");
        checked?;
        self.state.apply(self.size(), &verified);
        self.push(leaf);
        Ok(verified.id())
    }

    pub(crate) fn say(
        &mut self,
        signer: &SigningKey,
        predicate: Predicate,
    ) -> Result<StatementId, Refusal> {
        let leaf = self.sign(signer, predicate);
        self.submit(&leaf)
    }

    /// What a reader does with a leaf that stands in the log, whatever it is.
    pub(crate) fn replay(&mut self, leaf: &[u8]) -> Replayed {
        let replayed = self.state.replay(self.size(), leaf, &self.roots);
        self.push(leaf);
        replayed
    }

    fn push(&mut self, leaf: &[u8]) {
        self.leaves.push(leaf.to_vec());
        self.range.append(leaf_hash(leaf));
        self.roots.0.push(self.range.root());
    }
}

pub(crate) fn sign(signer: &SigningKey, common: Common, predicate: Predicate) -> Vec<u8> {
    let statement = Statement::new(common, predicate).unwrap();
    Envelope::sign(&statement.to_payload(), signer).unwrap().as_bytes().to_vec()
}

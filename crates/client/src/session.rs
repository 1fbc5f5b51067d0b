//! A party at work on one log: its numbers, its trusted head and what it signs, all durable in
//! its vault before anything leaves the machine. Outside of exchanges and in each of them it has a
//! scope of its own: a chain of numbers, and at most one statement that waits for an answer.

use std::time::Duration;

use exchange::predicate::{self, Keys, Predicate, SealingKey};
use exchange::{Common, Envelope, Reason, Refusal, Statement, StatementId};
use tlog::{Hash, KeyName, Policy, SigningKey, VerifiedCheckpoint, VerifierKey};

use crate::address::Address;
use crate::connection::{CallError, Connection, Inclusion};
use crate::vault::{Scope, Signing, Vault, VaultError};
use crate::{Entropy, sealing};

/// Why a party's step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The log could not be reached, refused, or gave a false answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The vault could not be read or written.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The statement is not one that any log would take.
    #[error("this statement can't be made: {0}")]
    Statement(#[from] Refusal),
}

/// A statement in the log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Its id.
    pub id: StatementId,
    /// The leaf.
    pub envelope: Envelope,
    /// Where it is.
    pub inclusion: Inclusion,
}

/// A statement that is ready to be signed.
#[derive(Debug)]
pub struct Prepared {
    id: StatementId,
    statement: Statement,
    scope: Scope,
}

impl Prepared {
    /// The id that the statement will have.
    pub fn id(&self) -> StatementId {
        self.id
    }

    /// What will be signed.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// One party's session with one log.
pub struct Session<'a, E> {
    connection: Connection,
    key: &'a SigningKey,
    vault: &'a Vault,
    entropy: E,
    /// Two sessions at once could sign two statements with one number.
    _signing: Signing,
}

impl<'a, E: Entropy> Session<'a, E> {
    /// Takes the right to sign, connects, verifies the newest head against the last one trusted, and sends again what an
    /// earlier session signed without getting an answer.
    pub async fn open(
        server: impl Into<Address>,
        log: VerifierKey,
        key: &'a SigningKey,
        vault: &'a Vault,
        entropy: E,
    ) -> Result<Self, SessionError> {
        let signing = vault.sign_alone()?;
        let trusted = vault.trusted_checkpoint(log.name())?;
        let connection = Connection::open(server, log, trusted.as_deref()).await?;
        let mut session = Self { connection, key, vault, entropy, _signing: signing };
        session.keep_trusted()?;
        for scope in vault.scopes(session.origin())? {
            session.settle(scope).await?;
        }
        Ok(session)
    }

    /// The party's signing key.
    pub fn key(&self) -> &'a SigningKey {
        self.key
    }

    /// The party's vault.
    pub fn vault(&self) -> &'a Vault {
        self.vault
    }

    /// The connection, for reading.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Fresh secrets.
    pub fn entropy(&mut self) -> &mut E {
        &mut self.entropy
    }

    /// The log's origin.
    pub fn origin(&self) -> &KeyName {
        self.connection.key().name()
    }

    /// Registers the party's keys, unless the log has them.
    pub async fn register(&mut self) -> Result<(), SessionError> {
        if self.scope(None)?.registration.is_some() {
            return Ok(());
        }
        let party = self.vault.party()?;
        let keys = Keys {
            name: self.key.name().clone(),
            key: *self.key.public().as_bytes(),
            sealing: SealingKey::X25519(sealing::public_key(&party.sealing)),
            recovery: party.recovery,
        };
        self.say(Predicate::Party(Box::new(predicate::Party::Register { keys }))).await?;
        Ok(())
    }

    /// The statement that registered the party; zeros before [`register`](Self::register).
    pub fn registration(&self) -> Result<StatementId, SessionError> {
        let id = self.scope(None)?.registration.unwrap_or(Hash::new([0; 32]));
        Ok(StatementId::new(*id.as_bytes()))
    }

    /// The number that the next standalone intent must have.
    pub fn next_run(&self) -> Result<u64, SessionError> {
        Ok(self.scope(None)?.runs + 1)
    }

    /// Signs a standalone statement and puts it into the log.
    pub async fn say(&mut self, predicate: Predicate) -> Result<Logged, SessionError> {
        let prepared = self.prepare(predicate).await?;
        self.send(prepared).await
    }

    /// Signs a statement of an exchange, named by its agreement, and puts it into the log.
    pub async fn say_in(
        &mut self,
        exchange: StatementId,
        predicate: Predicate,
    ) -> Result<Logged, SessionError> {
        let prepared = self.prepare_in(Some(exchange), predicate).await?;
        self.send(prepared).await
    }

    /// The first half of [`say`](Self::say): the statement as it will be signed, so that what it
    /// rests on can be made durable under its id first. Nothing is written or sent yet, except
    /// what an earlier call signed without getting an answer: that is sent again first, since
    /// `previous` follows from what became of it.
    pub async fn prepare(&mut self, predicate: Predicate) -> Result<Prepared, SessionError> {
        self.prepare_in(None, predicate).await
    }

    /// As [`prepare`](Self::prepare), in an exchange or outside of any.
    pub async fn prepare_in(
        &mut self,
        exchange: Option<StatementId>,
        predicate: Predicate,
    ) -> Result<Prepared, SessionError> {
        self.settle(self.scope(exchange)?).await?;
        self.connection.refresh().await?;
        self.keep_trusted()?;
        let mut scope = self.scope(exchange)?;
        scope.number += 1;
        let common = self.common(exchange, &scope);
        let statement = Statement::new(common, predicate)?;
        let payload = statement.to_payload();
        let id = StatementId::of(&payload);
        scope.pending = Some(payload);
        Ok(Prepared { id, statement, scope })
    }

    /// Log, exchange and signer of a statement that is yet to be made: what envelopes are sealed
    /// under. Its number and head are those of the moment and may be others later.
    pub fn common_in(&self, exchange: Option<StatementId>) -> Result<Common, SessionError> {
        let mut scope = self.scope(exchange)?;
        scope.number += 1;
        Ok(self.common(exchange, &scope))
    }

    fn common(&self, exchange: Option<StatementId>, scope: &Scope) -> Common {
        Common {
            origin: self.origin().clone(),
            exchange,
            signer: self.key.name().clone(),
            number: scope.number,
            previous: scope.previous.map(|id| StatementId::new(*id.as_bytes())),
            seen: *self.connection.trusted().head(),
        }
    }

    /// The second half of [`say`](Self::say). Number and payload are durable before the signature
    /// exists, so a crash at any moment leads to the very same envelope.
    pub async fn send(&mut self, prepared: Prepared) -> Result<Logged, SessionError> {
        self.vault.put_scope(&prepared.scope, &mut self.entropy)?;
        self.submit(prepared.scope).await
    }

    /// The receipt of what was said under a checkpoint that a quorum of the policy has cosigned;
    /// see [`Connection::witnessed`].
    pub async fn witnessed(
        &mut self,
        logged: &Logged,
        policy: &Policy,
        patience: Duration,
    ) -> Result<(Inclusion, VerifiedCheckpoint), SessionError> {
        let envelope = &logged.envelope;
        let witnessed = self.connection.witnessed(envelope, policy, patience).await?;
        self.keep_trusted()?;
        Ok(witnessed)
    }

    /// Sends a pending payload and notes the answer. Without an answer it stays pending.
    async fn submit(&mut self, mut scope: Scope) -> Result<Logged, SessionError> {
        let payload = scope.pending.clone().unwrap_or_default();
        let envelope = Envelope::sign(&payload, self.key)?;
        let id = envelope.id();
        let answer = self.connection.append(&envelope).await;
        let settled = match &answer {
            Ok(_) => true,
            // Refused: the number is burnt, the statement is not in the log.
            Err(CallError::Denied(denied)) => is_final(denied),
            Err(_) => false,
        };
        if settled {
            if answer.is_ok() {
                scope.previous = Some(id.hash());
                match Statement::parse(&payload)?.predicate() {
                    Predicate::Party(_) => scope.registration = Some(id.hash()),
                    Predicate::Intent(intent) => scope.runs = intent.run,
                    _ => {}
                }
            }
            scope.pending = None;
            self.vault.put_scope(&scope, &mut self.entropy)?;
        }
        let inclusion = match answer {
            Ok(inclusion) => inclusion,
            Err(error) => return Err(self.explain(error).await.into()),
        };
        self.keep_trusted()?;
        Ok(Logged { id, envelope, inclusion })
    }

    /// A log that refuses a statement for what its signer has seen, or has said before, may hold
    /// another history. Its newest head then contradicts the one that was verified before, and the
    /// two are evidence.
    async fn explain(&mut self, error: CallError) -> CallError {
        let CallError::Denied(denied) = &error else { return error };
        let suspicious = ["SEEN_NOT_PREFIX", "WRONG_PREVIOUS", "NUMBER_NOT_ABOVE"];
        if !suspicious.contains(&denied.reason.as_str()) {
            return error;
        }
        match self.connection.refresh().await {
            Err(found) if found.conflict().is_some() => found,
            _ => error,
        }
    }

    async fn settle(&mut self, scope: Scope) -> Result<(), SessionError> {
        if scope.pending.is_none() {
            return Ok(());
        }
        match self.submit(scope).await {
            Ok(_) => Ok(()),
            // A refusal settles it as well: the number is burnt, the next statement takes another.
            Err(SessionError::Call(CallError::Denied(denied))) if is_final(&denied) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Our place in an exchange, or outside of all.
    fn scope(&self, exchange: Option<StatementId>) -> Result<Scope, SessionError> {
        let exchange = exchange.unwrap_or(StatementId::ZERO).hash();
        Ok(self.vault.scope(self.origin(), &exchange)?.unwrap_or_else(|| Scope {
            origin: self.origin().clone(),
            exchange,
            number: 0,
            previous: None,
            registration: None,
            runs: 0,
            pending: None,
        }))
    }

    fn keep_trusted(&self) -> Result<(), SessionError> {
        let note = self.connection.trusted().as_bytes();
        Ok(self.vault.put_trusted_checkpoint(self.origin(), note)?)
    }
}

/// True for refusals of the statement itself. All others, those unknown here included, say only
/// that it was not taken this time, or not even that.
fn is_final(denied: &api::Denied) -> bool {
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == denied.reason);
    reason.is_some_and(|reason| *reason == Reason::NotAdmitted || !reason.is_local())
}

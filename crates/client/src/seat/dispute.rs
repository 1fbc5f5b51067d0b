//! Saying that something that was shown is wrong.

use exchange::predicate::{Dispute, Ground, ItemFault, Predicate};
use exchange::{StatementId, sealed_in};
use tlog::KeyName;

use super::{Seat, SeatError};
use crate::Entropy;
use crate::session::Logged;

/// A dispute that was logged.
#[derive(Debug, Clone)]
pub struct Disputed {
    /// What is disputed.
    pub about: StatementId,
    /// Who showed it.
    pub sender: KeyName,
    /// Who reads the indices; none if there are none.
    pub reader: Option<KeyName>,
    /// The statement.
    pub logged: Logged,
}

impl<E: Entropy> Seat<'_, E> {
    /// The statement that a user means: by its whole id, or how it begins.
    pub fn find_statement(&self, named: &str) -> Result<StatementId, SeatError> {
        let all = self.replica.of_exchange(&self.exchange).map(|placed| placed.id());
        let found: Vec<StatementId> = all.filter(|id| id.to_string().starts_with(named)).collect();
        match found.as_slice() {
            [only] => Ok(*only),
            [] => Err(SeatError::Unknown { what: "statement", name: named.to_owned() }),
            _ => Err(SeatError::Ambiguous(found)),
        }
    }

    /// Says that an envelope does not hold what it should. Its sender must then seal the same to an
    /// auditor, or is in default.
    pub async fn dispute_envelope(&mut self, about: StatementId) -> Result<Disputed, SeatError> {
        let sender = self.sender_of(&about)?;
        let dispute = Dispute { about, ground: Ground::Unopenable };
        let logged = self.say(Predicate::Dispute(Box::new(dispute))).await?;
        Ok(Disputed { about, sender, reader: None, logged })
    }

    /// Says that items are wrong. Which ones is sealed to `reader`: by default to who showed them.
    pub async fn dispute_items(
        &mut self,
        about: StatementId,
        fault: ItemFault,
        indices: &[u64],
        reader: Option<&KeyName>,
    ) -> Result<Disputed, SeatError> {
        let sender = self.sender_of(&about)?;
        let reader = reader.unwrap_or(&sender).clone();
        let body = json::object([
            ("format", "countersign/indices/v1".into()),
            ("about", about.to_string().into()),
            ("indices", json::array(indices.iter().copied())),
        ]);
        let (envelope, artifact) = self.sealed_bytes(&about, &reader, body.to_text().as_bytes())?;
        let dispute = Dispute { about, ground: Ground::Items { fault, envelope } };
        let predicate = Predicate::Dispute(Box::new(dispute));
        let logged = self.say_with(predicate, &[artifact.as_slice()]).await?;
        Ok(Disputed { about, sender, reader: Some(reader), logged })
    }

    fn sender_of(&self, about: &StatementId) -> Result<KeyName, SeatError> {
        let unknown = || SeatError::Unknown { what: "sealed statement", name: about.to_string() };
        let placed = self.replica.statement(about).ok_or_else(unknown)?;
        sealed_in(placed.statement()).ok_or_else(unknown)?;
        Ok(placed.statement().common().signer.clone())
    }
}

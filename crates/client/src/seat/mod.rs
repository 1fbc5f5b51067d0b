//! A member's seat in one exchange: its session, its own replay of the log, and what it may say.
//!
//! Whatever is said here is asked of the replay first, so that nothing is signed which the agreement
//! does not allow. The state is never the server's word.

mod compare;
mod disclose;
mod dispute;
mod overview;
mod read;
mod runs;

use exchange::predicate::{Agreement, Counts, Predicate, Rule};
use exchange::sealed::SealError;
use exchange::{ExchangeState, Refusal, Side, StatementId, Word, predicate::Evaluation};
use record::opening::BodyError;
use tlog::KeyName;

pub use compare::{ColumnComparison, Comparison, Difference, Disagreement, Figures, Paired};
pub use disclose::{OpenedTo, Revealed};
pub use dispute::Disputed;
pub use overview::{Overview, RunOverview, Step};
pub use read::{Received, Unreadable};
pub use runs::Announced;

use crate::connection::CallError;
use crate::own::{OwnRecord, OwnRecordError};
use crate::replica::{Placed, Replica, Standing};
use crate::session::{Logged, Prepared, Session, SessionError};
use crate::vault::{VaultAgreement, VaultError};
use crate::{Entropy, FalseAnswer};

/// Why a member's step in an exchange did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// The log could not be reached, refused, or gave a false answer; or the vault failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The agreement does not allow it now. Nothing was signed.
    #[error("the agreement does not allow this: {0}")]
    Refused(#[from] Refusal),
    /// No agreement of this id, or of an id that begins so, in which the party has a part.
    #[error("{0:?} is no agreement of this party in the log")]
    UnknownAgreement(String),
    /// Several agreements that could be meant.
    #[error("several agreements could be meant: {}", shown(.0))]
    Ambiguous(Vec<StatementId>),
    /// The party is no party of this agreement.
    #[error("{0} is no party of this agreement")]
    NotAParty(KeyName),
    /// The exchange is over.
    #[error("the exchange is {0}: nothing more is said in it")]
    Over(ExchangeState),
    /// The vault has neither item key nor items of this agreement.
    #[error("the vault holds no item key of this agreement")]
    NoItemKey,
    /// There is no open intent, or not the one that was named.
    #[error("no run is announced that this could belong to")]
    NoIntent,
    /// The party has no record that counts in this exchange.
    #[error("there is no record of {0} that counts in this exchange")]
    NoRecord(KeyName),
    /// The vault can't open the party's record.
    #[error("the vault holds nothing that opens record {0}")]
    NotKept(StatementId),
    /// The record can't be opened as asked.
    #[error("the record: {0}")]
    Record(#[from] OwnRecordError),
    /// There is no such rule, claim, statement or member.
    #[error("{what} {name:?} is not in this exchange")]
    Unknown {
        /// Rule, claim, statement or member.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// No rule lets this party show this to this reader.
    #[error("no rule of the agreement lets {by} show {what} to {to}")]
    NoRule {
        /// Who would show it.
        by: KeyName,
        /// What would be shown.
        what: String,
        /// To whom.
        to: String,
    },
    /// An artifact that the log must have is not to be had.
    #[error("the log does not hand out the {what} of {of}")]
    Absent {
        /// Which kind of artifact.
        what: &'static str,
        /// The statement that names it.
        of: StatementId,
    },
    /// It can't be sealed to its reader.
    #[error("sealing: {0}")]
    Seal(#[from] SealError),
    /// What is to be sealed is too long.
    #[error("the opening: {0}")]
    Body(#[from] BodyError),
    /// The party's own witness has not cosigned the records yet.
    #[error("{witness}, the party's own witness, has not cosigned a head with both records yet")]
    NotWitnessed {
        /// The witness.
        witness: KeyName,
    },
}

fn shown(ids: &[StatementId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.to_string()[..12].to_owned()).collect();
    ids.join(", ")
}

impl From<CallError> for SeatError {
    fn from(error: CallError) -> Self {
        Self::Session(error.into())
    }
}

impl From<VaultError> for SeatError {
    fn from(error: VaultError) -> Self {
        Self::Session(error.into())
    }
}

impl From<FalseAnswer> for SeatError {
    fn from(error: FalseAnswer) -> Self {
        Self::Session(CallError::from(error).into())
    }
}

/// The agreement that a party means: by its whole id, by how it begins, or the only one there is
/// that is not over.
pub fn find_agreement(
    replica: &Replica,
    member: &KeyName,
    named: Option<&str>,
) -> Result<StatementId, SeatError> {
    let all = replica.agreements_of(member).into_iter().map(|(id, _)| id);
    let found: Vec<StatementId> = match named {
        Some(begin) => all.filter(|id| id.to_string().starts_with(begin)).collect(),
        None => all.filter(|id| matches!(replica.standing(id), Some(Standing::Open(_)))).collect(),
    };
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(SeatError::UnknownAgreement(named.unwrap_or_default().to_owned())),
        _ => Err(SeatError::Ambiguous(found)),
    }
}

/// A member's seat in one exchange.
pub struct Seat<'a, E> {
    session: Session<'a, E>,
    replica: Replica,
    exchange: StatementId,
    agreement: Box<Agreement>,
    side: Option<Side>,
}

impl<'a, E: Entropy> Seat<'a, E> {
    /// Takes the seat: replays the whole log and finds the agreement.
    pub async fn take(mut session: Session<'a, E>, named: Option<&str>) -> Result<Self, SeatError> {
        let replica = Replica::of(session.connection()).await?;
        let exchange = find_agreement(&replica, session.key().name(), named)?;
        Self::at(session, replica, exchange)
    }

    /// A seat at a replay that is there.
    pub fn at(
        session: Session<'a, E>,
        replica: Replica,
        exchange: StatementId,
    ) -> Result<Self, SeatError> {
        let agreement = replica.agreement(&exchange);
        let agreement =
            agreement.ok_or_else(|| SeatError::UnknownAgreement(exchange.to_string()))?;
        let name = session.key().name();
        let side =
            Side::BOTH.into_iter().find(|side| agreement.parties[side.place()].keys.name == *name);
        if side.is_none() && !agreement.is_auditor(name) {
            return Err(SeatError::NotAParty(name.clone()));
        }
        Ok(Self { session, replica, exchange, agreement, side })
    }

    /// The session.
    pub fn session(&mut self) -> &mut Session<'a, E> {
        &mut self.session
    }

    /// The replay of the log.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The agreement's id.
    pub fn exchange(&self) -> StatementId {
        self.exchange
    }

    /// The terms as they were proposed.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Whose seat it is.
    pub fn name(&self) -> &KeyName {
        self.session.key().name()
    }

    /// The side of a party; none for an auditor.
    pub fn side(&self) -> Option<Side> {
        self.side
    }

    /// Which party this is; auditors are none.
    pub fn party(&self) -> Result<Side, SeatError> {
        self.side.ok_or_else(|| SeatError::NotAParty(self.name().clone()))
    }

    /// The name of the party on a side.
    pub fn name_of(&self, side: Side) -> &KeyName {
        &self.agreement.parties[side.place()].keys.name
    }

    /// The side of a named party.
    pub fn side_of(&self, name: &KeyName) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.name_of(*side) == name)
    }

    /// Where the exchange stands.
    pub fn standing(&self) -> Standing<'_> {
        self.replica.standing(&self.exchange).expect("the log has this agreement")
    }

    /// The state that the exchange is in.
    pub fn state(&self) -> ExchangeState {
        match self.standing() {
            Standing::Open(view) => view.state(),
            Standing::Over(ended) => ended.state,
        }
    }

    /// Replays what is new in the log.
    pub async fn refresh(&mut self) -> Result<(), SeatError> {
        self.replica.advance(self.session.connection()).await?;
        Ok(())
    }

    /// Says something in the exchange, if the agreement allows it by one's own replay. A refused
    /// statement is not signed.
    pub async fn say(&mut self, predicate: Predicate) -> Result<Logged, SeatError> {
        self.say_with(predicate, &[]).await
    }

    /// The first half of saying something: the statement as it will be signed, which the agreement
    /// allows by one's own replay.
    pub async fn prepare(&mut self, predicate: Predicate) -> Result<Prepared, SeatError> {
        let prepared = self.session.prepare_in(Some(self.exchange), predicate).await?;
        self.replica.catch_up(self.session.connection()).await?;
        self.replica.state().check_unsigned(prepared.statement())?;
        Ok(prepared)
    }

    /// As [`say`](Self::say), for a statement that names artifacts. They leave this machine only if
    /// the agreement allows it.
    pub async fn say_with(
        &mut self,
        predicate: Predicate,
        artifacts: &[&[u8]],
    ) -> Result<Logged, SeatError> {
        let prepared = self.prepare(predicate).await?;
        for artifact in artifacts {
            self.session.connection().put_artifact(artifact).await?;
        }
        let logged = self.session.send(prepared).await?;
        self.refresh().await?;
        Ok(logged)
    }

    /// The disclosure rules in force: the agreement's, or those of the last accepted amendment.
    pub fn rules(&self) -> Vec<Rule> {
        if let Standing::Open(view) = self.standing() {
            return view.rules().to_vec();
        }
        let mut rules = self.agreement.disclosure.clone();
        let mut proposed = std::collections::BTreeMap::new();
        for placed in self.replica.of_exchange(&self.exchange) {
            match placed.statement().predicate() {
                Predicate::Amendment(amendment) => {
                    if let exchange::predicate::Change::Values { disclosure: Some(new), .. } =
                        &amendment.change
                    {
                        proposed.insert(placed.id(), new.clone());
                    }
                }
                Predicate::Accept(accept) => {
                    if let Some(new) = proposed.remove(&accept.accepts) {
                        rules = new;
                    }
                }
                _ => {}
            }
        }
        rules
    }

    fn rule(&self, id: &Word) -> Option<Rule> {
        self.rules().into_iter().find(|rule| rule.id == *id)
    }

    /// What the vault holds of this agreement.
    pub fn kept(&self) -> Result<VaultAgreement, SeatError> {
        self.session.vault().agreement(&self.exchange.hash())?.ok_or(SeatError::NoItemKey)
    }

    /// The evaluation of a side that counts, as the log stands.
    pub fn counted(&self, side: Side) -> Option<Placed> {
        let mut records = self.evaluations(side);
        match self.agreement.runs.counts {
            Counts::First => records.next(),
            Counts::Last => records.last(),
        }
    }

    /// All evaluations of a side in the order of the log.
    fn evaluations(&self, side: Side) -> impl Iterator<Item = Placed> {
        let name = self.name_of(side).clone();
        self.replica.of_exchange(&self.exchange).filter(move |placed| {
            let statement = placed.statement();
            matches!(statement.predicate(), Predicate::Evaluation(_))
                && statement.common().signer == name
        })
    }

    /// One's own record that counts, with everything that opens it.
    pub async fn own_record(&mut self) -> Result<OwnRecord, SeatError> {
        let side = self.party()?;
        let placed = self.counted(side).ok_or_else(|| SeatError::NoRecord(self.name().clone()))?;
        let id = placed.id();
        let kept = self.session.vault().record(&id.hash())?.ok_or(SeatError::NotKept(id))?;
        let evaluation = evaluation_of(&placed).ok_or(SeatError::NotKept(id))?;
        let length = vector_length(evaluation);
        let vector = self.session.connection().artifact(&evaluation.vector, length).await?;
        let vector = vector.ok_or(SeatError::Absent { what: "commitment vector", of: id })?;
        Ok(OwnRecord::new(kept, id, evaluation, vector)?)
    }
}

pub(crate) fn evaluation_of(placed: &Placed) -> Option<&Evaluation> {
    match placed.statement().predicate() {
        Predicate::Evaluation(evaluation) => Some(evaluation),
        _ => None,
    }
}

/// Bytes of the vector that an evaluation names: 32 for each item and each column of it.
fn vector_length(evaluation: &Evaluation) -> usize {
    let bytes = evaluation.items * 32 * (1 + evaluation.columns.len() as u64);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

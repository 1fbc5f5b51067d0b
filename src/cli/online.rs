//! What commands of a party at a log share: who it is, where the log is, what it trusts, and its
//! seat in an exchange.

use client::agree::AgreeError;
use client::{Address, Seat, SeatError, Session, SystemEntropy, Vault};
use exchange::{Reason, Timestamp};
use tlog::SigningKey;

use super::output::Failure;
use super::party::{PartyArguments, TlsArguments};
use super::trust::{LogArguments, Trust};

/// A party and its log.
#[derive(Debug, clap::Args)]
pub(super) struct OnlineArguments {
    #[command(flatten)]
    party: PartyArguments,
    /// Where the log's gRPC service is.
    #[arg(long, value_name = "URL")]
    server: String,
    #[command(flatten)]
    tls: TlsArguments,
    #[command(flatten)]
    log: LogArguments,
}

/// Which agreement a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct AgreementArgument {
    /// The agreement, by its id or how that begins; without it the only one that goes on.
    #[arg(long, value_name = "ID")]
    pub(super) agreement: Option<String>,
}

/// A party with everything opened that needs no network.
pub(super) struct Online {
    pub(super) key: SigningKey,
    pub(super) vault: Vault,
    pub(super) trust: Trust,
    server: Address,
}

impl OnlineArguments {
    /// Opens key, vault and policy.
    pub(super) fn open(&self) -> Result<Online, Failure> {
        let trust = self.log.trust()?;
        trust.log()?;
        let (key, vault) = self.party.open()?;
        let server = self.tls.address(&self.server)?;
        Ok(Online { key, vault, trust, server })
    }
}

impl Online {
    /// A session with the log.
    pub(super) async fn session(&self) -> Result<Session<'_, SystemEntropy>, Failure> {
        let known = self.trust.known();
        let (server, log) = (self.server.clone(), self.trust.log()?.clone());
        let session = Session::open(server, log, &self.key, &self.vault, SystemEntropy).await;
        let mut session = session.map_err(|error| Failure::from(error).accuse(&known))?;
        session.connection().know(&known);
        Ok(session)
    }

    /// The party's seat in an exchange.
    pub(super) async fn seat(
        &self,
        agreement: &AgreementArgument,
    ) -> Result<Seat<'_, SystemEntropy>, Failure> {
        let session = self.session().await?;
        let seat = Seat::take(session, agreement.agreement.as_deref()).await;
        seat.map_err(|error| Failure::from(error).accuse(&self.trust.known()))
    }
}

/// A time for people.
pub(super) fn time(unix: u64) -> String {
    Timestamp::from_unix(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}

impl From<SeatError> for Failure {
    fn from(error: SeatError) -> Self {
        let error = match error {
            SeatError::Session(session) => return session.into(),
            error => error,
        };
        let next = match &error {
            SeatError::Refused(refusal) => after(refusal.reason()),
            SeatError::UnknownAgreement(_) => {
                "see countersign agree list; a proposal is made with: countersign agree propose"
            }
            SeatError::Ambiguous(_) => "write more of its id",
            SeatError::NotAParty(_) => "use the key of one of its parties",
            SeatError::Over(_) => "countersign status says how it ended",
            SeatError::NoItemKey => {
                "use the vault that proposed or accepted it, or take the key with: countersign \
                 items receive"
            }
            SeatError::NoIntent => "announce the run before it starts: countersign intend",
            SeatError::NoRecord(_) => "commit to the run: countersign commit FILE --agreement ID",
            SeatError::NotKept(_) => "use the vault of the machine that committed it",
            SeatError::Unknown { .. } | SeatError::NoRule { .. } => {
                "countersign agree show lists members, rules and claims; countersign status what \
                 was said"
            }
            SeatError::Absent { .. } => {
                "run the command again; if it stays so, the log has lost what it must keep: tell \
                 the other party"
            }
            SeatError::NotWitnessed { .. } => {
                "wait until it has cosigned, and run the command again; is your witness running?"
            }
            SeatError::Session(_)
            | SeatError::Record(_)
            | SeatError::Seal(_)
            | SeatError::Body(_) => return Self::new(error),
        };
        Self::new(error).next(next)
    }
}

/// What to do after a refusal by the agreement.
fn after(reason: Reason) -> &'static str {
    match reason {
        Reason::NotAccepted => "the other party accepts with: countersign agree accept",
        Reason::BeforeCommit => {
            "wait until both have committed and a tick covers it: countersign watch shows when"
        }
        Reason::BeforeReveal => "wait until what is owed is revealed: countersign status",
        Reason::AfterCommit => "both records are fixed: no further run counts",
        Reason::DeadlinePassed => "its time is over: countersign status says what that means",
        Reason::BudgetSpent => "commit to one of the announced runs, or withdraw it",
        Reason::NoRule | Reason::RuleExceeded => {
            "countersign preview shows what the agreement lets you show; more needs an amendment"
        }
        _ => "countersign status shows where the exchange stands",
    }
}

impl From<AgreeError> for Failure {
    fn from(error: AgreeError) -> Self {
        let error = match error {
            AgreeError::Session(session) => return session.into(),
            error => error,
        };
        let (next, bad) = match &error {
            AgreeError::Draft(_) => {
                ("mend the draft, and look at it with countersign agree check", false)
            }
            AgreeError::NotFirst { .. } => {
                ("put your own [[party]] first in the draft, or use the other key", false)
            }
            AgreeError::SubstitutedKey { .. } => {
                ("do not accept: compare keys with their owner by a way that you both trust", true)
            }
            AgreeError::Unpinned { .. } => ("name its key file with --pin NAME.vkey", false),
            AgreeError::NotRegistered(_) => {
                ("its owner registers with: countersign key register", false)
            }
            AgreeError::Elsewhere { .. } | AgreeError::NoEnvelope => (
                "ask the proposer for the file that countersign agree propose wrote for you",
                false,
            ),
            AgreeError::Open(_) | AgreeError::Content(_) | AgreeError::OtherKey => {
                ("do not accept: ask the proposer for another envelope, and say why", true)
            }
            AgreeError::OtherItems { .. } => {
                ("get the items file that the proposer used, byte for byte", true)
            }
            AgreeError::NotOurs(_) => ("countersign agree list shows what waits for whom", false),
            AgreeError::Refused(refusal) => (after(refusal.reason()), false),
            AgreeError::Session(_) | AgreeError::Items(_) | AgreeError::Seal(_) => {
                return Self::new(error);
            }
        };
        let failure = if bad { Self::bad(error) } else { Self::new(error) };
        failure.next(next)
    }
}

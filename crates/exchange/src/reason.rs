//! Why a statement is refused: stable reason codes, and a refusal with all that its author needs.
//!
//! The codes stand in the order in which the checks run; the first that fails answers. This
//! module knows no transport: [`Code`] names the gRPC class, a server maps it.

use std::fmt;

use json::FieldError;

/// The class of a [`Reason`], named as the gRPC status code that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The bytes are wrong whatever the log holds.
    InvalidArgument,
    /// The signature does not verify.
    Unauthenticated,
    /// The signer may not say this.
    PermissionDenied,
    /// What the statement makes is there already.
    AlreadyExists,
    /// The signer's view of its own statements is behind: read the log and sign anew.
    Aborted,
    /// Signer and log hold different histories: stop and compare checkpoints.
    DataLoss,
    /// The statement names something that is not there.
    NotFound,
    /// The statement is out of order.
    FailedPrecondition,
    /// A number lies outside the limits under which proofs mean something.
    OutOfRange,
    /// The server has too much to do; try again later.
    ResourceExhausted,
    /// The server takes nothing now.
    Unavailable,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $code:ident;)*) => {
        /// A reason code of `docs/protocol.md`, in the order in which the checks run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order in which the checks run.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable spelling that goes over the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The class of this reason.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// The leaf or its payload has too many bytes.
    LeafTooLarge = "LEAF_TOO_LARGE", InvalidArgument;
    /// The DSSE envelope is not in its one spelling.
    EnvelopeNotCanonical = "ENVELOPE_NOT_CANONICAL", InvalidArgument;
    /// The payload is not declared as an in-toto statement.
    PayloadType = "PAYLOAD_TYPE", InvalidArgument;
    /// The payload is not JSON.
    BadJson = "BAD_JSON", InvalidArgument;
    /// The predicate type is none of this protocol's.
    UnknownPredicate = "UNKNOWN_PREDICATE", InvalidArgument;
    /// A member is missing, unknown, doubled, or has the wrong type or form.
    BadField = "BAD_FIELD", InvalidArgument;
    /// The subject is not the one that follows from the predicate.
    BadSubject = "BAD_SUBJECT", InvalidArgument;
    /// The parts of an agreement contradict each other.
    BadAgreement = "BAD_AGREEMENT", InvalidArgument;
    /// The statement was made for another log.
    WrongOrigin = "WRONG_ORIGIN", InvalidArgument;
    /// A key that is not canonical, of small order or not torsion free.
    WeakKey = "WEAK_KEY", InvalidArgument;
    /// A rotation without a good signature by the new key.
    BadPossession = "BAD_POSSESSION", InvalidArgument;
    /// The envelope's signature does not verify.
    BadSignature = "BAD_SIGNATURE", Unauthenticated;
    /// Nobody of this name is registered.
    UnknownSigner = "UNKNOWN_SIGNER", PermissionDenied;
    /// The key is not, or no longer, the signer's.
    KeyNotCurrent = "KEY_NOT_CURRENT", PermissionDenied;
    /// The key was revoked.
    KeyRevoked = "KEY_REVOKED", PermissionDenied;
    /// Local: the operator did not admit this party.
    NotAdmitted = "NOT_ADMITTED", PermissionDenied;
    /// The signer has no role in this exchange.
    NotAMember = "NOT_A_MEMBER", PermissionDenied;
    /// The signer, or the key that signed, has another role than this statement calls for.
    WrongRole = "WRONG_ROLE", PermissionDenied;
    /// No rule of the agreement allows this disclosure.
    NoRule = "NO_RULE", PermissionDenied;
    /// The rule allows fewer items.
    RuleExceeded = "RULE_EXCEEDED", PermissionDenied;
    /// The signer is not the reader of what it disputes.
    NotTheReader = "NOT_THE_READER", PermissionDenied;
    /// Another envelope holds the same statement.
    StatementExists = "STATEMENT_EXISTS", AlreadyExists;
    /// The name is registered already.
    NameTaken = "NAME_TAKEN", AlreadyExists;
    /// The agreement or amendment was accepted before.
    AlreadyAccepted = "ALREADY_ACCEPTED", AlreadyExists;
    /// The nonce stands in an earlier intent.
    NonceReused = "NONCE_REUSED", AlreadyExists;
    /// The intent has an evaluation or a withdrawal, or is overdue.
    IntentEnded = "INTENT_ENDED", AlreadyExists;
    /// A second claim, decline, coin or outcome of one kind.
    AlreadyMade = "ALREADY_MADE", AlreadyExists;
    /// The number is not above the signer's last one; metadata `last_number` and `expected`.
    NumberNotAbove = "NUMBER_NOT_ABOVE", Aborted;
    /// `previous` is not the signer's last statement; metadata `expected`, `last_number`.
    WrongPrevious = "WRONG_PREVIOUS", Aborted;
    /// The amendment's base is not the agreement in force.
    StaleBase = "STALE_BASE", Aborted;
    /// `seen` is not a head of this log.
    SeenNotPrefix = "SEEN_NOT_PREFIX", DataLoss;
    /// No such exchange.
    UnknownExchange = "UNKNOWN_EXCHANGE", NotFound;
    /// A named statement is not in this log or exchange, or not the signer's where it must be.
    UnknownStatement = "UNKNOWN_STATEMENT", NotFound;
    /// The agreement is not accepted yet.
    NotAccepted = "NOT_ACCEPTED", FailedPrecondition;
    /// Both records must lie under a ticked head first.
    BeforeCommit = "BEFORE_COMMIT", FailedPrecondition;
    /// The reveals must be over first.
    BeforeReveal = "BEFORE_REVEAL", FailedPrecondition;
    /// The exchange is committed: no run counts any more.
    AfterCommit = "AFTER_COMMIT", FailedPrecondition;
    /// The deadline has passed.
    DeadlinePassed = "DEADLINE_PASSED", FailedPrecondition;
    /// The exchange is over.
    ExchangeFinal = "EXCHANGE_FINAL", FailedPrecondition;
    /// The statement has no meaning outside an exchange.
    NotStandalone = "NOT_STANDALONE", FailedPrecondition;
    /// The run budget is spent.
    BudgetSpent = "BUDGET_SPENT", FailedPrecondition;
    /// The run's number is not the next one; metadata `expected`.
    RunNumber = "RUN_NUMBER", FailedPrecondition;
    /// The statement differs from what was agreed.
    NotAsAgreed = "NOT_AS_AGREED", FailedPrecondition;
    /// The coin comes too early.
    CoinNotDue = "COIN_NOT_DUE", FailedPrecondition;
    /// The coin is not the committed one.
    CoinMismatch = "COIN_MISMATCH", FailedPrecondition;
    /// The sample is not the one that is due.
    SampleNotDue = "SAMPLE_NOT_DUE", FailedPrecondition;
    /// The tick's checkpoint is not a head of this log.
    TickNotPrefix = "TICK_NOT_PREFIX", FailedPrecondition;
    /// The tick's checkpoint is not signed by this log.
    TickNotSigned = "TICK_NOT_SIGNED", FailedPrecondition;
    /// A named artifact is not stored.
    ArtifactMissing = "ARTIFACT_MISSING", FailedPrecondition;
    /// A named artifact does not hold.
    ArtifactInvalid = "ARTIFACT_INVALID", FailedPrecondition;
    /// Local: the statement names a proof of a kind that this server can't check yet.
    ProofUnchecked = "PROOF_UNCHECKED", FailedPrecondition;
    /// A claim or header outside the limits of the proofs.
    LimitExceeded = "LIMIT_EXCEEDED", OutOfRange;
    /// Local: the queue is full.
    QueueFull = "QUEUE_FULL", ResourceExhausted;
    /// Local: this party sends too much.
    RateLimited = "RATE_LIMITED", ResourceExhausted;
    /// Local: the tick would change no open exchange.
    TickTooSoon = "TICK_TOO_SOON", ResourceExhausted;
    /// Local: the artifact has too many bytes.
    ArtifactTooLarge = "ARTIFACT_TOO_LARGE", ResourceExhausted;
    /// Local: the server takes no statements.
    ReadOnly = "READ_ONLY", Unavailable;
    /// Local: the server is about to stop.
    Stopping = "STOPPING", Unavailable;
}

impl Reason {
    /// True for a server's own reasons, which never appear in a replay.
    pub const fn is_local(self) -> bool {
        matches!(
            self,
            Self::NotAdmitted
                | Self::QueueFull
                | Self::ProofUnchecked
                | Self::RateLimited
                | Self::TickTooSoon
                | Self::ArtifactTooLarge
                | Self::ReadOnly
                | Self::Stopping
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One refusal of one statement. It never says that the state is in doubt: the next statement
/// may be admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}: {message}", at(pointer.as_deref()))]
pub struct Refusal {
    reason: Reason,
    pointer: Option<String>,
    message: String,
    metadata: Vec<(&'static str, String)>,
}

fn at(pointer: Option<&str>) -> String {
    pointer.map_or_else(String::new, |pointer| format!(" at \"{pointer}\""))
}

impl Refusal {
    /// A refusal that concerns the statement as a whole.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, pointer: None, message: message.into(), metadata: Vec::new() }
    }

    /// The same refusal with the JSON pointer (RFC 6901) of the value it is about.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// The same refusal with one more value for the machine that reads it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// The stable code.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Where in the document, as a JSON pointer; the whole document is the empty pointer.
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }

    /// The cause in words. Not stable.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a machine needs to do better: `expected`, `last_number`, `index`.
    pub fn metadata(&self) -> &[(&'static str, String)] {
        &self.metadata
    }

    /// The metadata value of this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_str())
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::new(Reason::BadField, error.problem).at(error.pointer)
    }
}

/// Maps the errors of the strict reader: what is no JSON at all is `BAD_JSON`, what JSON allows
/// and a signed document does not is `BAD_FIELD`.
impl From<json::Error> for Refusal {
    fn from(error: json::Error) -> Self {
        let mut pointer = error.pointer();
        let reason = match error.problem() {
            json::Problem::DuplicateKey(name) => {
                pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                Reason::BadField
            }
            json::Problem::NotSigned(_) | json::Problem::Limit { .. } => Reason::BadField,
            _ => Reason::BadJson,
        };
        Self::new(reason, error.problem().to_string()).at(pointer)
    }
}

//! Refusals as gRPC statuses. Each carries google.rpc.ErrorInfo with a stable reason: those of
//! `exchange::Reason`, and for what no statement is about the ones below.

use std::collections::HashMap;
use std::time::Duration;

use exchange::{Reason, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Metadata of a refusal from which its status gets QuotaFailure and RetryInfo: which quota.
pub const QUOTA: &str = "quota";
/// Who exceeded it.
pub const SUBJECT: &str = "subject";
/// When to try again.
pub const RETRY_AFTER: &str = "retry_after_ms";

/// The log has fewer entries than the caller asks for; metadata `size`.
pub const BEYOND_LOG: &str = "BEYOND_LOG";
/// The log has no such entry.
pub const UNKNOWN_ENTRY: &str = "UNKNOWN_ENTRY";
/// There is no such artifact, or none for this caller.
pub const UNKNOWN_ARTIFACT: &str = "UNKNOWN_ARTIFACT";
/// A field of a request is malformed; `google.rpc.BadRequest` names it.
pub const BAD_REQUEST: &str = "BAD_REQUEST";
/// A message has too many bytes.
pub const MESSAGE_TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
/// The bytes are no message of this kind.
pub const MALFORMED_MESSAGE: &str = "MALFORMED_MESSAGE";
/// There is no such method.
pub const UNKNOWN_METHOD: &str = "UNKNOWN_METHOD";
/// The method can't do this yet.
pub const NOT_SUPPORTED: &str = "NOT_SUPPORTED";
/// The statement is in the log, and no quorum of witnesses has cosigned it yet; metadata `index`.
pub const NOT_WITNESSED: &str = "NOT_WITNESSED";
/// Too many calls or streams go on.
pub const OVERLOADED: &str = "OVERLOADED";
/// The call or the next message of a stream took too long.
pub const TOO_SLOW: &str = "TOO_SLOW";
/// What is stored can't be read, or is damaged. The operator has to look.
pub const UNREADABLE: &str = "UNREADABLE";
/// Whatever else a transport has to say.
pub const TRANSPORT: &str = "TRANSPORT";

/// When to try again after a busy moment.
const SOON: Duration = Duration::from_millis(500);

/// The status of a refusal.
pub fn of(refusal: &Refusal) -> Status {
    let quota = refusal.value(QUOTA);
    let retry = match (quota, refusal.reason()) {
        (None, Reason::QueueFull) => Some(SOON),
        (None, _) => return api::status(refusal),
        // Where waiting does not help, nothing promises that it does.
        (Some(_), _) => {
            let ms = refusal.value(RETRY_AFTER).and_then(|ms| ms.parse().ok());
            ms.map(Duration::from_millis)
        }
    };
    let mut details = api::details(refusal);
    details.add_quota_failure_violation(
        refusal.value(SUBJECT).unwrap_or("log"),
        format!("{}: {}", quota.unwrap_or("queue"), refusal.message()),
    );
    if retry.is_some() {
        details.set_retry_info(retry);
    }
    api::status_with(refusal, details)
}

/// A status for what is not about a statement.
pub fn plain(code: Code, reason: &'static str, message: impl Into<String>) -> Status {
    with(code, reason, message, HashMap::new())
}

/// The same with facts for machines.
pub fn with(
    code: Code,
    reason: &'static str,
    message: impl Into<String>,
    metadata: HashMap<String, String>,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, api::DOMAIN, metadata);
    if matches!(code, Code::Unavailable) {
        details.set_retry_info(Some(SOON));
    }
    Status::with_error_details(code, message, details)
}

/// `INVALID_ARGUMENT` for one field.
pub fn bad_field(field: &str, description: impl Into<String>) -> Status {
    let description = description.into();
    let message = format!("{field}: {description}");
    let mut details = ErrorDetails::with_error_info(BAD_REQUEST, api::DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, description);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// `RESOURCE_EXHAUSTED`: too much goes on, in all or of one identity.
pub fn overloaded(subject: &str, what: &str) -> Status {
    let message = format!("too many {what} go on at once for {subject}; try again in a moment");
    let mut details = ErrorDetails::with_error_info(OVERLOADED, api::DOMAIN, HashMap::new());
    details.set_retry_info(Some(SOON));
    details.add_quota_failure_violation(subject, format!("{what} at once"));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// Completes a status that tonic made: it has a code and words, but no details.
pub fn complete(status: &Status) -> Status {
    let (code, reason) = match status.code() {
        // Both are for messages beyond a limit; only one of them says whose fault it is.
        Code::OutOfRange | Code::ResourceExhausted => (Code::InvalidArgument, MESSAGE_TOO_LARGE),
        Code::Unimplemented => (Code::Unimplemented, UNKNOWN_METHOD),
        // What the caller sent can't be read, for which gRPC's own code is INTERNAL. That code
        // wakes the operator, so no caller may cause it.
        Code::Internal | Code::InvalidArgument => (Code::InvalidArgument, MALFORMED_MESSAGE),
        Code::DeadlineExceeded => (Code::DeadlineExceeded, TOO_SLOW),
        code => (code, TRANSPORT),
    };
    let message = match status.message() {
        "" => "the server has no such method",
        message => message,
    };
    plain(code, reason, message)
}

/// True if the operator has to look: something is stored that can't be read, or there is a bug.
pub fn is_own_fault(status: &Status) -> bool {
    let details = status.get_error_details();
    let unreadable = details.error_info().is_some_and(|info| info.reason == UNREADABLE);
    unreadable || matches!(status.code(), Code::Internal | Code::Unknown)
}

/// The same status with the number under which the server's log has more about it.
pub fn with_request(status: &Status, id: &str) -> Status {
    let mut details = status.get_error_details();
    details.set_request_info(id, "");
    Status::with_error_details(status.code(), status.message(), details)
}

/// The name of a code, as gRPC writes it.
pub const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

//! Refusals as gRPC statuses with google.rpc details, and back.
//!
//! Details travel in HTTP/2 trailers, which are small: a refusal names statements by index or id
//! and never embeds them.

use std::collections::HashMap;
use std::time::Duration;

use exchange::{Code, Refusal};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1;

/// `domain` of every google.rpc.ErrorInfo.
pub const DOMAIN: &str = "countersign.v1";

/// What a refused client waits before it tries again, where trying again can help.
const RETRY: Duration = Duration::from_millis(500);

/// The status that carries a refusal.
pub fn status(refusal: &Refusal) -> Status {
    let mut details = details(refusal);
    if matches!(refusal.reason().code(), Code::ResourceExhausted | Code::Unavailable) {
        details.set_retry_info(Some(RETRY));
    }
    status_with(refusal, details)
}

/// The details of a refusal, without a time after which to try again.
pub fn details(refusal: &Refusal) -> ErrorDetails {
    let reason = refusal.reason().as_str();
    let metadata: HashMap<String, String> =
        refusal.metadata().iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if let Some(pointer) = refusal.pointer() {
        details.add_bad_request_violation(pointer, refusal.message());
    }
    if refusal.reason().code() == Code::FailedPrecondition {
        let subject = refusal.value("exchange").unwrap_or("log");
        details.add_precondition_failure_violation(reason, subject, refusal.message());
    }
    details
}

/// The status of a refusal with these details.
pub fn status_with(refusal: &Refusal, details: ErrorDetails) -> Status {
    Status::with_error_details(code(refusal.reason().code()), refusal.to_string(), details)
}

/// A refusal inside a stream.
pub fn refusal_message(refusal: &Refusal) -> v1::Refusal {
    v1::Refusal {
        code: code(refusal.reason().code()) as i32,
        reason: refusal.reason().as_str().to_owned(),
        message: refusal.message().to_owned(),
        pointer: refusal.pointer().unwrap_or_default().to_owned(),
        metadata: refusal.metadata().iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
    }
}

fn code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::Aborted => tonic::Code::Aborted,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::NotFound => tonic::Code::NotFound,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::Unavailable => tonic::Code::Unavailable,
    }
}

/// A status as a client reads it. What it says is the server's word; it decides what to do next,
/// never what is true. Its words can be printed: whatever could steer a terminal or reorder a line
/// is replaced.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}{}", place(reason, pointer))]
pub struct Denied {
    /// gRPC code.
    pub code: tonic::Code,
    /// Stable reason, or empty if the server gave none.
    pub reason: String,
    /// For people.
    pub message: String,
    /// JSON pointer, or empty.
    pub pointer: String,
    /// Further facts.
    pub metadata: HashMap<String, String>,
}

fn place(reason: &str, pointer: &str) -> String {
    match (reason.is_empty(), pointer.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!(" [{reason}]"),
        (false, false) => format!(" [{reason} at {pointer}]"),
    }
}

impl From<Status> for Denied {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violation = details.bad_request().and_then(|b| b.field_violations.first());
        Self {
            code: status.code(),
            reason: info.map(|i| printable(&i.reason)).unwrap_or_default(),
            message: printable(status.message()),
            pointer: violation.map(|v| printable(&v.field)).unwrap_or_default(),
            metadata: info.map(|i| i.metadata.clone()).unwrap_or_default(),
        }
    }
}

impl From<v1::Refusal> for Denied {
    fn from(refusal: v1::Refusal) -> Self {
        Self {
            code: tonic::Code::from_i32(refusal.code),
            reason: printable(&refusal.reason),
            message: printable(&refusal.message),
            pointer: printable(&refusal.pointer),
            metadata: refusal.metadata,
        }
    }
}

/// Words of a stranger on their way to a terminal: line breaks, escapes and marks that change the
/// direction of text become U+FFFD.
fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::Denied;

    #[test]
    fn words_of_a_server_cannot_steer_the_terminal_that_shows_them() {
        let status = tonic::Status::aborted("all is well\u{1b}[2J\r\n\u{202e}drawkcab");
        let denied = Denied::from(status);
        assert_eq!(denied.message, "all is well\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}drawkcab");
    }
}

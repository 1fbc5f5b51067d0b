//! A witness, as a log asks it (C2SP tlog-witness). What it answers is nobody's word but its own:
//! a cosignature counts once it verifies over the log's own text, and a size says only which
//! proof to send.

use std::time::Duration;

use tlog::{
    AddCheckpoint, MAX_NOTE, NoteError, NoteSignature, SIZE_CONTENT_TYPE, monitoring_path,
    parse_size_answer,
};

use crate::address::Address;
use crate::http::HttpClient;
use crate::log_files::FetchError;

/// Bytes of an answer: sixteen signature lines, ML-DSA-44 ones among them.
const MAX_ANSWER: usize = 64 << 10;

/// The way to one witness. Clones share connections.
#[derive(Debug, Clone)]
pub struct WitnessClient {
    http: HttpClient,
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cosigning {
    /// Signature lines, not verified.
    Lines(Vec<NoteSignature>),
    /// The size that it last cosigned is another one.
    OtherSize(u64),
}

/// Why there is no answer to go on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// No answer came in time, or none that can be read.
    #[error("{place}: {problem}")]
    Unreachable {
        /// The URL.
        place: String,
        /// What went wrong.
        problem: String,
    },
    /// It answered with a status that is no cosignature.
    #[error("{place}: answered with status {status}: {message}")]
    Refused {
        /// The URL.
        place: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of what it says about it.
        message: String,
    },
    /// A status 200 without signature lines.
    #[error("{place}: {problem}")]
    Lines {
        /// The URL.
        place: String,
        /// What is wrong with the lines.
        problem: NoteError,
    },
    /// A status 409 that names no size.
    #[error("{0}: answered with status 409 and no size")]
    NoSize(String),
}

impl WitnessClient {
    /// The witness with this submission prefix.
    pub fn new(address: impl Into<Address>) -> Result<Self, FetchError> {
        let address = address.into();
        let wrong = |problem| FetchError { place: address.url().to_owned(), problem };
        Ok(Self { http: HttpClient::new(&address).map_err(wrong)? })
    }

    /// Asks for a cosignature. The whole answer must come within `deadline`.
    pub async fn add_checkpoint(
        &self,
        request: &AddCheckpoint,
        deadline: Duration,
    ) -> Result<Cosigning, WitnessError> {
        const PATH: &str = "add-checkpoint";
        let place = || self.http.url(PATH);
        let answer = self.http.post(PATH, request.to_bytes(), MAX_ANSWER, deadline).await;
        let answer =
            answer.map_err(|problem| WitnessError::Unreachable { place: place(), problem })?;
        match answer.status {
            200 => NoteSignature::parse_lines(&answer.body)
                .map(Cosigning::Lines)
                .map_err(|problem| WitnessError::Lines { place: place(), problem }),
            409 => {
                let typed = answer.content_type.as_deref() == Some(SIZE_CONTENT_TYPE);
                let size = parse_size_answer(&answer.body).filter(|_| typed);
                size.map(Cosigning::OtherSize).ok_or_else(|| WitnessError::NoSize(place()))
            }
            status => Err(WitnessError::Refused {
                place: place(),
                status,
                message: beginning(&answer.body),
            }),
        }
    }

    /// The checkpoint of a log that the witness shows as the one it cosigned last, not verified;
    /// `None` if it shows none.
    pub async fn published(
        &self,
        origin: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<u8>>, WitnessError> {
        let path = monitoring_path(origin);
        let place = || self.http.url(&path);
        let answer = self.http.get(&path, MAX_NOTE, deadline).await;
        let answer =
            answer.map_err(|problem| WitnessError::Unreachable { place: place(), problem })?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 | 410 => Ok(None),
            status => Err(WitnessError::Refused {
                place: place(),
                status,
                message: beginning(&answer.body),
            }),
        }
    }
}

/// The first line, without what a terminal or a log would take for more than text.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

//! The artifacts that statements name: fetched, compared with their digests, and looked at as a
//! server looks at them before it admits a statement.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use client::{Address, CallError, Connection, FetchError, files};
use exchange::named::{self, Sources};
use exchange::{ArtifactNeed, Reason, Refusal, Statement, StatementId, artifacts};
use tlog::{Hash, VerifierKey};
use transport::status::UNREADABLE;

use crate::finding::{Code, Finding, Findings};
use crate::replay::Named;

/// The largest artifact that is fetched, in bytes: what a server stores if nothing else is said.
pub const MAX_ARTIFACT: u64 = 66 << 20;

/// What a source says of an artifact.
#[derive(Debug)]
pub enum Given {
    /// Its bytes, which hash to its digest.
    Bytes(Vec<u8>),
    /// It is not there.
    Absent,
    /// It is for others to read.
    Sealed,
    /// What came is not it.
    Wrong(String),
}

/// Where artifacts come from.
pub trait Artifacts {
    /// The artifact of this digest, of at most `max` bytes.
    fn artifact(&self, digest: &Hash, max: u64) -> Result<Given, FetchError>;
}

/// The artifacts in a copy of a log's folder.
#[derive(Debug)]
pub struct Copied(PathBuf);

impl Copied {
    /// Those of the copy at `folder`; `None` if it has none.
    pub fn of(folder: &Path) -> Option<Self> {
        let artifacts = folder.join("artifacts");
        artifacts.is_dir().then_some(Self(artifacts))
    }
}

impl Artifacts for Copied {
    fn artifact(&self, digest: &Hash, max: u64) -> Result<Given, FetchError> {
        let name = digest.to_string();
        let path = self.0.join(&name[..2]).join(&name);
        if !path.is_file() {
            return Ok(Given::Absent);
        }
        let wrong = |e: client::FileError| FetchError {
            place: path.display().to_string(),
            problem: e.problem,
        };
        let bytes = files::read(&path, max).map_err(wrong)?;
        Ok(match Hash::of(&[&bytes]) == *digest {
            true => Given::Bytes(bytes),
            false => Given::Wrong(format!("{digest} has other bytes than its name says")),
        })
    }
}

/// The artifacts that a log's server gives. Not to be used from asynchronous code: it waits.
pub struct Remote {
    address: Address,
    log: VerifierKey,
    runtime: tokio::runtime::Runtime,
    /// Made when the first artifact is asked for.
    connection: RefCell<Option<Connection>>,
}

impl Remote {
    /// Of the server at an address.
    pub fn new(address: impl Into<Address>, log: VerifierKey) -> Result<Self, FetchError> {
        let address = address.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|e| FetchError { place: address.url().to_owned(), problem: e.to_string() })?;
        Ok(Self { address, log, runtime, connection: RefCell::default() })
    }
}

impl Artifacts for Remote {
    fn artifact(&self, digest: &Hash, max: u64) -> Result<Given, FetchError> {
        let mut kept = self.connection.borrow_mut();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let asked = self.runtime.block_on(async {
            let connection = match &mut *kept {
                Some(connection) => connection,
                none => {
                    let opening = Connection::open(self.address.clone(), self.log.clone(), None);
                    none.insert(opening.await?)
                }
            };
            connection.artifact(digest, max).await
        });
        match asked {
            Ok(Some(bytes)) => Ok(Given::Bytes(bytes)),
            Ok(None) => Ok(Given::Absent),
            Err(CallError::Denied(denied)) if denied.reason == Reason::NotTheReader.as_str() => {
                Ok(Given::Sealed)
            }
            // It has something there, and says itself that this is not it.
            Err(CallError::Denied(denied)) if denied.reason == UNREADABLE => {
                Ok(Given::Wrong(denied.message))
            }
            Err(CallError::False(answer)) => Ok(Given::Wrong(answer.to_string())),
            Err(error) => {
                // Whatever it was, the next attempt begins with a new connection.
                *kept = None;
                let problem = format!("the artifact {digest}: {error}");
                Err(FetchError { place: self.address.url().to_owned(), problem })
            }
        }
    }
}

/// How many artifacts a statement names.
pub(crate) fn count(named: &Named) -> u64 {
    artifacts(&named.statement).len() as u64
}

/// Looks at everything that a statement names. What is sealed for others, or larger than this
/// monitor takes, is counted in `unread` alone.
pub(crate) fn check(
    named: &Named,
    source: &dyn Artifacts,
    findings: &mut Findings,
    unread: &mut u64,
) -> Result<(), FetchError> {
    for need in artifacts(&named.statement) {
        let most = need.length.most().unwrap_or(MAX_ARTIFACT);
        if most > MAX_ARTIFACT {
            *unread += 1;
            continue;
        }
        let problem = match source.artifact(&need.digest, most)? {
            Given::Bytes(bytes) => look(&named.statement, &need, bytes, named.nonce).err(),
            Given::Absent => Some(format!("{} is not there", need.digest)),
            Given::Wrong(problem) => Some(format!("{}: {problem}", need.digest)),
            Given::Sealed => {
                *unread += 1;
                None
            }
        };
        if let Some(problem) = problem {
            let signer = &named.statement.common().signer;
            let kind = named.statement.kind();
            let problem = format!("the {kind} of {signer} names an artifact: {problem}");
            findings.push(Finding::of_entry(Code::Artifact, named.index, problem));
        }
    }
    Ok(())
}

/// What a server asks of an artifact before it admits the statement.
fn look(
    statement: &Statement,
    need: &ArtifactNeed,
    bytes: Vec<u8>,
    nonce: Option<[u8; 32]>,
) -> Result<(), String> {
    let one = One { length: bytes.len() as u64, bytes: RefCell::new(Some(bytes)), nonce };
    named::check(statement, need, &one).map_err(|refusal| refusal.message().to_owned())
}

/// One artifact at hand.
struct One {
    length: u64,
    /// Taken by the one check that reads it.
    bytes: RefCell<Option<Vec<u8>>>,
    nonce: Option<[u8; 32]>,
}

impl Sources for One {
    fn length(&self, _: &Hash) -> Result<Option<u64>, Refusal> {
        Ok(Some(self.length))
    }

    fn bytes(&self, _: &Hash) -> Result<Option<Vec<u8>>, Refusal> {
        Ok(self.bytes.take())
    }

    fn start(&self, _: &Hash, bytes: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let mut start = self.bytes.take();
        start.iter_mut().for_each(|start| start.truncate(bytes));
        Ok(start)
    }

    fn nonce(&self, _: &StatementId) -> Result<Option<[u8; 32]>, Refusal> {
        Ok(self.nonce)
    }
}

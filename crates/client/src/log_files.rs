//! A log as files, as C2SP tlog-tiles lays them out: over HTTP, or in a folder with a copy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::Address;
use crate::files;
use crate::http::HttpClient;

/// A file of the log could not be fetched. Says nothing about the log's honesty.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FetchError {
    /// URL or path.
    pub place: String,
    /// What went wrong.
    pub problem: String,
}

/// Where the files of a log come from.
pub trait LogFiles {
    /// The file at this path below the log's prefix; `None` if it is not there. Longer than
    /// `max` bytes is an error.
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError>;
}

/// A folder with `checkpoint` and `tile/…`.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The copy at `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl LogFiles for Folder {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let place = self.0.join(path);
        if !place.is_file() {
            return Ok(None);
        }
        let bytes = files::read(&place, max as u64)
            .map_err(|e| FetchError { place: place.display().to_string(), problem: e.problem })?;
        Ok(Some(bytes))
    }
}

/// Keeps what is fetched from elsewhere as files in a folder, byte for byte.
pub struct Keeping {
    source: Box<dyn LogFiles>,
    folder: PathBuf,
}

impl Keeping {
    /// What `source` gives is also written below `folder`.
    pub fn new(source: Box<dyn LogFiles>, folder: &Path) -> Self {
        Self { source, folder: folder.to_owned() }
    }
}

impl LogFiles for Keeping {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let bytes = self.source.fetch(path, max)?;
        if let Some(bytes) = &bytes {
            let place = self.folder.join(path);
            let parent = place.parent().unwrap_or(&self.folder);
            std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&place, bytes)).map_err(
                |e| FetchError { place: place.display().to_string(), problem: e.to_string() },
            )?;
        }
        Ok(bytes)
    }
}

/// How long one file may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A log served over HTTP/1.1. Not to be used from asynchronous code: it waits.
#[derive(Debug)]
pub struct Http {
    client: HttpClient,
    deadline: Duration,
    runtime: tokio::runtime::Runtime,
}

impl Http {
    /// The log below a prefix, such as `http://127.0.0.1:7401/`.
    pub fn new(prefix: impl Into<Address>) -> Result<Self, FetchError> {
        Self::patient(prefix, DEADLINE)
    }

    /// The same, where one file may take so long.
    pub fn patient(prefix: impl Into<Address>, deadline: Duration) -> Result<Self, FetchError> {
        let address = prefix.into();
        let wrong = |problem| FetchError { place: address.url().to_owned(), problem };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self { client: HttpClient::new(&address).map_err(wrong)?, deadline, runtime })
    }
}

impl LogFiles for Http {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let wrong = |problem| FetchError { place: self.client.url(path), problem };
        // The timer needs the runtime's context, so it is made inside.
        let answer = async { self.client.get(path, max, self.deadline).await };
        let answer = self.runtime.block_on(answer).map_err(wrong)?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 | 410 => Ok(None),
            status => Err(wrong(format!("answered with status {status}"))),
        }
    }
}

//! A log as files, as C2SP tlog-tiles lays them out: over HTTP, or in a folder with a copy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;

use crate::address::{self, Address};
use crate::files;

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
    prefix: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    runtime: tokio::runtime::Runtime,
}

impl Http {
    /// The log below a prefix, such as `http://127.0.0.1:7401/`.
    pub fn new(prefix: impl Into<Address>) -> Result<Self, FetchError> {
        let address = prefix.into();
        let prefix = address.url();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| FetchError { place: prefix.to_owned(), problem: e.to_string() })?;
        let wrong = |problem: String| FetchError { place: prefix.to_owned(), problem };
        let tls = match address.tls().map_err(|e| wrong(e.to_owned()))? {
            Some(tls) => tls.config(),
            // For http: no authority is trusted, so https would end at the handshake.
            None => {
                address::trusting(RootCertStore::empty(), None).map_err(|e| wrong(e.to_string()))?
            }
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        Ok(Self { prefix, client, runtime })
    }

    async fn request(&self, url: &str, max: usize) -> Result<Option<Vec<u8>>, String> {
        let uri = url.parse().map_err(|e| format!("is not a URL: {e}"))?;
        let answer = self.client.get(uri).await.map_err(|e| {
            let cause =
                std::error::Error::source(&e).map_or_else(String::new, |s| format!(": {s}"));
            format!("{e}{cause}")
        })?;
        match answer.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            status => return Err(format!("answered with status {status}")),
        }
        let body = Limited::new(answer.into_body(), max).collect().await;
        Ok(Some(body.map_err(|e| format!("body: {e}"))?.to_bytes().to_vec()))
    }
}

impl LogFiles for Http {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let url = format!("{}{path}", self.prefix);
        // The timer needs the runtime's context, so it is made inside.
        let answer = async { tokio::time::timeout(DEADLINE, self.request(&url, max)).await };
        match self.runtime.block_on(answer) {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(problem)) => Err(FetchError { place: url, problem }),
            Err(_) => Err(FetchError {
                place: url,
                problem: format!("no answer within {} s", DEADLINE.as_secs()),
            }),
        }
    }
}

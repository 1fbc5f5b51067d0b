//! HTTP/1.1 as a client. Whoever answers too much, too slowly or for ever is given up.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use tonic::codegen::http::{Request, header};

use crate::address::{self, Address};

/// An HTTP client for one place.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    prefix: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl HttpClient {
    /// For what is below a prefix. The error says what is wrong with it.
    pub(crate) fn new(address: &Address) -> Result<Self, String> {
        let tls = match address.tls().map_err(str::to_owned)? {
            Some(tls) => tls.config(),
            // For http: no authority is trusted, so https would end at the handshake.
            None => address::trusting(RootCertStore::empty(), None).map_err(|e| e.to_string())?,
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { prefix: format!("{}/", address.url().trim_end_matches('/')), client })
    }

    /// The URL of a path below the prefix.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Fetches what is at a path. An answer longer than `max` bytes, or later than `deadline`, is
    /// an error.
    pub(crate) async fn get(
        &self,
        path: &str,
        max: usize,
        deadline: Duration,
    ) -> Result<HttpAnswer, String> {
        let request = Request::get(self.url(path)).body(Full::default());
        self.send(request.map_err(|e| format!("is not a URL: {e}"))?, max, deadline).await
    }

    /// Sends a body to a path, with the same limits for the answer.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        max: usize,
        deadline: Duration,
    ) -> Result<HttpAnswer, String> {
        let request = Request::post(self.url(path)).body(Full::from(body));
        self.send(request.map_err(|e| format!("is not a URL: {e}"))?, max, deadline).await
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        max: usize,
        deadline: Duration,
    ) -> Result<HttpAnswer, String> {
        let answering = async {
            let answer = self.client.request(request).await.map_err(|e| causes(&e))?;
            let status = answer.status().as_u16();
            let content_type = answer.headers().get(header::CONTENT_TYPE);
            let content_type =
                content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = Limited::new(answer.into_body(), max).collect().await;
            let body = body.map_err(|e| format!("body: {e}"))?.to_bytes().to_vec();
            Ok(HttpAnswer { status, content_type, body })
        };
        match tokio::time::timeout(deadline, answering).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {deadline:?}")),
        }
    }
}

/// An error with all that it comes from: the alert of a server that asks for a certificate lies four
/// deep.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.ends_with(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

//! The backend's routes for releases, called as an operator.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::TryStreamExt as _;
use indicatif::ProgressBar;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Client, Method, RequestBuilder, Url};
use serde_json::Value;
use tokio::fs::File;
use tokio_util::io::ReaderStream;
use tollgate_shared::Secret;

use super::package::PackedFile;
use crate::http_client;

/// How long the backend may take to be reached, and to say nothing. A file takes as long as it takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// What is said of who acts, for the audit trail.
const OPERATOR_HEADER: &str = "X-Operator";

/// The backend, and the key that opens it.
pub(super) struct Api {
    client: Client,
    backend: Url,
    key: Secret,
}

impl Api {
    pub(super) fn at(backend: Url, key: Secret) -> anyhow::Result<Self> {
        if backend.cannot_be_a_base() {
            bail!("--backend has to be an http:// or https:// address");
        }
        let client = http_client::for_address(&backend).context("could not read this machine's authorities")?;
        let client = client.connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()?;
        Ok(Self { client, backend, key })
    }

    /// Has something done; gives what came of it.
    pub(super) async fn post(&self, path: &[&str], body: Option<Value>) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path);
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
            None => request,
        };
        answer(request).await
    }

    /// A page of a list.
    pub(super) async fn list(&self, path: &[&str], cursor: Option<&str>) -> anyhow::Result<Value> {
        let mut url = self.url(path);
        url.query_pairs_mut().append_pair("limit", "100").extend_pairs(cursor.map(|cursor| ("cursor", cursor)));
        answer(self.as_operator(self.client.get(url))).await
    }

    /// Sends a file.
    pub(super) async fn put_file(&self, path: &[&str], file: &PackedFile, bar: &ProgressBar) -> anyhow::Result<()> {
        let from = File::open(&file.path).await.with_context(|| format!("could not read {}", file.path.display()))?;
        let sent = bar.clone();
        let pieces = ReaderStream::new(from).inspect_ok(move |piece| sent.inc(piece.len() as u64));
        let request = self.request(Method::PUT, path);
        let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, file.size);
        answer(request.body(Body::wrap_stream(pieces)))
            .await
            .with_context(|| format!("could not send {}", file.name))?;
        Ok(())
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.as_operator(self.client.request(method, self.url(path)))
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.backend.clone();
        let segments = url.path_segments_mut().expect("it was looked at whether it can be a base");
        { segments }.pop_if_empty().extend(["api", "admin"]).extend(path);
        url
    }

    fn as_operator(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header(AUTHORIZATION, format!("Bearer {}", self.key.expose()));
        match std::env::var("USER") {
            Ok(user) => request.header(OPERATOR_HEADER, user),
            Err(_) => request,
        }
    }
}

/// The answer to a request, or why there is none.
async fn answer(request: RequestBuilder) -> anyhow::Result<Value> {
    let response = request.send().await.context("could not reach the backend")?;
    let status = response.status();
    let body = response.bytes().await.context("the backend's answer broke off")?;
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(said);
    }
    let error = |name: &str| said["error"][name].as_str().unwrap_or("no reason").to_owned();
    bail!("the backend answered {status} {}: {}", error("code"), error("message"))
}

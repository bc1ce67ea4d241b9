//! Calls of ours to Stripe's API.

pub mod config;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use hyper_rustls::ConfigBuilderExt as _;
use reqwest::header::DATE;
use reqwest::{StatusCode, Url};
use tollgate_shared::{Secret, Timestamp};

use crate::stripe_api::config::StripeConfig;

/// The version that our calls ask for, so that their answers do not change with the account's settings.
const VERSION: &str = "2026-10-28.endive";
const VERSION_HEADER: &str = "stripe-version";
/// Whose object is asked for: <https://docs.stripe.com/connect/authentication>.
const ACCOUNT_HEADER: &str = "stripe-account";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Stripe itself gives up a request after 80 s; a snapshot that takes this long is asked for again.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read: a subscription of the most items that there may be (20) has some 60 KB.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// Stripe's API with a secret key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: Secret,
}

/// An object as Stripe has it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// When Stripe said so: the `Date` of its answer, whole seconds.
    pub at: Timestamp,
    /// The object's JSON.
    pub body: Bytes,
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer, or half of one.
    #[error("Stripe did not answer")]
    Transport(#[source] reqwest::Error),
    /// It answered with an error.
    #[error("Stripe answered {0}")]
    Status(StatusCode),
    /// It answered with something that no object is.
    #[error("Stripe's response is not one that we know: {0}")]
    UnexpectedResponse(&'static str),
}

impl CallError {
    /// Whether the same call may work later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status(status) => status.is_server_error() || matches!(status.as_u16(), 409 | 424 | 429),
            Self::UnexpectedResponse(_) => false,
        }
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The certificates of the authorities that this machine trusts cannot be read.
    #[error("cannot read this machine's certificate authorities")]
    Authorities(#[source] std::io::Error),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// A client with the configured key; none without a key.
    pub fn open(config: &StripeConfig) -> Result<Option<Self>, ClientError> {
        let Some(key) = config.secret_key.clone() else { return Ok(None) };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions");
        let tls = match config.api_base.scheme() {
            "https" => tls.with_native_roots().map_err(ClientError::Authorities)?,
            _ => tls.with_root_certificates(rustls::RootCertStore::empty()),
        };
        let http = reqwest::Client::builder()
            // A redirect would hand the key to whoever it names.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // Configuration is the documented variables alone, not HTTP_PROXY and its like.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(RESPONSE_TIMEOUT)
            .tls_backend_preconfigured(tls.with_no_client_auth())
            .build()?;
        Ok(Some(Self { http, base: config.api_base.clone(), key }))
    }

    /// `GET /v1/{resource}/{id}`: the object as it is now, of the connected `account` where it is not our own.
    pub async fn fetch(&self, resource: &str, id: &str, account: Option<&str>) -> Result<Fetched, CallError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CallError::UnexpectedResponse("STRIPE_API_BASE takes no path"))?
            .pop_if_empty()
            .extend(["v1", resource, id]);
        let mut request = self.http.get(url).bearer_auth(self.key.expose()).header(VERSION_HEADER, VERSION);
        if let Some(account) = account {
            request = request.header(ACCOUNT_HEADER, account);
        }
        // The address is known, and an error that quotes it could only repeat an id.
        let transport = |error: reqwest::Error| CallError::Transport(error.without_url());
        let mut answer = request.send().await.map_err(transport)?;
        if !answer.status().is_success() {
            return Err(CallError::Status(answer.status()));
        }
        let at = date(&answer).ok_or(CallError::UnexpectedResponse("it has no Date"))?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(CallError::UnexpectedResponse("it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { at, body: body.freeze() })
    }
}

fn date(answer: &reqwest::Response) -> Option<Timestamp> {
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(date).ok()?.with_timezone(&Utc))
}

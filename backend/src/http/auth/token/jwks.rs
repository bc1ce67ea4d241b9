//! The public keys that an issuer signs with: the key set at `AUTH_JWKS_URL` (RFC 7517), kept and fetched again.
//!
//! It is fetched at start and every few minutes, and besides when a token names a key that is not known, which a new key
//! does; but not more often than now and then, since anybody can name one. While it cannot be fetched the last one counts.

mod keys;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::BytesMut;
use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Url;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tollgate_shared::Timestamp;
use tracing::{info, warn};

use self::keys::KeySet;
use crate::app::App;
use crate::http::auth::claims::TokenError;
use crate::http_client;

/// How often it is fetched whether or not anybody asks: so long may a key be taken that its issuer has withdrawn.
const INTERVAL: Duration = Duration::from_secs(300);
/// How long it is left alone after an attempt, whoever asks.
const COOLDOWN: TimeDelta = TimeDelta::seconds(30);
/// The same after one that failed: somebody is waiting for it.
const COOLDOWN_AFTER_FAILURE: TimeDelta = TimeDelta::seconds(5);
/// How long the last one counts that could be fetched: an issuer that is away for longer signs nobody in any more.
const STALE_MAX: TimeDelta = TimeDelta::hours(24);

/// A request waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Large issuers have about a dozen keys of a kilobyte or two each.
const BYTES_MAX: usize = 256 << 10;

/// The keys of one address. Clones share them.
#[derive(Clone)]
pub(in crate::http::auth) struct Jwks(Arc<Inner>);

struct Inner {
    url: Url,
    http: reqwest::Client,
    known: RwLock<Known>,
    /// Held by whoever fetches it.
    fetching: Mutex<()>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Option<(Arc<KeySet>, Timestamp)>,
    /// When it was last asked for, and whether that failed.
    tried: Option<(Timestamp, bool)>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer")]
    Transport(#[source] reqwest::Error),
    #[error("the answer is {0}")]
    Status(reqwest::StatusCode),
    #[error("the answer is longer than {BYTES_MAX} bytes")]
    TooLong,
    #[error("the answer is no key set with a key that can be used")]
    Unreadable,
}

impl Jwks {
    /// The keys at `url`, not fetched yet. None where this machine's certificate authorities cannot be read.
    pub(in crate::http::auth) fn at(url: Url) -> anyhow::Result<Self> {
        let http = http_client::for_address(&url)?.timeout(TIMEOUT).build()?;
        let (known, fetching) = (RwLock::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { url, http, known, fetching })))
    }

    /// Fetches them now, and from then on as a background task.
    pub(in crate::http::auth) fn start(&self, app: &App) {
        let (jwks, clock) = (self.clone(), app.clock.clone());
        app.tasks.keep("jwks", move || {
            let (jwks, clock) = (jwks.clone(), clock.clone());
            async move {
                loop {
                    jwks.refresh(clock.now()).await;
                    sleep(INTERVAL).await;
                }
            }
        });
    }

    /// The keys that a token under `algorithm` may be signed with at `now`: the one that it names, or all of them where it
    /// names none.
    pub(in crate::http::auth) async fn keys(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<DecodingKey>, TokenError> {
        if let Some(known) = self.known(now) {
            let keys = known.of(algorithm, kid);
            if !keys.is_empty() {
                return Ok(keys);
            }
        }
        self.refresh(now).await;
        let keys = self.known(now).ok_or(TokenError::NoKeys)?.of(algorithm, kid);
        if keys.is_empty() { Err(TokenError::WrongKey) } else { Ok(keys) }
    }

    fn known(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys.as_ref().filter(|(_, at)| *at + STALE_MAX > now).map(|(keys, _)| keys.clone())
    }

    /// Fetches them, or waits for whoever does. Soon after an attempt it does nothing.
    async fn refresh(&self, now: Timestamp) {
        let _fetching = self.0.fetching.lock().await;
        let tried = self.0.known.read().unwrap_or_else(PoisonError::into_inner).tried;
        let rests = |(at, failed)| at + if failed { COOLDOWN_AFTER_FAILURE } else { COOLDOWN } > now;
        if tried.is_some_and(rests) {
            return;
        }
        let fetched = self.fetch().await;
        let had_failed = tried.is_some_and(|(_, failed)| failed);
        match &fetched {
            Ok(keys) if tried.is_none() || had_failed => info!("fetched {} keys from AUTH_JWKS_URL", keys.len()),
            Ok(_) => {}
            // Said once, not at each attempt.
            Err(_) if had_failed => {}
            Err(error) => warn!("could not fetch the keys of AUTH_JWKS_URL, retrying: {error}"),
        }
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tried = Some((now, fetched.is_err()));
        if let Ok(keys) = fetched {
            known.keys = Some((Arc::new(keys), now));
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let transport = |error: reqwest::Error| FetchError::Transport(error.without_url());
        let mut answer = self.0.http.get(self.0.url.clone()).send().await.map_err(transport)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > BYTES_MAX {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        KeySet::parse(&body).ok_or(FetchError::Unreadable)
    }
}

//! The relays' private listeners, asked for what only they know: whether an event is in their journals, how far behind they
//! are. Whoever is asked and does not answer in time is named as silent, never left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate_shared::clock::rfc3339;
use tollgate_shared::env::Env;
use tollgate_shared::{RequestId, Secret, Timestamp};

use crate::http_client;
use crate::stripe_api::config::http_url;

/// How long a relay may take to say something: a person waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to deliver events again: each goes to a backend and back.
const REDELIVERY_TIMEOUT: Duration = Duration::from_secs(25);
/// A private network connects in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The relays that are known. Cheap to clone.
#[derive(Clone)]
pub struct Relays {
    key: Secret,
    relays: Vec<Relay>,
}

/// One of them.
#[derive(Clone)]
struct Relay {
    /// Its private listener.
    url: Url,
    client: Client,
}

/// What came of asking one relay.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked<T> {
    /// Its private listener's address.
    pub url: String,
    /// What it said; none where it was silent, or said something that is not understood.
    pub said: Option<T>,
}

/// An entry of a relay's journal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When the relay received it.
    pub received_at: String,
    /// Whether a backend has confirmed it.
    pub confirmed: bool,
    /// How often it was delivered.
    pub attempts: i64,
    /// The request that brought it.
    pub request_id: String,
    /// Its length.
    pub bytes: i64,
}

/// A page of a relay's journal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Journal {
    /// What the relay is called.
    pub relay: String,
    /// The entries, the newest first.
    pub data: Vec<Entry>,
}

/// How a relay is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What it is called.
    pub relay: String,
    /// Whether it takes events.
    pub can_append: bool,
    /// How many events no backend has confirmed.
    pub unconfirmed: i64,
    /// The age of the oldest of them.
    pub oldest_unconfirmed_seconds: Option<i64>,
    /// What the journal takes on disk.
    pub journal_bytes: i64,
    /// Each number that it counts, by its name and labels.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

/// What came of having events delivered again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Redelivered {
    /// What the relay is called.
    pub relay: String,
    /// Of each event.
    pub results: Vec<RedeliveredEvent>,
}

/// What came of one event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedeliveredEvent {
    /// `evt_…`
    pub event_id: String,
    /// `confirmed`, `refused`, `unanswered` or `unknown`.
    pub outcome: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Redeliver<'a> {
    event_ids: [&'a str; 1],
    from: Option<String>,
}

impl Relays {
    /// Those at `urls`, which are shown `key`. An error where this machine's certificate authorities cannot be read.
    pub fn open(urls: &[Url], key: &Secret) -> io::Result<Self> {
        let relay = |url: &Url| {
            let client = http_client::for_address(url)?.connect_timeout(CONNECT_TIMEOUT);
            Ok(Relay { url: url.clone(), client: client.build().map_err(io::Error::other)? })
        };
        Ok(Self { key: key.clone(), relays: urls.iter().map(relay).collect::<io::Result<_>>()? })
    }

    /// None.
    pub fn none(key: &Secret) -> Self {
        Self { key: key.clone(), relays: Vec::new() }
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.relays.is_empty()
    }

    /// What each has of an event in its journal that was not received before `from`.
    pub async fn journals_of(
        &self,
        event_id: &str,
        from: Option<Timestamp>,
        request_id: &RequestId,
    ) -> Vec<Asked<Journal>> {
        self.ask(ANSWER_TIMEOUT, request_id, |relay| {
            let mut url = relay.at("journal");
            url.query_pairs_mut().append_pair("eventId", event_id);
            if let Some(from) = from {
                url.query_pairs_mut().append_pair("from", &rfc3339(from));
            }
            relay.client.get(url)
        })
        .await
    }

    /// How each is.
    pub async fn status(&self, request_id: &RequestId) -> Vec<Asked<Status>> {
        self.ask(ANSWER_TIMEOUT, request_id, |relay| relay.client.get(relay.at("status"))).await
    }

    /// Has each deliver an event again that was not received before `from`.
    pub async fn redeliver(
        &self,
        event_id: &str,
        from: Option<Timestamp>,
        request_id: &RequestId,
    ) -> Vec<Asked<Redelivered>> {
        let body = Redeliver { event_ids: [event_id], from: from.map(rfc3339) };
        let body = serde_json::to_vec(&body).expect("texts are always JSON");
        self.ask(REDELIVERY_TIMEOUT, request_id, |relay| {
            let request = relay.client.post(relay.at("journal/redeliver"));
            request.header("content-type", "application/json").body(body.clone())
        })
        .await
    }

    /// Asks all of them at once.
    async fn ask<T: DeserializeOwned>(
        &self,
        within: Duration,
        request_id: &RequestId,
        request: impl Fn(&Relay) -> RequestBuilder,
    ) -> Vec<Asked<T>> {
        let asking = self.relays.iter().map(|relay| {
            let request = request(relay).timeout(within).header("x-request-id", request_id.as_str());
            let request = request.header("x-internal-api-key", self.key.expose());
            async move {
                let said = async {
                    let response = request.send().await.ok()?.error_for_status().ok()?;
                    serde_json::from_slice(&response.bytes().await.ok()?).ok()
                };
                Asked { url: relay.url.to_string(), said: said.await }
            }
        });
        join_all(asking).await
    }
}

impl Relay {
    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }
}

/// `RELAY_ADMIN_URLS`.
pub fn urls(env: &Env) -> Vec<Url> {
    let what = "http:// or https:// addresses without a path, comma-separated";
    env.read("RELAY_ADMIN_URLS", what, bare_urls).unwrap_or_default()
}

/// Addresses of listeners, of which nothing but the host is said. One that is there twice is one.
fn bare_urls(text: &str) -> Option<Vec<Url>> {
    let is_bare =
        |url: &Url| url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let given = text.split(',').map(str::trim).filter(|url| !url.is_empty());
    let given = given.map(|url| http_url(url).filter(is_bare)).collect::<Option<Vec<_>>>()?;
    let mut listeners = BTreeSet::new();
    let is_new = |url: &Url| listeners.insert((url.host_str().map(str::to_owned), url.port_or_known_default()));
    Some(given.into_iter().filter(is_new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_named_by_their_private_listeners() {
        let urls = |text: &str| bare_urls(text).map(|urls| urls.iter().map(Url::to_string).collect::<Vec<_>>());
        assert_eq!(urls("http://relay:3001, https://b/"), Some(vec!["http://relay:3001/".into(), "https://b/".into()]));
        assert_eq!(
            urls("http://b:1,http://b:1/,https://b:1,http://b:2").map(|urls| urls.len()),
            Some(2),
            "by its port"
        );
        for bad in ["relay:3001", "http://relay/journal", "http://relay/?a", "http://user@relay", "http://a;http://b"] {
            assert_eq!(urls(bad), None, "{bad}");
        }
    }
}

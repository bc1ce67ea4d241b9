//! Calls of ours to Stripe's API.
//!
//! Every call waits for its share of `STRIPE_RATE_LIMIT` ([`budget`]), asks for one version, and is made again as Stripe's
//! own libraries do it (`retry`). A call that changes something carries the key of the action that it is made for
//! ([`action`]), so that Stripe does it once.

pub mod action;
pub mod budget;
pub mod calls;
pub mod config;
pub mod error;
pub mod form;
pub mod list;
mod retry;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, SubsecRound as _, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use tokio::time::{Instant, sleep, timeout_at};
use tollgate_shared::backoff::Backoff;
use tollgate_shared::{Rng, Secret, Timestamp};
use tracing::debug;

use crate::http_client;
use crate::stripe_api::action::Action;
use crate::stripe_api::budget::{Budgets, Priority};
use crate::stripe_api::calls::CallCounts;
use crate::stripe_api::config::StripeConfig;
use crate::stripe_api::error::{CallError, Refusal};
use crate::stripe_api::form::Form;

/// The version that our calls ask for, so that their answers do not change with the account's settings.
pub(crate) const VERSION: &str = "2026-10-28.endive";
const VERSION_HEADER: &str = "stripe-version";
/// Whose object is asked for: <https://docs.stripe.com/connect/authentication>.
const ACCOUNT_HEADER: &str = "stripe-account";
const KEY_HEADER: &str = "idempotency-key";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read: a page of a hundred objects, of which a subscription of the most items that there may be
/// (20) has some 60 KB, and an invoice of many lines more.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
/// How many earlier answers of an action that nobody named are passed over; so often nobody presses a button in a day.
const EARLIER_ANSWERS_MAX: u32 = 32;

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// One attempt: Stripe itself gives up a request after 80 s.
    pub attempt: Duration,
    /// All attempts for somebody at a screen, with what is waited in between.
    pub user: Duration,
    /// The same for a job.
    pub background: Duration,
    /// Between two attempts.
    pub backoff: Backoff,
}

impl Default for Timeouts {
    fn default() -> Self {
        let [attempt, user, background] = [20, 25, 90].map(Duration::from_secs);
        // As Stripe's own libraries do it.
        let backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(5) };
        Self { attempt, user, background, backoff }
    }
}

/// Stripe's API with a secret key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: Secret,
    budget: Arc<Budgets>,
    counts: Arc<CallCounts>,
    timeouts: Timeouts,
    rng: Rng,
}

/// A call: what is asked for, and for whom.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name in the metrics, of a fixed list: `subscriptions.update`.
    name: &'static str,
    method: Method,
    /// What follows `/v1`.
    path: Vec<String>,
    form: Form,
    account: Option<String>,
    priority: Priority,
}

impl Call {
    /// Reads something for a user.
    pub fn get(name: &'static str, path: &[&str]) -> Self {
        Self::new(name, Method::GET, path)
    }

    /// Changes something for a user.
    pub fn post(name: &'static str, path: &[&str]) -> Self {
        Self::new(name, Method::POST, path)
    }

    /// Ends something for a user.
    pub fn delete(name: &'static str, path: &[&str]) -> Self {
        Self::new(name, Method::DELETE, path)
    }

    fn new(name: &'static str, method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        Self { name, method, path, form: Form::default(), account: None, priority: Priority::User }
    }

    /// The same with what is sent.
    pub fn with(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The same in the connected `account`, where it is not our own.
    pub fn in_account(self, account: Option<&str>) -> Self {
        Self { account: account.map(str::to_owned), ..self }
    }

    /// The same for a job: users' calls go first.
    pub fn in_background(self) -> Self {
        Self { priority: Priority::Background, ..self }
    }
}

/// What Stripe answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When Stripe said so: the `Date` of its answer, whole seconds.
    pub at: Timestamp,
    /// When Stripe looked at the earliest, by its own clock, whole seconds: `at` less how long the call took. What is read as
    /// of then yields to whatever happened while it was read.
    pub looked_after: Timestamp,
    /// The object's JSON.
    pub body: Bytes,
    /// Whether it was said before: the object may have changed since.
    pub is_replayed: bool,
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
    pub fn open(config: &StripeConfig, rng: &Rng) -> Result<Option<Self>, ClientError> {
        let Some(key) = config.secret_key.clone() else { return Ok(None) };
        let http = http_client::for_address(&config.api_base).map_err(ClientError::Authorities)?;
        let http = http.connect_timeout(CONNECT_TIMEOUT).build()?;
        let budget = Arc::new(Budgets::new(config.calls_per_second));
        let (base, timeouts) = (config.api_base.clone(), Timeouts::default());
        Ok(Some(Self { http, base, key, budget, counts: Arc::default(), timeouts, rng: rng.clone() }))
    }

    /// The same with other time-outs.
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// How many calls may be made at this moment.
    pub fn budget_remaining(&self) -> f64 {
        self.budget.remaining()
    }

    /// How many calls were made here and are not written down.
    pub fn counts(&self) -> &CallCounts {
        &self.counts
    }

    /// Reads something.
    pub async fn read(&self, call: &Call) -> Result<Answer, CallError> {
        self.send(call, None).await
    }

    /// Does something once for `action`. What an earlier press of the same button was refused is not the answer to this
    /// one, which is then another attempt; unless the caller named the action, and so asks what came of it.
    pub async fn act(&self, call: &Call, action: &Action) -> Result<Answer, CallError> {
        let mut attempt = 0;
        loop {
            let answer = self.send(call, Some(&action.key(attempt))).await;
            let is_of_earlier = answer.as_ref().is_err_and(|error| error.refusal().is_some_and(|it| it.is_replayed));
            if !is_of_earlier || action.is_named() || attempt == EARLIER_ANSWERS_MAX {
                return answer;
            }
            attempt += 1;
        }
    }

    /// Does something once for all time that Stripe remembers `key`, by whomever it is asked: what an earlier attempt was
    /// answered is the answer to this one too.
    pub async fn once(&self, call: &Call, key: &str) -> Result<Answer, CallError> {
        self.send(call, Some(key)).await
    }

    /// Makes a call until it is answered, or is not worth another attempt.
    async fn send(&self, call: &Call, key: Option<&str>) -> Result<Answer, CallError> {
        let longest = match call.priority {
            Priority::User => self.timeouts.user,
            Priority::Background => self.timeouts.background,
        };
        let deadline = Instant::now() + longest;
        let mut attempts = 0;
        let mut may_be_done = false;
        loop {
            let answer = self.attempt(call, key, deadline).await;
            attempts += 1;
            let mut failure = match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            may_be_done |= matches!(failure, CallError::Lost(_));
            if let CallError::Refused(refusal) = &mut failure {
                // Of several attempts the first may be what it answers.
                refusal.is_replayed &= attempts == 1;
            }
            match retry::wait(&failure, attempts, self.timeouts.backoff, &self.rng)
                .filter(|wait| Instant::now() + *wait < deadline)
            {
                Some(wait) => {
                    debug!(call = call.name, "asking Stripe again: {failure}");
                    sleep(wait).await;
                }
                // That Stripe cannot be asked now says nothing of what it did before.
                None if may_be_done && failure.is_transient() => return Err(CallError::Lost(None)),
                None => return Err(failure),
            }
        }
    }

    async fn attempt(&self, call: &Call, key: Option<&str>, deadline: Instant) -> Result<Answer, CallError> {
        // Nothing is done before there is room for it.
        let endpoint = call.path.first().map_or("", String::as_str);
        let Ok(()) = timeout_at(deadline, self.budget.take(endpoint, call.priority)).await else {
            return Err(CallError::Refused(Box::new(Refusal::of_status(StatusCode::TOO_MANY_REQUESTS))));
        };
        let deadline = deadline.min(Instant::now() + self.timeouts.attempt);
        let answer = timeout_at(deadline, self.exchange(call, key)).await.unwrap_or(Err(CallError::Lost(None)));
        let status = match &answer {
            Ok(_) => "200".to_owned(),
            Err(CallError::Unreachable(_)) => "unreachable".to_owned(),
            Err(CallError::Lost(_)) => "lost".to_owned(),
            Err(CallError::Refused(refusal)) => refusal.status.as_u16().to_string(),
            Err(CallError::UnexpectedResponse(_)) => "unreadable".to_owned(),
        };
        metrics::counter!("tollgate_backend_stripe_requests_total", "call" => call.name, "status" => status)
            .increment(1);
        self.counts.count(&answer);
        answer
    }

    async fn exchange(&self, call: &Call, key: Option<&str>) -> Result<Answer, CallError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CallError::UnexpectedResponse("STRIPE_API_BASE takes no path"))?
            .pop_if_empty()
            .push("v1")
            .extend(&call.path);
        let is_read = call.method == Method::GET;
        if is_read && !call.form.is_empty() {
            url.set_query(Some(&call.form.encoded()));
        }
        let mut request = self.http.request(call.method.clone(), url);
        request = request.bearer_auth(self.key.expose()).header(VERSION_HEADER, VERSION);
        if let Some(account) = &call.account {
            request = request.header(ACCOUNT_HEADER, account);
        }
        if let Some(key) = key {
            request = request.header(KEY_HEADER, key);
        }
        if !is_read {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(call.form.encoded());
        }
        let asked = Instant::now();
        // The address is known, and an error that quotes it could only repeat an id.
        let mut answer = request.send().await.map_err(|error| match error.without_url() {
            error if error.is_connect() => CallError::Unreachable(error),
            error => CallError::Lost(Some(error)),
        })?;
        let mut body = BytesMut::new();
        let lost = |error: reqwest::Error| CallError::Lost(Some(error.without_url()));
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(CallError::UnexpectedResponse("it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        if !answer.status().is_success() {
            let refusal = Refusal::read(answer.status(), answer.headers(), &body);
            return Err(CallError::Refused(Box::new(refusal)));
        }
        let at = date(answer.headers()).ok_or(CallError::UnexpectedResponse("it has no Date"))?;
        let is_replayed = answer.headers().get("idempotent-replayed").is_some_and(|said| said == "true");
        let looked_after = (at - asked.elapsed()).trunc_subsecs(0);
        Ok(Answer { at, looked_after, body: body.freeze(), is_replayed })
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(DATE)?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(date).ok()?.with_timezone(&Utc))
}

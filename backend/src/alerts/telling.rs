//! Tells operators what became of alerts: what was queued is sent to where it goes, and tried again as messages to users are.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde::Serialize;
use tollgate_db::DbError;
use tollgate_domain::alerts::messages::{self, AlertMessage, Attempted, Told};
use tollgate_domain::alerts::{Labels, State, fingerprint};
use tollgate_shared::clock::rfc3339;
use tollgate_shared::ids;
use tracing::{error, warn};

use crate::app::App;
use crate::channels::Outcome;
use crate::channels::pager::Page;

/// How many messages are sent side by side.
const TOGETHER: i64 = 10;

/// Sends what is due; says how many messages were tried.
pub async fn tell_due(app: &App) -> Result<usize, DbError> {
    let mut tried = 0;
    loop {
        let mut tx = app.begin_write().await?;
        let taken = messages::take_due(&mut tx, app.clock.now(), TOGETHER).await?;
        tx.commit().await?;
        if taken.is_empty() {
            return Ok(tried);
        }
        tried += taken.len();
        let sent = join_all(taken.iter().map(|message| send(app, message))).await;
        let mut tx = app.begin_write().await?;
        for (message, attempted) in taken.iter().zip(&sent) {
            let is_given_up = messages::note(&mut tx, app.clock.now(), message, attempted).await?;
            say(message, attempted, is_given_up);
        }
        tx.commit().await?;
    }
}

async fn send(app: &App, message: &AlertMessage) -> Attempted {
    let page = page(app, &message.id, &message.told.0);
    attempted(app.pager.tell(&app.channels, &message.destination, &page, app.clock.now()).await)
}

fn attempted(outcome: Outcome) -> Attempted {
    match outcome {
        Outcome::Sent => Attempted::Sent,
        Outcome::Refused { code, error } => Attempted::Refused(format!("{code}: {error}")),
        Outcome::Gone => Attempted::Refused("it is not there any more".to_owned()),
        Outcome::Later { error, after } => Attempted::Failed(error, after.and_then(|it| TimeDelta::from_std(it).ok())),
    }
}

/// Who could not be told is not said: it may be an address.
fn say(message: &AlertMessage, attempted: &Attempted, is_given_up: bool) {
    let (id, alert) = (&message.id, &message.told.0.alert);
    match attempted {
        Attempted::Sent => {}
        Attempted::Refused(why) | Attempted::Failed(why, _) if is_given_up => {
            error!(id, alert, "could not tell anybody of alert {alert}, giving up: {why}");
        }
        Attempted::Refused(why) | Attempted::Failed(why, _) => {
            warn!(id, alert, "could not tell of alert {alert}, trying again: {why}");
        }
    }
}

/// What became of telling one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tested {
    pub(super) destination: String,
    pub(super) attempted: Attempted,
}

/// Tells each destination of nothing, once.
pub(super) async fn test(app: &App) -> Vec<Tested> {
    let now = app.clock.now();
    let (alert, severity, labels) = ("Test".to_owned(), "warning".to_owned(), Labels::new());
    let told = Told {
        fingerprint: fingerprint(&alert, &severity, &labels),
        alert,
        severity,
        labels,
        summary: "this is a test: nothing is amiss".to_owned(),
        starts_at: now,
        ends_at: None,
    };
    let page = page(app, &ids::new_id("alm", now, &app.rng), &told);
    let tests = app.pager.destinations().into_iter().map(|destination| {
        let page = &page;
        async move {
            let outcome = app.pager.tell(&app.channels, &destination, page, now).await;
            Tested { attempted: attempted(outcome), destination }
        }
    });
    join_all(tests).await
}

/// What is said of an alert to each destination.
fn page(app: &App, id: &str, told: &Told) -> Page {
    let state = state(told);
    let Told { alert, severity, summary, .. } = told;
    let mut lines = vec![summary.clone(), String::new(), format!("Alert: {alert} ({severity}), {}", state.name())];
    lines.extend(told.labels.iter().map(|(label, value)| format!("{label}: {value}")));
    lines.push(format!("Since: {}", rfc3339(told.starts_at)));
    lines.extend(told.ends_at.map(|at| format!("Until: {}", rfc3339(at))));
    let text = lines.join("\n") + "\n";
    let external_url = app.config.public_url.as_ref().map_or("", |url| url.as_str());
    let json = serde_json::to_vec(&Webhook::of(told, external_url)).expect("texts are always JSON");
    Page { id: id.to_owned(), title: format!("[{}] {alert} ({severity})", state.name()), text, json }
}

fn state(told: &Told) -> State {
    if told.ends_at.is_some() { State::Resolved } else { State::Firing }
}

/// The body of Alertmanager's webhooks, version 4
/// (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>): a group of one alert.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Webhook<'t> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'static str,
    group_labels: Labels,
    common_labels: Labels,
    common_annotations: Annotations<'t>,
    #[serde(rename = "externalURL")]
    external_url: &'t str,
    alerts: [WebhookAlert<'t>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookAlert<'t> {
    status: &'static str,
    labels: Labels,
    annotations: Annotations<'t>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'t str,
    fingerprint: &'t str,
}

#[derive(Clone, Copy, Serialize)]
struct Annotations<'t> {
    summary: &'t str,
}

/// When what fires ends: Go's time of nothing, as Alertmanager says it.
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";

impl<'t> Webhook<'t> {
    fn of(told: &'t Told, external_url: &'t str) -> Self {
        let mut labels = told.labels.clone();
        labels.insert("alertname".to_owned(), told.alert.clone());
        let group_labels = labels.clone();
        labels.insert("severity".to_owned(), told.severity.clone());
        let group: Vec<_> = group_labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let (status, annotations) = (state(told).name(), Annotations { summary: &told.summary });
        let alert = WebhookAlert {
            status,
            labels: labels.clone(),
            annotations,
            starts_at: rfc3339(told.starts_at),
            ends_at: told.ends_at.map_or_else(|| NOT_ENDED.to_owned(), rfc3339),
            generator_url: external_url,
            fingerprint: &told.fingerprint,
        };
        Self {
            version: "4",
            group_key: format!("{{}}:{{{}}}", group.join(", ")),
            truncated_alerts: 0,
            status,
            receiver: "tollgate",
            group_labels,
            common_labels: labels,
            common_annotations: annotations,
            external_url,
            alerts: [alert],
        }
    }
}

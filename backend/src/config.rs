//! What the process is told by its environment. Everything unusable is found at once and named, never with its value.

mod alerts;

use std::io::ErrorKind::NotFound;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Duration;
use reqwest::Url;
use tollgate_shared::env::{BadVariables, Env};
use tollgate_shared::tls::Tls;
use tollgate_shared::{Secret, Secrets};

use self::alerts::AlertsConfig;
use crate::channels::config::ChannelsConfig;
use crate::channels::pager::PagerConfig;
use crate::http_client::https_or_local_url;
use crate::relays;
use crate::stripe_api::config::{StripeConfig, http_url};
use crate::templates::Templates;
use tollgate_db::DatabaseUrl;
use tollgate_domain::contributions::tries::RetryOwner;
use tollgate_domain::licenses::lease::LeaseLength;
use tollgate_domain::plans::Plans;
use tollgate_domain::widgets::defaults::{WidgetDefaults, WidgetsError};

/// The variables, each with its default and what it is for: for `--help`.
pub const VARIABLES: &str = "\
Configuration is environment variables, with a .env file read when present:
  BACKEND_ADDR           where to listen [127.0.0.1:8000]
  BACKEND_TLS_CERT, BACKEND_TLS_KEY
                         PEM files, to listen with TLS
  DATABASE_URL           sqlite://<file> or postgres://… [sqlite://data/tollgate.db]
  DATABASE_LISTEN_URL    direct connection for LISTEN/NOTIFY when DATABASE_URL points at a pooler [DATABASE_URL]
  DATABASE_MIGRATE       `auto` to bring the tables up to date at start, or `off` [auto]
  REDIS_URL              redis://…: cross-replica wake-ups over Redis Pub/Sub (optional)
  INTERNAL_API_KEY       what internal callers and the relay send in X-Internal-API-Key; several accepted
  RELAY_INTERNAL_SECRET  what the relay sends instead, and then the only one that the webhook intake takes; several
                         accepted (optional)
  AUTH_SECRET            Auth.js's secret, which opens its sessions and signs JWTs under HS256; several accepted
  AUTH_JWKS_URL          public keys of JWTs under RS256, ES256 and EdDSA: https://…, or http://… on this machine (optional)
  AUTH_ISSUER, AUTH_AUDIENCE
                         what the `iss` and `aud` of a signed JWT have to be (optional)
  CRON_SECRET            bearer token for /api/cron/*; several accepted
  ENCRYPTION_KEY         32 characters or more; several accepted, the first encrypts
  ADMIN_API_KEY          bearer token for operator routes, without a user sign-in (optional)
  STRIPE_SECRET_KEY      sk_… or rk_…, for what users change at Stripe, and to ask it what its events leave open (optional)
  STRIPE_API_BASE        Stripe's address [https://api.stripe.com]
  STRIPE_LIVEMODE        `true` or `false`: events of the other mode are ignored [by STRIPE_SECRET_KEY's prefix, else either]
  STRIPE_ACCOUNTS        acct_…, comma-separated: connected accounts whose events are ours
  STRIPE_RATE_LIMIT      how many calls a second are made to Stripe [20]
  PLANS_FILE             what is on sale [plans.toml]
  WIDGETS_FILE           the widgets that a new customer gets [widgets.json if there is one, else a plain one]
  MACHINE_STALE_DAYS     how long a machine has to be silent before its seat may be given to another one [30]
  LEASE_HOURS            how long a desktop app may go on without an answer of ours [168]
  LEASE_REFRESH_HOURS    after how long it should ask again [24]
  POD_RETRIES            who tries again what was not paid into a pod: `stripe`, or `tollgate` at growing intervals [stripe]
  WEBHOOK_EVENTS_DAYS_MAX
                         days to keep webhook events that have ended well [90]
  LICENSE_EVENTS_DAYS_MAX
                         days to keep what desktop apps were told [90]
  RELEASES_DIR           where the files of releases lie, one folder for all replicas [data/releases]
  RELEASES_ACCESS        who may have them: `public`, or `licensed` for whoever has a licence [public]
  RELEASE_FILE_BYTES_MAX how large one of them may be [2147483648]
  RELAY_ADMIN_URLS       the relays' private listeners, comma-separated, for operators (optional)
  TEMPLATES_DIR          a folder of texts for notifications, over those that are built in (optional)
  PAYMENT_ALERT_ATTEMPTS after how many failed attempts a payer is told that something has to be done [4]
  APP_URL                the address of the web application (optional)
  PUBLIC_URL             the address of the relay, where /account is [APP_URL]
  SMTP_URL, MAIL_FROM    the mail server, smtp://user:password@host:port (STARTTLS; ?tls=none beside it) or smtps://…, and
                         who e-mails are from: both or neither
  MAIL_REPLY_TO          who answers to e-mails go to [MAIL_FROM]
  VAPID_PRIVATE_KEY, VAPID_SUBJECT
                         the key of pushes to browsers, from `vapid-keys`, and where their services find you, mailto:… or
                         https://…: both or neither
  PUSH_HOSTS             hosts of push services, comma-separated [the browsers' own]
  PUSH_WEBHOOK_URL, PUSH_WEBHOOK_SECRET
                         your gateway for pushes to apps, https://…, or http://… on this machine, and whsec_…, what calls
                         to it are signed with: both or neither
  ALERT_EMAIL_TO         who is told what is amiss: e-mail addresses, comma-separated (optional; needs SMTP_URL)
  ALERT_WEBHOOK_URL, ALERT_WEBHOOK_SECRET
                         what else is told, by Alertmanager's webhooks, https://…, or http://… on this machine, and whsec_…,
                         what calls to it are signed with: both or neither
  ALERT_REPEAT_HOURS     how often it is told again what goes on [4]
  ALERTS_FILE            from when on something is amiss, where not as by default (optional)
  HEARTBEAT_URL          gets a GET after each judgement of that, every five minutes (optional)
  RUST_LOG, LOG_FORMAT   which lines are logged [info], as `text` or `json` [text]

Several secrets are comma-separated. Rocket.toml and ROCKET_* are ignored.";

/// The fewest characters of an `ENCRYPTION_KEY`: as many as AES-256's key has bytes.
const ENCRYPTION_KEY_CHARACTERS_MIN: usize = 32;

/// How long a machine has to be silent before its seat may be given to another one: longer than anybody is on holiday.
const MACHINE_STALE_DAYS: i64 = 30;
/// How long a lease lasts where nothing else is said: a week without us, as long as a long journey.
const LEASE_HOURS: i64 = 168;
/// When it should be renewed: daily, so that what an operator revokes ends on the next day that the app is online.
const LEASE_REFRESH_HOURS: i64 = 24;
/// A year: a longer lease is as good as none, since nothing takes it back.
const LEASE_HOURS_MAX: i64 = 8760;

/// How long events are kept where nothing else is said: three times as long as Stripe has them.
const EVENTS_DAYS_MAX: i64 = 90;
/// A hundred years: for good.
const DAYS_MAX: i64 = 36_500;

const DEFAULT_RELEASES_DIR: &str = "data/releases";
/// More than any installer has.
const RELEASE_FILE_BYTES_MAX: u64 = 2 << 30;
/// Stripe's own retries are about as many in the first week.
const ALERT_ATTEMPTS: i64 = 4;

const DEFAULT_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
const DEFAULT_DATABASE_URL: &str = "sqlite://data/tollgate.db";

/// What a new customer gets where `WIDGETS_FILE` is not set and no `widgets.json` is there.
const PLAIN_WIDGETS: &str = r#"[{"name": "default", "config": {}}]"#;

/// What the process was told, read and checked. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// `BACKEND_ADDR`.
    pub addr: SocketAddr,
    /// `BACKEND_TLS_CERT` and `BACKEND_TLS_KEY`: both or neither.
    pub tls: Option<Arc<Tls>>,
    /// `DATABASE_URL`.
    pub database_url: DatabaseUrl,
    /// `DATABASE_LISTEN_URL`, or `DATABASE_URL`.
    pub database_listen_url: DatabaseUrl,
    /// `DATABASE_MIGRATE` is `auto`.
    pub migrates: bool,
    /// `REDIS_URL`: may hold a password.
    pub redis_url: Option<Secret>,
    /// `INTERNAL_API_KEY`.
    pub internal_keys: Secrets,
    /// What the webhook intake takes: `RELAY_INTERNAL_SECRET`, or `INTERNAL_API_KEY` where that is not set.
    pub intake_keys: Secrets,
    /// `AUTH_SECRET`.
    pub auth_secrets: Secrets,
    /// `AUTH_JWKS_URL`.
    pub auth_jwks_url: Option<Url>,
    /// `AUTH_ISSUER`.
    pub auth_issuer: Option<String>,
    /// `AUTH_AUDIENCE`.
    pub auth_audience: Option<String>,
    /// `CRON_SECRET`.
    pub cron_secrets: Secrets,
    /// `ENCRYPTION_KEY`: the first encrypts, all decrypt.
    pub encryption_keys: Secrets,
    /// `ADMIN_API_KEY`.
    pub admin_api_key: Option<Secret>,
    /// What is known of our side of Stripe.
    pub stripe: StripeConfig,
    /// How users are told things.
    pub channels: ChannelsConfig,
    /// How operators are told what is amiss.
    pub pager: PagerConfig,
    /// When, and how often.
    pub alerts: AlertsConfig,
    /// `PLANS_FILE`, read.
    pub plans: Arc<Plans>,
    /// `WIDGETS_FILE`, read.
    pub widgets: Arc<WidgetDefaults>,
    /// `MACHINE_STALE_DAYS`.
    pub machines_stale_after: Duration,
    /// `LEASE_HOURS` and `LEASE_REFRESH_HOURS`.
    pub lease_length: LeaseLength,
    /// `POD_RETRIES`.
    pub pod_retries: RetryOwner,
    /// `WEBHOOK_EVENTS_DAYS_MAX`.
    pub webhook_events_kept: Duration,
    /// `LICENSE_EVENTS_DAYS_MAX`.
    pub license_events_kept: Duration,
    /// `PODS_CREATED_BY` is `operators`.
    pub pods_are_operators_alone: bool,
    /// `RELEASES_DIR`.
    pub releases_dir: PathBuf,
    /// `RELEASES_ACCESS` is `licensed`.
    pub releases_are_licensed: bool,
    /// `RELEASE_FILE_BYTES_MAX`.
    pub release_file_bytes_max: u64,
    /// `RELAY_ADMIN_URLS`.
    pub relay_admin_urls: Vec<Url>,
    /// `TEMPLATES_DIR`, read.
    pub templates: Arc<Templates>,
    /// `PAYMENT_ALERT_ATTEMPTS`.
    pub alert_attempts: i64,
    /// `APP_URL`.
    pub app_url: Option<Url>,
    /// `PUBLIC_URL`, or `APP_URL`.
    pub public_url: Option<Url>,
}

/// What is said where e-mails are sent and nobody can be sent to a page of ours.
const NO_PUBLIC_URL: &str = "PUBLIC_URL is not set and e-mails are: those of reminders and pods have no link that ends them, \
    and ask to write to MAIL_REPLY_TO, else to MAIL_FROM; somebody has to read that";

impl Config {
    /// What may be used and is hardly meant so, for a person to read.
    pub fn warnings(&self) -> Vec<&'static str> {
        let is_without_address = self.channels.mail.is_some() && self.public_url.is_none();
        is_without_address.then_some(NO_PUBLIC_URL).into_iter().collect()
    }

    /// Reads everything; [`BadVariables`] names every variable that is missing or unusable.
    pub fn from_env(env: &Env) -> Result<Self, BadVariables> {
        let addr = env.parse("BACKEND_ADDR", "an address and port such as 127.0.0.1:8000");
        let tls = Tls::from_env(env, "BACKEND_TLS_CERT", "BACKEND_TLS_KEY").map(Arc::new);
        let [database_url, database_listen_url] = ["DATABASE_URL", "DATABASE_LISTEN_URL"]
            .map(|name| env.parse::<DatabaseUrl>(name, "sqlite://<file> or postgres://…"));
        let migrates = env.read("DATABASE_MIGRATE", "`auto` or `off`", |text| match text {
            "auto" => Some(true),
            "off" => Some(false),
            _ => None,
        });
        let internal_keys = env.required_secrets("INTERNAL_API_KEY");
        let relay_secrets = env.text("RELAY_INTERNAL_SECRET").and_then(Secrets::parse);
        let auth_secrets = env.required_secrets("AUTH_SECRET");
        // Whoever can change the keys on their way can sign anybody in.
        let auth_jwks_url =
            env.read("AUTH_JWKS_URL", "an https:// address, or http:// on this machine", https_or_local_url);
        let cron_secrets = env.required_secrets("CRON_SECRET");
        let encryption_keys = encryption_keys(env);
        let redis_url = redis_url(env);
        let stripe = StripeConfig::from_env(env);
        let channels = ChannelsConfig::from_env(env);
        let (pager, alerts) = (PagerConfig::from_env(env), AlertsConfig::from_env(env));
        let plans = plans(env);
        let widgets = widgets(env);
        let machine_stale_days = env.read("MACHINE_STALE_DAYS", "a number of days from 1 to 3650", |text| {
            text.parse().ok().filter(|days| (1..=3650).contains(days))
        });
        let lease_length = lease_length(env);
        let pod_retries = env.read("POD_RETRIES", "`stripe` or `tollgate`", |text| match text {
            "stripe" => Some(RetryOwner::Stripe),
            "tollgate" => Some(RetryOwner::Tollgate),
            _ => None,
        });
        let [webhook_events_kept, license_events_kept] =
            ["WEBHOOK_EVENTS_DAYS_MAX", "LICENSE_EVENTS_DAYS_MAX"].map(|name| days_kept(env, name));
        let pods_created_by = env.read("PODS_CREATED_BY", "`users` or `operators`", |text| match text {
            "users" => Some(false),
            "operators" => Some(true),
            _ => None,
        });
        let releases_are_licensed = env.read("RELEASES_ACCESS", "`public` or `licensed`", |text| match text {
            "public" => Some(false),
            "licensed" => Some(true),
            _ => None,
        });
        let release_file_bytes_max = env.read("RELEASE_FILE_BYTES_MAX", "a number of bytes, 1 or more", |text| {
            text.parse().ok().filter(|bytes| (1..=i64::MAX as u64).contains(bytes))
        });
        let relay_admin_urls = relays::urls(env);
        let templates = Templates::from_env(env);
        let alert_attempts = env.read("PAYMENT_ALERT_ATTEMPTS", "a number from 1 to 100", |text| {
            text.parse().ok().filter(|attempts| (1..=100).contains(attempts))
        });
        let [app_url, public_url] =
            ["APP_URL", "PUBLIC_URL"].map(|name| env.read(name, "an http:// or https:// address", http_url));

        env.finish()?;
        let default_url = || DEFAULT_DATABASE_URL.parse().expect("the default is an address");
        let database_url = database_url.unwrap_or_else(default_url);
        Ok(Self {
            addr: addr.unwrap_or(DEFAULT_ADDR),
            tls,
            database_listen_url: database_listen_url.unwrap_or_else(|| database_url.clone()),
            database_url,
            migrates: migrates.unwrap_or(true),
            redis_url,
            intake_keys: relay_secrets.unwrap_or_else(|| internal_keys.clone()),
            internal_keys,
            auth_secrets,
            auth_jwks_url,
            auth_issuer: env.text("AUTH_ISSUER").map(str::to_owned),
            auth_audience: env.text("AUTH_AUDIENCE").map(str::to_owned),
            cron_secrets,
            encryption_keys,
            admin_api_key: env.secret("ADMIN_API_KEY"),
            stripe,
            channels,
            pager,
            alerts,
            plans: Arc::new(plans.expect("plans that cannot be read were refused")),
            widgets: Arc::new(widgets.expect("widgets that cannot be read were refused")),
            machines_stale_after: Duration::days(machine_stale_days.unwrap_or(MACHINE_STALE_DAYS)),
            lease_length,
            pod_retries: pod_retries.unwrap_or_default(),
            webhook_events_kept,
            license_events_kept,
            public_url: public_url.or_else(|| app_url.clone()),
            pods_are_operators_alone: pods_created_by.unwrap_or(false),
            releases_dir: env.text_or("RELEASES_DIR", DEFAULT_RELEASES_DIR).into(),
            releases_are_licensed: releases_are_licensed.unwrap_or(false),
            release_file_bytes_max: release_file_bytes_max.unwrap_or(RELEASE_FILE_BYTES_MAX),
            relay_admin_urls,
            templates: templates.expect("templates that cannot be used were refused"),
            alert_attempts: alert_attempts.unwrap_or(ALERT_ATTEMPTS),
            app_url,
        })
    }
}

fn redis_url(env: &Env) -> Option<Secret> {
    env.read("REDIS_URL", "a redis:// or rediss:// address", |text| {
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "redis" | "rediss") && url.has_host()).then(|| Secret::new(text))
    })
}

fn encryption_keys(env: &Env) -> Secrets {
    let keys = env.required_secrets("ENCRYPTION_KEY");
    // A key that is missing has its problem noted already, which stays: the first problem of a variable does.
    if keys.iter().any(|key| key.expose().chars().count() < ENCRYPTION_KEY_CHARACTERS_MIN) {
        env.refuse("ENCRYPTION_KEY", &format!("has a key of fewer than {ENCRYPTION_KEY_CHARACTERS_MIN} characters"));
    }
    keys
}

fn plans(env: &Env) -> Option<Plans> {
    let path = env.text_or("PLANS_FILE", "plans.toml");
    Plans::load(Path::new(&path)).map_err(|why| env.refuse("PLANS_FILE", &why.to_string())).ok()
}

fn widgets(env: &Env) -> Option<WidgetDefaults> {
    let path = env.text_or("WIDGETS_FILE", "widgets.json");
    match WidgetDefaults::load(Path::new(&path)) {
        Ok(widgets) => Some(widgets),
        // Nobody asked for a file: a plain widget to begin with.
        Err(WidgetsError::Unreadable(why)) if why.kind() == NotFound && env.text("WIDGETS_FILE").is_none() => {
            Some(WidgetDefaults::parse(PLAIN_WIDGETS).expect("the plain widgets are a list of widgets"))
        }
        Err(why) => {
            env.refuse("WIDGETS_FILE", &why.to_string());
            None
        }
    }
}

fn lease_length(env: &Env) -> LeaseLength {
    let hours = |name: &str, default: i64| {
        let read = |text: &str| text.parse().ok().filter(|hours| (1..=LEASE_HOURS_MAX).contains(hours));
        let hours = env.read(name, &format!("a number of hours from 1 to {LEASE_HOURS_MAX}"), read);
        Duration::hours(hours.unwrap_or(default))
    };
    let lasts = hours("LEASE_HOURS", LEASE_HOURS);
    let refresh_after = hours("LEASE_REFRESH_HOURS", LEASE_REFRESH_HOURS.min(lasts.num_hours()));
    if refresh_after > lasts {
        env.refuse("LEASE_REFRESH_HOURS", "is more than LEASE_HOURS");
    }
    LeaseLength { lasts, refresh_after }
}

fn days_kept(env: &Env, name: &str) -> Duration {
    let read = |text: &str| text.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
    let days = env.read(name, &format!("a number of days from 1 to {DAYS_MAX}"), read);
    Duration::days(days.unwrap_or(EVENTS_DAYS_MAX))
}

#[cfg(test)]
mod tests;

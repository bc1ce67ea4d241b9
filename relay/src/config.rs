//! Everything the relay can be told, read once at the start. Whatever is wrong is named at once, never with a value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tollgate_journal::Options;
use tollgate_shared::Secrets;
use tollgate_shared::env::{BadVariables, Env};
use tollgate_shared::telemetry::LogConfig;
use tollgate_shared::tls::Tls;

use crate::backend::config::BackendConfig;
use crate::forwarder::Bounds;
use crate::intake::Ack;
use crate::limits::Limits;
use crate::public_proxy::ProxyConfig;

/// `RELAY_BODY_BYTES_MAX`, when it is not set: Stripe publishes no limit, and invoices with many lines grow.
const BODY_BYTES_DEFAULT: usize = 1024 * 1024;
/// What the backend's intake takes; more could be journalled and never delivered.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// `RELAY_FORWARD_DEADLINE_MS`, when it is not set.
const DEADLINE_MS_DEFAULT: u64 = 3000;
/// Longer than that Stripe does not wait for a response.
const DEADLINE_MS_MAX: u64 = 30_000;
/// `RELAY_JOURNAL_DAYS_MAX`, when it is not set, and at most: ten years.
const JOURNAL_DAYS: (u32, u32) = (14, 3650);
/// `RELAY_JOURNAL_BYTES_MAX`, when it is not set.
const JOURNAL_BYTES_DEFAULT: u64 = 10 * 1024 * 1024 * 1024;

/// The relay's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `RELAY_ID`, or the host's name.
    pub id: String,
    /// `RELAY_ADDR`: the public listener.
    pub addr: SocketAddr,
    /// `RELAY_ADMIN_ADDR`: the private one.
    pub admin_addr: SocketAddr,
    /// `RELAY_TLS_CERT` and `RELAY_TLS_KEY`, for the public listener.
    pub tls: Option<Arc<Tls>>,
    /// `RELAY_REQUIRE_HTTPS`: refuse what did not come by https.
    pub require_https: bool,
    /// `STRIPE_WEBHOOK_SECRET`: several while one is rotated.
    pub webhook_secrets: Secrets,
    /// `INTERNAL_API_KEY`: opens the journal on the private listener.
    pub internal_keys: Secrets,
    /// `RELAY_ACK`.
    pub ack: Ack,
    /// `RELAY_FORWARD_DEADLINE_MS`: how long a response may wait for the backend.
    pub forward_deadline: Duration,
    /// `RELAY_BODY_BYTES_MAX`: how long a webhook's body may be.
    pub body_bytes_max: usize,
    /// `RELAY_DATA_DIR`, `RELAY_JOURNAL_DAYS_MAX`, `RELAY_JOURNAL_BYTES_MAX`.
    pub journal: Options,
    /// Where events go.
    pub backend: BackendConfig,
    /// What is passed through.
    pub proxy: ProxyConfig,
    /// `RUST_LOG`, `LOG_FORMAT`.
    pub log: LogConfig,
    /// How long the forwarder waits for things, and how much it holds. No variable sets it.
    pub bounds: Bounds,
    /// How long clients may take, and how much. No variable sets it.
    pub limits: Limits,
}

impl Config {
    /// Reads every variable; names all that are missing or unusable.
    pub fn from_env(env: &Env) -> Result<Self, BadVariables> {
        let addr = address(env, "RELAY_ADDR", 3000);
        let admin_addr = address(env, "RELAY_ADMIN_ADDR", 3001);
        if addr == admin_addr && addr.port() != 0 {
            env.refuse(
                "RELAY_ADMIN_ADDR",
                "is the same as RELAY_ADDR: the private listener needs an address of its own",
            );
        }
        let ack = env.read("RELAY_ACK", "`durable` or `backend`", |text| match text {
            "durable" => Some(Ack::Durable),
            "backend" => Some(Ack::Backend),
            _ => None,
        });
        let deadline_ms = number(env, "RELAY_FORWARD_DEADLINE_MS", DEADLINE_MS_DEFAULT, DEADLINE_MS_MAX);
        let (days, days_max) = JOURNAL_DAYS;
        let config = Self {
            id: env.read("RELAY_ID", "a name of 1 to 64 characters", relay_id).unwrap_or_else(host_name),
            addr,
            admin_addr,
            tls: Tls::from_env(env, "RELAY_TLS_CERT", "RELAY_TLS_KEY").map(Arc::new),
            require_https: env.switch("RELAY_REQUIRE_HTTPS"),
            webhook_secrets: env.required_secrets("STRIPE_WEBHOOK_SECRET"),
            internal_keys: env.required_secrets("INTERNAL_API_KEY"),
            ack: ack.unwrap_or(Ack::Durable),
            forward_deadline: Duration::from_millis(deadline_ms),
            body_bytes_max: number(env, "RELAY_BODY_BYTES_MAX", BODY_BYTES_DEFAULT as u64, BODY_BYTES_MAX as u64)
                as usize,
            journal: Options::new(
                data_dir(env),
                number(env, "RELAY_JOURNAL_DAYS_MAX", days.into(), days_max.into()) as u32,
                number(env, "RELAY_JOURNAL_BYTES_MAX", JOURNAL_BYTES_DEFAULT, i64::MAX as u64),
            ),
            backend: BackendConfig::from_env(env),
            proxy: ProxyConfig::from_env(env),
            log: LogConfig::from_env(env),
            bounds: Bounds::default(),
            limits: Limits::default(),
        };
        env.finish().map(|()| config)
    }
}

/// `RELAY_DATA_DIR`: where the journal is.
pub fn data_dir(env: &Env) -> PathBuf {
    env.text_or("RELAY_DATA_DIR", "data/relay").into()
}

/// A name that can stand in any text.
fn relay_id(text: &str) -> Option<String> {
    let is_name = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned())
}

/// What the machine is called, where it says so.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    name.and_then(|name| relay_id(name.trim())).unwrap_or_else(|| "relay".to_owned())
}

fn address(env: &Env, name: &str, port: u16) -> SocketAddr {
    env.parse(name, "an IP address and a port such as `127.0.0.1:3000`")
        .unwrap_or_else(|| ([127, 0, 0, 1], port).into())
}

/// A whole number from 1 to `most`.
fn number(env: &Env, name: &str, default: u64, most: u64) -> u64 {
    let what = format!("a whole number from 1 to {most}");
    env.read(name, &what, |text| text.parse().ok().filter(|number| (1..=most).contains(number))).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let needed = [("STRIPE_WEBHOOK_SECRET", "whsec_1"), ("INTERNAL_API_KEY", "key")];
        let variables = needed.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_env(&Env::from_vars(variables)).map_err(|bad| bad.0.into_keys().collect())
    }

    #[test]
    fn two_secrets_are_all_that_is_needed() {
        let config = read(&[]).unwrap();
        assert_eq!(config.addr.to_string(), "127.0.0.1:3000");
        assert_eq!(config.admin_addr.to_string(), "127.0.0.1:3001");
        assert_eq!(config.backend.url.authority, "127.0.0.1:8000");
        assert_eq!((config.ack, config.forward_deadline), (Ack::Durable, Duration::from_secs(3)));
        assert_eq!(config.body_bytes_max, 1024 * 1024);
        assert_eq!((config.journal.days_max, config.journal.bytes_max), (14, 10 * 1024 * 1024 * 1024));
        assert_eq!(config.journal.dir, PathBuf::from("data/relay"));
        assert!(config.tls.is_none() && !config.require_https);
    }

    #[test]
    fn blank_secrets_are_missing_secrets() {
        let bad = read(&[("STRIPE_WEBHOOK_SECRET", "  "), ("INTERNAL_API_KEY", " , ")]).unwrap_err();
        assert_eq!(bad, ["INTERNAL_API_KEY", "STRIPE_WEBHOOK_SECRET"]);
    }

    #[test]
    fn every_unusable_variable_is_named_at_once() {
        let bad = read(&[
            ("RELAY_ADDR", "localhost"),
            ("RELAY_ADMIN_ADDR", "3001"),
            ("BACKEND_URL", "backend:8000"),
            ("BACKEND_HTTP", "3"),
            ("RELAY_ACK", "never"),
            ("RELAY_FORWARD_DEADLINE_MS", "0"),
            ("RELAY_TLS_CERT", "/nowhere/cert.pem"),
            ("RELAY_REQUIRE_HTTPS", "yes"),
            ("RELAY_TRUSTED_PROXIES", "10.0.0.0/99"),
            ("RELAY_BODY_BYTES_MAX", "1MiB"),
            ("RELAY_JOURNAL_DAYS_MAX", "-1"),
            ("RELAY_JOURNAL_BYTES_MAX", "0"),
            ("CORS_ORIGINS", "*"),
            ("LOG_FORMAT", "xml"),
        ]);
        assert_eq!(
            bad.unwrap_err(),
            [
                "BACKEND_HTTP",
                "BACKEND_URL",
                "CORS_ORIGINS",
                "LOG_FORMAT",
                "RELAY_ACK",
                "RELAY_ADDR",
                "RELAY_ADMIN_ADDR",
                "RELAY_BODY_BYTES_MAX",
                "RELAY_FORWARD_DEADLINE_MS",
                "RELAY_JOURNAL_BYTES_MAX",
                "RELAY_JOURNAL_DAYS_MAX",
                "RELAY_REQUIRE_HTTPS",
                "RELAY_TLS_KEY",
                "RELAY_TRUSTED_PROXIES",
            ]
        );
    }

    #[test]
    fn an_origin_with_a_path_is_unusable() {
        assert_eq!(read(&[("CORS_ORIGINS", "https://app.example/path")]).unwrap_err(), ["CORS_ORIGINS"]);
        assert!(read(&[("CORS_ORIGINS", "https://app.example, http://localhost:5173")]).is_ok());
    }

    #[test]
    fn numbers_have_bounds() {
        assert!(read(&[("RELAY_BODY_BYTES_MAX", "33554432")]).is_ok());
        assert_eq!(read(&[("RELAY_BODY_BYTES_MAX", "33554433")]).unwrap_err(), ["RELAY_BODY_BYTES_MAX"]);
        assert_eq!(read(&[("RELAY_FORWARD_DEADLINE_MS", "30001")]).unwrap_err(), ["RELAY_FORWARD_DEADLINE_MS"]);
    }

    #[test]
    fn the_two_listeners_need_two_addresses() {
        let bad = read(&[("RELAY_ADDR", "127.0.0.1:3001")]).unwrap_err();
        assert_eq!(bad, ["RELAY_ADMIN_ADDR"]);
        assert!(read(&[("RELAY_ADDR", "127.0.0.1:0"), ("RELAY_ADMIN_ADDR", "127.0.0.1:0")]).is_ok());
    }
}

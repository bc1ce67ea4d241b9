//! What the pass-through has to be told.

use std::time::Duration;

use tollgate_shared::env::Env;

use super::cors::Origins;
use super::forwarded::TrustedProxies;
use crate::backend::address::{BackendHttp, BackendUrl};

/// What the pass-through has to be told.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where the backend is. `BACKEND_URL`, default `http://127.0.0.1:8000`.
    pub backend: BackendUrl,
    /// What it speaks. `BACKEND_HTTP`.
    pub http: BackendHttp,
    /// Whose web pages may read responses. `CORS_ORIGINS`, default that of `APP_URL`.
    pub origins: Origins,
    /// Whose `X-Forwarded-*` headers are believed. `RELAY_TRUSTED_PROXIES`, default nobody's.
    pub trusted: TrustedProxies,
    /// How long anything may take.
    pub times: TimeLimits,
}

impl ProxyConfig {
    /// Reads the variables; those that are unusable are noted in `env`.
    pub fn from_env(env: &Env) -> Self {
        let backend = env.read("BACKEND_URL", "an http or https address without a path", BackendUrl::parse);
        let http = env.read("BACKEND_HTTP", "`2` or `1.1`", BackendHttp::parse);
        let of_app = || env.read("APP_URL", "an http or https address", Origins::of_url);
        let origins = match env.text("CORS_ORIGINS") {
            Some(_) => env.read(
                "CORS_ORIGINS",
                "a comma-separated list of origins such as `https://app.example`, each by its name and without a path",
                Origins::parse,
            ),
            None => of_app(),
        };
        let trusted = env.read(
            "RELAY_TRUSTED_PROXIES",
            "a comma-separated list of addresses and networks such as `10.0.0.0/8`",
            TrustedProxies::parse,
        );
        Self {
            backend: backend.unwrap_or_default(),
            http: http.unwrap_or_default(),
            origins: origins.unwrap_or_default(),
            trusted: trusted.unwrap_or_default(),
            times: TimeLimits::default(),
        }
    }
}

/// How long anything may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// Until a connection to the backend stands, and as long again for TLS. The backend is near: a packet that is lost
    /// and sent again still fits.
    pub connect: Duration,
    /// Until a client has sent all of its body: 10 MiB at 1.4 Mbit/s.
    pub upload: Duration,
    /// From there until the backend responds. Long enough for it to wait for Stripe, so that it is the one that says
    /// what became of a call.
    pub head: Duration,
    /// From one piece of a response to the next, unless it is a stream of events: that one is quiet as long as it
    /// likes.
    pub piece: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            upload: Duration::from_secs(60),
            head: Duration::from_secs(60),
            piece: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::from_vars(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn without_variables_it_is_the_backend_next_door_and_nobody_is_trusted() {
        let env = env(&[]);
        let config = ProxyConfig::from_env(&env);
        env.finish().unwrap();
        assert_eq!(config.backend, BackendUrl::parse("http://127.0.0.1:8000").unwrap());
        assert_eq!(config.http, BackendHttp::Two);
        assert_eq!((config.origins, config.trusted), (Origins::default(), TrustedProxies::default()));
    }

    #[test]
    fn the_app_s_origin_is_the_one_that_may_read_unless_others_are_listed() {
        let origins = |variables: &[(&str, &str)]| ProxyConfig::from_env(&env(variables)).origins;
        let app = ("APP_URL", "https://app.example/welcome");
        assert_eq!(origins(&[app]), Origins::parse("https://app.example").unwrap());
        assert_eq!(
            origins(&[app, ("CORS_ORIGINS", "https://b.example")]),
            Origins::parse("https://b.example").unwrap()
        );
    }

    #[test]
    fn every_unusable_variable_is_named() {
        let env = env(&[
            ("BACKEND_URL", "ftp://x"),
            ("BACKEND_HTTP", "3"),
            ("CORS_ORIGINS", "*"),
            ("RELAY_TRUSTED_PROXIES", "everyone"),
        ]);
        ProxyConfig::from_env(&env);
        let names: Vec<_> = env.finish().unwrap_err().0.into_keys().collect();
        assert_eq!(names, ["BACKEND_HTTP", "BACKEND_URL", "CORS_ORIGINS", "RELAY_TRUSTED_PROXIES"]);
    }
}

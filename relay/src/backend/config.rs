//! How the backend is reached: from the variables, and what can be wrong with them.

use std::io;

use http::HeaderValue;
use tollgate_shared::env::Env;
use tollgate_shared::{Secret, Secrets};

use super::address::{BackendHttp, BackendUrl};

/// Where the backend is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// `BACKEND_URL`.
    pub url: BackendUrl,
    /// `BACKEND_HTTP`.
    pub http: BackendHttp,
    /// The first of `RELAY_INTERNAL_SECRET`, else of `INTERNAL_API_KEY`.
    pub key: Secret,
}

impl BackendConfig {
    /// Reads `BACKEND_URL`, `BACKEND_HTTP`, `INTERNAL_API_KEY` and `RELAY_INTERNAL_SECRET`; what is wrong with them is noted in `env`.
    pub fn from_env(env: &Env) -> Self {
        let url = env.read("BACKEND_URL", "an http or https address without a path", BackendUrl::parse);
        let http = env.read("BACKEND_HTTP", "`2` or `1.1`", BackendHttp::parse);
        let shared = env.required_secrets("INTERNAL_API_KEY");
        let own = env.text("RELAY_INTERNAL_SECRET").and_then(Secrets::parse);
        let (name, key) = match own {
            Some(own) => ("RELAY_INTERNAL_SECRET", own.first().clone()),
            None => ("INTERNAL_API_KEY", shared.first().clone()),
        };
        if env.text(name).is_some() && HeaderValue::from_str(key.expose()).is_err() {
            env.refuse(name, "holds a character that no header can carry");
        }
        Self { url: url.unwrap_or_default(), http: http.unwrap_or_default(), key }
    }
}

/// A backend cannot be spoken to as configured.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The address has a host that no URL can have.
    #[error("the backend's address is not one of a URL")]
    Url,
    /// The internal key cannot stand in a header.
    #[error("the internal key holds a character that no header can carry")]
    Key,
    /// The machine's certificate authorities cannot be read.
    #[error("could not read the machine's certificate authorities")]
    Authorities(#[source] io::Error),
    /// The HTTP client cannot be made.
    #[error("could not make an HTTP client")]
    Client(#[from] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relays_own_secret_goes_before_the_shared_key() {
        let key = |variables: &[(&str, &str)]| {
            let env = Env::from_vars(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            let config = BackendConfig::from_env(&env);
            env.finish().map(|()| config.key.expose().to_owned()).map_err(|bad| bad.0.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(key(&[("INTERNAL_API_KEY", "new,old")]).unwrap(), "new");
        assert_eq!(key(&[("INTERNAL_API_KEY", "new"), ("RELAY_INTERNAL_SECRET", "own")]).unwrap(), "own");
        assert_eq!(key(&[("INTERNAL_API_KEY", "new"), ("RELAY_INTERNAL_SECRET", "one,two")]).unwrap(), "one");
        assert_eq!(key(&[("RELAY_INTERNAL_SECRET", "own")]).unwrap_err(), ["INTERNAL_API_KEY"]);
        assert_eq!(key(&[("INTERNAL_API_KEY", "a\nb")]).unwrap_err(), ["INTERNAL_API_KEY"]);
    }
}

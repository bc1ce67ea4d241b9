//! A listener's certificate chain and private key: two PEM files, read and checked together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::env::Env;

/// The two files cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file cannot be read or holds none.
    #[error("is not a readable file of PEM certificates")]
    Certificate,
    /// The key's file cannot be read or holds none.
    #[error("is not a readable file of a PEM private key")]
    Key,
    /// The key is of another certificate, or of a kind that is not supported.
    #[error("is not the key of the certificate, or not of a kind that can be used")]
    Mismatch,
}

/// Where a listener's certificate chain and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's certificate first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads the variables `cert` and `key`, both or neither, and checks the files that they name; what is wrong is noted
    /// in `env`. Gives back the files and what they hold.
    pub fn from_env(env: &Env, cert: &str, key: &str) -> Option<(Self, ServerConfig)> {
        let files = match (env.text(cert), env.text(key)) {
            (Some(cert), Some(key)) => Self { cert: cert.into(), key: key.into() },
            (None, None) => return None,
            (Some(_), None) => {
                env.refuse(key, &format!("is missing: {cert} is set"));
                return None;
            }
            (None, Some(_)) => {
                env.refuse(cert, &format!("is missing: {key} is set"));
                return None;
            }
        };
        let (chain, private) = (read_chain(&files.cert), read_key(&files.key));
        // Both are looked at, so that both are named.
        for (name, error) in [(cert, chain.as_ref().err()), (key, private.as_ref().err())] {
            if let Some(error) = error {
                env.refuse(name, &error.to_string());
            }
        }
        match pair(chain.ok()?, private.ok()?) {
            Ok(config) => Some((files, config)),
            Err(error) => {
                env.refuse(key, &error.to_string());
                None
            }
        }
    }

    /// Reads both files as they are now.
    pub fn load(&self) -> Result<ServerConfig, TlsError> {
        pair(read_chain(&self.cert)?, read_key(&self.key)?)
    }
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Certificate)
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|_| TlsError::Key)
}

fn pair(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, TlsError> {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| TlsError::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(cert: Option<&str>, key: Option<&str>) -> Vec<String> {
        let variables = [("CERT", cert), ("KEY", key)];
        let variables = variables.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let env = Env::from_vars(variables);
        assert!(TlsFiles::from_env(&env, "CERT", "KEY").is_none());
        env.finish().map_or_else(|bad| bad.0.into_keys().collect(), |()| Vec::new())
    }

    #[test]
    fn one_file_without_the_other_is_unusable() {
        assert_eq!(names(None, None), [""; 0]);
        assert_eq!(names(Some("/nowhere/cert.pem"), None), ["KEY"]);
        assert_eq!(names(None, Some("/nowhere/key.pem")), ["CERT"]);
    }

    #[test]
    fn files_that_hold_neither_certificate_nor_key_are_unusable() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(names(Some("/nowhere/cert.pem"), Some("/nowhere/key.pem")), ["CERT", "KEY"]);
        assert_eq!(names(Some(here), Some(here)), ["CERT", "KEY"]);
    }
}

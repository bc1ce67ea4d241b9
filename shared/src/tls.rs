//! A listener's certificate chain and private key: two PEM files, read and checked together, and again while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

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

/// A listener's certificate and key, as they were when the files were read last.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

/// Where the certificate chain and the key are, and which variables say so.
#[derive(Debug)]
struct TlsFiles {
    cert_variable: &'static str,
    key_variable: &'static str,
    /// The chain, the server's certificate first.
    cert: PathBuf,
    /// Its private key.
    key: PathBuf,
}

impl Tls {
    /// Reads the variables `cert` and `key`, both or neither, and the files that they name; what is wrong is noted in
    /// `env`.
    pub fn from_env(env: &Env, cert: &'static str, key: &'static str) -> Option<Self> {
        let (cert_file, key_file) = env.pair(cert, key)?;
        let files = TlsFiles { cert_variable: cert, key_variable: key, cert: cert_file.into(), key: key_file.into() };
        let (chain, private) = (read_chain(&files.cert), read_key(&files.key));
        // Both are looked at, so that both are named.
        for (name, error) in [(cert, chain.as_ref().err()), (key, private.as_ref().err())] {
            if let Some(error) = error {
                env.refuse(name, &error.to_string());
            }
        }
        match pair(chain.ok()?, private.ok()?) {
            Ok(config) => Some(Self { files, current: RwLock::new(Arc::new(config)) }),
            Err(error) => {
                env.refuse(key, &error.to_string());
                None
            }
        }
    }

    /// Reads both files again, for connections from now on, and logs how that went. If they cannot be used, what was read
    /// before stays.
    pub fn reload(&self) {
        let TlsFiles { cert_variable, key_variable, cert, key } = &self.files;
        let read = read_chain(cert).and_then(|chain| pair(chain, read_key(key)?));
        match read {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                info!("reloaded {cert_variable} and {key_variable}");
            }
            Err(problem) => {
                let name = if problem == TlsError::Certificate { cert_variable } else { key_variable };
                error!("could not reload the TLS certificate, keeping the old one: {name} {problem}");
            }
        }
    }

    /// What to accept the next connection with: HTTP/2 and HTTP/1.1 are offered, in that order.
    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)).into()
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
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| TlsError::Mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(cert: Option<&str>, key: Option<&str>) -> Vec<String> {
        let variables = [("CERT", cert), ("KEY", key)];
        let variables = variables.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let env = Env::from_vars(variables);
        assert!(Tls::from_env(&env, "CERT", "KEY").is_none());
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

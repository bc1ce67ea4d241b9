//! TLS for the public listener. The certificate and its key can be read again while it runs.

use std::sync::Arc;
use std::sync::{PoisonError, RwLock};

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tollgate_shared::env::Env;
use tollgate_shared::tls::{TlsError, TlsFiles};

/// The public listener's certificate and key, as they were when the files were read last.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads `RELAY_TLS_CERT` and `RELAY_TLS_KEY`; what is wrong with them or with the files is noted in `env`.
    pub fn from_env(env: &Env) -> Option<Self> {
        let (files, config) = TlsFiles::from_env(env, "RELAY_TLS_CERT", "RELAY_TLS_KEY")?;
        Some(Self { files, current: RwLock::new(Arc::new(with_both_versions(config))) })
    }

    /// Reads both files again, for connections from now on. If they cannot be used, what was read before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(with_both_versions(self.files.load()?));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// What to accept the next connection with.
    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

/// HTTP/2 and HTTP/1.1 are offered, in that order.
fn with_both_versions(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

//! A throw-away Redis, to be stopped and started. Where it is not installed, tests fail with what to install.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::engines::temporary_folder;
use crate::process::{Process, Program, free_address, on_path};
use crate::wait::{SOON, wait_until};

/// A server on a port of its own that keeps nothing.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    program: Program,
    process: Option<Process>,
    /// Below the process, so that it outlives it.
    _folder: TempDir,
}

impl Redis {
    /// Starts one.
    pub async fn start() -> Self {
        let (folder, address) = (temporary_folder(), free_address());
        let program = Program {
            name: "redis".to_owned(),
            path: on_path("redis-server", "redis-server"),
            arguments: [
                "--port",
                &address.port().to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ]
            .map(str::to_owned)
            .to_vec(),
            environment: Vec::new(),
            folder: folder.path().to_owned(),
            log: folder.path().join("redis.log"),
        };
        let mut redis = Self { address, program, process: None, _folder: folder };
        redis.start_again().await;
        redis
    }

    /// The value for `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Stops it as the loss of its machine would.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on its port, and waits until it takes connections.
    pub async fn start_again(&mut self) {
        self.process = Some(self.program.start());
        wait_until("Redis takes connections", SOON, async || TcpStream::connect(self.address).await.is_ok()).await;
    }
}

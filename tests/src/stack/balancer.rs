//! What stands between a relay and several backends: each connection goes to the next one that is there.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A TCP round-robin.
#[derive(Debug)]
pub(super) struct Balancer {
    pub(super) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Balancer {
    pub(super) async fn start(backends: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(async move {
            for turn in 0.. {
                let Ok((client, _)) = listener.accept().await else { continue };
                let mut order = backends.clone();
                order.rotate_left(turn % backends.len());
                tokio::spawn(pass(client, order));
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, backends: Vec<SocketAddr>) {
    for backend in backends {
        if let Ok(mut upstream) = TcpStream::connect(backend).await {
            // Either side may cut the connection at any time; the other then sees it cut.
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
            return;
        }
    }
}

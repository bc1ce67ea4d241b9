//! A line to a server that can be cut, as a laptop's is that goes to sleep: the server does not hear of it from anybody.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::process::free_address;

/// A way to a server, on an address of its own.
#[derive(Debug)]
pub struct Line {
    /// This end of it.
    pub address: SocketAddr,
    to: SocketAddr,
    open: Option<JoinHandle<()>>,
}

impl Line {
    /// A line to the server at `to`.
    pub async fn to(to: SocketAddr) -> Self {
        let mut line = Self { address: free_address(), to, open: None };
        line.mend().await;
        line
    }

    /// Ends all connections, and lets no other one in.
    pub async fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            // The listener is closed when this returns.
            let _ = open.await;
        }
    }

    /// Lets connections in again.
    pub async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("an address that was free can be bound");
        let to = self.to;
        self.open = Some(tokio::spawn(async move {
            // Dropped with this task, and all connections with it.
            let mut connections = JoinSet::new();
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    connections.spawn(pass(client, to));
                }
                while connections.try_join_next().is_some() {}
            }
        }));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            open.abort();
        }
    }
}

async fn pass(mut client: TcpStream, to: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(to).await {
        // Either side may end the connection at any time; the other then sees it end.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

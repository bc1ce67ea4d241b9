//! How long clients may take, and how much. No variable sets any of it.

use std::time::Duration;

use crate::intake::{BodyMemory, BodyTimeouts};

/// How long clients may take, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections to the public listener; `None`: as many as the process may have descriptors for, some kept back.
    pub connections_max: Option<usize>,
    /// For a TLS handshake, and for a request's head; also between two requests of an HTTP/1 connection.
    pub head_timeout: Duration,
    /// For a webhook's body.
    pub body: BodyTimeouts,
    /// How much memory the bodies of all webhooks may take.
    pub body_memory: BodyMemory,
    /// An HTTP/2 connection without a request ends after this.
    pub idle_timeout: Duration,
    /// A client that takes none of its response for so long loses its connection. As long as the backend waits for a
    /// stream.
    pub write_timeout: Duration,
    /// How long requests in flight may take when the relay ends.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: None,
            head_timeout: Duration::from_secs(20),
            body: BodyTimeouts { piece: Duration::from_secs(10), whole: Duration::from_secs(30) },
            body_memory: BodyMemory::default(),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

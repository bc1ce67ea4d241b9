//! Which version of HTTP is spoken on a connection without TLS.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How soon the beginning of a connection is looked at again that came in pieces; each time later by as much again, so
/// that those who send no more than that cost nothing.
const PEEK_DELAY: Duration = Duration::from_millis(2);

/// Whether a client speaks HTTP/2, by its first bytes, which are left where they are; waits for them for as long as it
/// takes. hyper-util finds that out by reading them, without a limit of time and at twice the memory for as long as the
/// connection lives.
pub async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut first = [0; HTTP2_PREFACE.len()];
    let mut pause = PEEK_DELAY;
    loop {
        // An error will show again at the first read.
        let Ok(bytes) = stream.peek(&mut first).await else { return false };
        if first[..bytes] == *HTTP2_PREFACE {
            return true;
        }
        if bytes == 0 || !HTTP2_PREFACE.starts_with(&first[..bytes]) {
            return false;
        }
        // A beginning of either: there is no bell for more bytes than there are.
        sleep(pause).await;
        pause *= 2;
    }
}

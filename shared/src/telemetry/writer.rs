//! Standard error, written by a thread of its own.
//!
//! Whoever reads the log may stall: a full pipe, a disk that hangs, a stopped terminal. A write then waits for as long as
//! that lasts, and whatever thread makes it waits too. So only one thread ever writes, and it serves nothing else; all
//! others put their lines into a queue that takes no more than [`QUEUE_BYTES_MAX`]. Lines beyond that are dropped, counted,
//! and their number is logged as soon as the writing goes on.
//!
//! The queue is one run of bytes, so a line costs a copy, and the lines of a moment share one write. It is bounded in
//! bytes and not in lines as `tracing-appender`'s is: how long a line may be is not ours to say.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// What may wait to be written: some 5,000 lines. As much again is being written.
const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// The memory that is kept for the next write.
const BATCH_BYTES_KEPT: usize = 64 * 1024;
/// Lines that come within this time share one write: each write, and each waking of the thread, costs as much as making
/// a line does.
const LINGER: Duration = Duration::from_millis(2);

/// Lines that wait for standard error.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Rung for the writer when there is something to write.
    filled: Condvar,
    /// Rung for who waits in [`Queue::flush`].
    emptied: Condvar,
    /// Lines that were never written, since the start.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Dropped since that was logged last.
    dropped: u64,
    is_writing: bool,
    writer_sleeps: bool,
    /// Somebody waits in [`Queue::flush`].
    is_flushing: bool,
}

impl Queue {
    /// Adds a line, or drops it when the queue is full. Never waits for standard error.
    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > QUEUE_BYTES_MAX {
            state.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        if std::mem::take(&mut state.writer_sleeps) {
            self.filled.notify_one();
        }
    }

    /// How many lines were never written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes lines to `out` as they come, for good. `tell_dropped` is called with the number of lines that were dropped,
    /// once there is room to log it.
    pub(super) fn write_to(&self, mut out: impl Write, tell_dropped: impl Fn(u64)) {
        let mut batch = Vec::new();
        loop {
            self.wait_for_lines();
            let dropped = {
                let mut state = self.lock();
                std::mem::swap(&mut state.waiting, &mut batch);
                state.is_writing = true;
                std::mem::take(&mut state.dropped)
            };
            if dropped > 0 {
                // They came after the lines of this batch, as the line that says so does.
                tell_dropped(dropped);
            }
            if out.write_all(&batch).is_err() {
                // Nobody reads it any more, and where else would one report that?
                let lines = batch.split(|byte| *byte == b'\n').count() - 1;
                self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
            }
            batch.clear();
            batch.shrink_to(BATCH_BYTES_KEPT);
        }
    }

    fn wait_for_lines(&self) {
        let mut state = self.lock();
        state.is_writing = false;
        self.emptied.notify_all();
        if !state.waiting.is_empty() {
            return;
        }
        while state.waiting.is_empty() {
            state.writer_sleeps = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let is_flushing = state.is_flushing;
        drop(state);
        if !is_flushing {
            thread::sleep(LINGER);
        }
    }

    /// Waits until all lines are written, at most for `timeout`.
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread of its own waits in real time, whatever a test's clock says"
    )]
    pub(super) fn flush(&self, timeout: Duration) {
        let by = Instant::now() + timeout;
        let mut state = self.lock();
        state.is_flushing = true;
        while state.is_writing || !state.waiting.is_empty() {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_flushing = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MakeWriter<'_> for &'static Queue {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(self)
    }
}

/// Takes one record: the formatter writes each whole.
pub(super) struct Line(&'static Queue);

impl Write for Line {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.push(&one_line(record));
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A record as one line, with the line ends within it written out: what it says of others' texts must not begin a line
/// that looks like ours. See also [`LogSafe`](crate::log_safe::LogSafe), which is for texts that may hold more than that.
fn one_line(record: &[u8]) -> Cow<'_, [u8]> {
    let is_line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let text = record.strip_suffix(b"\n").unwrap_or(record);
    if !text.iter().any(is_line_end) {
        return Cow::Borrowed(record);
    }
    let mut line = Vec::with_capacity(record.len() + 16);
    for part in text.split_inclusive(is_line_end) {
        match part.split_last() {
            Some((b'\n', rest)) => line.extend_from_slice(&[rest, br"\n"].concat()),
            Some((b'\r', rest)) => line.extend_from_slice(&[rest, br"\r"].concat()),
            _ => line.extend_from_slice(part),
        }
    }
    line.push(b'\n');
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    /// No condition takes that long to come true, however slow the machine.
    const AT_LAST: Duration = Duration::from_secs(30);

    /// Takes a write for each token that it gets, and hands on what was written.
    struct Reader {
        tokens: mpsc::Receiver<()>,
        written: mpsc::Sender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.tokens.recv().map_err(io::Error::other)?;
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.written.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue with its writer, the end that lets a write through, and what was written.
    fn stalled() -> (Arc<Queue>, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let queue = Arc::new(Queue::default());
        let (token, tokens) = mpsc::channel();
        let (written, read) = mpsc::channel();
        let writer = Arc::clone(&queue);
        thread::spawn(move || {
            let notice = Arc::clone(&writer);
            writer.write_to(Reader { tokens, written }, move |lines| {
                notice.push(format!("dropped {lines}\n").as_bytes());
            });
        });
        (queue, token, read)
    }

    #[test]
    fn lines_are_written_in_their_order_and_none_is_lost() {
        let (queue, token, read) = stalled();
        let lines: Vec<_> = (0..1000).map(|n| format!("line {n}\n")).collect();
        for (n, line) in lines.iter().enumerate() {
            queue.push(line.as_bytes());
            if n % 100 == 0 {
                token.send(()).unwrap();
            }
        }
        let mut written = String::new();
        while written.len() < lines.concat().len() {
            token.send(()).unwrap();
            written += &read.recv_timeout(AT_LAST).unwrap();
        }
        assert_eq!(written, lines.concat());
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn while_nobody_reads_lines_beyond_a_bound_are_dropped_and_then_said() {
        let (queue, token, read) = stalled();
        let line = "x".repeat(1023) + "\n";
        // More than may wait: whatever the writer has taken meanwhile, some are dropped.
        for _ in 0..3 * QUEUE_BYTES_MAX / line.len() {
            queue.push(line.as_bytes());
        }
        let dropped = queue.dropped();
        assert!(dropped > 0 && queue.lock().waiting.len() <= QUEUE_BYTES_MAX);
        // Somebody reads again.
        let (mut said, mut written) = (0, 0);
        while said < dropped {
            token.send(()).unwrap();
            for line in read.recv_timeout(AT_LAST).unwrap().lines() {
                match line.strip_prefix("dropped ") {
                    Some(lines) => said += lines.parse::<u64>().unwrap(),
                    None => written += 1,
                }
            }
        }
        assert_eq!((said, written + dropped), (dropped, (3 * QUEUE_BYTES_MAX / line.len()) as u64));
    }

    #[test]
    fn a_record_is_one_line_whatever_it_quotes() {
        for (record, line) in [
            ("a record\n", "a record\n"),
            ("\n", "\n"),
            ("one\r\n2026-01-01 forged\n", "one\\r\\n2026-01-01 forged\n"),
            ("two ends\n\n", "two ends\\n\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&one_line(record.as_bytes())), line);
        }
    }

    #[test]
    fn a_flush_waits_for_what_is_written_and_not_for_ever() {
        let (queue, token, read) = stalled();
        queue.push(b"1\n");
        queue.flush(Duration::ZERO);
        token.send(()).unwrap();
        queue.flush(AT_LAST);
        assert_eq!(read.try_recv().as_deref(), Ok("1\n"));
    }
}

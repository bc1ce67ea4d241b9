//! Where log lines go: to standard error, each by itself, or many in one write. A write costs as much as making the line
//! does, and a relay that forwards has two lines an event.

use std::cell::RefCell;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that are gathered are written when there are this many bytes of them, so that memory stays small and pipes take
/// them in few pieces.
const GATHERED_BYTES_MAX: usize = 32 * 1024;

thread_local! {
    /// What this thread gathers, if it does.
    static GATHERED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Runs `say`; what this thread logs meanwhile is written in one go, at the latest when it ends or panics.
pub fn together<T>(say: impl FnOnce() -> T) -> T {
    together_to(io::stderr(), say)
}

fn together_to<T>(out: impl Write, say: impl FnOnce() -> T) -> T {
    let _written_at_the_end = Gathering::begin(out);
    say()
}

/// Gathers until it is dropped. One inside another leaves all to the outer one.
struct Gathering<W: Write> {
    out: W,
    outermost: bool,
}

impl<W: Write> Gathering<W> {
    fn begin(out: W) -> Self {
        let outermost = GATHERED.with_borrow_mut(|gathered| {
            let outermost = gathered.is_none();
            gathered.get_or_insert_default();
            outermost
        });
        Self { out, outermost }
    }
}

impl<W: Write> Drop for Gathering<W> {
    fn drop(&mut self) {
        if self.outermost {
            let gathered = GATHERED.take().unwrap_or_default();
            // Where to would one report that?
            let _ = self.out.write_all(&gathered);
        }
    }
}

/// The writer of log lines.
pub(super) struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(io::stderr())
    }
}

/// Takes one line.
pub(super) struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let full = GATHERED.with_borrow_mut(|gathered| {
            let gathered = gathered.as_mut()?;
            gathered.extend_from_slice(line);
            Some(if gathered.len() > GATHERED_BYTES_MAX { std::mem::take(gathered) } else { Vec::new() })
        });
        match full {
            Some(full) => self.0.write_all(&full)?,
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each write as one text.
    #[derive(Default)]
    struct Writes(RefCell<Vec<String>>);

    impl Write for &Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(writes: &Writes, line: &str) {
        Line(writes).write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn a_line_is_written_by_itself_unless_lines_are_gathered() {
        let writes = Writes::default();
        say(&writes, "1\n");
        together_to(&writes, || {
            say(&writes, "2\n");
            together_to(&writes, || say(&writes, "3\n"));
            say(&writes, "4\n");
            assert_eq!(*writes.0.borrow(), ["1\n"]);
        });
        say(&writes, "5\n");
        assert_eq!(*writes.0.borrow(), ["1\n", "2\n3\n4\n", "5\n"]);
    }

    #[test]
    fn what_was_said_before_a_panic_is_written() {
        let writes = Writes::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            together_to(&writes, || {
                say(&writes, "1\n");
                panic!("in the middle");
            });
        }));
        assert!(panicked.is_err());
        say(&writes, "2\n");
        assert_eq!(*writes.0.borrow(), ["1\n", "2\n"]);
    }

    #[test]
    fn many_lines_are_written_in_pieces_and_none_is_lost() {
        let writes = Writes::default();
        let line = "x".repeat(999) + "\n";
        together_to(&writes, || (0..100).for_each(|_| say(&writes, &line)));
        let writes = writes.0.into_inner();
        assert_eq!(writes.concat(), line.repeat(100));
        assert!(writes.len() < 6 && writes.iter().all(|write| write.len() <= GATHERED_BYTES_MAX + line.len()));
    }
}

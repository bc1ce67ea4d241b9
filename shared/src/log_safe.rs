//! Text of others in a log line.

use std::fmt;

/// An event's id or type as it may stand in a log: whatever is in it, it is one line.
#[derive(Clone, Copy, Debug)]
pub struct LogSafe<'a>(pub &'a str);

impl fmt::Display for LogSafe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            f.write_str(self.0)
        } else {
            write!(f, "{}", self.0.escape_debug())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_line_of_a_log_whatever_is_in_it() {
        assert_eq!(LogSafe("evt_1").to_string(), "evt_1");
        assert_eq!(LogSafe("evt\n1\u{1b}[31m").to_string(), r"evt\n1\u{1b}[31m");
    }
}

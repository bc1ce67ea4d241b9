//! What a mail server's refusal means, and what of its words an operator may read.

use std::error::Error as _;
use std::io;

use lettre::transport::smtp::Error;

use crate::channels::Outcome;

/// Refusals of our name and password (RFC 4954): somebody mends that, and no message is to be lost by it.
const OF_OUR_CREDENTIALS: [&str; 4] = ["530", "534", "535", "538"];

/// So much of a server's words is kept.
const REASON_CHARACTERS_MAX: usize = 120;

/// What came of a message that `error` ended. `names` are what may not be repeated: the address, and whose it is.
pub(super) fn outcome(error: &Error, names: &[&str]) -> Outcome {
    let Some(code) = error.status().map(|code| code.to_string()) else {
        return Outcome::later(without_answer(error));
    };
    let error_text = answered(error, &code, names);
    if error.is_permanent() && !OF_OUR_CREDENTIALS.contains(&code.as_str()) {
        Outcome::refused(code, error_text)
    } else {
        Outcome::later(error_text)
    }
}

/// What came of a message when the server ended it before one was spoken of: it has nothing against this message, whatever it
/// said of us, and somebody mends that.
pub(super) fn of_no_message(error: &Error) -> Outcome {
    let code = error.status().map(|code| code.to_string());
    Outcome::later(code.map_or_else(|| without_answer(error).to_owned(), |code| answered(error, &code, &[])))
}

fn answered(error: &Error, code: &str, names: &[&str]) -> String {
    let said = error.source().map(|said| reason(&said.to_string(), names)).unwrap_or_default();
    format!("the mail server answered {code} {said}").trim_end().to_owned()
}

/// Why there is no answer, in words of ours: what the errors below say may hold anything.
fn without_answer(error: &Error) -> &'static str {
    if error.is_tls() || is_of_tls(error) {
        "no TLS with the mail server could be agreed on"
    } else if error.is_timeout() {
        "the mail server did not answer in time"
    } else if error.is_response() {
        "the mail server's answer is not SMTP"
    } else if error.is_client() {
        "the mail server does not offer what is needed"
    } else {
        "the mail server could not be reached, or ended the connection"
    }
}

/// Whether a handshake failed, which comes as an error of the connection.
fn is_of_tls(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(failure) = cause {
        if failure.downcast_ref::<io::Error>().is_some_and(|failure| failure.kind() == io::ErrorKind::InvalidData) {
            return true;
        }
        cause = failure.source();
    }
    false
}

/// What a server said, without a word that may be an address or a part of `names`, and cut short.
fn reason(said: &str, names: &[&str]) -> String {
    let parts = |text: &str| {
        let parts = text.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty());
        parts.map(str::to_lowercase).collect::<Vec<_>>()
    };
    let unspeakable: Vec<_> = names.iter().flat_map(|name| parts(name)).collect();
    let may_be_said = |word: &&str| !word.contains('@') && !parts(word).iter().any(|part| unspeakable.contains(part));
    let words =
        said.split(|letter: char| letter.is_whitespace() || letter.is_control()).filter(|word| !word.is_empty());
    let kept = words.filter(may_be_said).collect::<Vec<_>>().join(" ");
    kept.chars().take(REASON_CHARACTERS_MAX).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_nobody() {
        let names = ["ada.lovelace@example.com", "Ada Lovelace"];
        for (said, kept) in [
            ("5.1.1 <ada.lovelace@example.com>: user unknown", "5.1.1 user unknown"),
            ("5.1.1 User ada.lovelace unknown, Ada", "5.1.1 User unknown,"),
            ("5.1.1 User ADA does not exist (example.com)", "5.1.1 User does not exist"),
            ("4.7.1 Greylisted,\tcome\u{7} back later\r\n", "4.7.1 Greylisted, come back later"),
            ("mailbox of lovelace=example.com@relay.example is full", "mailbox of is full"),
            ("", ""),
        ] {
            assert_eq!(reason(said, &names), kept, "{said}");
        }
        assert_eq!(reason(&"word ".repeat(100), &names).len(), REASON_CHARACTERS_MAX - 1);
    }
}

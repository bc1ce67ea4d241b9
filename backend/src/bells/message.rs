//! What the processes of a deployment tell each other, in a line of text.

use std::fmt::Write as _;

/// Who says it: a name that each process gives itself when it starts.
pub(super) type Origin = String;

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The logs of these licences have grown.
    Rung(Vec<String>),
    /// Any log may have grown.
    AllRung,
    /// A machine has opened a stream, at this time in microseconds: its older ones are to end.
    Opened { license_id: String, machine_id: String, at: i64 },
    /// Nothing: whether it is heard is what counts.
    Test(u64),
}

impl Message {
    pub(super) fn to_text(&self, origin: &str) -> String {
        match self {
            Self::Rung(licenses) => {
                let mut text = format!("{origin} rung");
                for license in licenses {
                    write!(text, " {license}").expect("writing to a text does not fail");
                }
                text
            }
            Self::AllRung => format!("{origin} all"),
            Self::Opened { license_id, machine_id, at } => format!("{origin} opened {license_id} {machine_id} {at}"),
            Self::Test(number) => format!("{origin} test {number}"),
        }
    }

    /// The message of a text, and who said it. None for what a later release may say.
    pub(super) fn parse(text: &str) -> Option<(Origin, Self)> {
        let mut words = text.split(' ');
        let (origin, verb) = (words.next()?, words.next()?);
        let mut word = || words.next();
        let message = match verb {
            "rung" => Self::Rung(words.map(str::to_owned).collect()),
            "all" => Self::AllRung,
            "opened" => Self::Opened {
                license_id: word()?.to_owned(),
                machine_id: word()?.to_owned(),
                at: word()?.parse().ok()?,
            },
            "test" => Self::Test(word()?.parse().ok()?),
            _ => return None,
        };
        Some((origin.to_owned(), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for message in [
            Message::Rung(vec!["lic_1".to_owned(), "lic_2".to_owned()]),
            Message::Rung(vec!["lic_1".to_owned()]),
            Message::AllRung,
            Message::Opened { license_id: "lic_1".to_owned(), machine_id: "mac_1".to_owned(), at: -5 },
            Message::Test(7),
        ] {
            assert_eq!(Message::parse(&message.to_text("me")), Some(("me".to_owned(), message)));
        }
    }

    #[test]
    fn what_cannot_be_understood_says_nothing() {
        for text in ["", "me", "me shouts lic_1", "me opened lic_1", "me opened lic_1 mac_1 soon", "me test x"] {
            assert_eq!(Message::parse(text), None, "{text:?}");
        }
    }
}

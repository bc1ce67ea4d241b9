//! Text that must not be seen: never printed, compared in constant time, wiped when dropped.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// One secret. It has no `Display`, and its `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps `text` as it stands.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that has to use it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret; takes as long for a near miss as for a far one.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.choice(given).into()
    }

    fn choice(&self, given: &[u8]) -> Choice {
        self.0.as_bytes().ct_eq(given)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One or more secrets that are accepted at the same time, while one is rotated. Never empty.
#[derive(Clone, Debug)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Reads a comma-separated list; blanks around and between are dropped. `None` when nothing is left.
    pub fn parse(list: &str) -> Option<Self> {
        let secrets: Vec<_> = list.split(',').map(str::trim).filter(|text| !text.is_empty()).map(Secret::new).collect();
        (!secrets.is_empty()).then_some(Self(secrets))
    }

    /// The one that is used for sending and for encrypting.
    pub fn first(&self) -> &Secret {
        &self.0[0]
    }

    /// All of them, in the order given.
    pub fn iter(&self) -> std::slice::Iter<'_, Secret> {
        self.0.iter()
    }

    /// What `of` makes of each.
    pub fn map(&self, of: impl FnMut(&Secret) -> Secret) -> Self {
        Self(self.0.iter().map(of).collect())
    }

    /// Whether `given` is any of them. All are compared, so that the time does not say which.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.iter().fold(Choice::from(0), |found, secret| found | secret.choice(given)).into()
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self(vec![secret])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_blanks_is_no_list() {
        assert!(Secrets::parse(" , ,").is_none());
        assert!(Secrets::parse("").is_none());
    }

    #[test]
    fn any_of_the_list_matches_and_the_first_is_sent() {
        let secrets = Secrets::parse("new, old").unwrap();
        assert!(secrets.matches(b"new") && secrets.matches(b"old"));
        assert!(!secrets.matches(b"ne") && !secrets.matches(b"") && !secrets.matches(b"new, old"));
        assert_eq!(secrets.first().expose(), "new");
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert!(!format!("{:?}", Secrets::parse("hunter2").unwrap()).contains("hunter2"));
    }
}

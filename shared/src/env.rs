//! Configuration: environment variables, over a `.env` file where there is one. Every unusable variable is collected
//! and named at once, never with its value.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use crate::secret::{Secret, Secrets};

/// The variables of a process, and what was found wrong with them so far.
#[derive(Debug)]
pub struct Env {
    variables: BTreeMap<String, String>,
    problems: RefCell<BTreeMap<String, String>>,
}

/// Every variable that is missing or unusable, with why; never with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>().join("\n"))]
pub struct BadVariables(pub BTreeMap<String, String>);

impl Env {
    /// The process's variables over those of `.env` in the working folder.
    pub fn load() -> Self {
        let env = Self::from_vars(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        env.under(Path::new(".env"))
    }

    /// Exactly these variables, for tests.
    pub fn from_vars(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect(), problems: RefCell::default() }
    }

    /// Adds what `file` sets and the process does not. A file that is not there is no problem; one that cannot be read is.
    fn under(mut self, file: &Path) -> Self {
        match dotenvy::from_path_iter(file) {
            Ok(lines) => {
                for line in lines {
                    match line {
                        Ok((name, value)) => drop(self.variables.entry(name).or_insert(value)),
                        Err(_) => self.refuse(".env", "has a line that is not NAME=value"),
                    }
                }
            }
            Err(error) if error.not_found() => {}
            Err(_) => self.refuse(".env", "cannot be read"),
        }
        self
    }

    /// The value of `name`, if it is set to more than blanks.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value of `name`, or `default`.
    pub fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or(default).to_owned()
    }

    /// The value of `name` read by `read`, or `None` when it is not set. `what` completes "is not …" when it cannot be read.
    pub fn read<T>(&self, name: &str, what: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = read(self.text(name)?);
        if value.is_none() {
            self.refuse(name, &format!("is not {what}"));
        }
        value
    }

    /// As [`Env::read`], by `FromStr`.
    pub fn parse<T: FromStr>(&self, name: &str, what: &str) -> Option<T> {
        self.read(name, what, |text| text.parse().ok())
    }

    /// `true` or `false`; not set is `false`.
    pub fn switch(&self, name: &str) -> bool {
        self.read(name, "`true` or `false`", |text| text.parse().ok()).unwrap_or(false)
    }

    /// One secret that may be left out. Blank is left out.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// The values of two variables that are of use only together, or `None` where neither is set. One without the other is a
    /// problem of the one that is missing.
    pub fn pair(&self, first: &str, second: &str) -> Option<(&str, &str)> {
        match (self.text(first), self.text(second)) {
            (Some(one), Some(other)) => return Some((one, other)),
            (None, None) => {}
            (Some(_), None) => self.refuse(second, &format!("is missing: {first} is set")),
            (None, Some(_)) => self.refuse(first, &format!("is missing: {second} is set")),
        }
        None
    }

    /// One or more secrets that must be there. A problem, and a stand-in that no request can match, when they are not:
    /// [`Env::finish`] then refuses.
    pub fn required_secrets(&self, name: &str) -> Secrets {
        self.text(name).and_then(Secrets::parse).unwrap_or_else(|| {
            self.refuse(name, "is missing: a secret is needed");
            Secret::new("\0").into()
        })
    }

    /// Notes that `name` cannot be used. `why` follows the name and never holds the value.
    pub fn refuse(&self, name: &str, why: &str) {
        self.problems.borrow_mut().entry(name.to_owned()).or_insert_with(|| why.to_owned());
    }

    /// Ends the reading: every problem at once, or none.
    pub fn finish(&self) -> Result<(), BadVariables> {
        let problems = self.problems.borrow().clone();
        if problems.is_empty() { Ok(()) } else { Err(BadVariables(problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::from_vars(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn all_bad_variables_are_named_at_once_and_none_with_its_value() {
        let env = env(&[("PORT", "hunter2"), ("FLAG", "yes"), ("KEY", "  "), ("GOOD", "5")]);
        let _: Option<u16> = env.parse("PORT", "a port");
        env.switch("FLAG");
        env.required_secrets("KEY");
        env.required_secrets("OTHER");
        assert_eq!(env.parse("GOOD", "a number"), Some(5));
        let said = env.finish().unwrap_err().to_string();
        assert_eq!(
            said.lines().map(|line| line.split(':').next().unwrap()).collect::<Vec<_>>(),
            ["FLAG", "KEY", "OTHER", "PORT"]
        );
        assert!(!said.contains("hunter2") && !said.contains("yes"));
    }

    #[test]
    fn blank_is_the_same_as_left_out() {
        let env = env(&[("A", " "), ("S", "")]);
        assert_eq!(env.text("A"), None);
        assert_eq!(env.text_or("A", "x"), "x");
        assert!(env.secret("S").is_none());
        env.finish().unwrap();
    }

    #[test]
    fn of_a_pair_both_are_set_or_neither() {
        let env = env(&[("A", "1"), ("B", "2"), ("C", "3")]);
        assert_eq!((env.pair("A", "B"), env.pair("X", "Y")), (Some(("1", "2")), None));
        env.finish().unwrap();
        assert_eq!((env.pair("C", "D"), env.pair("E", "A")), (None, None));
        assert_eq!(env.finish().unwrap_err().to_string(), "D: is missing: C is set\nE: is missing: A is set");
    }

    #[test]
    fn the_process_wins_over_the_file() {
        let file = std::env::temp_dir().join(format!("tollgate-env-{}", std::process::id()));
        std::fs::write(&file, "A=file\nB=\"also file\"\n").unwrap();
        let env = env(&[("A", "process")]).under(&file);
        std::fs::remove_file(&file).unwrap();
        assert_eq!((env.text("A"), env.text("B")), (Some("process"), Some("also file")));
    }
}

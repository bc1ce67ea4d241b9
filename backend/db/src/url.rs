//! Where the database is.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// A `DATABASE_URL`. Neither `Debug` nor `Display` shows a password.
#[derive(Clone)]
pub struct DatabaseUrl(pub(super) Place);

#[derive(Clone)]
pub(super) enum Place {
    /// A path as it stands, relative to the working folder or absolute.
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

/// Why a text is no `DATABASE_URL`; never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableUrl {
    /// Neither of the two kinds.
    #[error("is neither sqlite://<file> nor postgres://…")]
    Unknown,
    /// `:memory:` and the like.
    #[error("names no file: each connection would have an empty database of its own")]
    NoFile,
    /// We set what is to be set.
    #[error("has parameters, which a file does not take")]
    Parameters,
    /// Not a URL of PostgreSQL's.
    #[error("is not a usable URL of PostgreSQL")]
    Postgres,
}

impl FromStr for DatabaseUrl {
    type Err = UnusableUrl;

    fn from_str(text: &str) -> Result<Self, UnusableUrl> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" | "/" => Err(UnusableUrl::NoFile),
                _ if path.starts_with(":memory:") => Err(UnusableUrl::NoFile),
                _ if path.contains('?') => Err(UnusableUrl::Parameters),
                _ => Ok(Self::of_file(Path::new(path))),
            };
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UnusableUrl::Unknown);
        }
        let options = without_password_file(text).parse().map_err(|_| UnusableUrl::Postgres)?;
        Ok(Self(Place::Postgres(Box::new(options))))
    }
}

/// The same address with an empty password where it has none: else the driver looks for one in `~/.pgpass`.
fn without_password_file(text: &str) -> Cow<'_, str> {
    let (_, address) = text.split_once("://").unwrap_or_default();
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    let authority = address.split('/').next().unwrap_or_default();
    let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    let in_query = query.split('&').any(|parameter| parameter.starts_with("password="));
    match (in_authority || in_query, text.contains('?')) {
        (true, _) => Cow::Borrowed(text),
        (false, true) => Cow::Owned(format!("{text}&password=")),
        (false, false) => Cow::Owned(format!("{text}?password=")),
    }
}

impl DatabaseUrl {
    /// A database in a file.
    pub fn of_file(path: &Path) -> Self {
        Self(Place::Sqlite(path.to_owned()))
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(path) => Some(path),
            Place::Postgres(_) => None,
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Place::Postgres(options) => {
                let database = options.get_database().unwrap_or_default();
                match options.get_socket() {
                    Some(socket) => write!(f, "postgres:///{database}?host={}", socket.display()),
                    None => write!(f, "postgres://{}:{}/{database}", options.get_host(), options.get_port()),
                }
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, UnusableUrl> {
        text.parse().map(|url: DatabaseUrl| url.to_string())
    }

    #[test]
    fn a_file_may_be_relative_or_absolute() {
        for text in ["sqlite://data/tollgate.db", "sqlite:///var/lib/tollgate.db"] {
            assert_eq!(shown(text), Ok(text.to_owned()));
        }
        assert_eq!(shown("sqlite:data/x.db"), Ok("sqlite://data/x.db".to_owned()));
    }

    #[test]
    fn a_server_is_reached_by_an_address_or_by_a_socket() {
        assert_eq!(shown("postgresql://u@db.example:6543/x"), Ok("postgres://db.example:6543/x".to_owned()));
        assert_eq!(shown("postgres://u@localhost/x?host=/run/pg"), Ok("postgres:///x?host=/run/pg".to_owned()));
    }

    #[test]
    fn a_password_is_the_addresss_or_none() {
        for given in
            ["postgres://u:p@h/x", "postgres://u:p@h", "postgres://h/x?user=u&password=p", "postgres://h?password=p"]
        {
            assert_eq!(without_password_file(given), given);
        }
        for (given, with) in [
            ("postgres://u@h:5/x", "postgres://u@h:5/x?password="),
            ("postgres://h:5", "postgres://h:5?password="),
            ("postgres://u@h/x?sslmode=disable", "postgres://u@h/x?sslmode=disable&password="),
        ] {
            assert_eq!(without_password_file(given), with);
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url: DatabaseUrl = "postgres://user:hunter2@localhost/x?sslmode=disable".parse().unwrap();
        assert!(!format!("{url} {url:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        for text in ["", "mysql://localhost/x", "/data/tollgate.db", " sqlite://x"] {
            assert_eq!(shown(text), Err(UnusableUrl::Unknown), "{text}");
        }
        for text in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite://:memory:"] {
            assert_eq!(shown(text), Err(UnusableUrl::NoFile), "{text}");
        }
        assert_eq!(shown("sqlite://x.db?mode=ro"), Err(UnusableUrl::Parameters));
        assert_eq!(shown("postgres://localhost:notaport/x"), Err(UnusableUrl::Postgres));
        assert_eq!(shown("postgres://localhost/x?sslmode=hunter2"), Err(UnusableUrl::Postgres));
    }
}

//! The PostgreSQL server of the tests.

use std::io::{Write as _, stderr};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

/// How long a server of our own may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes a cluster and runs it until this process has ended, however that came: then the pipe is closed that it reads.
/// What a loss of power would do to a database that lives for seconds is of no interest, hence no `fsync`.
const KEEPER: &str = r#"
    initdb --pgdata "$1/data" --username postgres --auth trust --encoding UTF8 --locale C --no-sync || exit
    postgres -D "$1/data" -k "$1" -c listen_addresses= -c max_connections=300 \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off &
    read -r _
    kill -QUIT $!
    wait
    rm -rf "$1"
"#;

/// A server on which tests make their databases.
#[derive(Debug)]
pub(super) struct Server {
    /// With `{}` where a database's name goes.
    url: String,
    /// Holds the pipe of a server of our own.
    _keeper: Option<Child>,
}

impl Server {
    /// The one that this process uses.
    pub(super) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match env::var("TOLLGATE_TEST_POSTGRES") {
                Ok(url) if !url.trim().is_empty() => Self { url: with_placeholder(url.trim()), _keeper: None },
                _ => Self::start().await,
            })
            .await
    }

    /// The URL of one of its databases.
    pub(super) fn url(&self, database: &str) -> String {
        self.url.replace("{}", database)
    }

    async fn start() -> Self {
        let programs = programs();
        // Not removed by us: the keeper does that, when the server has ended.
        let folder = tempfile::Builder::new().prefix("tollgate-pg-").tempdir().expect("a folder can be made").keep();
        let log = fs::File::create(folder.join("log")).expect("a file can be made");
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(&folder).current_dir(&folder).process_group(0);
        keeper.env("PATH", search_path(&programs)).env("LC_ALL", "C");
        keeper.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file has handles")).stderr(log);
        if let Some((user, group)) = unprivileged_user(&folder) {
            chown(&folder, Some(user), Some(group)).expect("root can give a folder away");
            keeper.uid(user).gid(group);
        }
        let mut keeper = keeper.spawn().expect("a shell can be started");
        let url = format!("postgres://postgres@localhost/{{}}?host={}", folder.display());
        let takes_connections = async {
            while PgConnection::connect(&url.replace("{}", "postgres")).await.is_err() {
                if keeper.try_wait().expect("a child can be asked").is_some() {
                    return false;
                }
                sleep(Duration::from_millis(10)).await;
            }
            true
        };
        if timeout(START_TIMEOUT, takes_connections).await != Ok(true) {
            let said = fs::read_to_string(folder.join("log")).unwrap_or_default();
            let _ = stderr().write_all(said.as_bytes());
            panic!("PostgreSQL could not be started in {}; what it said is above", folder.display());
        }
        Self { url, _keeper: Some(keeper) }
    }
}

fn search_path(programs: &Path) -> String {
    format!("{}:{}", programs.display(), env::var("PATH").unwrap_or_default())
}

/// The folder of PostgreSQL's server programs, the newest.
fn programs() -> PathBuf {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    installed.sort();
    env::split_paths(&on_path)
        .chain(installed.into_iter().rev())
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .unwrap_or_else(|| {
            panic!(
                "PostgreSQL's `initdb` and `postgres` are neither in PATH nor in /usr/lib/postgresql/*/bin: install the \
                 server (Debian: `apt-get install postgresql`), or set TOLLGATE_TEST_POSTGRES to a superuser's URL"
            )
        })
}

/// Where we are root, `postgres` or `nobody`: PostgreSQL refuses to run as root.
fn unprivileged_user(own_folder: &Path) -> Option<(u32, u32)> {
    if fs::metadata(own_folder).expect("a folder of ours can be looked at").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields[..] {
            [user, _, uid, gid, ..] if user == name => Some((uid.parse().ok()?, gid.parse().ok()?)),
            _ => None,
        })
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a system has a user `postgres` or `nobody`"))
}

/// `postgres://user@host:1/name?x=y` with `{}` for the name.
fn with_placeholder(url: &str) -> String {
    let (path, query) = url.split_once('?').map_or((url, String::new()), |(path, query)| (path, format!("?{query}")));
    let authority = path.find("://").map_or(0, |start| start + 3);
    let end = path[authority..].find('/').map_or(path.len(), |slash| authority + slash);
    format!("{}/{{}}{query}", &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_databases_name_goes_into_a_url_whatever_it_had_before() {
        for (url, with) in [
            ("postgres://u:p@h:5/x", "postgres://u:p@h:5/{}"),
            ("postgres://u@h", "postgres://u@h/{}"),
            ("postgresql://u@h/?host=/run/pg", "postgresql://u@h/{}?host=/run/pg"),
        ] {
            assert_eq!(with_placeholder(url), with);
        }
    }
}

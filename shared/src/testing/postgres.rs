//! The PostgreSQL server of the tests: that of `TOLLGATE_TEST_POSTGRES` (the URL of a superuser), or a throw-away one of
//! this process's own. Where PostgreSQL is not installed tests fail and say what to install: an engine is never skipped.

use std::io::{BufRead as _, BufReader, Write as _, stderr};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, fs};

use rustix::process::geteuid;
use tokio::task::spawn_blocking;

/// Makes a cluster where there is none, says when it takes connections, and ends it once its standard input ends, however
/// that came: with this process, too. Then nothing is left, unless it was told to keep the cluster for another start.
const KEEPER: &str = r#"
    data="$1/data"
    exec 2>>"$1/log"
    if [ ! -e "$data" ]; then
        initdb --pgdata "$data" --username postgres --auth trust --encoding UTF8 --locale C --no-sync >&2 || exit
        printf '%s\n' "unix_socket_directories = '$1'" "listen_addresses = ''" "max_connections = 300" \
            "fsync = $2" "synchronous_commit = $2" "full_page_writes = $2" >>"$data/postgresql.conf"
    fi
    pg_ctl start --wait --silent --pgdata "$data" --log "$1/log" </dev/null >&2 || exit
    echo ready
    read -r end
    pg_ctl stop --mode immediate --silent --pgdata "$data" </dev/null >&2
    [ "$end" = keep ] || rm -rf "$1"
"#;

/// Whether a server of our own waits for its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in production: what was committed survives a crash.
    Synced,
    /// Faster; only for servers that nobody crashes.
    Unsynced,
}

/// A server on which tests make their databases.
#[derive(Debug)]
pub struct Server {
    /// With `{}` where a database's name goes.
    url: String,
    /// `None` when the server is someone else's.
    cluster: Option<Arc<Cluster>>,
}

#[derive(Debug)]
struct Cluster {
    /// Data, socket and log. The keeper removes it, when the server has ended.
    folder: PathBuf,
    durability: Durability,
    keeper: Mutex<Option<Child>>,
}

impl Server {
    /// The one that is named in the environment, else one of our own.
    pub async fn of_environment() -> Self {
        match env::var("TOLLGATE_TEST_POSTGRES") {
            Ok(url) if !url.trim().is_empty() => Self { url: with_placeholder(url.trim()), cluster: None },
            _ => Self::start(Durability::Unsynced).await,
        }
    }

    /// Makes and starts one of our own, reached by a Unix socket. It ends when it is dropped, or with this process.
    pub async fn start(durability: Durability) -> Self {
        let folder = tempfile::Builder::new().prefix("tollgate-pg-").tempdir().expect("a folder can be made").keep();
        if let Some((user, group)) = unprivileged_user() {
            chown(&folder, Some(user), Some(group)).expect("root can give a folder away");
        }
        let url = format!("postgres://postgres@localhost/{{}}?host={}", folder.display());
        let server = Self { url, cluster: Some(Arc::new(Cluster { folder, durability, keeper: Mutex::new(None) })) };
        server.start_again().await;
        server
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        self.url.replace("{}", database)
    }

    /// Whether it is of this process's own, and all that is on it ends with it.
    pub fn is_our_own(&self) -> bool {
        self.cluster.is_some()
    }

    /// Stops it the hard way (`pg_ctl stop -m immediate`): no checkpoint, connections cut, recovery at the next start.
    pub fn stop_immediately(&self) {
        self.cluster().end("keep\n");
    }

    /// Starts it on the same data and socket, and waits until it takes connections.
    pub async fn start_again(&self) {
        let cluster = Arc::clone(self.cluster());
        spawn_blocking(move || cluster.start()).await.unwrap_or_else(|failure| resume_unwind(failure.into_panic()));
    }

    fn cluster(&self) -> &Arc<Cluster> {
        self.cluster.as_ref().expect("only a server of our own is stopped and started: see `Server::start`")
    }
}

impl Cluster {
    fn start(&self) {
        let programs = programs();
        let mut keeper = Command::new("sh");
        let synced = if self.durability == Durability::Synced { "on" } else { "off" };
        keeper.args(["-c", KEEPER, "sh"]).arg(&self.folder).arg(synced).current_dir(&self.folder).process_group(0);
        keeper.env_clear().env("PATH", search_path(&programs)).env("HOME", &self.folder).env("LC_ALL", "C");
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        if let Some((user, group)) = unprivileged_user() {
            keeper.uid(user).gid(group);
        }
        let mut keeper = keeper.spawn().expect("a shell can be started");
        let mut said = String::new();
        let output = keeper.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut said).expect("what a shell says is a text");
        if said != "ready\n" {
            let log = fs::read(self.folder.join("log")).unwrap_or_default();
            let _ = stderr().write_all(&log);
            panic!("PostgreSQL could not be started in {}; its log is above", self.folder.display());
        }
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
    }

    fn end(&self, word: &str) {
        let Some(mut keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut input = keeper.stdin.take().expect("its input is piped");
        // One that is gone already needs no word.
        let _ = input.write_all(word.as_bytes());
        drop(input);
        let _ = keeper.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end("");
        // Of a server that was stopped and not started again.
        let _ = fs::remove_dir_all(&self.folder);
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
        .find(|folder| ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).is_file()))
        .unwrap_or_else(|| {
            panic!(
                "PostgreSQL's `initdb`, `pg_ctl` and `postgres` are neither in PATH nor in /usr/lib/postgresql/*/bin: \
                 install the server (Debian: `apt-get install postgresql`), or set TOLLGATE_TEST_POSTGRES to a \
                 superuser's URL"
            )
        })
}

/// Where we are root, `postgres` or `nobody`: PostgreSQL refuses to run as root.
fn unprivileged_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
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
            ("postgres://u@localhost/postgres?host=/tmp/x&a=b", "postgres://u@localhost/{}?host=/tmp/x&a=b"),
        ] {
            assert_eq!(with_placeholder(url), with);
        }
    }

    #[tokio::test]
    async fn a_server_of_our_own_comes_back_after_a_hard_stop_and_leaves_nothing() {
        let server = Server::start(Durability::Unsynced).await;
        let folder = server.cluster().folder.clone();
        let is_up = || folder.join(".s.PGSQL.5432").exists();
        assert!(is_up());
        server.stop_immediately();
        assert!(!folder.join("data/postmaster.pid").exists() && folder.join("data").exists());
        server.start_again().await;
        assert!(is_up());
        drop(server);
        assert!(!folder.exists());
    }
}

//! The process reads no variables but its own.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;

/// A server that wants a password: what it is told first, and the password that it is given.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
fn greeted(mut client: TcpStream) -> (String, String) {
    const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
    let message = |client: &mut TcpStream| {
        let mut length = [0; 4];
        client.read_exact(&mut length).expect("a length comes");
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut body).expect("a message comes");
        body
    };
    let mut startup = message(&mut client);
    if startup == SSL_REQUEST {
        client.write_all(b"N").expect("it listens");
        startup = message(&mut client);
    }
    const CLEARTEXT_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
    client.write_all(&CLEARTEXT_PASSWORD).expect("it listens");
    client.read_exact(&mut [0]).expect("a password comes");
    let password = message(&mut client);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', " ");
    (text(&startup), text(&password).trim().to_owned())
}

#[test]
fn postgresqls_own_variables_and_its_password_file_are_not_read() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = server.local_addr().expect("it listens").port();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let passwords = folder.path().join(".pgpass");
    fs::write(&passwords, "*:*:*:*:of-the-file\n").expect("a file can be written");
    fs::set_permissions(&passwords, Permissions::from_mode(0o600)).expect("it is ours");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a tier is in the workspace");
    let mut backend = Command::new(env!("CARGO_BIN_EXE_tollgate-backend"))
        .arg("migrate")
        .current_dir(folder.path())
        .env_clear()
        .envs([("INTERNAL_API_KEY", "k"), ("AUTH_SECRET", "a"), ("CRON_SECRET", "c")])
        .env("ENCRYPTION_KEY", "k".repeat(32))
        .env("PLANS_FILE", root.join("plans.toml"))
        .env("WIDGETS_FILE", root.join("widgets.json"))
        .env("DATABASE_URL", format!("postgres://us@127.0.0.1:{port}/ours"))
        .env("HOME", folder.path())
        .envs([("PGPASSFILE", &passwords)])
        .envs([("PGPASSWORD", "of-a-variable"), ("PGOPTIONS", "-c default_transaction_read_only=on")])
        .envs([("PGHOST", "192.0.2.1"), ("PGHOSTADDR", "192.0.2.1"), ("PGPORT", "1"), ("PGSSLMODE", "verify-full")])
        .envs([("PGUSER", "them"), ("PGDATABASE", "theirs"), ("PGAPPNAME", "of-a-variable")])
        .spawn()
        .expect("the binary can be started");
    let greeting = thread::spawn(move || greeted(server.accept().expect("it connects").0));
    let (startup, password) = greeting.join().expect("it speaks PostgreSQL's protocol");
    for ours in ["us", "ours", "tollgate"] {
        assert!(startup.split(' ').any(|word| word == ours), "{startup}");
    }
    for theirs in ["them", "theirs", "of-a-variable", "read_only"] {
        assert!(!startup.contains(theirs), "{startup}");
    }
    assert_eq!(password, "");
    backend.kill().expect("it can be ended");
    backend.wait().expect("it has ended");
}

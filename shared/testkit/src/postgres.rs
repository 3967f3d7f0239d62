//! A real Postgres for tests: one server for a whole test program, and a database of its own for each test.
//!
//! Postgres refuses to run as root, so there it runs as `nobody`. However the test program ends, the server does with it:
//! a shell waits for the end of its own standard input, which this program holds open.

mod find;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The only user.
const USER: &str = "windlass";
/// What the tests look for where it must not be.
pub const PASSWORD: &str = "correct-horse-battery";
/// Who runs it where the tests are root's.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
/// Nothing is kept, so nothing is synchronised.
const SETTINGS: &str = "-c fsync=off -c max_connections=300";
/// Where it listens unless it has TLS: on a socket in its folder, of the usual number.
const USUAL_PORT: u16 = 5432;
/// A certificate for `localhost`, its key, and who signed it. None of them guards anything.
const TLS: [(&str, &str); 3] = [
    ("ca.pem", include_str!("postgres/tls/ca.pem")),
    ("server.pem", include_str!("postgres/tls/server.pem")),
    ("server.key", include_str!("postgres/tls/server.key")),
];
/// `$@`: how to run a program as who runs the server.
const SCRIPT: &str = r#"
"$@" "$BIN/pg_ctl" -D "$FOLDER/data" -l "$FOLDER/log" -s -w -t 60 -o "$SETTINGS" start || { cat "$FOLDER/log"; exit 1; }
echo ready
read -r line || gone=yes
"$@" "$BIN/pg_ctl" -D "$FOLDER/data" -s -w -m immediate stop || exit 1
test -z "$gone" || rm -rf "$FOLDER"
"#;

/// A server.
#[derive(Debug)]
pub struct TestPostgres {
    bin: PathBuf,
    // In this order: the folder goes once the server is gone.
    shell: Shell,
    folder: TempDir,
    settings: String,
    port: u16,
    databases: AtomicU32,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
}

// === impl TestPostgres ===

impl TestPostgres {
    /// The server that all tests of this program share.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<TestPostgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// A server of one's own, to stop and start.
    pub async fn start() -> Result<Self> {
        let bin = find::bin().await?;
        tokio::task::spawn_blocking(move || Self::make(bin, false)).await?
    }

    /// One that speaks TLS on a port of `localhost`, and has a socket beside.
    pub async fn with_tls() -> Result<Self> {
        let bin = find::bin().await?;
        tokio::task::spawn_blocking(move || Self::make(bin, true)).await?
    }

    fn make(bin: PathBuf, has_tls: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("windlass-postgres-").tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        let runner = runner()?;
        std::os::unix::fs::chown(folder.path(), runner, None)?;
        run(as_runner_of(&bin.join("initdb"))
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync", "--pwfile"])
            .arg(&password))?;
        let path = folder.path().display();
        let (port, listens) = if has_tls {
            for (name, text) in TLS {
                let file = folder.path().join(name);
                std::fs::write(&file, text)?;
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
                std::os::unix::fs::chown(&file, runner, None)?;
            }
            let tls =
                format!("-c ssl=on -c ssl_cert_file={path}/server.pem -c ssl_key_file={path}/server.key");
            // Free a moment ago.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            (port, format!("-c listen_addresses=127.0.0.1 {tls}"))
        } else {
            (USUAL_PORT, "-c listen_addresses=".to_owned())
        };
        let settings = format!("{SETTINGS} -k {path} -p {port} {listens}");
        let shell = Shell::start(&bin, folder.path(), &settings)?;
        Ok(Self { bin, shell, folder, settings, port, databases: AtomicU32::new(0) })
    }

    /// The certificate to trust, where it has TLS.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join(TLS[0].0)
    }

    /// Where a database is reached by TCP; what follows its name in the URL is to be added.
    pub fn tcp_url(&self, database: &str) -> String {
        let name = database.split(['/', '?']).nth(3).unwrap_or_default();
        format!("postgres://{USER}:{PASSWORD}@localhost:{}/{name}", self.port)
    }

    /// Makes a database; returns its URL, with the password.
    pub async fn database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(self.bin.join("createdb"));
        let port = self.port.to_string();
        command.arg("-h").arg(self.folder.path()).args(["-p", &port, "-U", USER, &name]);
        command.env("PGPASSWORD", PASSWORD);
        tokio::task::spawn_blocking(move || run(&mut command)).await??;
        let host = self.folder.path().display();
        Ok(format!("postgres:///{name}?host={host}&port={port}&user={USER}&password={PASSWORD}"))
    }

    /// The names of all databases.
    pub async fn databases(&self) -> Result<Vec<String>> {
        let mut command = Command::new(self.bin.join("psql"));
        command.arg("-h").arg(self.folder.path()).args(["-p", &self.port.to_string(), "-U", USER]);
        command.args(["-At", "-c", "SELECT datname FROM pg_database ORDER BY 1", "postgres"]);
        command.env("PGPASSWORD", PASSWORD);
        let names = tokio::task::spawn_blocking(move || run(&mut command)).await??;
        Ok(names.lines().map(ToOwned::to_owned).collect())
    }

    /// Stops it as a crash does, and waits until it is gone.
    pub fn stop(&mut self) -> Result<()> {
        self.shell.stop()
    }

    /// Starts it again.
    pub fn restart(&mut self) -> Result<()> {
        self.shell.stop()?;
        self.shell = Shell::start(&self.bin, self.folder.path(), &self.settings)?;
        Ok(())
    }
}

// === impl Shell ===

impl Shell {
    fn start(bin: &Path, folder: &Path, settings: &str) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .args(as_runner())
            .env("BIN", bin)
            .env("FOLDER", folder)
            .env("SETTINGS", settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("sh cannot be run")?;
        let stdin = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("the shell has no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line != "ready\n" {
            output.read_to_string(&mut line)?;
            anyhow::bail!("Postgres does not start: {line}");
        }
        Ok(Self { child, stdin })
    }

    fn stop(&mut self) -> Result<()> {
        if let Some(mut stdin) = self.stdin.take() {
            // Its end alone would say that this program is gone, and nobody else removes the folder.
            stdin.write_all(b"stop\n")?;
            let status = self.child.wait()?;
            ensure!(status.success(), "Postgres ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// The id of who runs it; none: that of this process.
fn runner() -> Result<Option<u32>> {
    if as_runner().is_empty() {
        return Ok(None);
    }
    let id = Command::new("id").args(["-u", "nobody"]).output().context("id cannot be run")?;
    let id = String::from_utf8_lossy(&id.stdout);
    Ok(Some(id.trim().parse().context("there is no user nobody")?))
}

/// What to put before a program of Postgres.
fn as_runner() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() { &NOBODY } else { &[] }
}

fn as_runner_of(program: &Path) -> Command {
    let mut all = as_runner().iter().map(AsRef::as_ref).chain([program.as_os_str()]);
    let mut command = Command::new(all.next().unwrap_or_default());
    command.args(all);
    command
}

/// Returns what it said.
fn run(command: &mut Command) -> Result<String> {
    // Not in a folder that who runs it may not enter.
    let output = command.current_dir("/").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", command.get_program().display(), complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}

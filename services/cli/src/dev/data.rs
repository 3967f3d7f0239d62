//! The folder of `windlass dev`: who runs in it, its passwords, its logs, and where others find what runs.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// The folder of one fleet, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Dropping it unlocks; so does the end of the process, however it ends.
    _lock: File,
}

/// A fleet that runs, as `dev.json` tells it to the other commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The broker's address, without credentials.
    pub(crate) nats_url: String,
    /// The monitor's address.
    pub(crate) http_url: String,
    /// The folder.
    pub(crate) data_dir: PathBuf,
    /// Of `windlass dev`.
    pub(crate) pid: u32,
    /// The first word of every subject.
    pub(crate) namespace: String,
    /// Whom the other commands are to the broker; none: it asks nobody.
    pub(crate) operator: Option<Operator>,
}

/// A user of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operator {
    /// Its name.
    pub(crate) user: String,
    /// Where its password is.
    pub(crate) password_file: PathBuf,
    /// Where answers to it arrive.
    pub(crate) inbox_prefix: Option<String>,
}

const RUNNING: &str = "dev.json";
const LOCK: &str = "dev.lock";
/// A lock file holds a process's id and nothing more.
const LOCK_BYTES: u64 = 64;

/// The folder unless told: `windlass/dev` in the user's data folder (XDG Base Directory specification).
pub(crate) fn default_dir() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local/share")))?;
    Some(data.join("windlass/dev"))
}

// === impl DataDir ===

impl DataDir {
    /// Makes the folder if need be, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        create_private(path)?;
        let path = path.canonicalize().map_err(file_error("find", path))?;
        let lock_path = path.join(LOCK);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(file_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message.
                let _ = (&lock).take(LOCK_BYTES).read_to_string(&mut pid);
                return Err(Error::RunsAlready { data_dir: path, pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &lock_path)(source)),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(file_error("write", &lock_path))?;
        for folder in ["logs", "run", "credentials"] {
            create_private(&path.join(folder))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The broker's folder.
    pub(crate) fn broker(&self) -> PathBuf {
        self.path.join("broker")
    }

    /// The passwords of all users.
    pub(super) fn passwords(&self) -> PathBuf {
        self.path.join("credentials.env")
    }

    /// The log of a process; that of its run before is kept beside it.
    pub(super) fn new_log(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join("logs").join(format!("{name}.log"));
        match std::fs::rename(&path, path.with_extension("log.before")) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(file_error("rename", &path)(source))
            }
            _ => Ok(path),
        }
    }

    /// Where a process tells its address; not there yet.
    pub(super) fn new_address_file(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join("run").join(format!("{name}.address"));
        remove(&path)?;
        Ok(path)
    }

    /// Writes a user's password where only we read it.
    pub(super) fn write_password(&self, user: &str, password: &str) -> Result<PathBuf, Error> {
        let path = password_file(&self.path, user);
        write_private(&path, password)?;
        Ok(path)
    }

    /// The file of the token that who acts by the HTTP API must show. It is made once, and kept.
    pub(super) fn operator_token(&self) -> Result<PathBuf, Error> {
        let path = self.path.join("credentials").join("http-token");
        if !path.exists() {
            write_private(&path, &format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()))?;
        }
        Ok(path)
    }

    /// Tells the other commands of us.
    pub(super) fn announce(&self, running: &Running) -> Result<(), Error> {
        let path = self.path.join(RUNNING);
        let text = serde_json::to_string_pretty(running).map_err(io::Error::from);
        write_private(&path, &text.map_err(file_error("write", &path))?)
    }

    /// Tells nobody any more.
    pub(super) fn withdraw(&self) -> Result<(), Error> {
        remove(&self.path.join(RUNNING))
    }
}

// === impl Running ===

impl Running {
    /// The fleet of a folder; none if none runs there, also if it was killed before it could say so.
    pub(crate) fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read(data_dir.join(RUNNING)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !is_locked(&data_dir.join(LOCK))? {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// The file of another user's password; it may not exist.
    pub(crate) fn password_file(&self, user: &str) -> PathBuf {
        password_file(&self.data_dir, user)
    }
}

fn is_locked(path: &Path) -> io::Result<bool> {
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Shared, so that two who look at once do not see each other.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn password_file(data_dir: &Path, user: &str) -> PathBuf {
    data_dir.join("credentials").join(user)
}

fn create_private(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file_error("create", path))
}

/// A file that nobody else reads, and that is there whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let write = || {
        let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&partial)?;
        writeln!(file, "{text}")?;
        std::fs::rename(&partial, path)
    };
    write().map_err(file_error("write", path))
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file_error("remove", path)(source)),
        _ => Ok(()),
    }
}

pub(crate) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn running(data_dir: &Path) -> Running {
        Running {
            nats_url: "nats://127.0.0.1:4222".to_owned(),
            http_url: "http://127.0.0.1:8304".to_owned(),
            data_dir: data_dir.to_owned(),
            pid: 1,
            namespace: "windlass".to_owned(),
            operator: Some(Operator {
                user: "operator".to_owned(),
                password_file: password_file(data_dir, "operator"),
                inbox_prefix: Some("_INBOX_operator".to_owned()),
            }),
        }
    }

    #[test]
    fn a_fleet_is_found_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/dev");
        assert_eq!(Running::read(&path).unwrap(), None);
        let data = DataDir::open(&path).unwrap();
        let told = running(data.path());
        data.announce(&told).unwrap();
        assert_eq!(Running::read(&path).unwrap().as_ref(), Some(&told));
        // Killed: the file stays, the lock does not.
        drop(data);
        assert!(path.join(RUNNING).exists());
        assert_eq!(Running::read(&path).unwrap(), None);
        let data = DataDir::open(&path).unwrap();
        data.withdraw().unwrap();
        assert!(!path.join(RUNNING).exists());
    }

    #[test]
    fn one_folder_has_one_fleet() {
        let folder = tempfile::tempdir().unwrap();
        let _data = DataDir::open(folder.path()).unwrap();
        let error = DataDir::open(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::RunsAlready { pid, .. } if *pid == std::process::id().to_string()));
        assert!(error.to_string().contains("--data-dir"), "{error}");
    }

    #[test]
    fn nobody_else_reads_what_is_secret() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("dev")).unwrap();
        data.announce(&running(data.path())).unwrap();
        let password = data.write_password("operator", "hunter2").unwrap();
        assert_eq!(std::fs::read_to_string(&password).unwrap(), "hunter2\n");
        let token = data.operator_token().unwrap();
        let first = std::fs::read_to_string(&token).unwrap();
        assert_eq!((first.trim().len(), data.operator_token().unwrap()), (64, token.clone()));
        assert_eq!(std::fs::read_to_string(&token).unwrap(), first, "it is kept");
        for (path, mode) in [
            (password, 0o600),
            (token, 0o600),
            (data.path().join(RUNNING), 0o600),
            (data.path().to_owned(), 0o700),
        ] {
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{path:?}");
        }
    }

    #[test]
    fn the_log_of_the_run_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        std::fs::write(data.new_log("worker").unwrap(), "first").unwrap();
        let log = data.new_log("worker").unwrap();
        assert!(!log.exists());
        assert_eq!(std::fs::read_to_string(log.with_extension("log.before")).unwrap(), "first");
    }
}

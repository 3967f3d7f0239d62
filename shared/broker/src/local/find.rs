//! Where a nats-server is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{Error, PINNED_VERSION, install};

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// This one and no other.
    pub explicit: Option<PathBuf>,
    /// Folders, as in `PATH`.
    pub path: Option<OsString>,
    /// The folder that what is installed goes into; none: nothing is installed.
    pub cache: Option<PathBuf>,
}

/// Of `nats-server --version`.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

// === impl Search ===

impl Search {
    /// `WINDLASS_NATS_SERVER`, `PATH`, and `windlass` in the user's cache folder.
    pub fn from_env() -> Self {
        let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
        Self {
            explicit: folder("WINDLASS_NATS_SERVER"),
            path: std::env::var_os("PATH"),
            cache: cache.map(|cache| cache.join("windlass")),
        }
    }
}

/// Finds a server that is new enough, or installs one. `progress` is told, in a few words, what takes long.
pub async fn find(search: &Search, progress: &(dyn Fn(&str) + Sync)) -> Result<PathBuf, Error> {
    if let Some(path) = &search.explicit {
        return match check(path).await {
            Ok(()) => Ok(path.clone()),
            Err(reason) => Err(Error::Explicit { path: path.clone(), reason }),
        };
    }
    for folder in search.path.iter().flat_map(std::env::split_paths) {
        let candidate = folder.join("nats-server");
        if candidate.is_file() {
            match check(&candidate).await {
                Ok(()) => return Ok(candidate),
                Err(reason) => {
                    tracing::debug!(path = %candidate.display(), reason, "passing over a nats-server");
                }
            }
        }
    }
    let Some(cache) = &search.cache else {
        return Err(Error::NotFound { reason: "there is no cache folder: HOME is not set".to_owned() });
    };
    let folder = cache.join(format!("nats-server-{PINNED_VERSION}"));
    let installed = folder.join("bin").join("nats-server");
    if check(&installed).await.is_err() {
        install::install(&folder, progress).await?;
        check(&installed).await.map_err(|reason| Error::NotFound { reason })?;
    }
    Ok(installed)
}

/// Runs it to learn its version.
pub(super) async fn check(path: &Path) -> Result<(), String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_TIMEOUT, command.output())
        .await
        .map_err(|_| "`--version` does not end".to_owned())?
        .map_err(|error| format!("it does not run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(version) = text.trim().strip_prefix("nats-server: v") else {
        return Err("it is no nats-server, by what `--version` says".to_owned());
    };
    if !is_enough(version) {
        return Err(format!("it is version `{version}`, expected {PINNED_VERSION} or newer"));
    }
    Ok(())
}

fn is_enough(version: &str) -> bool {
    let parse = |text: &str| -> Option<Vec<u64>> {
        text.split('-').next()?.split('.').map(|part| part.parse().ok()).collect()
    };
    parse(version).is_some_and(|version| version.len() == 3 && Some(version) >= parse(PINNED_VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that answers `--version` like this.
    fn fake(folder: &Path, answer: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join("nats-server");
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn the_first_that_is_new_enough_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        fake(&folder.path().join("old"), "nats-server: v2.10.0");
        let good = fake(&folder.path().join("good"), "nats-server: v2.15.2");
        let path = std::env::join_paths([folder.path().join("old"), folder.path().join("good")]).unwrap();
        let search = Search { path: Some(path), ..Search::default() };
        assert_eq!(find(&search, &|_| ()).await.unwrap(), good);
    }

    #[tokio::test]
    async fn one_that_is_named_is_not_replaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let old = fake(folder.path(), "nats-server: v2.15.0");
        let search = Search { explicit: Some(old), ..Search::from_env() };
        let error = find(&search, &|_| ()).await.unwrap_err().to_string();
        assert!(error.contains("it is version `2.15.0`, expected 2.15.1 or newer"), "{error}");
    }

    #[tokio::test]
    async fn without_any_the_error_names_three_ways() {
        let error = find(&Search::default(), &|_| ()).await.unwrap_err().to_string();
        for way in ["pip", "on PATH", "WINDLASS_NATS_SERVER"] {
            assert!(error.contains(way), "{error}");
        }
    }
}

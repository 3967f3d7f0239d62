//! Where the programs of Postgres are, or how they come.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::OnceCell;

/// The wheel that brings them, and what it is built for: nothing of it is Python but its name.
const WHEEL: &str = "pgserver==0.1.4";
const BUILT_FOR: [&str; 6] = ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"];
/// The oldest that the monitor is for.
const LEAST_VERSION: u32 = 13;
/// Where Debian has them, by version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder with `postgres`, `initdb`, `pg_ctl`, `createdb` and `psql`, found or installed once a process.
pub(super) async fn bin() -> Result<PathBuf> {
    static BIN: OnceCell<PathBuf> = OnceCell::const_new();
    let found = BIN.get_or_try_init(|| async {
        tokio::task::spawn_blocking(find_or_install).await?.context("no Postgres for the tests")
    });
    found.await.cloned()
}

fn find_or_install() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut on_debian: Vec<_> = std::fs::read_dir(DEBIAN)
        .map(|all| all.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    on_debian.sort();
    // A link on PATH leads to where the others are.
    let on_path =
        std::env::split_paths(&path).filter_map(|folder| folder.join("postgres").canonicalize().ok());
    let on_path = on_path.filter_map(|program| program.parent().map(Path::to_owned));
    if let Some(found) = on_path.chain(on_debian.into_iter().rev()).find(|bin| check(bin).is_ok()) {
        return Ok(found);
    }
    let folder = cache()?.join(WHEEL.replace("==", "-"));
    let bin = folder.join("pgserver").join("pginstall").join("bin");
    if check(&bin).is_err() {
        install(&folder, &bin)?;
    }
    Ok(bin)
}

/// Of a folder that whoever runs the server may enter.
fn cache() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/cache/windlass".into());
    }
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    Ok(cache.context("there is no cache folder: HOME is not set")?.join("windlass"))
}

/// All of them are there, and new enough.
fn check(bin: &Path) -> Result<()> {
    for program in ["initdb", "pg_ctl", "createdb", "psql"] {
        ensure!(bin.join(program).is_file(), "{} is missing", bin.join(program).display());
    }
    let output = Command::new(bin.join("postgres")).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = text.split_whitespace().nth(2).and_then(|version| version.split('.').next()?.parse().ok());
    ensure!(major >= Some(LEAST_VERSION), "{} is `{}`", bin.display(), text.trim());
    Ok(())
}

/// Into this folder, which appears whole or not at all, however many processes want it.
fn install(folder: &Path, bin: &Path) -> Result<()> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let lock = File::create(folder.with_extension("lock"))?;
    // Until it is dropped, by the process's death too.
    lock.lock()?;
    if check(bin).is_ok() {
        return Ok(());
    }
    eprintln!("installing {WHEEL} into {}", folder.display());
    let fresh = tempfile::Builder::new().prefix(".installing-").tempdir_in(parent)?;
    std::fs::set_permissions(fresh.path(), std::fs::Permissions::from_mode(0o755))?;
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary", ":all:"])
        .args(BUILT_FOR)
        .arg("--target")
        .arg(fresh.path())
        .arg(WHEEL)
        .output()
        .context("python3 cannot be run")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pip cannot install {WHEEL}: {}", complaint.trim());
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::rename(fresh.path(), folder)?;
    check(bin)
}

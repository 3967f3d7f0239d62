//! The product's programs, built as the tests were; for the fault suite always with debug assertions.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Where a program is. They are built once a process, so that no test runs an old one; cargo does nothing if they are
/// as the sources say.
pub async fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let folder = BUILT.get_or_try_init(build).await?;
    let path = folder.join(name);
    ensure!(path.is_file(), "there is no program {}", path.display());
    Ok(path)
}

async fn build() -> Result<PathBuf> {
    // For who has built them, and waits for nothing.
    if let Some(folder) = std::env::var_os("WINDLASS_TEST_PROGRAMS") {
        return Ok(folder.into());
    }
    // A test is <target>/<profile>/deps/<test>-<hash>; a program, as that of the fault suite, <target>/<profile>/<name>.
    let own = std::env::current_exe()?;
    let above = own.parent().context("the program has no folder")?;
    let (folder, target) = if above.ends_with("deps") {
        let folder = above.parent().context("the folder of tests has no parent")?;
        (folder.to_owned(), folder.parent())
    } else {
        // Failpoints exist in this profile only, however the suite itself was built.
        (above.with_file_name("debug"), above.parent())
    };
    let target = target.context("the folder of programs has no parent")?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--examples"])
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    ensure!(
        build.status().await.context("cargo cannot be started")?.success(),
        "the programs cannot be built"
    );
    Ok(folder)
}

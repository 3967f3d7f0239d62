//! A disk that can be full: a tmpfs of a few megabytes. Only who may mount can have one.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A mounted disk. It is unmounted with the value; whatever uses it must have ended by then.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

const FILLER: &str = "filler";
const PORTION_BYTES: usize = 64 * 1024;

// === impl SmallDisk ===

impl SmallDisk {
    /// Mounts one; fails where that is not allowed.
    pub fn mount(megabytes: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .output()
            .context("mount cannot be run")?;
        let complaint = String::from_utf8_lossy(&mounted.stderr);
        anyhow::ensure!(mounted.status.success(), "a tmpfs cannot be mounted: {}", complaint.trim());
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room.
    pub fn fill(&self) -> Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.path().join(FILLER))?;
        let zeros = vec![0; PORTION_BYTES];
        let mut portion = &zeros[..];
        loop {
            match filler.write(portion) {
                Ok(1..) => {}
                // The last bytes.
                Ok(0) | Err(_) if portion.len() > 1 => portion = &portion[..portion.len() / 2],
                Err(error) if error.kind() != ErrorKind::StorageFull => return Err(error.into()),
                Ok(0) | Err(_) => return Ok(()),
            }
        }
    }

    /// Gives the room back.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path().join(FILLER))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still has a file open there must not keep the rest.
        let _ = Command::new("umount").arg("-l").arg(self.path()).stdin(Stdio::null()).output();
    }
}

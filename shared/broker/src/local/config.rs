//! The configuration that a local server runs with.

use std::path::{Path, PathBuf};

use super::{Error, file_error};

/// `deploy/nats/windlass.conf`: users and their rights, as `windlass dev` and the tests run with.
pub const CONFIG_FILE: &str = include_str!("../../../../deploy/nats/windlass.conf");

/// No users, and nothing set.
pub const EMPTY_CONFIG: &str = "\njetstream {\n}\n";

/// Writes a configuration, as `windlass.conf` into this folder, with room for the bounds of all streams.
///
/// A server reserves the bounds, by default of three quarters of what the disk has free: it would refuse the streams
/// of a fleet on a disk with less than 11 GB, although development and tests store next to nothing.
///
/// # Panics
///
/// If the text has no section `jetstream` at the beginning of a line.
pub fn write_config(folder: &Path, text: &str) -> Result<PathBuf, Error> {
    let section = "\njetstream {\n";
    assert!(text.contains(section), "the configuration has no section `jetstream`");
    let with_room = text.replacen(section, &format!("{section}  max_file_store: 1TB\n"), 1);
    let file = folder.join("windlass.conf");
    std::fs::write(&file, with_room).map_err(file_error("write", &file))?;
    Ok(file)
}

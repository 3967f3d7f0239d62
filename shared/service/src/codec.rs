//! The `[codec]` section: how payloads and results are compressed and sealed.
//!
//! Read by those services alone that have to do with what is inside: for the others it is left out of their
//! configuration, so that no key comes into their memory.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::problem::{Problems, Validate};
use crate::secret::Secret;

/// How payloads and results are compressed and sealed. Without keys nothing is sealed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecSettings {
    /// Keys, one a line or with commas between them, as `windlass keys generate` prints them; the first one seals.
    pub keys: Option<Secret>,
    /// A file of such lines, which others than its owner and group cannot read. Rather use this.
    pub keys_file: Option<PathBuf>,
    /// Compress what gets smaller by it.
    pub compression: bool,
    /// Refuse payloads that are not sealed.
    pub only_sealed: bool,
}

impl Validate for CodecSettings {
    fn validate(&self, problems: &mut Problems) {
        if self.keys.is_some() && self.keys_file.is_some() {
            problems.add("keys_file", "stands beside keys: expected one of them");
        }
        if self.only_sealed && self.keys.is_none() && self.keys_file.is_none() {
            problems.add("only_sealed", "refuses all without keys: expected keys or keys_file beside it");
        }
        if let Some(Err(error)) = self.keys_file.as_ref().map(std::fs::File::open) {
            problems.add("keys_file", format!("cannot be read ({error}): expected a file"));
        }
    }
}

//! Why a command did not do what was asked.

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An argument is not what it must be: nothing was sent.
    #[error("{field}: {reason}")]
    Input {
        /// Which, as the command line names it.
        field: String,
        /// What it was, and what was expected.
        reason: String,
    },
}

// === impl Error ===

impl Error {
    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } => 2,
        }
    }
}

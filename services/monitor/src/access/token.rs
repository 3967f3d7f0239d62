//! Tokens.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;
use windlass_service::Secret;

/// Fewer could be guessed.
const LEAST_CHARACTERS: usize = 32;
/// A file of more is none of ours.
const MOST_BYTES: u64 = 4096;
/// Of a file's mode: who else may read it.
const READABLE_BY_OTHERS: u32 = 0o044;

/// What somebody shows to be let in.
#[derive(Clone)]
pub struct Token(Secret);

/// The file holds no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else. What, is not said.
    #[error("{} holds no token: expected one line of at least {LEAST_CHARACTERS} visible ASCII characters", .0.display())]
    Form(PathBuf),
    /// A value that is configured is no token. What it is, is not said.
    #[error(
        "{0} is no secret that can be used: expected at least {LEAST_CHARACTERS} visible ASCII characters"
    )]
    Value(&'static str),
}

// === impl Token ===

impl Token {
    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unread = |source| TokenError::File { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unread)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(TokenError::Form(path.to_owned()));
        }
        let text = str::from_utf8(bytes.trim_ascii()).map_err(|_| TokenError::Form(path.to_owned()))?;
        Self::of(&Secret::new(text)).ok_or_else(|| TokenError::Form(path.to_owned()))
    }

    /// Takes one that was configured; none if it is too short, or has other characters.
    pub(super) fn of(secret: &Secret) -> Option<Self> {
        let text = secret.expose();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (visible && text.len() >= LEAST_CHARACTERS).then(|| Self(secret.clone()))
    }

    /// Whether others than the file's owner may read it.
    pub fn is_exposed(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & READABLE_BY_OTHERS != 0)
    }

    /// Whether this is it. How long that takes tells nothing of the token but its length.
    pub(super) fn is(&self, shown: &str) -> bool {
        shown.as_bytes().ct_eq(self.0.expose().as_bytes()).into()
    }

    /// For who it has to be shown to.
    pub(super) fn expose(&self) -> &str {
        self.0.expose()
    }

    /// To seal sessions with.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcde~";

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn a_file_holds_one_long_line() {
        for good in [TOKEN.to_owned(), format!("  {TOKEN}\r\n"), "x".repeat(4000)] {
            assert_eq!(Token::read(file(good.as_bytes()).path()).unwrap().0.expose(), good.trim());
        }
        let (two_lines, accent) = (format!("{TOKEN}\n{TOKEN}"), format!("{TOKEN}é"));
        for bad in ["", "\n", &TOKEN[1..], &two_lines, &accent, &"x".repeat(5000)] {
            let error = Token::read(file(bad.as_bytes()).path()).unwrap_err().to_string();
            assert!(error.contains("at least 32") && (bad.len() < 9 || !error.contains(bad)), "{error}");
        }
        let missing = Token::read(Path::new("/nowhere/token")).unwrap_err();
        assert!(matches!(missing, TokenError::File { .. }) && missing.to_string().contains("/nowhere/token"));
    }

    #[test]
    fn a_token_is_never_shown_and_a_file_that_others_read_is_told() {
        let file = file(TOKEN.as_bytes());
        let token = Token::read(file.path()).unwrap();
        assert_eq!(format!("{token:?}"), "Token(***)");
        for (mode, exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Token::is_exposed(file.path()), exposed, "{mode:o}");
        }
    }
}

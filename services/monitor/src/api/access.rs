//! Who may act: whoever shows the operator's token. Reading is open to whoever reaches the endpoint.
//!
//! The token comes in a header that no page of another site can set, and never in a cookie; so no browser acts for
//! its user unasked.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;
use windlass_service::Secret;

use super::{Api, Problem};

/// Fewer could be guessed.
const LEAST_CHARACTERS: usize = 32;
/// A file of more is none of ours.
const MOST_BYTES: u64 = 4096;
/// Of a file's mode: who else may read it.
const READABLE_BY_OTHERS: u32 = 0o044;

/// What an operator shows to act.
#[derive(Clone)]
pub struct OperatorToken(Secret);

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
}

/// Somebody has shown the token. A route that acts takes this before all else.
#[derive(Debug)]
pub(super) struct Operator;

// === impl OperatorToken ===

impl OperatorToken {
    /// Reads it from a file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unread = |source| TokenError::File { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unread)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(TokenError::Form(path.to_owned()));
        }
        let token = bytes.trim_ascii();
        let visible = token.iter().all(u8::is_ascii_graphic);
        match str::from_utf8(token) {
            Ok(token) if visible && token.len() >= LEAST_CHARACTERS => Ok(Self(Secret::new(token))),
            _ => Err(TokenError::Form(path.to_owned())),
        }
    }

    /// Whether others than the file's owner may read it.
    pub fn is_exposed(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & READABLE_BY_OTHERS != 0)
    }

    /// Whether a request shows it. How long that takes tells nothing of the token but its length.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (shown.next(), shown.next()) else { return false };
        let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
            return false;
        };
        // The scheme's name has no case (RFC 9110, section 11.1).
        scheme.eq_ignore_ascii_case("Bearer")
            && bool::from(token.trim().as_bytes().ct_eq(self.0.expose().as_bytes()))
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(***)")
    }
}

// === impl Operator ===

impl FromRequestParts<Api> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let refused = match &api.operator_token {
            None => Problem::actions_are_off(),
            Some(token) if token.is_shown(&parts.headers) => return Ok(Self),
            Some(_) => Problem::unauthorized(),
        };
        metrics::counter!("windlass_monitor_actions_refused_total").increment(1);
        Err(refused)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

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
            assert_eq!(OperatorToken::read(file(good.as_bytes()).path()).unwrap().0.expose(), good.trim());
        }
        let (two_lines, accent) = (format!("{TOKEN}\n{TOKEN}"), format!("{TOKEN}é"));
        for bad in ["", "\n", &TOKEN[1..], &two_lines, &accent, &"x".repeat(5000)] {
            let error = OperatorToken::read(file(bad.as_bytes()).path()).unwrap_err().to_string();
            assert!(error.contains("at least 32") && (bad.len() < 9 || !error.contains(bad)), "{error}");
        }
        let missing = OperatorToken::read(Path::new("/nowhere/token")).unwrap_err();
        assert!(matches!(missing, TokenError::File { .. }) && missing.to_string().contains("/nowhere/token"));
    }

    #[test]
    fn a_token_is_never_shown_and_a_file_that_others_read_is_told() {
        let file = file(TOKEN.as_bytes());
        let token = OperatorToken::read(file.path()).unwrap();
        assert_eq!(format!("{token:?}"), "OperatorToken(***)");
        for (mode, exposed) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(OperatorToken::is_exposed(file.path()), exposed, "{mode:o}");
        }
    }

    #[test]
    fn only_the_very_token_opens() {
        let token = OperatorToken(Secret::new(TOKEN));
        let shown = |values: &[&str]| {
            let values = values.iter().map(|value| HeaderValue::from_str(value).unwrap());
            let headers: HeaderMap = values.map(|value| (header::AUTHORIZATION, value)).collect();
            token.is_shown(&headers)
        };
        let right = format!("Bearer {TOKEN}");
        assert!(shown(&[&right]) && shown(&[&format!("bearer  {TOKEN} ")]));
        let (longer, basic, other) =
            (format!("{right}x"), format!("Basic {TOKEN}"), right.replace("Bearer 0", "Bearer 1"));
        for wrong in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &[TOKEN],
            &[&right[..right.len() - 1]],
            &[&longer],
            &[&basic],
            &[&other],
            &[&right, &right],
        ] {
            assert!(!shown(wrong), "{wrong:?}");
        }
    }
}

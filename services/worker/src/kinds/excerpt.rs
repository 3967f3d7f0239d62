//! The beginning of an output, as text that a result has room for.

/// The most of an excerpt that may be asked for: two of them, escaped, fit into one result (64 KiB).
pub(crate) const LIMIT_BYTES: usize = 30 * 1024;

/// Keeps the first bytes of what is pushed.
#[derive(Debug)]
pub(crate) struct Excerpt {
    limit: usize,
    kept: Vec<u8>,
    more: bool,
}

// === impl Excerpt ===

impl Excerpt {
    /// Of at most so many bytes as JSON text, its quotes not counted.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), more: false }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.limit - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.more |= bytes.len() > room;
    }

    /// Whether something was left out already.
    pub(crate) fn is_full(&self) -> bool {
        self.more
    }

    /// The text, and whether something was left out of it. What is not UTF-8 is replaced.
    pub(crate) fn into_text(mut self) -> (String, bool) {
        if self.more
            && let Err(error) = std::str::from_utf8(&self.kept)
            && error.error_len().is_none()
        {
            // A character that the limit cuts through.
            self.kept.truncate(error.valid_up_to());
        }
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        let cut = cut_at(&text, self.limit);
        text.truncate(cut.unwrap_or(text.len()));
        (text, self.more || cut.is_some())
    }
}

/// How many bytes a string has in JSON, its quotes not counted.
pub(crate) fn json_bytes(text: &str) -> usize {
    text.chars().map(escaped_bytes).sum()
}

/// Where a text must end to have at most so many bytes in JSON; none if it has.
fn cut_at(text: &str, limit: usize) -> Option<usize> {
    let mut used = 0;
    text.char_indices().find_map(|(at, character)| {
        used += escaped_bytes(character);
        (used > limit).then_some(at)
    })
}

/// As `serde_json` writes it (RFC 8259, section 7).
fn escaped_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_beginning() {
        let check = |pieces: &[&[u8]], expected: &str, cut: bool| {
            let mut excerpt = Excerpt::new(8);
            for piece in pieces {
                excerpt.push(piece);
            }
            assert_eq!(excerpt.into_text(), (expected.to_owned(), cut), "{pieces:?}");
        };
        check(&[], "", false);
        check(&[b"12345678"], "12345678", false);
        check(&[b"1234", b"56789", b"0"], "12345678", true);
        check(&["1234567ä".as_bytes()], "1234567", true);
        check(&[b"1\xff2"], "1\u{fffd}2", false);
        check(&[b"\xff\xff\xff"], "\u{fffd}\u{fffd}", true);
        check(&[b"\0\0"], "\0", true);
        check(&[b"\n\n\n\n\n"], "\n\n\n\n", true);
    }

    #[test]
    fn counts_bytes_as_they_are_written() {
        for code in 0..=0x2ff_u32 {
            let text = char::from_u32(code).unwrap().to_string();
            assert_eq!(json_bytes(&text), serde_json::to_string(&text).unwrap().len() - 2, "{text:?}");
        }
    }
}

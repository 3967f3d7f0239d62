//! What makes two errors alike.
//!
//! A fingerprint is a hash of an error's code and of its message without what differs from one occurrence to the next:
//! numbers, UUIDs, hexadecimal strings, quoted text and paths become placeholders, and white space is collapsed. It is
//! derived wherever it is shown, and never stored beside the error: nothing can disagree with it. What it is of an
//! error must not change from one version to the next, as people write it down; the tests hold that.

use uuid::Uuid;

/// Apart from all other uses of UUID version 5, whose SHA-1 is the hash here.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f61_99a0_53c8_5d4b_8a07_6670_7269_6e74);
/// How much of a message counts: what follows is detail, as the output of a program.
const MESSAGE_CHARACTERS: usize = 4096;
/// The least length of a run of hexadecimal digits that is no word.
const HEX_LENGTH: usize = 8;
/// The same where all of them are letters: no English word is so long.
const HEX_LETTERS_LENGTH: usize = 16;

/// The fingerprint of an error: 16 hexadecimal digits in lower case.
pub fn fingerprint(code: &str, message: &str) -> String {
    let name = format!("{code}\n{}", normalise(message));
    let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
    // The first and the last four bytes: those between also say that it is a UUID.
    let (first, _, _, rest) = hash.as_fields();
    let last = [rest[4], rest[5], rest[6], rest[7]];
    format!("{first:08x}{:08x}", u32::from_be_bytes(last))
}

/// Whether a text has the form of a fingerprint.
pub fn is_fingerprint(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A message without what differs from one occurrence to the next.
pub fn normalise(message: &str) -> String {
    let text: Vec<char> = message.chars().take(MESSAGE_CHARACTERS).collect();
    let mut scan = Scan { text: &text, at: 0, unclosed: Vec::new() };
    let mut normal = String::new();
    while let Some(c) = scan.peek(0) {
        if c.is_whitespace() {
            scan.at += 1;
            if !normal.is_empty() && !normal.ends_with(' ') {
                normal.push(' ');
            }
        } else if let Some(placeholder) = scan.quoted().or_else(|| scan.path()).or_else(|| scan.uuid()) {
            normal.push_str(placeholder);
        } else if c.is_alphanumeric() || (is_sign(c) && scan.begins_number()) {
            scan.word(&mut normal);
        } else {
            scan.at += 1;
            normal.push(c);
        }
    }
    normal.truncate(normal.trim_end().len());
    normal
}

struct Scan<'a> {
    text: &'a [char],
    at: usize,
    /// Closing marks that are known not to come any more, so that they are not looked for again.
    unclosed: Vec<char>,
}

// === impl Scan ===

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    /// Whether what stands here begins a word.
    fn is_start(&self) -> bool {
        self.at == 0 || !self.text[self.at - 1].is_alphanumeric()
    }

    /// Text between quotation marks. An apostrophe within a word is none.
    fn quoted(&mut self) -> Option<&'static str> {
        let close = match self.peek(0)? {
            mark @ ('"' | '\'' | '`') if self.is_start() => mark,
            '“' | '„' => '”',
            '‘' => '’',
            '«' => '»',
            _ => return None,
        };
        if self.unclosed.contains(&close) {
            return None;
        }
        let closes = |place: &usize| {
            self.text[*place] == close && !self.text.get(place + 1).is_some_and(|c| c.is_alphanumeric())
        };
        if let Some(end) = (self.at + 1..self.text.len()).find(closes) {
            self.at = end + 1;
            return Some("<text>");
        }
        self.unclosed.push(close);
        None
    }

    /// A path of a file or of a URL: it is rooted, or has a slash and looks like no `either/or`.
    fn path(&mut self) -> Option<&'static str> {
        if !self.is_start() {
            return None;
        }
        let is_part = |c: char| c.is_alphanumeric() || "/\\._-~+%@#?&=$*".contains(c);
        let rest = &self.text[self.at..];
        // A drive's letter.
        let drive = match rest {
            [letter, ':', '\\' | '/', ..] if letter.is_ascii_alphabetic() => 2,
            _ => 0,
        };
        let length = drive + rest[drive..].iter().take_while(|c| is_part(**c)).count();
        // What ends a sentence belongs to it.
        let length = length - rest[..length].iter().rev().take_while(|c| "._?".contains(**c)).count();
        let path = &rest[..length];
        let slashes = path.iter().filter(|c| matches!(c, '/' | '\\')).count();
        let rooted = drive > 0 || matches!(path, ['/' | '.' | '~', ..]);
        let is_path = length > 1 && slashes > 0 && (rooted || slashes > 1 || path.contains(&'.'));
        is_path.then(|| {
            self.at += length;
            "<path>"
        })
    }

    fn uuid(&mut self) -> Option<&'static str> {
        const LENGTH: usize = 36;
        let text: String = self.text.get(self.at..self.at + LENGTH)?.iter().collect();
        let ends = !self.peek(LENGTH).is_some_and(char::is_alphanumeric);
        (self.is_start() && ends && Uuid::try_parse(&text).is_ok()).then(|| {
            self.at += LENGTH;
            "<uuid>"
        })
    }

    /// Whether a sign stands here before a number, and after no word.
    fn begins_number(&self) -> bool {
        self.is_start() && self.peek(1).is_some_and(|c| c.is_ascii_digit())
    }

    /// A run of letters and digits: a hexadecimal string, or what it is with its numbers replaced.
    fn word(&mut self, normal: &mut String) {
        let run = self.text[self.at..].iter().take_while(|c| c.is_alphanumeric()).count();
        let word = &self.text[self.at..self.at + run];
        if is_hex(word) {
            self.at += run;
            normal.push_str("<hex>");
            return;
        }
        let end = self.at + run;
        loop {
            match self.peek(0) {
                Some(c) if c.is_ascii_digit() || (is_sign(c) && self.begins_number()) => {
                    self.at += 1;
                    self.number();
                    normal.push_str("<n>");
                }
                Some(c) if self.at < end => {
                    self.at += 1;
                    normal.push(c);
                }
                _ => return,
            }
            if self.at >= end {
                return;
            }
        }
    }

    /// What follows a number's first character: its digits, and separators that stand between two of them.
    fn number(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(digit), _) if digit.is_ascii_digit() => self.at += 1,
                (Some('.' | ',' | ':'), Some(digit)) if digit.is_ascii_digit() => self.at += 2,
                _ => return,
            }
        }
    }
}

fn is_sign(c: char) -> bool {
    matches!(c, '-' | '+')
}

fn is_hex(word: &[char]) -> bool {
    let digits = match word {
        ['0', 'x' | 'X', digits @ ..] if !digits.is_empty() => {
            return digits.iter().all(char::is_ascii_hexdigit);
        }
        digits => digits,
    };
    let has = |test: fn(&char) -> bool| digits.iter().any(test);
    let mixed = has(char::is_ascii_digit) && has(char::is_ascii_alphabetic);
    let least = if mixed { HEX_LENGTH } else { HEX_LETTERS_LENGTH };
    digits.len() >= least && has(char::is_ascii_alphabetic) && digits.iter().all(char::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_is_left_out() {
        for (message, expected) in [
            ("  took\tlonger \n than 30 s ", "took longer than <n> s"),
            ("exit code -9 after 1,234.5s", "exit code <n> after <n>s"),
            ("timed out after 30s, worker-7", "timed out after <n>s, worker-<n>"),
            ("job 01890a5d-ac96-774b-bcce-b302099a8057: gone", "job <uuid>: gone"),
            ("blob 7f3a9c2be1 of 0xDEADBEEF", "blob <hex> of <hex>"),
            ("defaced facade", "defaced facade"),
            ("no column \"a b\" in 'users', `x`", "no column <text> in <text>, <text>"),
            ("can't open, doesn't exist", "can't open, doesn't exist"),
            ("cannot open /srv/data/a.txt: no such file", "cannot open <path>: no such file"),
            ("at src/main.rs:10:5.", "at <path>:<n>."),
            ("C:\\temp\\x.log is locked", "<path> is locked"),
            ("read and/or write of text/plain", "read and/or write of text/plain"),
            ("GET https://a.example/v1/users/7 said 503", "GET https:<path> said <n>"),
            ("an open \" stays", "an open \" stays"),
            ("10.0.0.1:4222 refused at 12:30:55", "<n> refused at <n>"),
            ("Größe 12 überschritten", "Größe <n> überschritten"),
            ("", ""),
        ] {
            assert_eq!(normalise(message), expected, "{message}");
        }
    }

    /// Written down: people note fingerprints, and look for them after an update.
    #[test]
    fn fingerprints_do_not_change() {
        for (code, message, expected) in [
            ("handler", "no such file: /srv/a.txt", "1f67ec47ed8603e0"),
            ("timeout", "took longer than 30 s", "96ca8128b6cf102e"),
            ("", "", "293827b04737339b"),
        ] {
            assert_eq!(fingerprint(code, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn alike_is_the_same_and_another_code_is_another() {
        let of = |message| fingerprint("handler", message);
        assert_eq!(of("user 7 is 'x'"), of("user 812  is 'another one'"));
        assert_ne!(of("user 7 is gone"), of("user 7 is here"));
        assert_ne!(of("same"), fingerprint("panic", "same"));
        assert!(is_fingerprint(&of("x")) && !is_fingerprint("X") && !is_fingerprint(&"A".repeat(16)));
    }

    proptest! {
        #[test]
        fn any_text_has_one(code in ".{0,8}", message in ".{0,200}") {
            prop_assert!(is_fingerprint(&fingerprint(&code, &message)));
            let normal = normalise(&message);
            prop_assert!(!normal.contains("  ") && normal.trim() == normal, "{normal:?}");
        }

        #[test]
        fn numbers_never_tell_errors_apart(a in 0u64.., b in 0u64..) {
            prop_assert_eq!(normalise(&format!("row {a} of t{a}")), normalise(&format!("row {b} of t{b}")));
        }
    }
}

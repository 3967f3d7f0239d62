//! Keys: one that seals, and older ones that still open.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use windlass_core::KeyId;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
/// Of a file of keys.
const FILE_LIMIT_BYTES: u64 = 64 * 1024;
/// Others than the owner and the group may neither read nor change a file of keys.
const OTHERS: u32 = 0o007;

/// 256 bits with a name. `Debug` shows the name only, and the bits are overwritten when it is dropped.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    secret: Zeroizing<[u8; KEY_BYTES]>,
}

/// The keys of a fleet: the first one seals, all of them open.
///
/// As text, a key is one line: `<id>:<base64 of 32 bytes>`. Empty lines and lines that begin with `#` are left out;
/// commas may stand for ends of lines. A key is changed in three steps: add the new one below and restart all who read,
/// move it to the top and restart all, and take the old one out when nothing sealed with it is left.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// Keys cannot be read. Never says what was found, which may be a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the file of keys {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody may read it.
    #[error(
        "others than its owner and group can reach the file of keys {}: expected mode 0600 or 0640, found {mode:04o}",
        path.display()
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is no key.
    #[error("key {number} is not as expected: {expected}")]
    Line {
        /// From 1, among the keys.
        number: usize,
        /// What is wrong with it.
        expected: &'static str,
    },
    /// Two keys have one name.
    #[error("there are two keys of the id `{0}`")]
    Twice(KeyId),
    /// None at all.
    #[error("there is no key: expected `<id>:<base64 of 32 bytes>`")]
    Empty,
}

// === impl Key ===

impl Key {
    /// A random one.
    pub fn generate(id: KeyId) -> Self {
        Self { id, secret: Zeroizing::new(rand::random()) }
    }

    /// Its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The line that [`Keyring`] reads: a secret.
    pub fn to_line(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(STANDARD.encode(self.secret.as_slice()));
        Zeroizing::new(format!("{}:{}", self.id, secret.as_str()))
    }

    pub(super) fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }

    fn parse(line: &str, number: usize) -> Result<Self, Error> {
        let wrong = |expected| Error::Line { number, expected };
        let (id, secret) =
            line.split_once(':').ok_or_else(|| wrong("expected `<id>:<base64 of 32 bytes>`"))?;
        let id = id
            .trim()
            .parse()
            .map_err(|_| wrong("the id is not 1 to 64 letters, digits, `_`, `-` and `.`"))?;
        let bytes = STANDARD.decode(secret.trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| wrong("what follows the id is not base64"))?;
        let secret = <[u8; KEY_BYTES]>::try_from(bytes.as_slice())
            .map_err(|_| wrong("what follows the id has not 32 bytes"))?;
        Ok(Self { id, secret: Zeroizing::new(secret) })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

// === impl Keyring ===

impl Keyring {
    /// Reads a file that only its owner, and its group, can read.
    pub fn read_file(path: &Path) -> Result<Self, Error> {
        let unread = |source| Error::File { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unread)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(unread)?.permissions().mode() & 0o777;
            if mode & OTHERS != 0 {
                return Err(Error::Exposed { path: path.to_owned(), mode });
            }
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_LIMIT_BYTES).read_to_string(&mut text).map_err(unread)?;
        text.parse()
    }

    /// The one that seals.
    pub fn active(&self) -> &Key {
        // There is one: it is made by `from_str` only.
        &self.keys[0]
    }

    /// Their names, the active one first.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().map(Key::id)
    }

    pub(super) fn find(&self, id: &KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == *id)
    }
}

impl FromStr for Keyring {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let lines = text.split(['\n', ',']).map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut keys = Vec::<Key>::new();
        for (index, line) in lines.enumerate() {
            let key = Key::parse(line, index + 1)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(Error::Twice(key.id));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(Error::Empty) } else { Ok(Self { keys }) }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.keys).finish()
    }
}

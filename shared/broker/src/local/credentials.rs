//! The users of `deploy/nats/windlass.conf`, with random passwords.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;

use rand::RngExt as _;

use super::{Error, file_error};
use crate::options::{Auth, Options, Secret};

/// The users in it.
pub const USERS: &[&str] = &[
    "admin",
    "provision",
    "scheduler",
    "dispatcher",
    "worker",
    "worker_billing",
    "monitor",
    "operator",
    "publisher",
];

/// Where the accounts of workers see JetStream's API.
const WORKER_API_PREFIX: &str = "JS.windlass.API";

/// A password for each user.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    passwords: BTreeMap<String, String>,
}

// === impl Credentials ===

impl Credentials {
    /// Random passwords.
    pub fn generate() -> Self {
        let passwords = USERS.iter().map(|user| ((*user).to_owned(), password())).collect();
        Self { passwords }
    }

    /// Reads them from a file of `NAME=value` lines, which an operator may also give to a shell; makes what is missing.
    /// Only the file's owner can read it.
    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(file_error("read", path)(error)),
        };
        let mut credentials = Self::generate();
        let mut found = 0;
        for (user, password) in &mut credentials.passwords {
            let stored = text.lines().find_map(|line| line.strip_prefix(&variable(user))?.strip_prefix('='));
            if let Some(stored) = stored.filter(|stored| !stored.is_empty()) {
                stored.clone_into(password);
                found += 1;
            }
        }
        if found < credentials.passwords.len() {
            let folder = path.parent().unwrap_or(path);
            std::fs::create_dir_all(folder).map_err(file_error("create", folder))?;
            let fresh = path.with_extension("new");
            let mut file = std::fs::File::options()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)
                .map_err(file_error("create", &fresh))?;
            for (name, password) in credentials.env() {
                writeln!(file, "{name}={password}").map_err(file_error("write", &fresh))?;
            }
            std::fs::rename(&fresh, path).map_err(file_error("create", path))?;
        }
        Ok(credentials)
    }

    /// What the server's configuration refers to.
    pub fn env(&self) -> Vec<(String, String)> {
        self.passwords.iter().map(|(user, password)| (variable(user), password.clone())).collect()
    }

    /// A user's password; none if there is no such user.
    pub fn password(&self, user: &str) -> Option<Secret> {
        self.passwords.get(user).map(Secret::new)
    }

    /// The server's address with a user and its password in it, which every NATS client takes.
    pub fn url(&self, url: &str, user: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://")?;
        Some(format!("{scheme}://{user}:{}@{rest}", self.passwords.get(user)?))
    }

    /// The prefix under which a user's answers arrive.
    pub fn inbox_prefix(user: &str) -> String {
        format!("_INBOX_{user}")
    }

    /// Where a user sees JetStream's API; none: at its usual place.
    pub fn api_prefix(user: &str) -> Option<&'static str> {
        user.starts_with("worker").then_some(WORKER_API_PREFIX)
    }

    /// How this user connects; none if there is no such user.
    pub fn options(&self, url: &str, user: &str) -> Option<Options> {
        Some(Options {
            auth: Auth::UserPassword { user: user.to_owned(), password: self.password(user)? },
            inbox_prefix: Some(Self::inbox_prefix(user)),
            api_prefix: Self::api_prefix(user).map(str::to_owned),
            client_name: format!("windlass-{user}"),
            ..Options::new(url)
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.passwords.keys()).finish()
    }
}

/// As the configuration names it: `WINDLASS_WORKER_BILLING_PASSWORD`.
fn variable(user: &str) -> String {
    format!("WINDLASS_{}_PASSWORD", user.to_uppercase())
}

/// 130 bits. Starts with a letter: the server's configuration reads what looks like a number as one.
fn password() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
    let mut random = rand::rng();
    let letters = (0..26).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    std::iter::once('w').chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::super::CONFIG_FILE;
    use super::*;

    #[test]
    fn every_user_of_the_configuration_has_a_password() {
        let in_file = CONFIG_FILE.matches("user: ").count();
        assert_eq!(in_file, USERS.len());
        for user in USERS {
            assert!(CONFIG_FILE.contains(&format!("user: {user}, password: ${}", variable(user))), "{user}");
            let has_own_inbox = CONFIG_FILE.contains(&format!("\"{}.>\"", Credentials::inbox_prefix(user)));
            assert!(has_own_inbox || *user == "admin", "{user}");
        }
    }

    #[test]
    fn passwords_are_kept_and_nobody_else_reads_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords.env");
        let first = Credentials::load_or_create(&path).unwrap();
        assert!(first == Credentials::load_or_create(&path).unwrap());
        assert!(first != Credentials::generate());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{first:?}").contains(first.password("worker").unwrap().reveal()));
    }
}

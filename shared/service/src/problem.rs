//! What is wrong with a configuration: everything at once, each with its key and where the value came from.

use std::fmt;
use std::net::SocketAddr;

use windlass_broker::provision::Layout;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, as `nats.url`; empty if it is not about one key.
    pub key: String,
    /// What is wrong, and what is expected.
    pub message: String,
    /// The file, environment variable or flag that set it; none for a default.
    pub origin: Option<String>,
}

/// All that is wrong. Checks add to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    section: Vec<String>,
    found: Vec<Problem>,
}

/// Options that can say what is wrong with them beyond the types of their fields.
pub trait Validate {
    /// Adds each problem under its key, relative to the options themselves.
    fn validate(&self, problems: &mut Problems) {
        let _ = problems;
    }

    /// The same, for what only the fleet's layout tells.
    fn validate_in(&self, layout: &Layout, problems: &mut Problems) {
        let _ = (layout, problems);
    }

    /// The same, for what only the address of the HTTP endpoint tells.
    fn validate_listening(&self, listens: SocketAddr, problems: &mut Problems) {
        let _ = (listens, problems);
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " (set by {origin})"),
            None => Ok(()),
        }
    }
}

// === impl Problems ===

impl Problems {
    /// Adds a problem of a key of the current section; the message says what is expected.
    pub fn add(&mut self, key: &str, message: impl fmt::Display) {
        let mut path = self.section.clone();
        if !key.is_empty() {
            path.push(key.to_owned());
        }
        self.found.push(Problem { key: path.join("."), message: message.to_string(), origin: None });
    }

    /// Checks a section: the keys of its problems start with its name.
    pub fn within(&mut self, section: &str, check: impl FnOnce(&mut Self)) {
        self.section.push(section.to_owned());
        check(self);
        self.section.pop();
    }

    /// Adds a problem as it is.
    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.iter()
    }

    /// Says where the values came from that are complained of.
    pub(crate) fn locate(&mut self, origin: impl Fn(&str) -> Option<String>) {
        for problem in self.found.iter_mut().filter(|problem| problem.origin.is_none()) {
            problem.origin = origin(&problem.key);
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.found.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(f, "{line}  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

//! Labels: what a publisher says of a task, for people to find its job by. Nothing is decided by them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most labels of a task.
pub const MOST_LABELS: usize = 16;
/// What a list of labels must be.
pub const EXPECTED: &str = "expected <name>=<value> with commas between several: at most 16, a name once; names of 1 to \
                            64 letters, digits, `_`, `-` and `.`, values of 1 to 128 bytes without commas";

const MOST_NAME_BYTES: usize = 64;
const MOST_VALUE_BYTES: usize = 128;

/// The labels of a task, by their names. As text `env=prod,region=eu`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

/// One label, as text `env=prod`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    name: String,
    value: String,
}

/// Something is no label, or is one too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}: {EXPECTED}")]
pub struct InvalidLabels(String);

// === impl Label ===

impl Label {
    /// Checks both parts.
    pub fn new(name: &str, value: &str) -> Result<Self, InvalidLabels> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > MOST_NAME_BYTES || !name.bytes().all(good) {
            return Err(InvalidLabels(format!("`{}` is no name of a label", shown(name))));
        }
        let bad = |c: char| c.is_control() || c == ',';
        if value.is_empty() || value.len() > MOST_VALUE_BYTES || value.contains(bad) || value.trim() != value
        {
            return Err(InvalidLabels(format!("`{}` is no value of the label `{name}`", shown(value))));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl FromStr for Label {
    type Err = InvalidLabels;

    fn from_str(text: &str) -> Result<Self, InvalidLabels> {
        let no_value = || InvalidLabels(format!("`{}` has no `=`", shown(text)));
        let (name, value) = text.split_once('=').ok_or_else(no_value)?;
        Self::new(name.trim(), value.trim())
    }
}

// === impl Labels ===

impl Labels {
    /// Adds one.
    pub fn add(&mut self, label: Label) -> Result<(), InvalidLabels> {
        if self.0.len() >= MOST_LABELS {
            return Err(InvalidLabels(format!("more than {MOST_LABELS} labels")));
        }
        let Label { name, value } = label;
        if self.0.contains_key(&name) {
            return Err(InvalidLabels(format!("`{name}` is given twice")));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name with its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Each as text.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.iter().map(|(name, value)| format!("{name}={value}"))
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = InvalidLabels;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self, InvalidLabels> {
        let mut labels = Self::default();
        for (name, value) in map {
            labels.add(Label::new(&name, &value)?)?;
        }
        Ok(labels)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Labels {
    type Err = InvalidLabels;

    fn from_str(text: &str) -> Result<Self, InvalidLabels> {
        let mut labels = Self::default();
        for label in text.split(',') {
            labels.add(label.parse()?)?;
        }
        Ok(labels)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back() {
        let labels: Labels = "region=eu west, env=prod,a.b-c_1=x=y".parse().unwrap();
        assert_eq!(labels.to_string(), "a.b-c_1=x=y,env=prod,region=eu west");
        assert_eq!(labels.to_string().parse(), Ok(labels.clone()));
        let json = serde_json::to_value(&labels).unwrap();
        assert_eq!(json, serde_json::json!({"a.b-c_1": "x=y", "env": "prod", "region": "eu west"}));
        assert_eq!(serde_json::from_value::<Labels>(json).unwrap(), labels);
        assert!(Labels::default().is_empty());
    }

    #[test]
    fn what_is_no_label_is_named() {
        let many = (0..=MOST_LABELS).map(|number| format!("n{number}=v")).collect::<Vec<_>>().join(",");
        let long = format!("a={}", "x".repeat(129));
        for (text, part) in [
            ("", "has no `=`"),
            ("env", "has no `=`"),
            ("=prod", "no name"),
            ("e v=prod", "no name"),
            ("env=", "no value"),
            ("env=a\tb", "no value"),
            (long.as_str(), "no value"),
            ("env=a,env=b", "given twice"),
            (many.as_str(), "more than 16"),
        ] {
            let error = text.parse::<Labels>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("expected <name>=<value>"), "{text}: {error}");
        }
    }
}

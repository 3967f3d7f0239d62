//! The layers of a configuration (a file, the environment, flags), merged, and read into types.
//!
//! A serde error names one problem and stops. To name them all, a table that does not fit is read again with one
//! value at a time upon the defaults: each that fails alone is a problem of its own.

use std::collections::BTreeMap;
use std::path::Path;

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::{Problem, Problems};

/// One value set outside a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The key, as `nats.url`.
    pub key: String,
    /// The value as text; a list has commas between its members.
    pub value: String,
    /// What set it, for people: the flag or the environment variable.
    pub origin: String,
}

/// The merged layers.
#[derive(Debug)]
pub(crate) struct Layers {
    table: Map<String, Value>,
    origins: BTreeMap<String, String>,
}

/// A value and the keys that lead to it.
type Leaf = (Vec<String>, Value);

#[derive(Debug, Clone)]
struct Assignments(Vec<Assignment>);

/// The start of every environment variable that sets a value.
const ENVIRONMENT_PREFIX: &str = "WINDLASS__";

// === impl Assignment ===

impl Assignment {
    /// Reads `key=value`.
    pub fn from_flag(text: &str) -> Result<Self, Problem> {
        match text.split_once('=') {
            Some((key, value)) => Self::new(key.trim(), value, format!("--set {key}")),
            None => Err(Problem {
                key: String::new(),
                message: format!("`{text}` is not an assignment: expected section.key=value"),
                origin: Some("--set".to_owned()),
            }),
        }
    }

    /// Reads one environment variable; none if it sets no value. Names are matched in lower case.
    pub fn from_variable(name: &str, value: &str) -> Option<Result<Self, Problem>> {
        let key = name.strip_prefix(ENVIRONMENT_PREFIX)?.to_lowercase().replace("__", ".");
        Some(Self::new(&key, value, name.to_owned()))
    }

    /// Checks the key's form.
    pub fn new(key: &str, value: &str, origin: String) -> Result<Self, Problem> {
        let word = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        };
        if key.split('.').all(word) {
            return Ok(Self { key: key.to_owned(), value: value.to_owned(), origin });
        }
        Err(Problem {
            key: key.to_owned(),
            message: "no such key: expected words of letters, digits, `_` and `-` with dots between them"
                .to_owned(),
            origin: Some(origin),
        })
    }
}

// === impl Assignments ===

impl Source for Assignments {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        // Of two assignments to one key, the last counts.
        let value = |a: &Assignment| Value::new(Some(&a.origin), ValueKind::String(a.value.clone()));
        Ok(self.0.iter().map(|a| (a.key.clone(), value(a))).collect())
    }
}

// === impl Layers ===

impl Layers {
    /// Merges a TOML file and the assignments above it, lowest layer first.
    pub(crate) fn merge(file: Option<&Path>, assignments: [Vec<Assignment>; 2]) -> Result<Self, Problem> {
        let file_name = file.map(|path| path.display().to_string());
        let in_file = |message: String| Problem { key: String::new(), message, origin: file_name.clone() };
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| in_file(format!("cannot read the file ({error}): expected TOML")))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        for layer in assignments {
            builder = builder.add_source(Assignments(layer));
        }
        let merged = builder.build().and_then(|config| config.collect());
        let table = merged.map_err(|error| in_file(describe(error)))?;
        // Only assignments name their origin.
        let origin = |(path, value): Leaf| {
            let origin = value.origin().map(ToOwned::to_owned).or_else(|| file_name.clone());
            Some((path.join("."), origin?))
        };
        let origins = leaves(&table).into_iter().filter_map(origin).collect();
        Ok(Self { table, origins })
    }

    /// Takes a section out; an empty one if nothing sets it.
    pub(crate) fn take(&mut self, section: &str) -> Map<String, Value> {
        match self.table.remove(section) {
            Some(Value { kind: ValueKind::Table(table), .. }) => table,
            // Not a table: kept, so that reading the rest complains of it.
            Some(other) => {
                self.table.insert(section.to_owned(), other);
                Map::new()
            }
            None => Map::new(),
        }
    }

    /// All that no section was taken from.
    pub(crate) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.table)
    }

    /// What set a key, or the first of the keys below it.
    pub(crate) fn origin(&self, key: &str) -> Option<String> {
        let below = format!("{key}.");
        let first_below =
            || self.origins.range(below.clone()..).next().filter(|(k, _)| k.starts_with(&below));
        self.origins.get(key).or_else(|| first_below().map(|(_, origin)| origin)).cloned()
    }
}

/// Reads a table, upon the type's defaults, or adds every problem under the current section.
pub(crate) fn read<T>(table: &Map<String, Value>, problems: &mut Problems) -> Option<T>
where
    T: Serialize + DeserializeOwned + Default,
{
    let defaults = match serde_json::to_value(T::default()) {
        Ok(json) => from_json(json),
        Err(error) => {
            problems.add("", format!("the defaults cannot be written: {error}"));
            return None;
        }
    };
    let parse = |leaves: &[Leaf]| -> Result<T, ConfigError> {
        let mut all = defaults.clone();
        for (path, value) in leaves {
            set(&mut all, path, value.clone());
        }
        T::deserialize(all)
    };
    let leaves: Vec<_> = leaves(table).into_iter().map(|leaf| split_list(leaf, &parse)).collect();
    let whole = match parse(&leaves) {
        Ok(read) => return Some(read),
        Err(error) => error,
    };
    let mut found = false;
    for leaf in &leaves {
        if let Err(error) = parse(std::slice::from_ref(leaf)) {
            found = true;
            problems.add(&leaf.0.join("."), describe(error));
        }
    }
    if !found {
        problems.add("", describe(whole));
    }
    None
}

fn from_json(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => ValueKind::Nil,
        Json::Bool(bool) => ValueKind::Boolean(bool),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => ValueKind::I64(signed),
            (None, Some(unsigned)) => ValueKind::U64(unsigned),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => ValueKind::String(text),
        Json::Array(members) => ValueKind::Array(members.into_iter().map(from_json).collect()),
        Json::Object(object) => {
            ValueKind::Table(object.into_iter().map(|(key, value)| (key, from_json(value))).collect())
        }
    };
    Value::new(None, kind)
}

/// The values of a table that are no tables themselves, and its empty tables.
fn leaves(table: &Map<String, Value>) -> Vec<Leaf> {
    let mut found = Vec::new();
    for (key, value) in table {
        match &value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => {
                found.extend(leaves(inner).into_iter().map(|(mut path, value)| {
                    path.insert(0, key.clone());
                    (path, value)
                }));
            }
            _ => found.push((vec![key.clone()], value.clone())),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Text where only a list fits becomes the list of what stands between its commas.
fn split_list<T>((path, value): Leaf, parse: &impl Fn(&[Leaf]) -> Result<T, ConfigError>) -> Leaf {
    let ValueKind::String(text) = &value.kind else { return (path, value) };
    let origin = value.origin().map(ToOwned::to_owned);
    let leaf = |members| (path.clone(), Value::new(origin.as_ref(), ValueKind::Array(members)));
    if parse(&[(path.clone(), value.clone())]).is_ok() || parse(&[leaf(Vec::new())]).is_err() {
        return (path, value);
    }
    let member = |text: &str| Value::new(origin.as_ref(), ValueKind::String(text.trim().to_owned()));
    leaf(text.split(',').filter(|text| !text.trim().is_empty()).map(member).collect())
}

/// Sets one value, making the tables that lead to it.
fn set(table: &mut Value, path: &[String], value: Value) {
    let Some((key, rest)) = path.split_first() else {
        *table = value;
        return;
    };
    if !matches!(table.kind, ValueKind::Table(_)) {
        table.kind = ValueKind::Table(Map::new());
    }
    if let ValueKind::Table(inner) = &mut table.kind {
        set(inner.entry(key.clone()).or_insert_with(|| Value::new(None, ValueKind::Nil)), rest, value);
    }
}

/// The message without the key and the origin, which stand beside it.
fn describe(error: ConfigError) -> String {
    match error {
        ConfigError::At { error, .. } => describe(*error),
        ConfigError::Type { unexpected, expected, .. } => format!("found {unexpected}, expected {expected}"),
        ConfigError::FileParse { cause, .. } => cause.to_string().trim_end().to_owned(),
        // The words of `humantime-serde` do not say how a duration looks.
        other => other.to_string().replace("expected a duration", "expected a duration such as 30s or 5m"),
    }
}

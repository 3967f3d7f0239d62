//! `windlass queue set`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use windlass_core::QueueName;

use super::change::{self, Options};
use crate::commands::Error;
use crate::commands::arguments::parse;
use crate::global::Global;

const AFTER_HELP: &str = "\
Examples:
  windlass queue set mail --concurrency 20 --key-concurrency 1 --wait
  windlass queue set mail --rate 600/1m --key-rate 10/1s+20 --note \"as the provider asks\"
  windlass queue set mail --fairness on --weight acme=4 --priorities weighted
  windlass queue set mail --rate none --dry-run
  windlass queue set mail --clear all
  windlass queue set mail --file mail.json -o json

Settings that are not named stay as they are; `none` clears one. A file holds a JSON object with the settings by their
names in JSON (concurrency, key_concurrency, order, on_dead, at_limit, priorities, fairness, rate, key_rate, outcome_ttl), where null
clears: {\"concurrency\": 20, \"rate\": {\"limit\": 600, \"per\": \"1m\", \"burst\": null}}. It is in force within a
second, for what waits already too: --wait says when all of that is dealt with.

With -o json: {queue, revision, dry_run, changed: [{setting, before, after}], settings, previous, by, at, note, applied}.

Exit codes: 0 set, or nothing to change; 1 failed, or not in force in time, or the revision is another; 2 a setting is
wrong: its name and what is expected are told.";

/// What to set.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Which queue
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    name: String,
    /// Jobs that run at one time, over the fleet: 1 to 100000
    #[arg(long, value_name = "N|none", allow_hyphen_values = true)]
    concurrency: Option<String>,
    /// The same of each key: 1 to 10000
    #[arg(long, value_name = "N|none", allow_hyphen_values = true)]
    key_concurrency: Option<String>,
    /// In which order the jobs of a key run: `any`, or `fifo` for one at a time, as they were accepted
    #[arg(long, value_name = "any|fifo")]
    order: Option<String>,
    /// With order fifo: a dead job blocks its key until it is redriven or discarded (unless told), or is skipped
    #[arg(long, value_name = "block|skip|none")]
    on_dead: Option<String>,
    /// What becomes of a job that finds a limit reached; it waits unless told
    #[arg(long, value_name = "hold|cancel-oldest|cancel-new|reject")]
    at_limit: Option<String>,
    /// What priorities count for: nothing unless told, shares of 8, 4, 2 and 1 of the turns, or the most urgent first
    #[arg(long, value_name = "ignored|weighted|strict")]
    priorities: Option<String>,
    /// Turns between tenants, instead of first come, first served
    #[arg(long, value_name = "on|off")]
    fairness: Option<String>,
    /// Turns of a tenant for each one of another, 1 to 1000, as acme=4; `acme=none` clears it
    #[arg(long = "weight", value_name = "TENANT=N|none")]
    weights: Vec<String>,
    /// How fast jobs start: points per time, and what a bucket holds, as 600/1m or 10/1s+20
    #[arg(long, value_name = "LIMIT/PER[+BURST]|none", allow_hyphen_values = true)]
    rate: Option<String>,
    /// The same of each key
    #[arg(long, value_name = "LIMIT/PER[+BURST]|none", allow_hyphen_values = true)]
    key_rate: Option<String>,
    /// How long ends are remembered at least, as 5m, where nothing else is set: 1s to 366 days [default: the horizon]
    #[arg(long, value_name = "DURATION|none", allow_hyphen_values = true)]
    outcome_ttl: Option<String>,
    /// Clears a setting, by its name; `all` clears every one. Pauses stay
    #[arg(long, value_name = "SETTING")]
    clear: Vec<String>,
    /// A file of settings as JSON; `-` reads them from standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Why, for people
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    note: String,
    #[command(flatten)]
    options: Options,
}

/// What may be cleared.
const SETTINGS: [&str; 10] = [
    "concurrency",
    "key_concurrency",
    "order",
    "on_dead",
    "at_limit",
    "priorities",
    "fairness",
    "rate",
    "key_rate",
    "outcome_ttl",
];

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let queue: QueueName = parse("name", &args.name)?;
    let how = args.options.check(&args.note)?;
    let patch = args.patch()?;
    if patch.is_empty() {
        return Err(Error::input("name", "stands alone: say what to set, see `windlass queue set --help`"));
    }
    change::make(&queue, how, global, |settings| settings.patched(&patch)).await
}

// === impl Args ===

impl Args {
    /// What the arguments say, as a JSON merge patch.
    fn patch(&self) -> Result<Map<String, Value>, Error> {
        let mut patch = Map::new();
        for name in &self.clear {
            let name = name.replace('-', "_");
            match name.as_str() {
                "all" => patch.extend(SETTINGS.map(|name| (name.to_owned(), Value::Null))),
                known if SETTINGS.contains(&known) => {
                    patch.insert(name, Value::Null);
                }
                other => {
                    let known = SETTINGS.join(", ");
                    return Err(Error::input(
                        "clear",
                        format!("`{other}` is no setting: expected {known} or all"),
                    ));
                }
            }
        }
        if let Some(path) = &self.file {
            patch.extend(read(path)?);
        }
        for (field, name, text) in [
            ("concurrency", "concurrency", &self.concurrency),
            ("key-concurrency", "key_concurrency", &self.key_concurrency),
        ] {
            if let Some(text) = text {
                patch.insert(name.to_owned(), or_none(text, |text| number(field, text))?);
            }
        }
        for (name, text) in [
            ("order", &self.order),
            ("on_dead", &self.on_dead),
            ("at_limit", &self.at_limit),
            ("priorities", &self.priorities),
        ] {
            if let Some(text) = text {
                patch.insert(name.to_owned(), or_none(text, |text| Ok(json!(text.replace('-', "_"))))?);
            }
        }
        for (field, name, text) in [("rate", "rate", &self.rate), ("key-rate", "key_rate", &self.key_rate)] {
            if let Some(text) = text {
                patch.insert(name.to_owned(), or_none(text, |text| rate(field, text))?);
            }
        }
        if let Some(text) = &self.outcome_ttl {
            patch.insert("outcome_ttl".to_owned(), or_none(text, |text| Ok(json!(text)))?);
        }
        self.fairness(&mut patch)?;
        Ok(patch)
    }

    fn fairness(&self, patch: &mut Map<String, Value>) -> Result<(), Error> {
        match self.fairness.as_deref() {
            None => {}
            Some("on") => {
                patch.insert("fairness".to_owned(), json!({}));
            }
            Some("off" | "none") if self.weights.is_empty() => {
                patch.insert("fairness".to_owned(), Value::Null);
            }
            Some("off" | "none") => {
                return Err(Error::input("weight", "stands beside --fairness off: expected one of them"));
            }
            Some(other) => {
                return Err(Error::input("fairness", format!("`{other}` is neither on nor off")));
            }
        }
        if !self.weights.is_empty() {
            let mut weights = Map::new();
            for text in &self.weights {
                let (tenant, weight) = text.rsplit_once('=').ok_or_else(|| {
                    Error::input("weight", format!("`{text}` has no `=`: expected TENANT=N, as acme=4"))
                })?;
                weights.insert(tenant.to_owned(), or_none(weight, |text| number("weight", text))?);
            }
            patch.insert("fairness".to_owned(), json!({ "weights": weights }));
        }
        Ok(())
    }
}

fn or_none(text: &str, read: impl Fn(&str) -> Result<Value, Error>) -> Result<Value, Error> {
    if text == "none" { Ok(Value::Null) } else { read(text) }
}

fn number(field: &str, text: &str) -> Result<Value, Error> {
    let number: u32 = text.parse().map_err(|_| {
        Error::input(field, format!("`{text}` is not a number that fits: expected 1 or more, or none"))
    })?;
    Ok(number.into())
}

/// As `600/1m` or `10/1s+20`.
fn rate(field: &str, text: &str) -> Result<Value, Error> {
    let wrong = || {
        Error::input(
            field,
            format!("`{text}` is not a rate: expected LIMIT/PER, as 600/1m, or LIMIT/PER+BURST"),
        )
    };
    let (limit, rest) = text.split_once('/').ok_or_else(wrong)?;
    let (per, burst) = rest.split_once('+').map_or((rest, None), |(per, burst)| (per, Some(burst)));
    let limit: u32 = limit.trim().parse().map_err(|_| wrong())?;
    windlass_core::duration::parse(per).ok_or_else(wrong)?;
    let mut rate = json!({ "limit": limit, "per": per.trim() });
    if let Some(burst) = burst {
        let burst: u32 = burst.trim().parse().map_err(|_| wrong())?;
        rate["burst"] = burst.into();
    }
    Ok(rate)
}

fn read(path: &std::path::Path) -> Result<Map<String, Value>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).map_err(failed)?
    } else {
        std::fs::read_to_string(path).map_err(failed)?
    };
    serde_json::from_str(&text).map_err(|error| {
        Error::input(
            "file",
            format!("is no JSON object of settings: {error}: expected as {{\"concurrency\": 20}}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn patch(line: &str) -> Result<String, Error> {
        let arguments = ["set", "mail"].into_iter().chain(line.split_whitespace());
        let args = Cli::try_parse_from(arguments).unwrap().args;
        Ok(Value::Object(args.patch()?).to_string())
    }

    #[test]
    fn arguments_become_a_patch() {
        for (line, expected) in [
            ("--concurrency 5 --key-concurrency none", r#"{"concurrency":5,"key_concurrency":null}"#),
            ("--at-limit cancel-oldest --on-dead skip", r#"{"at_limit":"cancel_oldest","on_dead":"skip"}"#),
            ("--rate 600/1m", r#"{"rate":{"limit":600,"per":"1m"}}"#),
            ("--key-rate 10/1s+20", r#"{"key_rate":{"burst":20,"limit":10,"per":"1s"}}"#),
            ("--fairness on", r#"{"fairness":{}}"#),
            ("--fairness off", r#"{"fairness":null}"#),
            ("--weight a=4 --weight b=none", r#"{"fairness":{"weights":{"a":4,"b":null}}}"#),
            ("--outcome-ttl 1s", r#"{"outcome_ttl":"1s"}"#),
            ("--outcome-ttl none", r#"{"outcome_ttl":null}"#),
            ("--clear key-rate --order fifo", r#"{"key_rate":null,"order":"fifo"}"#),
        ] {
            let found: Value = serde_json::from_str(&patch(line).unwrap()).unwrap();
            assert_eq!(found, serde_json::from_str::<Value>(expected).unwrap(), "{line}");
        }
        assert_eq!(patch("--clear all").unwrap().matches("null").count(), SETTINGS.len());
    }

    #[test]
    fn what_is_wrong_is_named_as_on_the_command_line() {
        for (line, field) in [
            ("--concurrency -5", "concurrency"),
            ("--key-concurrency many", "key-concurrency"),
            ("--rate 600", "rate"),
            ("--rate 600/soon", "rate"),
            ("--key-rate x/1s", "key-rate"),
            ("--rate 5/1s+y", "rate"),
            ("--fairness maybe", "fairness"),
            ("--fairness off --weight a=1", "weight"),
            ("--weight a", "weight"),
            ("--clear paused", "clear"),
            ("--file /nowhere/x", ""),
        ] {
            assert_eq!(patch(line).unwrap_err().field().unwrap_or_default(), field, "{line}");
        }
    }
}

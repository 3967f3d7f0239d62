//! `windlass queue pause` and `windlass queue resume`.

use std::process::ExitCode;

use jiff::Timestamp;
use windlass_core::QueueName;
use windlass_core::flow::{Part, Pause};

use super::change::{self, Options};
use crate::commands::Error;
use crate::commands::arguments::{duration, instant, parse};
use crate::global::Global;

const PAUSE_AFTER_HELP: &str = "\
Examples:
  windlass queue pause mail --reason \"provider down\"
  windlass queue pause mail --kind mail.send --until 30m --reason \"provider down\"
  windlass queue pause mail --key account-42 --hand-back --wait -o json

Nothing more of it starts: within a second, and with --wait when all that workers were to be given is taken back. What
runs goes on to its end; with --hand-back its handlers are stopped as for a deployment, which uses no attempt, and the
jobs run again once it is resumed.

With -o json: as `windlass queue set`.

Exit codes: 0 paused; 1 failed, or not in force in time; 2 an argument is wrong.";

const RESUME_AFTER_HELP: &str = "\
Examples:
  windlass queue resume mail
  windlass queue resume mail --kind mail.send --key account-42

Without --kind and --key the queue itself is resumed; kinds and keys that are paused stay so, unless --all is given.

With -o json: as `windlass queue set`; `changed` is empty if nothing was paused.

Exit codes: 0 resumed, or it was not paused; 1 failed, or not in force in time; 2 an argument is wrong.";

/// What to pause.
#[derive(Debug, clap::Args)]
#[command(after_help = PAUSE_AFTER_HELP)]
pub(super) struct PauseArgs {
    /// Which queue
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    name: String,
    /// Only jobs of this kind; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only jobs of this key; may be given several times
    #[arg(long = "key", value_name = "KEY", allow_hyphen_values = true)]
    keys: Vec<String>,
    /// Why, for people: at most 256 bytes
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    reason: String,
    /// Until when, as an instant or a duration from now; until it is resumed, unless told
    #[arg(long, value_name = "INSTANT|DURATION", allow_hyphen_values = true)]
    until: Option<String>,
    /// Stop what runs, and hand it back
    #[arg(long)]
    hand_back: bool,
    #[command(flatten)]
    options: Options,
}

/// What to resume.
#[derive(Debug, clap::Args)]
#[command(after_help = RESUME_AFTER_HELP)]
pub(super) struct ResumeArgs {
    /// Which queue
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    name: String,
    /// This kind; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// This key; may be given several times
    #[arg(long = "key", value_name = "KEY", allow_hyphen_values = true)]
    keys: Vec<String>,
    /// The queue, with every kind and key of it
    #[arg(long, conflicts_with_all = ["kinds", "keys"])]
    all: bool,
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

pub(super) async fn pause(args: PauseArgs, global: &Global) -> Result<ExitCode, Error> {
    let queue: QueueName = parse("name", &args.name)?;
    let now = Timestamp::now();
    let until = args.until.as_deref().map(|text| until(text, now)).transpose()?;
    let (by, reason) = (change::by(), args.reason.clone());
    let pause = Pause { reason, by, at: now, until, hand_back: args.hand_back };
    let parts = parts(&args.kinds, &args.keys)?;
    let how = args.options.check(&args.reason)?;
    change::make(&queue, how, global, |settings| {
        let mut settings = settings.clone();
        for part in &parts {
            settings.pause(part, pause.clone());
        }
        settings.check().map(|()| settings)
    })
    .await
}

pub(super) async fn resume(args: ResumeArgs, global: &Global) -> Result<ExitCode, Error> {
    let queue: QueueName = parse("name", &args.name)?;
    let parts = parts(&args.kinds, &args.keys)?;
    let how = args.options.check(&args.note)?;
    change::make(&queue, how, global, |settings| {
        let mut settings = settings.clone();
        for part in &parts {
            settings.resume(part);
        }
        if args.all {
            settings.paused_kinds.clear();
            settings.paused_keys.clear();
        }
        Ok(settings)
    })
    .await
}

/// What is meant: the queue, where nothing else is named.
fn parts(kinds: &[String], keys: &[String]) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    for kind in kinds {
        parts.push(Part::Kind(parse("kind", kind)?));
    }
    for key in keys {
        parts.push(Part::Key(parse("key", key)?));
    }
    Ok(if parts.is_empty() { vec![Part::Queue] } else { parts })
}

/// An instant, or so long from now.
fn until(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let at = match duration("until", text) {
        Ok(duration) => now.saturating_add(duration).unwrap_or(Timestamp::MAX),
        Err(_) => instant("until", text)?,
    };
    if at <= now {
        return Err(Error::input("until", format!("`{text}` has passed: expected a later instant")));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_an_end_in_the_future_and_a_part() {
        let now: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        for (text, expected) in
            [("30m", "2026-11-23T08:30:00Z"), ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z")]
        {
            assert_eq!(until(text, now).unwrap(), expected.parse().unwrap());
        }
        for bad in ["0s", "2026-11-23T08:00:00Z", "soon"] {
            assert_eq!(until(bad, now).unwrap_err().field(), Some("until"), "{bad}");
        }
        assert_eq!(parts(&[], &[]).unwrap(), [Part::Queue]);
        assert_eq!(parts(&["a b".to_owned()], &[]).unwrap_err().field(), Some("kind"));
        assert_eq!(parts(&[], &[String::new()]).unwrap_err().field(), Some("key"));
        assert_eq!(parts(&["a.b".to_owned()], &["k".to_owned()]).unwrap().len(), 2);
    }
}

//! What an action is for: one, by its id, or many, by filters; and why.

use std::time::Duration;

use windlass_core::JobId;

use super::Error;
use super::arguments::{duration, parse};
use super::bulk::{self, Manner};
use super::requester::check_reason;

/// One or many, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The id of one job; without it, all that match
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// All of the fleet, where nothing else says which
    #[arg(long)]
    all: bool,
    /// Why, for people
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    pub(super) reason: String,
    /// With an ID: how long to wait for the effect
    #[arg(long, value_name = "DURATION", default_value = "30s", allow_hyphen_values = true)]
    timeout: String,
    #[command(flatten)]
    many: bulk::Options,
}

/// [`Arguments`], checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// This one, and how long its effect is waited for.
    One(JobId, Duration),
    /// Those that match.
    Many(Manner),
}

/// What the filters beside them say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filters {
    /// Nothing.
    None,
    /// A queue, which one job may have as well as many.
    Queue,
    /// More.
    Many,
}

// === impl Arguments ===

impl Arguments {
    /// Reads them, beside such filters.
    pub(super) fn read(&self, filters: Filters) -> Result<Target, Error> {
        let timeout = duration("timeout", &self.timeout)?;
        check_reason(&self.reason)?;
        let manner = self.many.check()?;
        let Some(id) = &self.id else {
            if filters == Filters::None && !self.all {
                return Err(Error::input("id", "is missing: name a job, or say which by filters, or --all"));
            }
            return Ok(Target::Many(manner));
        };
        if filters == Filters::Many || self.all || self.many.are_given() {
            return Err(Error::input(
                "id",
                "stands beside options that choose many: expected one or the other",
            ));
        }
        Ok(Target::One(parse("id", id)?, timeout))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(arguments: &[&str], filters: Filters) -> Result<Target, Error> {
        Cli::try_parse_from(["act"].iter().chain(arguments)).unwrap().arguments.read(filters)
    }

    #[test]
    fn it_is_one_or_many_and_somebody_says_which() {
        let thirty = Duration::from_secs(30);
        for filters in [Filters::None, Filters::Queue] {
            assert_eq!(read(&[ID], filters).unwrap(), Target::One(ID.parse().unwrap(), thirty));
        }
        for (arguments, filters) in
            [(&[][..], Filters::Queue), (&["--yes"], Filters::Many), (&["--all"], Filters::None)]
        {
            assert!(matches!(read(arguments, filters), Ok(Target::Many(_))), "{arguments:?}");
        }
        let long = "x".repeat(501);
        for (arguments, filters, field) in [
            (&[][..], Filters::None, "id"),
            (&["7"], Filters::None, "id"),
            (&[ID], Filters::Many, "id"),
            (&[ID, "--all"], Filters::None, "id"),
            (&[ID, "--dry-run"], Filters::Queue, "id"),
            (&["--rate", "0"], Filters::Queue, "rate"),
            (&[ID, "--timeout", "soon"], Filters::None, "timeout"),
            (&[ID, "--reason", &long], Filters::None, "reason"),
        ] {
            assert_eq!(read(arguments, filters).unwrap_err().field(), Some(field), "{arguments:?}");
        }
    }
}

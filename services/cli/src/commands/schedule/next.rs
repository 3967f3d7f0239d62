//! `windlass schedule next`.

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use windlass_core::ScheduleId;
use windlass_core::schedule::{Ends, Rule, Spec, Upcoming};
use windlass_schedules::ScheduleStore;
use windlass_schedules::store::Stored;
use windlass_schedules::view::MOST_NEXT;

use crate::commands::Error;
use crate::commands::arguments::instant;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, printable, relative};
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass schedule next '30 2 * * *' --zone Europe/Berlin
  windlass schedule next '0 0 L * *' --after 2026-01-01T00:00:00Z --count 12 -o json
  windlass schedule next '@every 1h/15m'
  windlass schedule next nightly-report

An expression is looked at as it is: nothing is stored, and no broker is needed. Of a schedule those instants are told
that it is going to fire as it stands: none of a pause, none outside of its start and end, and no more than its limit still
allows; where that leaves fewer than were asked for, it is said why. With -o json the instants are printed as an array, in
UTC (RFC 3339), and the reason on standard error.

Exit codes: 0 printed; 1 failed; 2 the expression, or another argument, is wrong; 4 no such schedule.";

/// Of what, and how many.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// A cron expression, `@every` with a period, or the id of a schedule
    #[arg(value_name = "EXPR|ID", allow_hyphen_values = true)]
    what: String,
    /// The IANA name of the expression's zone; UTC, if it is not said
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// The instants after this one, in RFC 3339; now, if it is not said
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 5)]
    count: usize,
}

/// What is looked at.
struct Subject {
    spec: Spec,
    /// Jitter depends on it, and what has fired.
    stored: Option<Stored>,
    zone: TimeZone,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let now = Timestamp::now();
    let after = args.after.as_deref().map(|text| instant("after", text)).transpose()?.unwrap_or(now);
    if !(1..=MOST_NEXT).contains(&args.count) {
        return Err(Error::input("count", format!("is {}: expected 1 to {MOST_NEXT}", args.count)));
    }
    let subject = subject(&args, global).await?;
    let Upcoming { instants, ends } = if let Some(Stored { schedule, cursor, .. }) = &subject.stored {
        schedule.upcoming(cursor.as_ref(), now, after, args.count)
    } else {
        let instants = subject.spec.instants_between(after, Timestamp::MAX, args.count);
        let ends = (instants.len() < args.count).then_some(Ends::Rules);
        Upcoming { instants, ends }
    };
    match global.output {
        Format::Json => {
            output::json(&instants)?;
            // The array is for programs; a person who wonders reads this.
            if let Some(ends) = ends.filter(|_| subject.stored.is_some()) {
                output::note(&format!("no further instant: {ends}"));
            }
        }
        Format::Table => output::text(&table(&subject, &instants, ends.as_ref(), now))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn subject(args: &Args, global: &Global) -> Result<Subject, Error> {
    let word = args.what.trim();
    // An expression has spaces, or begins with `@`.
    let id = if word.contains(char::is_whitespace) { None } else { word.parse::<ScheduleId>().ok() };
    let Some(id) = id else {
        let zone = args.zone.as_deref().unwrap_or_default();
        let rule = Rule::parse(&args.what, zone).map_err(Error::Expression)?;
        let zone = match &rule {
            Rule::Cron(cron) => cron.zone().time_zone().clone(),
            _ => TimeZone::UTC,
        };
        return Ok(Subject { spec: rule.into(), stored: None, zone });
    };
    if args.zone.is_some() {
        return Err(Error::input(
            "zone",
            "stands with the id of a schedule, which has its own: expected with an expression",
        ));
    }
    let fleet = Fleet::find(global)?;
    let stored = ScheduleStore::new(fleet.broker().await?).get(&id).await?;
    let stored = stored.ok_or(Error::NoSchedule(id))?;
    let spec = stored.schedule.spec.clone();
    let zone = spec.rules().iter().find_map(|rule| match rule {
        Rule::Cron(cron) => Some(cron.zone().time_zone().clone()),
        _ => None,
    });
    Ok(Subject { spec, stored: Some(stored), zone: zone.unwrap_or(TimeZone::UTC) })
}

fn table(subject: &Subject, instants: &[Timestamp], ends: Option<&Ends>, now: Timestamp) -> String {
    let why = |ends: &Ends| match &subject.stored {
        Some(_) => printable(&format!("no further instant: {ends}")),
        None => "no further instant".to_owned(),
    };
    let note = ends.map(|ends| format!("{}\n", why(ends))).unwrap_or_default();
    if instants.is_empty() {
        return note;
    }
    let jitter_of = subject.stored.as_ref().filter(|_| !subject.spec.jitter().is_zero());
    let mut headings = vec!["LOCAL", "UTC", "IN"];
    headings.extend(jitter_of.map(|_| "FIRES"));
    let mut table = Table::new(&headings);
    for at in instants {
        let local = at.to_zoned(subject.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %:z").to_string();
        let mut row = vec![local, at.to_string(), relative(*at, now)];
        row.extend(jitter_of.map(|stored| stored.schedule.fires_at(*at).to_string()));
        table.row(row);
    }
    format!("{}{note}", table.render())
}

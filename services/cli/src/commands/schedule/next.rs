//! `windlass schedule next`.

use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use windlass_core::ScheduleId;
use windlass_core::schedule::{Rule, Spec};
use windlass_scheduler::ScheduleStore;

use crate::commands::Error;
use crate::commands::arguments::instant;
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{Table, relative};
use crate::output::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  windlass schedule next '30 2 * * *' --zone Europe/Berlin
  windlass schedule next '0 0 L * *' --after 2026-01-01T00:00:00Z --count 12 -o json
  windlass schedule next '@every 1h/15m'
  windlass schedule next nightly-report

An expression is looked at as it is: nothing is stored, and no broker is needed. With -o json the instants are printed as
an array, in UTC (RFC 3339). There are fewer than asked for if the expression names no further ones.

Exit codes: 0 printed; 1 failed; 2 the expression, or another argument, is wrong; 4 no such schedule.";

/// How many may be asked for.
const MOST: usize = 100_000;

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
    /// Jitter depends on it.
    id: Option<ScheduleId>,
    zone: TimeZone,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let now = Timestamp::now();
    let after = args.after.as_deref().map(|text| instant("after", text)).transpose()?.unwrap_or(now);
    if !(1..=MOST).contains(&args.count) {
        return Err(Error::input("count", format!("is {}: expected 1 to {MOST}", args.count)));
    }
    let subject = subject(&args, global).await?;
    let instants = subject.spec.instants_between(after, Timestamp::MAX, args.count);
    match global.output {
        Format::Json => output::json(&instants)?,
        Format::Table => output::text(&table(&subject, &instants, now))?,
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
        return Ok(Subject { spec: rule.into(), id: None, zone });
    };
    if args.zone.is_some() {
        return Err(Error::input(
            "zone",
            "stands with the id of a schedule, which has its own: expected with an expression",
        ));
    }
    let fleet = Fleet::find(global)?;
    let stored = ScheduleStore::new(fleet.broker().await?).get(&id).await?;
    let schedule = stored.ok_or_else(|| Error::NoSchedule(id.clone()))?.schedule;
    let zone = schedule.spec.rules().iter().find_map(|rule| match rule {
        Rule::Cron(cron) => Some(cron.zone().time_zone().clone()),
        _ => None,
    });
    Ok(Subject { spec: schedule.spec, id: Some(id), zone: zone.unwrap_or(TimeZone::UTC) })
}

fn table(subject: &Subject, instants: &[Timestamp], now: Timestamp) -> String {
    if instants.is_empty() {
        return "no further instant\n".to_owned();
    }
    let has_jitter = subject.id.is_some() && !subject.spec.jitter().is_zero();
    let mut headings = vec!["LOCAL", "UTC", "IN"];
    if has_jitter {
        headings.push("FIRES");
    }
    let mut table = Table::new(&headings);
    for at in instants {
        let local = at.to_zoned(subject.zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %:z").to_string();
        let mut row = vec![local, at.to_string(), relative(*at, now)];
        let fires =
            subject.id.as_ref().filter(|_| has_jitter).map(|id| subject.spec.fires_at(id, *at).to_string());
        row.extend(fires);
        table.row(row);
    }
    table.render()
}

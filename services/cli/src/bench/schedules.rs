//! `windlass bench schedules`: how late schedules fire, with many of them stored, and what the scheduler needs for it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use prost::Message as _;
use serde::Serialize;
use tokio::time::sleep;
use windlass_broker::jobs::Jobs;
use windlass_broker::kv::{self, Bucket};
use windlass_core::schedule::{Cursor, Schedule};
use windlass_core::{JobId, QueueName};
use windlass_proto::v1;

use self::made::{Fires, Maker};
use super::Error;
use super::floors::Floors;
use super::records::{PATIENCE, Records, between};
use super::report::{Percentiles, of_processes, show};
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::Stage;
use super::usage::{Share, cpu_per_1000};
use crate::run::Program;

mod made;

/// How late schedules fire, with many of them stored, and what the scheduler needs for it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many schedules are stored in all; those that do not fire meanwhile have the longest history that is kept
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    schedules: u64,
    /// How many of them are due at one instant
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    burst: u64,
    /// How many fire each second, evenly spread
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    time: Duration,
    /// All of a second's fires are due at its begin, as those of most cron expressions are
    #[arg(long)]
    at_once: bool,
    /// What they do while the job before is live: allow_all, skip, buffer_one, buffer_all, cancel_other, terminate_other
    #[arg(long, value_name = "POLICY", default_value = "allow_all", value_parser = made::overlap)]
    overlap: windlass_core::schedule::Overlap,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
A dispatcher and a worker run the jobs meanwhile. Late is the broker's time at which a task was stored, less the instant.
Each instant must have made exactly one job, which has succeeded.

Examples:
  windlass bench schedules
  windlass bench schedules --rate 1000 --at-once
  windlass bench schedules --schedules 1000 --burst 100 --rate 50 --for 5s -o json";

/// Each of those that fire evenly fires once in this time.
const PERIOD: Duration = Duration::from_secs(10);
/// Idle.
const IDLE: Duration = Duration::from_secs(10);
/// From the storing of schedules to their first instant.
const AHEAD: Duration = Duration::from_secs(5);
/// Writes on their way.
const WRITES: usize = 256;

#[derive(Debug, Serialize)]
struct Report {
    schedules: u64,
    /// From the start of the scheduler's process until the task of a schedule that was due is stored.
    first_fire_seconds: f64,
    /// With all of them stored and nothing due.
    idle_cpu_percent: f64,
    idle_memory_mb: f64,
    burst: Fired,
    /// Fires each second.
    rate: u32,
    steady: Fired,
    /// Of all fires, from before the first.
    cpu_seconds_per_1000_fires: f64,
    processes: Vec<Share>,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// What became of instants.
#[derive(Debug, Serialize)]
struct Fired {
    fires: u64,
    /// From the instant to the moment at which the broker stored the task.
    late: Percentiles,
}

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { schedules, burst, rate, time, at_once, overlap, settings } = args;
    let settings = scene.complete(settings)?;
    let even = u64::from(rate) * PERIOD.as_secs();
    let least = burst + even + 1;
    if schedules < least {
        let reason = format!(
            "is {schedules}: expected at least {least}, of which {burst} fire at one instant, and {even} each every {} s",
            PERIOD.as_secs()
        );
        return Err(Error::Usage { option: "schedules", reason });
    }
    if settings.queues > 1 {
        let reason = format!("is {}: the jobs of this measurement are in one", settings.queues);
        return Err(Error::Usage { option: "queues", reason });
    }
    let fires = 1 + burst + u64::from(rate) * time.as_secs();
    let floors = Floors::measure(&settings, fires, scene).await?;
    let mut stage = Stage::start(scene, &settings).await?;
    let store = Store::of(&stage);
    let maker = Maker { payload: settings.payload, overlap, now: Timestamp::now() };
    scene.screen.busy("storing schedules");
    store
        .all((0..schedules - least).map(|number| maker.idle(number)).map(|s| (s, Some(maker.history()))))
        .await?;
    let (first, first_due) = maker.first();
    store.all([(first, None)]).await?;

    scene.screen.busy("starting the scheduler");
    let started_at = Timestamp::now();
    stage.services(scene, &[Program::Scheduler], &[]).await?;
    let jobs = stage.jobs.clone();
    Records::ended(&jobs, 1, PATIENCE, &scene.screen).await?;
    let first_stored = accepted_at(&jobs, JobId::of_fire(&first_id(), first_due)).await?;

    scene.screen.busy("looking at an idle scheduler");
    sleep(IDLE / 2).await;
    stage.begin()?;
    sleep(IDLE).await;
    let idle = share(&stage.used()?, "scheduler");

    stage.begin()?;
    scene.screen.busy("storing schedules");
    let at = Timestamp::now() + AHEAD;
    let mut expected = Fires::default();
    let all = (0..burst).map(|number| maker.burst(number, at, &mut expected)).collect::<Vec<_>>();
    store.all(all.into_iter().map(|s| (s, None))).await?;
    in_time(at, "burst")?;
    scene.screen.busy("firing");
    Records::ended(&jobs, 1 + burst, PATIENCE, &scene.screen).await?;
    let burst_due = std::mem::take(&mut expected);

    let from = made::whole_second(Timestamp::now() + AHEAD);
    let spread = made::Evenly { rate, period: PERIOD, from, time, at_once };
    let all = (0..even).map(|number| maker.even(number, &spread, &mut expected)).collect::<Vec<_>>();
    store.all(all.into_iter().map(|s| (s, None))).await?;
    in_time(from, "rate")?;
    sleep(AHEAD + time).await;
    let fires = 1 + burst + expected.0.len() as u64;
    let records = Records::wait(&jobs, fires, PATIENCE, &scene.screen).await?;
    let processes = stage.used()?;
    stage.stop(scene).await?;
    let fired = |due: &Fires| fired(&records, due);
    let report = Report {
        schedules,
        first_fire_seconds: between(started_at, first_stored).as_secs_f64(),
        idle_cpu_percent: idle.cpu_seconds * 100.0 / IDLE.as_secs_f64(),
        idle_memory_mb: idle.resident_memory_mb,
        burst: fired(&burst_due)?,
        rate,
        steady: fired(&expected)?,
        cpu_seconds_per_1000_fires: cpu_per_1000(&processes, fires),
        processes,
        settings,
        floors,
    };
    show(&report, scene.format, |report| for_people(report, fires))
}

fn for_people(report: &Report, fires: u64) -> String {
    format!(
        "{} schedules: {:.2} s from the start of the scheduler to the first fire; idle {:.2}% of a core, {:.0} MB\n\
         {} due at one instant\nlate    {}\n{} a second, {} in all\nlate    {}\n{:.3} CPU s for 1000 fires{}\n{}\n\n{}",
        report.schedules,
        report.first_fire_seconds,
        report.idle_cpu_percent,
        report.idle_memory_mb,
        report.burst.fires,
        report.burst.late,
        report.rate,
        report.steady.fires,
        report.steady.late,
        report.cpu_seconds_per_1000_fires,
        report.settings.counted(),
        report.floors,
        of_processes(&report.processes, fires),
    )
}

fn first_id() -> windlass_core::ScheduleId {
    made::id("first", 0)
}

/// Schedules are stored too late to be measured.
fn in_time(at: Timestamp, option: &'static str) -> Result<(), Error> {
    if Timestamp::now() < at {
        return Ok(());
    }
    let reason = format!("is more than can be stored in {} s here: expected fewer", AHEAD.as_secs());
    Err(Error::Usage { option, reason })
}

fn share(shares: &[Share], process: &str) -> Share {
    let found = shares.iter().find(|share| share.process == process).cloned();
    found.unwrap_or_else(|| unreachable!("{process} was started"))
}

async fn accepted_at(jobs: &Jobs, job: JobId) -> Result<Timestamp, Error> {
    let seen = jobs.read(&QueueName::default(), job).await.map_err(Error::Records)?;
    let done = seen.done.ok_or(Error::Expired { read: 0, jobs: 1 })?;
    Ok(done.accepted_at)
}

/// Every instant has made one job, since its id follows from it and all have been counted.
fn fired(records: &Records, due: &Fires) -> Result<Fired, Error> {
    let accepted: HashMap<_, _> = records.rows().iter().map(|row| (row.job_id, row.accepted_at)).collect();
    let mut late = Vec::with_capacity(due.0.len());
    for (job, instant) in &due.0 {
        late.extend(accepted.get(job).map(|at| between(*instant, *at)));
    }
    let (read, jobs) = (late.len() as u64, due.0.len() as u64);
    if read < jobs {
        return Err(Error::Stalled {
            what: "are of instants that were due",
            found: read,
            jobs,
            waited: PATIENCE,
        });
    }
    Ok(Fired { fires: jobs, late: Percentiles::of(late) })
}

/// Where schedules and their cursors are stored.
struct Store {
    schedules: Bucket,
    cursors: Bucket,
}

// === impl Store ===

impl Store {
    fn of(stage: &Stage) -> Self {
        let names = stage.broker.names();
        Self {
            schedules: stage.broker.bucket(names.schedules_bucket()),
            cursors: stage.broker.bucket(names.cursors_bucket()),
        }
    }

    async fn all(
        &self,
        all: impl IntoIterator<Item = (Schedule<Bytes>, Option<Cursor>)>,
    ) -> Result<(), Error> {
        let store = |(schedule, cursor): (Schedule<Bytes>, Option<Cursor>)| async move {
            let id = schedule.id.as_str();
            if let Some(cursor) = cursor {
                let value = v1::Cursor::from(&cursor).encode_to_vec();
                self.cursors.put(id, value.into(), None).await?;
            }
            let value = v1::Schedule::from(&schedule).encode_to_vec();
            self.schedules.put(id, value.into(), None).await.map(|_| ())
        };
        let writes = futures::stream::iter(all.into_iter().map(store)).buffer_unordered(WRITES);
        writes.try_collect::<()>().await.map_err(|error: kv::Error| Error::Schedules(error))
    }
}

//! `windlass bench projection`: how fast the monitor stores what the fleet tells.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::Instant;
use windlass_broker::events::{EncodedEvent, EventWriter, extent};
use windlass_core::{Event, JobId, Kind, Outcome, PoolName, QueueName, Transition};
use windlass_monitor::floor::{Scratch, bare_inserts, bytes};
use windlass_monitor::store;

use super::Error;
use super::error::start_error;
use super::report::{of_processes, show};
use super::scene::Scene;
use super::settings::Settings;
use super::stage::{Stage, layout};
use super::usage::Share;
use super::work;
use crate::run::Program;

/// How fast the monitor stores what the fleet tells
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs: three events each
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1000..=1_000_000))]
    jobs: u64,
    /// A Postgres server to measure on, as postgres://USER@HOST/DATABASE [default: SQLite, in a file]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
The events of jobs that succeed are stored on the broker first, in batches as a busy fleet writes them; then a monitor is
started on them, until all are in its database. The floor inserts the rows that it has written into another database, in
transactions of 10,000, and does nothing else.

On Postgres two databases are made beside the one that is named, and removed at the end: the user must have the right to
create databases. The password may stand in the variable PGPASSWORD, or in ~/.pgpass.

Examples:
  windlass bench projection
  windlass bench projection --database postgres://windlass@127.0.0.1/postgres
  windlass bench projection --jobs 1000000 -o json";

/// Jobs of which the same transition is told one after the other.
const TOGETHER: u64 = 200;
/// Without any progress.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
const EVENTS_OF_A_JOB: u64 = 3;

#[derive(Debug, Serialize)]
struct Report {
    database: &'static str,
    events_per_second: f64,
    bare_inserts_events_per_second: f64,
    ratio_to_bare_inserts: f64,
    cpu_microseconds_per_job: f64,
    database_bytes_per_job: f64,
    jobs: u64,
    events: u64,
    processes: Vec<Share>,
    settings: Settings,
}

pub(super) async fn run(args: Args, scene: &Scene) -> Result<(), Error> {
    let Args { jobs, database: server, settings } = args;
    let settings = scene.complete(settings)?;
    let mut stage = Stage::open(scene, &settings, layout(&settings)).await?;
    scene.screen.busy("telling of jobs");
    tell(&stage, &settings, jobs).await?;
    let name = if server.is_some() { "postgres" } else { "sqlite" };
    let (database, bare) = if let Some(server) = server {
        scratch(scene, &server).await?
    } else {
        let file = stage.database();
        (file.display().to_string(), file.with_file_name("bare.db").display().to_string())
    };
    stage.services(scene, &[Program::Monitor], &[("WINDLASS__MONITOR__DATABASE", &database)]).await?;
    scene.screen.busy("measuring the monitor");
    stage.begin()?;
    let (share, took) = project(&stage).await?;
    let processes = stage.used()?;
    stage.stop_services().await;
    scene.screen.busy("measuring bare inserts");
    let bytes = bytes(&database).await.map_err(|error| start_error(error.into()))?;
    let measured = bare_inserts(&database, &bare).await;
    let (rows, bare_took) = measured.map_err(|error| start_error(error.into()))?;
    if rows != jobs {
        return Err(Error::Stalled { what: "are in the database", found: rows, jobs, waited: PATIENCE });
    }
    stage.stop(scene).await?;
    let events = jobs * EVENTS_OF_A_JOB;
    let per_second = events as f64 * share / took.as_secs_f64();
    let bare_per_second = events as f64 / bare_took.as_secs_f64();
    let monitor: f64 = processes
        .iter()
        .filter(|share| share.process.contains("monitor"))
        .map(|share| share.cpu_seconds)
        .sum();
    let report = Report {
        database: name,
        events_per_second: per_second,
        bare_inserts_events_per_second: bare_per_second,
        ratio_to_bare_inserts: per_second / bare_per_second,
        cpu_microseconds_per_job: monitor * 1e6 / (jobs as f64 * share),
        database_bytes_per_job: bytes as f64 / jobs as f64,
        jobs,
        events,
        processes,
        settings,
    };
    show(&report, scene.format, for_people)
}

/// Two databases on this server, which go when all is over.
async fn scratch(scene: &Scene, server: &str) -> Result<(String, String), Error> {
    let failed = |error: store::Error| start_error(error.into());
    let names = ["", "_bare"].map(|part| format!("windlass_bench_{}{part}", std::process::id()));
    let scratch = Scratch::beside(server, names.into()).map_err(failed)?;
    *scene.scratch.lock().await = Some(scratch.clone());
    let mut urls = scratch.create().await.map_err(failed)?.into_iter();
    Ok((urls.next().unwrap_or_default(), urls.next().unwrap_or_default()))
}

/// Stores the events of these jobs on the broker.
async fn tell(stage: &Stage, settings: &Settings, jobs: u64) -> Result<(), Error> {
    let writer = EventWriter::new(stage.broker.clone(), "bench", PoolName::default());
    let queues = work::queues(settings.queues);
    let mut first = 0;
    while first < jobs {
        let these: Vec<Told> =
            (first..jobs.min(first + TOGETHER)).map(|number| Told::new(number, &queues)).collect();
        let events = [Told::accepted, Told::started, Told::succeeded]
            .iter()
            .flat_map(|event| these.iter().map(|job| EncodedEvent::from(event(job))));
        writer.record_all(events).await.map_err(|error| start_error(error.into()))?;
        first += TOGETHER;
    }
    Ok(())
}

/// A job that succeeds.
struct Told {
    id: JobId,
    queue: QueueName,
    kind: Option<Kind>,
    at: Timestamp,
}

// === impl Told ===

impl Told {
    fn new(number: u64, queues: &[QueueName]) -> Self {
        let at = Timestamp::now();
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let queue = usize::try_from(number).unwrap_or_default() % queues.len().max(1);
        Self {
            id: JobId::from_parts(at, random),
            queue: queues.get(queue).cloned().unwrap_or_default(),
            kind: "bench.nothing".parse().ok(),
            at,
        }
    }

    fn event(&self, transition: Transition, attempt: u32, after_ms: i64) -> Event {
        let at = self.at.checked_add(SignedDuration::from_millis(after_ms)).unwrap_or(self.at);
        let id = self.id.as_uuid().simple();
        Event {
            traceparent: format!("00-{id}-00f067aa0ba902b7-00"),
            ..Event::new(self.queue.clone(), self.id, self.kind.clone(), transition, attempt, at)
        }
    }

    fn accepted(&self) -> Event {
        let at = Some(self.at);
        Event { accepted_at: at, due_at: at, ..self.event(Transition::Accepted, 0, 0) }
    }

    fn started(&self) -> Event {
        Event { worker: "bench-worker-1".to_owned(), ..self.event(Transition::Started, 1, 2) }
    }

    fn succeeded(&self) -> Event {
        let event = self.event(Transition::Succeeded, 1, 5);
        Event {
            worker: "bench-worker-1".to_owned(),
            outcome: Some(Outcome::Succeeded),
            result: Some(b"null".to_vec()),
            started_at: self.at.checked_add(SignedDuration::from_millis(2)).ok(),
            ..event
        }
    }
}

/// Waits until the monitor has stored all: which share of it that was, and how long it took.
async fn project(stage: &Stage) -> Result<(f64, Duration), Error> {
    let look = async || extent(&stage.broker).await.map_err(|error| start_error(error.into()));
    let began = Instant::now();
    let at_first = look().await?;
    let (mut seen, mut seen_at) = (at_first.acknowledged_sequence, began);
    while seen < at_first.last_sequence {
        tokio::time::sleep(LOOK).await;
        let now = look().await?.acknowledged_sequence;
        if now > seen {
            (seen, seen_at) = (now, Instant::now());
        } else if seen_at.elapsed() > PATIENCE {
            return Err(Error::Stalled {
                what: "messages of events are projected",
                found: seen,
                jobs: at_first.last_sequence,
                waited: PATIENCE,
            });
        }
    }
    let left = at_first.last_sequence - at_first.acknowledged_sequence;
    Ok((left as f64 / at_first.last_sequence.max(1) as f64, seen_at.duration_since(began)))
}

fn for_people(report: &Report) -> String {
    format!(
        "{:.0} events/s into {}, {} jobs of {EVENTS_OF_A_JOB} events\n\
         {:.2} of bare batched inserts of the same rows ({:.0} events/s)\n\
         {:.1} us of the monitor's CPU for each job, {:.0} bytes of its database\n\n{}",
        report.events_per_second,
        report.database,
        report.jobs,
        report.ratio_to_bare_inserts,
        report.bare_inserts_events_per_second,
        report.cpu_microseconds_per_job,
        report.database_bytes_per_job,
        of_processes(&report.processes, report.jobs),
    )
}

//! `windlass bench beside`: what a queue without limits loses while queues with limits have jobs waiting.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;
use windlass::Job as _;
use windlass_broker::jobs::HeardEnds;
use windlass_core::QueueName;
use windlass_core::flow::QueueSettings;

use super::Error;
use super::floors::Floors;
use super::kinds::{Nothing, Taking};
use super::load::{Load, What};
use super::pace::Pace;
use super::records::PATIENCE;
use super::report::{median, show};
use super::scene::Scene;
use super::settings::{Settings, duration};
use super::stage::{Stage, layout};
use super::work;

/// What a queue without limits does, alone and beside queues whose jobs wait at a limit
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How many jobs of the queue without limits
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    jobs: u64,
    /// How many queues have a limit
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=999))]
    limited: u16,
    /// How many jobs are submitted to each of those before, most of which wait
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    waiting: u64,
    /// How long each of those takes
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = duration)]
    takes: Duration,
    /// How many of each of those queues run at one time: their limit, unless --flow says otherwise
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    running: u32,
    /// How often each is measured, in turn; the medians are told
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
Alone, the other queues exist and nothing is set on them, and they have no jobs. Beside them, their jobs go on running, as
fast as the limits allow, while the queue without limits is measured; how many did is told. Then once more beside as many
jobs a second of those queues with nothing set on them: what they cost by themselves. --flow is set on the limited queues.

Examples:
  windlass bench beside
  windlass bench beside --limited 100 --waiting 10000 --takes 1s -o json
  windlass bench beside --keys 100 --flow '{\"key_concurrency\": 1}'";

#[derive(Debug, Serialize)]
struct Report {
    alone_per_second: f64,
    beside_per_second: f64,
    ratio: f64,
    /// Of the limited queues, while the other was measured.
    limited_per_second: f64,
    /// Of the queue without limits, beside as many jobs of queues that have none either; none where none ended.
    beside_unlimited_per_second: Option<f64>,
    jobs: u64,
    limited: u16,
    waiting: u64,
    takes_ms: f64,
    runs: u8,
    settings: Settings,
    #[serde(flatten)]
    floors: Floors,
}

/// What the other queues do meanwhile.
#[derive(Clone, Copy)]
enum Others<'a> {
    Nothing,
    /// They have jobs that wait, under these settings.
    Wait(&'a QueueSettings),
    /// They get so many jobs a second, without limits.
    Run(f64),
}

/// Jobs a second.
struct Rates {
    unlimited: f64,
    limited: f64,
}

pub(super) async fn run(mut args: Args, scene: &Scene) -> Result<(), Error> {
    // All of them are known to the worker, alone too.
    args.settings.queues = usize::from(args.limited) + 1;
    let running = args.running;
    let own = || QueueSettings { concurrency: Some(running), ..QueueSettings::default() };
    let flow = args.settings.flow.take().unwrap_or_else(own);
    let settings = scene.complete(args.settings.clone())?;
    let floors = Floors::measure(&settings, args.jobs, scene).await?;
    let (mut alone, mut beside, mut limited, mut busy) = (vec![], vec![], vec![], vec![]);
    for _ in 0..args.runs {
        alone.push(measure(&args, &settings, Others::Nothing, scene).await?.unlimited);
        let rates = measure(&args, &settings, Others::Wait(&flow), scene).await?;
        beside.push(rates.unlimited);
        limited.push(rates.limited);
        if rates.limited > 0.0 {
            busy.push(measure(&args, &settings, Others::Run(rates.limited), scene).await?.unlimited);
        }
    }
    let (alone, beside) = (median(alone), median(beside));
    let report = Report {
        alone_per_second: alone,
        beside_per_second: beside,
        ratio: beside / alone,
        limited_per_second: median(limited),
        beside_unlimited_per_second: (!busy.is_empty()).then(|| median(busy)),
        jobs: args.jobs,
        limited: args.limited,
        waiting: args.waiting,
        takes_ms: args.takes.as_secs_f64() * 1000.0,
        runs: args.runs,
        settings: Settings { flow: Some(flow), ..settings },
        floors,
    };
    show(&report, scene.format, |report| {
        format!(
            "{:.0} jobs/s of a queue without limits, alone\n\
             {:.0} jobs/s beside {} queues with limits and {} jobs each, {:.2} of it; those: {:.0} jobs/s\n\
             {} jobs/s beside as many of them without limits\n{}\n",
            report.alone_per_second,
            report.beside_per_second,
            report.limited,
            report.waiting,
            report.ratio,
            report.limited_per_second,
            report.beside_unlimited_per_second.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            report.floors,
        )
    })
}

async fn measure(
    args: &Args,
    settings: &Settings,
    others: Others<'_>,
    scene: &Scene,
) -> Result<Rates, Error> {
    let mut stage = Stage::open(scene, settings, layout(settings)).await?;
    let (unlimited, limited) = (QueueName::default(), work::queues(settings.queues).split_off(1));
    if let Others::Wait(flow) = others {
        for queue in &limited {
            stage.set(queue, flow).await?;
        }
    }
    stage.services(scene, &settings.programs(), &[]).await?;
    let (jobs, pace) = match others {
        // More than it takes to measure.
        Others::Run(rate) => (u64::from(u32::MAX), Pace::Rate(rate)),
        _ => (args.waiting * u64::from(args.limited), Pace::AsAccepted),
    };
    let what = What::Taking(Taking::of(settings.payload, args.takes));
    let load_of_others = Load { what, queues: limited, ..Load::new(settings, jobs, pace) };
    if let Others::Wait(_) = others {
        let load = &load_of_others;
        scene.screen.busy("submitting jobs that wait at limits");
        load.submit(&stage.client, &scene.screen).await?;
        stage.decided(scene, jobs).await?;
    }
    let mut ends = HeardEnds::listen(&stage.jobs)
        .await
        .map_err(|error| Error::Broker("asked for the ends of jobs", error))?;
    scene.screen.busy("measuring the queue without limits");
    let load = Load { queues: vec![unlimited], ..Load::new(settings, args.jobs, Pace::AsAccepted) };
    let begun_at = Timestamp::now();
    let submitting = load.submit(&stage.client, &scene.screen);
    let hearing = async {
        let (mut ended, mut others) = (HashSet::new(), 0_u64);
        while (ended.len() as u64) < args.jobs {
            let stalled =
                || Error::Unfinished { ended: ended.len() as u64, jobs: args.jobs, waited: PATIENCE };
            let end = timeout(PATIENCE, ends.next()).await.ok().flatten().ok_or_else(stalled)?;
            if end.done.kind.as_str() == Nothing::KIND {
                ended.insert(end.job_id);
            } else {
                others += 1;
            }
        }
        Ok::<_, Error>(others)
    };
    let measured = async { tokio::try_join!(submitting, hearing) };
    let (_, others) = if let Others::Run(_) = others {
        let running = async {
            load_of_others.submit(&stage.client, &scene.screen).await?;
            std::future::pending::<Result<_, Error>>().await
        };
        tokio::select! {
            measured = measured => measured?,
            never = running => never?,
        }
    } else {
        measured.await?
    };
    let took = Timestamp::now().duration_since(begun_at).as_secs_f64();
    stage.stop(scene).await?;
    Ok(Rates { unlimited: args.jobs as f64 / took, limited: others as f64 / took })
}

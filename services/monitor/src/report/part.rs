//! What a report consists of, whatever it is written as.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use windlass_core::JobState;
use windlass_core::payload::readable;

use super::{Bundle, Now, ScheduleLine, What};
use crate::api::schema::Worker;
use crate::store::{Course, Failure, KindReport, QueueCounts, Report, Spans};

/// A part of a report.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// The first heading.
    Title(String),
    /// A heading.
    Heading(&'static str),
    /// A paragraph.
    Text(String),
    /// Columns, those of numbers to the right, and rows.
    Table { columns: Vec<(&'static str, bool)>, rows: Vec<Vec<String>> },
    /// Two lines over time: their names, and a value of each at each instant.
    Chart { title: &'static str, names: [&'static str; 2], points: Vec<(Timestamp, [u64; 2])> },
}

/// One of the counts of a kind.
type Count = fn(&KindReport) -> u64;

/// Something that is measured over all of a report.
type Measure = fn(&Report) -> Option<f64>;

/// The parts of a report.
pub(super) fn parts(bundle: &Bundle) -> Vec<Part> {
    let Bundle { what, report, before, now, resources, review, made_at } = bundle;
    let mut parts = vec![
        Part::Title(what.title().to_owned()),
        Part::Text(format!(
            "From {} to {} (UTC), made at {}.",
            instant(report.from),
            instant(report.to),
            instant(*made_at)
        )),
    ];
    if let Some(now) = now {
        stands(now, &mut parts);
    }
    if let Some(review) = review {
        super::review::review(review, &mut parts);
        return parts;
    }
    if *what != What::Failures {
        totals(report, before.as_ref(), &mut parts);
        course(report, &mut parts);
        kinds(&report.kinds, &mut parts);
    }
    if let Some(instances) = resources {
        super::resources::resources(instances, &mut parts);
    }
    failures(&report.failures, &mut parts);
    parts
}

/// What is wrong, and where things stand.
fn stands(now: &Now, parts: &mut Vec<Part>) {
    parts.push(Part::Heading("Known issues"));
    let mut rows = Vec::new();
    for alert in &now.alerts.firing {
        rows.push(vec![
            "alert".to_owned(),
            alert.subject.clone(),
            alert.detail.clone(),
            instant(alert.fired_at),
        ]);
    }
    for lost in now.audit.lost.iter().filter(|lost| lost.resolved_at.is_none()) {
        let detail = format!("the job {} is lost", lost.id);
        rows.push(vec!["lost job".to_owned(), lost.queue.clone(), detail, instant(lost.found_at)]);
    }
    for gap in &now.audit.gaps {
        let detail =
            format!("events {} to {} were gone before they were read", gap.first_sequence, gap.last_sequence);
        rows.push(vec!["gap".to_owned(), "events".to_owned(), detail, instant(gap.found_at)]);
    }
    table(
        parts,
        &[("What", false), ("Of", false), ("Detail", false), ("Since", false)],
        rows,
        "None is known.",
    );
    parts.push(Part::Heading("Queues"));
    let live = JobState::ALL.iter().filter(|state| !state.is_terminal() || **state == JobState::Dead);
    let live: Vec<&'static str> = live.map(|state| state.as_str()).collect();
    let columns: Vec<_> =
        [("queue", false)].into_iter().chain(live.iter().map(|state| (*state, true))).collect();
    let row = |queue: &QueueCounts| {
        let count = |state: &&str| queue.counts.get(*state).copied().unwrap_or_default().to_string();
        [queue.name.clone()].into_iter().chain(live.iter().map(count)).collect()
    };
    table(parts, &columns, now.queues.queues.iter().map(row).collect(), "There is none.");
    parts.push(Part::Heading("Kinds, and the workers that serve them"));
    let mut kinds = BTreeMap::<&str, Vec<String>>::new();
    for worker in &now.workers.workers {
        for kind in &worker.kinds {
            kinds.entry(kind).or_default().push(worker.id.clone());
        }
    }
    let rows = kinds.into_iter().map(|(kind, workers)| vec![kind.to_owned(), workers.join(", ")]).collect();
    table(parts, &[("Kind", false), ("Workers", false)], rows, "No worker lives.");
    workers(now, parts);
    schedules(now, parts);
}

/// What the workers have, and how much of it is in use.
fn workers(now: &Now, parts: &mut Vec<Part>) {
    parts.push(Part::Heading("Workers"));
    let columns = [
        ("Worker", false),
        ("Host", false),
        ("Version", false),
        ("Queues", false),
        ("Slots", true),
        ("Running", true),
        ("Stuck", true),
        ("Since", false),
    ];
    let row = |worker: &Worker| {
        vec![
            worker.id.clone(),
            worker.host.clone(),
            worker.version.clone(),
            worker.queues.join(", "),
            worker.slots.to_string(),
            worker.running.to_string(),
            worker.stuck.to_string(),
            worker.started_at.map(instant).unwrap_or_default(),
        ]
    };
    table(parts, &columns, now.workers.workers.iter().map(row).collect(), "No worker lives.");
}

fn schedules(now: &Now, parts: &mut Vec<Part>) {
    parts.push(Part::Heading("Schedules"));
    let columns = [
        ("Schedule", false),
        ("Queue", false),
        ("Kind", false),
        ("When", false),
        ("Next", false),
        ("Fired", true),
        ("Missed", true),
    ];
    let row = |schedule: &ScheduleLine| {
        let next = match &schedule.next_at {
            _ if schedule.paused => "paused".to_owned(),
            Some(at) => at.parse().map_or_else(|_| at.clone(), instant),
            None => "none".to_owned(),
        };
        vec![
            schedule.id.clone(),
            schedule.queue.clone(),
            schedule.kind.clone(),
            schedule.rule.clone(),
            next,
            schedule.fires.to_string(),
            schedule.misfires.to_string(),
        ]
    };
    table(parts, &columns, now.schedules.iter().map(row).collect(), "There is none.");
}

fn sum(report: &Report, of: Count) -> u64 {
    report.kinds.iter().map(of).sum()
}

fn totals(report: &Report, before: Option<&Report>, parts: &mut Vec<Part>) {
    parts.push(Part::Heading("In all"));
    let sums: [(&'static str, Count); 8] = [
        ("Jobs accepted", |kind| kind.accepted),
        ("Jobs succeeded", |kind| kind.succeeded),
        ("Jobs dead", |kind| kind.dead),
        ("Jobs cancelled", |kind| kind.cancelled),
        ("Jobs expired", |kind| kind.expired),
        ("Jobs recovered", |kind| kind.recovered),
        ("Attempts", |kind| kind.attempts),
        ("Attempts failed", |kind| kind.failed_attempts),
    ];
    let row = |(name, of): &(&'static str, Count)| {
        let now = sum(report, *of);
        let mut row = vec![(*name).to_owned(), now.to_string()];
        if let Some(before) = before {
            let then = sum(before, *of);
            row.extend([then.to_string(), change(then, now)]);
        }
        row
    };
    let mut columns = vec![("What", false), ("Now", true)];
    columns.extend(before.map(|_| [("Before", true), ("Change", true)]).into_iter().flatten());
    let mut rows: Vec<_> = sums.iter().map(row).collect();
    let measures: [(&'static str, Measure); 8] = [
        ("Jobs ended per hour", |report| {
            let ended = sum(report, |kind| kind.succeeded + kind.dead + kind.cancelled + kind.expired);
            let hours = report.to.duration_since(report.from).as_secs_f64() / 3600.0;
            (hours > 0.0).then(|| number(ended) / hours)
        }),
        ("Attempts failed, %", |report| {
            let (failed, all) = (sum(report, |kind| kind.failed_attempts), sum(report, |kind| kind.attempts));
            (all > 0).then(|| number(failed) * 100.0 / number(all))
        }),
        ("Wait p50, s", |report| report.wait.map(|spans| spans.p50_seconds)),
        ("Wait p99, s", |report| report.wait.map(|spans| spans.p99_seconds)),
        ("Run p50, s", |report| report.run.map(|spans| spans.p50_seconds)),
        ("Run p99, s", |report| report.run.map(|spans| spans.p99_seconds)),
        ("Recovery p50, s", |report| report.recovery.map(|spans| spans.p50_seconds)),
        ("Recovery p99, s", |report| report.recovery.map(|spans| spans.p99_seconds)),
    ];
    for (name, of) in measures {
        let shown = |report: &Report| of(report).map_or_else(String::new, |value| format!("{value:.3}"));
        let mut row = vec![name.to_owned(), shown(report)];
        if let Some(before) = before {
            let against = of(before).zip(of(report)).map(|(then, now)| change_of(then, now));
            row.extend([shown(before), against.unwrap_or_default()]);
        }
        rows.push(row);
    }
    table(parts, &columns, rows, "");
    parts.push(Part::Text(format!(
        "{} jobs failed at first and succeeded later; recovery is the time from a job's first failure to its success.",
        sum(report, |kind| kind.recovered)
    )));
}

fn course(report: &Report, parts: &mut Vec<Part>) {
    if report.course.len() < 2 {
        return;
    }
    let points =
        |of: fn(&Course) -> [u64; 2]| report.course.iter().map(|course| (course.at, of(course))).collect();
    parts.push(Part::Chart {
        title: "Jobs over time",
        names: ["accepted", "succeeded"],
        points: points(|course| [course.accepted, course.succeeded]),
    });
    parts.push(Part::Chart {
        title: "Failures over time",
        names: ["attempts failed", "jobs dead"],
        points: points(|course| [course.failed_attempts, course.dead]),
    });
}

fn kinds(kinds: &[KindReport], parts: &mut Vec<Part>) {
    parts.push(Part::Heading("By queue and kind"));
    let columns = [
        ("Queue", false),
        ("Kind", false),
        ("Accepted", true),
        ("Succeeded", true),
        ("Dead", true),
        ("Failed attempts", true),
        ("Wait p50", true),
        ("Wait p99", true),
        ("Run p50", true),
        ("Run p99", true),
        ("Recovered", true),
        ("Recovery p50", true),
        ("Recovery p99", true),
    ];
    let row = |kind: &KindReport| {
        let p50 = |spans: Option<Spans>| spans.map(|s| seconds(s.p50_seconds));
        let p99 = |spans: Option<Spans>| spans.map(|s| seconds(s.p99_seconds));
        let failed = match kind.attempts {
            0 => String::new(),
            attempts => format!("{} ({})", kind.failed_attempts, percent(kind.failed_attempts, attempts)),
        };
        vec![
            kind.queue.clone(),
            kind.kind.clone(),
            kind.accepted.to_string(),
            kind.succeeded.to_string(),
            kind.dead.to_string(),
            failed,
            p50(kind.wait).unwrap_or_default(),
            p99(kind.wait).unwrap_or_default(),
            p50(kind.run).unwrap_or_default(),
            p99(kind.run).unwrap_or_default(),
            kind.recovered.to_string(),
            p50(kind.recovery).unwrap_or_default(),
            p99(kind.recovery).unwrap_or_default(),
        ]
    };
    table(parts, &columns, kinds.iter().map(row).collect(), "Nothing happened.");
}

fn failures(failures: &[Failure], parts: &mut Vec<Part>) {
    parts.push(Part::Heading("What jobs died of"));
    let columns = [
        ("Fingerprint", false),
        ("Jobs", true),
        ("Kind", false),
        ("Code", false),
        ("Message", false),
        ("First", false),
        ("Last", false),
        ("Lasted", true),
        ("Examples", false),
    ];
    let row = |failure: &Failure| {
        let kind = match failure.kinds {
            0 | 1 => failure.kind.clone(),
            more => format!("{} and {} more", failure.kind, more - 1),
        };
        vec![
            failure.fingerprint.clone(),
            failure.jobs.to_string(),
            kind,
            failure.code.clone(),
            readable(&failure.message).chars().take(200).collect(),
            instant(failure.first_at),
            instant(failure.last_at),
            seconds(failure.last_at.duration_since(failure.first_at).as_secs_f64()),
            examples(failure),
        ]
    };
    table(parts, &columns, failures.iter().map(row).collect(), "No job died.");
}

fn examples(failure: &Failure) -> String {
    if failure.examples.is_empty() {
        return failure.example.to_string();
    }
    failure.examples.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn table(
    parts: &mut Vec<Part>,
    columns: &[(&'static str, bool)],
    rows: Vec<Vec<String>>,
    none: &str,
) {
    parts.push(if rows.is_empty() {
        Part::Text(none.to_owned())
    } else {
        Part::Table { columns: columns.to_vec(), rows }
    });
}

pub(super) fn instant(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.1} ms", seconds * 1000.0),
        1.0..3600.0 => format!("{seconds:.1} s"),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}%", number(part) * 100.0 / number(whole))
}

fn change(before: u64, now: u64) -> String {
    change_of(number(before), number(now))
}

fn change_of(before: f64, now: f64) -> String {
    if before > 0.0 { format!("{:+.1}%", (now / before - 1.0) * 100.0) } else { String::new() }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn number(count: u64) -> f64 {
    count as f64
}

//! What the database keeps, and for how long; and what is found in it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared with the tests of the API")]
mod fixture;
#[path = "retention/past.rs"]
mod past;
#[path = "retention/sums.rs"]
mod sums;

use fixture::{Database, On, accepted, error, event, job_id, life, second, started};
use windlass_core::alert::Silence;
use windlass_core::relations::{JobPath, Relations};
use windlass_core::task::Parent;
use windlass_core::told::{LogLevel, LogLine, Progress};
use windlass_core::{Event, JobState, QueueName, Transition};
use windlass_monitor::store::{Action, Filter, Message, Parts, Totals};

on_both![
    old_jobs_go_by_state_and_age_and_stay_counted,
    jobs_are_found_by_error_and_time_in_stable_pages,
    jobs_are_found_by_what_made_them,
    jobs_are_found_by_their_labels,
    what_is_no_matter_any_more_goes_too,
    a_report_sums_up_a_time,
    what_handlers_told_is_kept_once,
    silences_and_rejections_are_found,
    the_log_of_actions_is_told_in_pages_and_goes_by_age,
    charts_are_told_from_minutes_and_from_sums_of_hours,
];

/// The acceptance of a job that a schedule, or the handler of a job of `mail`, published.
fn made_by(schedule: Option<&str>, parent: Option<u64>, job: u64, at: i64) -> Event {
    let parent = parent.map(|parent| Parent {
        queue: "mail".parse().unwrap(),
        job_id: job_id(parent),
        detached: false,
    });
    let schedule_id = schedule.map(|id| id.parse().unwrap());
    let relations = Relations { schedule_id, parent, ..Relations::default() };
    Event { relations: Some(Box::new(relations)), ..accepted("reports", job, at) }
}

async fn jobs_are_found_by_what_made_them(on: On) {
    let mut database = Database::on(on).await;
    let mut events: Vec<Event> = (1..=7).map(|job| made_by(None, Some(100), job, 10)).collect();
    // The same id in another queue is another job, and other children.
    events.push(accepted("mail", 100, 5));
    events.push(made_by(Some("nightly"), None, 8, 10));
    events.push(made_by(Some("nightly"), Some(101), 9, 10));
    database.tell(events).await;
    let ends = [(1, Transition::Succeeded), (2, Transition::Succeeded), (3, Transition::Dead)];
    database.tell(ends.map(|(job, end)| event("reports", job, end, 1, 30)).to_vec()).await;
    // Its acceptance was told last.
    database.tell(vec![event("reports", 10, Transition::Started, 1, 20)]).await;
    database.tell(vec![made_by(None, Some(100), 10, 19)]).await;
    let of = |parent: u64| format!("mail/{}", job_id(parent)).parse::<JobPath>().unwrap();
    let by_parent = |parent| Filter { parent: Some(of(parent)), ..Filter::default() };
    assert_eq!(found(&database, by_parent(100)).await, [10, 7, 6, 5, 4, 3, 2, 1]);
    let dead = Filter { state: Some(JobState::Dead), ..by_parent(100) };
    assert_eq!(found(&database, dead).await, [3]);
    let nightly = Filter { schedule_id: "nightly".parse().ok(), ..Filter::default() };
    assert_eq!(found(&database, nightly.clone()).await, [9, 8]);
    assert_eq!(found(&database, Filter { parent: Some(of(101)), ..nightly }).await, [9]);
    let (states, more) = database.store.children(&of(100), second(40)).await.unwrap();
    let states: Vec<_> = states.iter().map(|(state, count)| (state.as_str(), *count)).collect();
    assert_eq!(
        (states.as_slice(), more),
        (&[("dead", 1), ("queued", 4), ("running", 1), ("succeeded", 2)][..], false)
    );
    let (none, _) = database.store.children(&of(99), second(40)).await.unwrap();
    assert!(none.is_empty());
    let mut known = database.store.states(&[job_id(3), job_id(100), job_id(999)], second(40)).await.unwrap();
    known.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        known,
        [
            ("mail".to_owned(), job_id(100), JobState::Queued),
            ("reports".to_owned(), job_id(3), JobState::Dead)
        ]
    );
    let view = database.store.find(job_id(9), None).await.unwrap().remove(0);
    assert_eq!(view.relations.schedule_id.unwrap().as_str(), "nightly");
    assert_eq!(view.relations.parent.unwrap().job_id, job_id(101));
}

async fn jobs_are_found_by_their_labels(on: On) {
    let mut database = Database::on(on).await;
    let labelled =
        |labels: &str, job, at| Event { labels: labels.parse().unwrap(), ..accepted("mail", job, at) };
    let events = [(1, "env=prod"), (2, "env=test"), (3, "env=prod,region=eu"), (4, "env=prod")];
    database.tell(events.map(|(job, labels)| labelled(labels, job, 10 + job.cast_signed())).to_vec()).await;
    database.tell(vec![accepted("mail", 5, 15)]).await;
    let ends = [(1, Transition::Succeeded), (4, Transition::Dead)];
    database.tell(ends.map(|(job, end)| event("mail", job, end, 1, 30)).to_vec()).await;
    // Its acceptance was told last, and all of it twice.
    database.tell(vec![event("mail", 6, Transition::Started, 1, 20)]).await;
    for _ in 0..2 {
        database.tell(vec![labelled("env=prod", 6, 19)]).await;
    }
    let with = |label: &str| Filter { label: Some(label.parse().unwrap()), ..Filter::default() };
    let prod = || with("env=prod");
    assert_eq!(found(&database, prod()).await, [6, 4, 3, 1]);
    assert_eq!(found(&database, with("region=eu")).await, [3]);
    assert_eq!(found(&database, with("region=us")).await, Vec::<u64>::new());
    let dead = Filter { state: Some(JobState::Dead), ..prod() };
    assert_eq!(found(&database, dead).await, [4]);
    let queued = Filter { state: Some(JobState::Queued), queue: "mail".parse().ok(), ..prod() };
    assert_eq!(found(&database, queued).await, [3]);
    // By time, which is another order.
    let timed = Filter { since: Some(second(12)), until: Some(second(20)), ..prod() };
    assert_eq!(found(&database, timed).await, [6, 4, 3]);
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = database.store.list(&prod(), cursor, 1, second(40)).await.unwrap();
        pages.extend(page.jobs.iter().map(|job| job.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [6, 4, 3, 1].map(job_id));
    let view = database.store.find(job_id(3), None).await.unwrap().remove(0);
    assert_eq!(view.labels.to_string(), "env=prod,region=eu");
    // They go with their jobs.
    let removed = database.store.remove_ended(JobState::Succeeded, second(40), 10).await.unwrap();
    assert_eq!((removed, found(&database, prod()).await), (1, vec![6, 4, 3]));
}

fn dead(queue: &str, job: u64, at: i64) -> Vec<Event> {
    let dead = Event { error: Some(error("no such file")), ..event(queue, job, Transition::Dead, 1, at) };
    vec![accepted(queue, job, at - 2), started(queue, job, 1, at - 1), dead]
}

async fn found(database: &Database, filter: Filter) -> Vec<u64> {
    let all = database.store.list(&filter, None, 100, second(10_000)).await.unwrap().jobs;
    let number = |id: String| u64::from_str_radix(id.rsplit('-').next().unwrap(), 16).unwrap();
    all.into_iter().map(|job| number(job.id.to_string())).collect()
}

async fn old_jobs_go_by_state_and_age_and_stay_counted(on: On) {
    let mut database = Database::on(on).await;
    for job in 1..=5 {
        database.tell(life("mail", job)).await;
        database.tell(dead("mail", 10 + job, 25)).await;
    }
    database.tell(vec![accepted("mail", 20, 1)]).await;
    database.tell(dead("mail", 21, 500)).await;
    let mail = "mail".parse().unwrap();
    let before = database.store.totals().await.unwrap()[&mail];
    assert_eq!(before, Totals { accepted: 12, live: 1, ended: 11 });
    // A piece at a time, and nothing that ended later, or otherwise, or not at all.
    for removed in [2, 2, 1, 0] {
        assert_eq!(database.store.remove_ended(JobState::Succeeded, second(26), 2).await.unwrap(), removed);
    }
    assert_eq!(found(&database, Filter::default()).await, [21, 20, 15, 14, 13, 12, 11]);
    assert_eq!(database.store.remove_ended(JobState::Dead, second(500), 100).await.unwrap(), 5);
    assert_eq!(found(&database, Filter::default()).await, [21, 20]);
    assert_eq!(database.store.totals().await.unwrap()[&mail], before);
    let counts = database.store.queues(second(10)).await.unwrap().remove(0).counts;
    assert_eq!((counts["succeeded"], counts["dead"], counts["queued"]), (0, 1, 1));
}

async fn jobs_are_found_by_error_and_time_in_stable_pages(on: On) {
    let mut database = Database::on(on).await;
    for job in 1..=6 {
        database.tell(dead("mail", job, i64::try_from(job).unwrap() * 100)).await;
    }
    database.tell(life("mail", 7)).await;
    let print = error("no such file").fingerprint();
    let by_print = Filter { fingerprint: Some(print), ..Filter::default() };
    assert_eq!(found(&database, by_print.clone()).await, [6, 5, 4, 3, 2, 1]);
    let other = Filter { fingerprint: Some("0123456789abcdef".to_owned()), ..Filter::default() };
    assert_eq!(found(&database, other).await, [0; 0]);
    // Accepted two seconds before their ends.
    let within = Filter { since: Some(second(198)), until: Some(second(498)), ..Filter::default() };
    assert_eq!(found(&database, within.clone()).await, [4, 3, 2]);
    let dead = Filter { state: Some(JobState::Dead), queue: "mail".parse().ok(), ..within };
    assert_eq!(found(&database, dead.clone()).await, [4, 3, 2]);
    // Pages neither shift nor repeat while jobs come in, whichever order they have.
    for filter in [by_print, dead, Filter::default()] {
        let all = found(&database, filter.clone()).await;
        let (mut paged, mut cursor) = (Vec::new(), None);
        for new in 100.. {
            let page = database.store.list(&filter, cursor, 2, second(10_000)).await.unwrap();
            paged.extend(page.jobs.iter().map(|job| job.id));
            database.tell(self::dead("mail", new, 300)).await;
            database.store.remove_ended(JobState::Dead, second(0), 1).await.unwrap();
            let Some(next) = page.next_cursor else { break };
            cursor = Some(next.to_string().parse().unwrap());
        }
        let expected: Vec<_> = all.into_iter().map(job_id).collect();
        let jobs: Vec<_> = paged.into_iter().filter(|id| expected.contains(id)).collect();
        assert_eq!(jobs, expected, "{filter:?}");
    }
}

async fn what_is_no_matter_any_more_goes_too(on: On) {
    let mut database = Database::on(on).await;
    database.tell(vec![event("mail", 1, Transition::Refused, 1, 5)]).await;
    database.tell(vec![accepted("mail", 2, 1), accepted("mail", 3, 1)]).await;
    let (store, mail) = (&database.store, "mail".parse().unwrap());
    store.record_gaps(3, second(5)).await.unwrap();
    store.record_lost(&mail, &[job_id(2), job_id(3)], second(5)).await.unwrap();
    store.resolve_lost(&mail, job_id(2), second(6)).await.unwrap();
    database.fire("oldest_age", "mail").await;
    assert_eq!(store.remove_remarks(second(5), 10).await.unwrap(), 0);
    assert_eq!(store.remove_remarks(second(10), 10).await.unwrap(), 2, "the remark, and the lost job");
    // What goes on is kept.
    assert_eq!(store.lost(false, 10).await.unwrap().len(), 1);
    assert_eq!(store.alerts(false, 10).await.unwrap().len(), 1);
    assert!(store.remove_figures(second(600), 1000).await.unwrap() > 0);
    assert_eq!(store.report(second(0), second(600)).await.unwrap().kinds, []);
}

async fn a_report_sums_up_a_time(on: On) {
    let mut database = Database::on(on).await;
    for job in 1..=4 {
        database.tell(life("mail", job)).await;
    }
    database.tell(dead("mail", 9, 60)).await;
    let report = database.store.report(second(-120), second(120)).await.unwrap();
    let kind = &report.kinds[0];
    assert_eq!((kind.accepted, kind.succeeded, kind.dead), (5, 4, 1));
    assert_eq!(
        (kind.attempts, kind.failed_attempts),
        (8, 4),
        "the dead one does not say how its attempt ended"
    );
    let run = kind.run.unwrap();
    assert!((0.8..1.2).contains(&run.p50_seconds) && (3.4..4.6).contains(&run.p99_seconds), "{run:?}");
    assert_eq!(report.course.iter().map(|course| course.accepted).sum::<u64>(), 5);
    let failure = &report.failures[0];
    assert_eq!((failure.jobs, failure.example, failure.last_at), (1, job_id(9), second(60)));
    assert_eq!(failure.examples, [job_id(9)]);
    assert_eq!((kind.recovered, report.run), (4, kind.run));
    // Each failed at the twelfth second and succeeded at the twenty-fifth.
    let recovery = kind.recovery.unwrap();
    assert!(
        (11.3..14.7).contains(&recovery.p50_seconds) && report.recovery == Some(recovery),
        "{recovery:?}"
    );
    for job in 10..=13 {
        database.tell(dead("mail", job, 60)).await;
    }
    let later = database.store.report(second(-120), second(120)).await.unwrap();
    assert_eq!((later.failures[0].jobs, later.kinds[0].recovered), (5, 4));
    assert_eq!(later.failures[0].examples, [job_id(13), job_id(12), job_id(11)]);
    assert_eq!(database.store.report(second(600), second(1200)).await.unwrap().kinds, []);
}

async fn what_handlers_told_is_kept_once(on: On) {
    let mut database = Database::on(on).await;
    database.tell(vec![accepted("mail", 1, 1), started("mail", 1, 1, 2)]).await;
    let queue = "mail".parse::<QueueName>().unwrap();
    let line = |sequence, message: &str| LogLine {
        queue: queue.clone(),
        job_id: job_id(1),
        attempt: 1,
        sequence,
        at: second(3),
        level: LogLevel::Info,
        message: message.to_owned(),
    };
    let progress = |at, fraction| Progress {
        queue: queue.clone(),
        job_id: job_id(1),
        attempt: 1,
        fraction,
        note: "half\0way".to_owned(),
        at: second(at),
    };
    // Twice in a batch, and again in the next.
    let lines = vec![line(1, "first"), line(2, "second"), line(1, "first")];
    for sequence in [7, 8] {
        let told = vec![progress(5, Some(0.5)), progress(4, None)];
        let message = Message { sequence, events: vec![], progress: told, lines: lines.clone() };
        database.store.apply(vec![message]).await.unwrap();
    }
    let job = database.store.find(job_id(1), None).await.unwrap().remove(0);
    let shown: Vec<_> = job.logs.iter().map(|line| (line.sequence, line.message.as_str())).collect();
    assert_eq!(shown, [(1, "first"), (2, "second")]);
    let progress = job.progress.unwrap();
    assert_eq!((progress.fraction, progress.at), (Some(0.5), second(5)));
    database.tell(vec![event("mail", 1, Transition::Succeeded, 1, 9)]).await;
    assert_eq!(database.store.remove_ended(JobState::Succeeded, second(10), 9).await.unwrap(), 1);
    assert_eq!(database.store.find(job_id(1), None).await.unwrap(), []);
}

async fn silences_and_rejections_are_found(on: On) {
    let mut database = Database::on(on).await;
    let store = &database.store;
    let silence = Silence { rule: Some("oldest_age".to_owned()), subject: None, until: second(50) };
    let ids = [store.silence(&silence, "a").await.unwrap(), store.silence(&silence, "b").await.unwrap()];
    assert!(store.end_silence(ids[0]).await.unwrap() && !store.end_silence(ids[0]).await.unwrap());
    let left: Vec<_> = store.silences(second(49)).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(left, [ids[1]]);
    assert_eq!(store.silences(second(50)).await.unwrap(), []);
    let rejected = Event { claimed_id: Some(job_id(9)), ..event("mail", 3, Transition::Rejected, 0, 4) };
    database.tell(vec![rejected.clone()]).await;
    let (store, sms) = (&database.store, "sms".parse().unwrap());
    assert_eq!(store.rejected(job_id(9), None).await.unwrap(), Some(rejected));
    assert_eq!(store.rejected(job_id(9), Some(&sms)).await.unwrap(), None);
    let all = store.live(&sms, second(9), (0, 1), 10).await.unwrap();
    assert!(all.is_empty());
    database.tell((10..40).map(|job| accepted("sms", job, 1)).collect()).await;
    let mut parts = Vec::new();
    for part in 0..3 {
        parts.extend(database.store.live(&sms, second(9), (part, 3), 100).await.unwrap());
    }
    parts.sort();
    assert_eq!(parts, (10..40).map(job_id).collect::<Vec<_>>());
}

async fn the_log_of_actions_is_told_in_pages_and_goes_by_age(on: On) {
    let database = Database::on(on).await;
    let target = |id: &str| [("id".to_owned(), id.to_owned())].into();
    let mut all = Vec::new();
    for at in 1..=3 {
        let asked = Action::asked("olga", "operator", "cancel", target("a\u{0}b"), "too late");
        let action = Action { at: second(at), ..asked };
        database.store.log_action(&action).await.unwrap();
        all.insert(0, action);
    }
    database.store.end_action(all[2].id, Some(7), "done").await.unwrap();
    (all[2].count, all[2].result) = (Some(7), "done".to_owned());
    assert_eq!(database.store.actions(None, 10).await.unwrap(), all);
    assert_eq!(database.store.actions(None, 2).await.unwrap(), all[..2]);
    assert_eq!(database.store.actions(Some(all[1].id), 2).await.unwrap(), all[2..]);
    assert_eq!(database.store.remove_actions(second(3), 1).await.unwrap(), 1);
    assert_eq!(database.store.remove_actions(second(3), 10).await.unwrap(), 1);
    assert_eq!(database.store.actions(None, 10).await.unwrap(), all[..1]);
}

async fn charts_are_told_from_minutes_and_from_sums_of_hours(on: On) {
    let mut database = Database::on(on).await;
    database.tell([dead("mail", 1, 30), dead("web", 2, 90)].concat()).await;
    database.tell(dead("mail", 3, 2 * 3600)).await;
    let until = 2 * 3600 + 60;
    for (minutes, queue, expected) in [
        (1, None, 3),
        (1, Some("mail"), 2),
        (5, None, 3),
        (5, Some("web"), 1),
        (60, None, 3),
        (60, Some("web"), 1),
    ] {
        let parts = Parts { from: second(0), to: second(until), minutes };
        let course = database.store.course_of(parts, queue).await.unwrap();
        assert_eq!(course.len(), parts.beginnings().len());
        let dead: Vec<_> = course.iter().filter(|part| part.dead > 0).map(|part| part.dead).collect();
        assert_eq!(dead.iter().sum::<u64>(), expected, "{minutes} {queue:?}: {dead:?}");
        assert_eq!(course.iter().map(|part| part.accepted).sum::<u64>(), expected);
        let first = course.iter().find(|part| part.dead > 0).unwrap();
        assert!(first.at <= second(90) && second(90 - 120 * 60) < first.at, "{minutes} {queue:?}: {first:?}");
    }
}

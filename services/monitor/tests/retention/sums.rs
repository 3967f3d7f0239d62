//! Sums of five minutes, of hours and of days, beside those of the minutes.

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};
use windlass_core::Event;
use windlass_monitor::store::{Parts, Store};

use crate::fixture::tables::texts_of;
use crate::fixture::{Database, On, second};
use crate::{dead, on_both};

on_both![a_report_is_the_sum_of_its_minutes, charts_of_five_minutes_are_those_of_the_queues];

/// So many minutes after the first, which is 22:13.
fn at(minute: i64) -> Timestamp {
    second(minute * 60 - 20)
}

/// As figures name it.
fn number(at: Timestamp) -> i64 {
    at.as_second() / 60
}

/// So many jobs of two queues that died, so long after each other.
fn deaths(jobs: i64, seconds: i64) -> Vec<Event> {
    let job = |job: i64| dead(if job % 3 == 0 { "mail" } else { "web" }, job.unsigned_abs(), job * seconds);
    (0..jobs).flat_map(job).collect()
}

/// Whole days stand for pieces of them, and up to the end of a day for what has no end yet: the sums are the same.
async fn a_report_is_the_sum_of_its_minutes(on: On) {
    const LAST: &str = "SELECT CAST(MAX(minute) AS TEXT) FROM figures";
    let mut database = Database::on(on).await;
    database.tell(deaths(60, 4567)).await;
    assert_eq!(texts_of(database.url(), LAST).await, [number(at(4491)).to_string()]);
    // An hour begins with minute 47, and a day with 107.
    for first in [0, 7, 47, 107, 108, 167, 300, 1547, 1600, 4400, 4427, 4491, 4492] {
        for end in [3000, 3107, 4427, 4480, 4491, 4492, 4500, 5867, 6000, 10_000] {
            if end <= first {
                continue;
            }
            let report = database.store.report(at(first), at(end)).await.unwrap();
            assert_eq!((report.from, report.to), (at(first), at(end)));
            let mut told = Vec::new();
            for kind in &report.kinds {
                for (what, count) in [("accepted", kind.accepted), ("dead", kind.dead)] {
                    told.extend((count > 0).then(|| format!("{} {what} {count}", kind.queue)));
                }
            }
            let plain = format!(
                "SELECT queue || ' ' || what || ' ' || CAST(SUM(count) AS TEXT) FROM figures \
                 WHERE minute >= {} AND minute < {} AND what IN ('accepted', 'dead') \
                 GROUP BY queue, what ORDER BY queue, what",
                number(at(first)),
                number(at(end))
            );
            assert_eq!(told, texts_of(database.url(), &plain).await, "{first} {end}");
            let accepted: u64 = report.kinds.iter().map(|kind| kind.accepted).sum();
            let course: u64 = report.course.iter().map(|part| part.accepted).sum();
            assert_eq!(course, accepted, "{first} {end}");
            let summary = database.store.summary(at(first), at(end)).await.unwrap();
            assert_eq!(
                (summary.from, summary.to, &summary.kinds),
                (report.from, report.to, &report.kinds),
                "{first} {end}"
            );
            assert_eq!(summary.failures.len(), report.failures.len(), "{first} {end}");
        }
    }
}

async fn charts_of_five_minutes_are_those_of_the_queues(on: On) {
    let mut database = Database::on(on).await;
    database.tell(deaths(60, 301)).await;
    let parts = Parts { from: second(0), to: second(60 * 301), minutes: 5 };
    let store = &database.store;
    let all = store.course_of(parts, None).await.unwrap();
    assert_eq!(all.iter().map(|part| part.dead).sum::<u64>(), 60);
    let mail = store.course_of(parts, Some("mail")).await.unwrap();
    let web = store.course_of(parts, Some("web")).await.unwrap();
    let mut both = mail.clone();
    for (part, other) in both.iter_mut().zip(&web) {
        part.add(other);
    }
    assert_eq!(all, both);
    // They go by themselves.
    let before = second(9000);
    assert!(store.remove_fives(before, 10_000).await.unwrap() > 0);
    assert_eq!(store.remove_fives(before, 10_000).await.unwrap(), 0);
    for (left, part) in store.course_of(parts, None).await.unwrap().iter().zip(&all) {
        let is_kept = number(left.at) / 5 >= number(before) / 5;
        assert_eq!(left.dead, if is_kept { part.dead } else { 0 }, "{}", left.at);
    }
    assert_eq!(store.course_of(parts, Some("mail")).await.unwrap(), mail);
}

#[tokio::test]
async fn what_an_earlier_version_counted_is_summed_for_two_days() {
    const COUNTED: &str = "INSERT INTO figures (minute, queue, kind, what, bucket, count) VALUES \
         (28333333, 'mail', 'file.digest', 'accepted', 0, 3), (28333334, 'web', 'file.digest', 'accepted', 0, 2), \
         (28333336, 'web', 'file.digest', 'dead', 0, 1), (28330000, 'web', 'file.digest', 'dead', 0, 1)";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitor.db").display().to_string();
    let mut connection = SqliteConnection::connect(&format!("sqlite:{path}?mode=rwc")).await.unwrap();
    let all = sqlx::migrate!("./migrations/sqlite");
    let earlier = all.iter().filter(|migration| migration.version <= 60).cloned().collect();
    sqlx::migrate::Migrator::with_migrations(earlier).run(&mut connection).await.unwrap();
    sqlx::query(COUNTED).execute(&mut connection).await.unwrap();
    drop(connection);
    let store = Store::open(&path).await.unwrap();
    let parts = Parts { from: at(0), to: at(5), minutes: 5 };
    let course = store.course_of(parts, None).await.unwrap();
    let told: Vec<_> = course.iter().map(|part| (part.accepted, part.dead)).collect();
    assert_eq!(told, [(5, 0), (0, 1)]);
    let kept = texts_of(&path, "SELECT CAST(COUNT(*) AS TEXT) FROM figures_by_five").await;
    assert_eq!(kept, ["2"], "the oldest is left out");
    store.close().await;
}

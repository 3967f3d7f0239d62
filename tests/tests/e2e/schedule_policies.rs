//! What schedules do when it does not go as planned, and what is asked of them by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use windlass_core::schedule::{Interval, Misfire, Policy, Rule, Schedule, Spec, Template};
use windlass_core::{JobId, Priority, QueueName, Transition};
use windlass_proto::v1;
use windlass_testkit::{Fleet, PATIENCE};

use super::schedules::apply;

pub(super) async fn cli(fleet: &Fleet, args: &[&str]) -> Result<Value> {
    let shown = fleet.cli(&[args, &["-o", "json"]].concat()).await?;
    serde_json::from_str(&shown).with_context(|| format!("{args:?} printed {shown}"))
}

/// Looks at what a command prints until it is so.
pub(super) async fn until(
    fleet: &Fleet,
    args: &[&str],
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let looking = async {
        loop {
            let shown = cli(fleet, args).await?;
            if holds(&shown) {
                return anyhow::Ok(shown);
            }
        }
    };
    timeout(PATIENCE, looking).await.with_context(|| format!("{args:?}: {what}"))?
}

/// The refusal's exit code stands in the error.
async fn refused(fleet: &Fleet, args: &[&str], code: u8, said: &str) -> Result<()> {
    let error = fleet.cli(args).await.map(|_| ()).expect_err("it is wrong").to_string();
    assert!(error.contains(&format!("exit status: {code}")) && error.contains(said), "{args:?}: {error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_looked_at_without_storing_anything() -> Result<()> {
    // No service runs.
    let fleet = Fleet::start().await?;
    let next = ["schedule", "next"];
    let args = ["30 2 * * *", "--zone", "Europe/Berlin", "--after", "2024-03-30T12:00:00Z", "--count", "2"];
    let shown = cli(&fleet, &[&next[..], &args].concat()).await?;
    assert_eq!(shown, json!(["2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"]));
    let args = ["0 0 12 1 1 ? 2020", "--after", "2024-03-30T12:00:00+02:00"];
    assert_eq!(cli(&fleet, &[&next[..], &args].concat()).await?, json!([]));
    let args = ["@every 1h/15m", "--after", "2024-03-30T12:00:00Z", "--count", "1"];
    assert_eq!(cli(&fleet, &[&next[..], &args].concat()).await?, json!(["2024-03-30T12:15:00Z"]));
    for (expression, said) in [
        ("61 * * * *", "character 1"),
        ("0 0 30 2 *", "a date that exists"),
        ("* * *", "five fields"),
        ("@often", "@daily"),
        ("", "five fields"),
    ] {
        refused(&fleet, &[&next[..], &[expression]].concat(), 2, said).await?;
    }
    refused(&fleet, &["schedule", "next", "@daily", "--zone", "Mars"], 2, "IANA").await?;
    refused(&fleet, &["schedule", "next", "@daily", "--after", "noon"], 2, "after").await?;
    refused(&fleet, &["schedule", "next", "no-such"], 4, "no schedule").await
}

/// What is stored bounds what an expression would name: its start, its end, how often it may fire, a pause.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_schedule_those_instants_are_told_that_it_will_fire() -> Result<()> {
    // No scheduler runs, so none of them fires meanwhile.
    let fleet = Fleet::running().await?;
    let (kind, payload) = ("command.run", json!({"argv": ["true"]}));
    let file = json!([
        {"id": "winter", "kind": kind, "payload": payload, "cron": "30 2 * * *", "zone": "Europe/Berlin",
         "start": "2099-03-28T00:00:00Z", "end": "2099-03-29T23:00:00Z"},
        {"id": "twice", "kind": kind, "payload": payload, "every": "1h", "phase": "15m", "start": "2099-01-01T00:00:00Z",
         "limit": 2},
    ]);
    assert_eq!(apply(&fleet, "two.json", &file.to_string()).await?, ["created", "created"]);
    let next = async |args: &[&str]| cli(&fleet, &[&["schedule", "next"], args].concat()).await;
    // Half past two does not exist on the second day: it fires at the gap's end.
    assert_eq!(next(&["winter"]).await?, json!(["2099-03-28T01:30:00Z", "2099-03-29T01:00:00Z"]));
    assert_eq!(next(&["winter", "--after", "2099-03-28T12:00:00Z"]).await?, json!(["2099-03-29T01:00:00Z"]));
    assert_eq!(next(&["winter", "--count", "1"]).await?, json!(["2099-03-28T01:30:00Z"]));
    assert_eq!(next(&["twice"]).await?, json!(["2099-01-01T00:15:00Z", "2099-01-01T01:15:00Z"]));
    let told = fleet.cli(&["schedule", "next", "winter"]).await?;
    assert!(told.contains("Sat 2099-03-28 02:30:00 +01:00"), "in its own zone: {told}");
    assert!(told.contains("it ends at 2099-03-29T23:00:00Z"), "{told}");
    let told = fleet.cli(&["schedule", "next", "twice"]).await?;
    assert!(told.contains("its limit is 2 fires"), "{told}");
    cli(&fleet, &["schedule", "pause", "twice", "--note", "looked at"]).await?;
    assert_eq!(next(&["twice"]).await?, json!([]));
    let told = fleet.cli(&["schedule", "next", "twice"]).await?;
    assert!(told.contains("paused until somebody resumes it: looked at"), "{told}");
    refused(&fleet, &["schedule", "next", "winter", "--zone", "UTC"], 2, "has its own").await?;
    refused(&fleet, &["schedule", "next", "winter", "--count", "0"], 2, "count").await
}

/// A schedule of every minute as one that was made then, which no file can say.
fn made_at(id: &str, created_at: Timestamp, policy: Policy) -> Result<Schedule<Bytes>> {
    Ok(Schedule {
        id: id.parse()?,
        queue: QueueName::default(),
        task: Template {
            kind: "command.run".parse()?,
            payload: Bytes::from_static(br#"{"argv":["true"]}"#),
            content_type: "application/json".to_owned(),
            priority: Priority::Normal,
            retry: None,
            attempt_timeout: None,
            max_wait: None,
        },
        spec: Spec::from(Rule::Interval(Interval::new(Duration::from_mins(1), Duration::ZERO)?)),
        policy,
        pause: None,
        created_at,
        requests: Vec::new(),
        edits: Vec::new(),
    })
}

/// No scheduler for two hours: what each policy makes of the 120 instants.
#[tokio::test(flavor = "multi_thread")]
async fn after_two_hours_down_each_policy_has_its_exact_count() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    // The instants of the two hours before the last whole minute; not near the next one, which would count as well.
    let now = loop {
        let now = Timestamp::now();
        if now.as_second().rem_euclid(60) < 45 {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let last = Timestamp::from_second(now.as_second().div_euclid(60) * 60)?;
    let created_at = last - SignedDuration::from_hours(2);
    let pace = Duration::from_millis(100);
    let window = Duration::from_mins(30);
    let cases = [
        ("skip", Policy { misfire: Misfire::Skip, ..Policy::default() }, 0),
        ("latest", Policy::default(), 1),
        ("all", Policy { misfire: Misfire::All, ..Policy::default() }, 120),
        ("window", Policy { misfire: Misfire::All, catch_up_window: window, ..Policy::default() }, 30),
        ("paced", Policy { misfire: Misfire::Paced, pace, ..Policy::default() }, 120),
    ];
    let broker = fleet.broker.connect("admin").await?;
    let bucket = broker.bucket(broker.names().schedules_bucket());
    for (id, policy, _) in &cases {
        let value = v1::Schedule::from(&made_at(id, created_at, *policy)?).encode_to_vec();
        bucket.create(id, value.into(), None).await?;
    }
    fleet.service("scheduler").await?;
    for (id, _, fires) in &cases {
        let done = |shown: &Value| {
            let count = |field: &str| shown[field].as_u64().unwrap_or_default();
            count("fires") + count("misfires") >= 120
        };
        let shown = until(&fleet, &["schedule", "show", id], "all instants are done with", done).await?;
        // The minute may have turned since.
        let later = Timestamp::now().as_second().div_euclid(60) - last.as_second().div_euclid(60);
        let on_time = shown["fires"].as_i64().unwrap_or_default() - fires;
        assert!((0..=later).contains(&on_time), "{id}: {shown}");
        assert_eq!(shown["misfires"], json!(120 - fires), "{id}");
    }
    // Each fire is one job.
    let jobs: Vec<JobId> = (1..=120)
        .map(|n| {
            JobId::of_fire(
                &cases[2].0.parse().unwrap_or_else(|_| unreachable!()),
                created_at + SignedDuration::from_mins(n),
            )
        })
        .collect();
    let all = fleet
        .tap
        .until("the jobs of all instants", |all| {
            jobs.iter()
                .all(|job| all.iter().any(|e| e.job_id == *job && e.transition == Transition::Succeeded))
        })
        .await?;
    let mut accepted: BTreeMap<JobId, usize> = BTreeMap::new();
    for event in all.iter().filter(|event| event.transition == Transition::Accepted) {
        *accepted.entry(event.job_id).or_default() += 1;
    }
    assert!(accepted.values().all(|count| *count == 1), "{accepted:?}");
    Ok(())
}

/// A job lasts for several instants. What the leader knows of it, it reads from the job's records.
#[tokio::test(flavor = "multi_thread")]
async fn instants_are_passed_over_while_a_job_is_live_but_not_triggers() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("scheduler").await?;
    let gate = fleet.folder.path().join("gate");
    let wait = format!("until test -e {}; do sleep 0.1; done", gate.display());
    let file = json!({
        "id": "long", "kind": "command.run", "payload": {"argv": ["sh", "-c", wait]}, "every": "1s", "overlap": "skip",
    });
    assert_eq!(apply(&fleet, "long.json", &file.to_string()).await?, ["created"]);
    let skips = |shown: &Value| shown["skipped"].as_u64().is_some_and(|skipped| skipped >= 3);
    let shown = until(&fleet, &["schedule", "show", "long"], "instants are passed over", skips).await?;
    assert_eq!(shown["fires"], 1);

    cli(&fleet, &["schedule", "pause", "long", "--note", "looked at"]).await?;
    let triggered = cli(&fleet, &["schedule", "trigger", "long"]).await?;
    assert_eq!((&triggered["made"], &triggered["passes_over_overlap"]), (&json!(true), &json!("skip")));
    let job: JobId = triggered["job_id"].as_str().context("no job")?.parse()?;
    let started = |all: &[windlass_core::Event]| {
        all.iter().any(|event| event.job_id == job && event.transition == Transition::Started)
    };
    fleet.tap.until("the triggered job runs beside the other", started).await?;

    let history = cli(&fleet, &["schedule", "history", "long"]).await?;
    let entries = history["history"].as_array().context("no history")?;
    let what: Vec<_> = entries.iter().filter_map(|entry| entry["what"].as_str()).collect();
    assert_eq!(what, ["fired", "skipped", "triggered"], "{history}");
    assert_eq!(entries[2]["job_id"], triggered["job_id"]);

    // Once both have ended it fires again.
    std::fs::write(&gate, "")?;
    cli(&fleet, &["schedule", "resume", "long"]).await?;
    let fires = |shown: &Value| shown["fires"].as_u64().is_some_and(|fires| fires >= 3);
    let shown = until(&fleet, &["schedule", "show", "long"], "it fires again", fires).await?;
    let edits = shown["edits"].as_array().context("no edits")?;
    let what: Vec<_> = edits.iter().filter_map(|edit| edit["what"].as_str()).collect();
    assert_eq!(what, ["created", "paused: looked at", "triggered", "resumed"]);
    assert!(edits[0]["by"].as_str().is_some_and(|by| by.starts_with("windlass-cli")), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_pauses_its_schedule_where_that_is_asked_for() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("scheduler").await?;
    let file = json!({
        "id": "bad", "kind": "command.run", "payload": {"argv": ["false"], "fail_on_nonzero": true}, "every": "1s",
        "max_attempts": 1, "overlap": "skip", "pause_on_failure": true,
    });
    apply(&fleet, "bad.json", &file.to_string()).await?;
    let paused = |shown: &Value| shown["paused"] == json!(true);
    let shown = until(&fleet, &["schedule", "show", "bad"], "it is paused", paused).await?;
    let note = shown["pause_note"].as_str().unwrap_or_default();
    assert!(note.starts_with("job ") && note.ends_with(" failed"), "{shown}");
    assert_eq!(shown["fires"], 1);
    // The file does not say whether it is paused: it stays so.
    let again = json!({
        "id": "bad", "kind": "command.run", "payload": {"argv": ["true"]}, "every": "1s",
    });
    assert_eq!(apply(&fleet, "again.json", &again.to_string()).await?, ["updated"]);
    assert_eq!(cli(&fleet, &["schedule", "show", "bad"]).await?["paused"], json!(true));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_shown_first_and_edits_do_not_overwrite_each_other() -> Result<()> {
    let fleet = Fleet::start().await?;
    let one = |id: &str, every: &str| json!({"id": id, "kind": "k", "every": every});
    apply(&fleet, "two.json", &json!([one("a", "1h"), one("b", "1h")]).to_string()).await?;
    let file = fleet.folder.path().join("other.json");
    std::fs::write(&file, json!([one("a", "2h"), one("c", "1h")]).to_string())?;
    let file = file.to_str().context("no text")?;
    let results = |told: &Value| -> Vec<String> {
        let all = told["schedules"].as_array().into_iter().flatten();
        all.map(|s| format!("{} {}", s["id"].as_str().unwrap_or(""), s["result"].as_str().unwrap_or("")))
            .collect()
    };
    let planned = cli(&fleet, &["schedule", "apply", "-f", file, "--prune", "--dry-run"]).await?;
    assert_eq!(results(&planned), ["a updated", "c created", "b deleted"]);
    assert_eq!(planned["schedules"][0]["changes"], json!([{"field": "every", "from": "1h", "to": "2h"}]));
    let names = |listed: &Value| -> Vec<Value> {
        listed["schedules"].as_array().into_iter().flatten().map(|s| s["id"].clone()).collect()
    };
    assert_eq!(names(&cli(&fleet, &["schedule", "list"]).await?), ["a", "b"]);
    let done = cli(&fleet, &["schedule", "apply", "-f", file, "--prune"]).await?;
    assert_eq!(results(&done), results(&planned));
    assert_eq!(names(&cli(&fleet, &["schedule", "list"]).await?), ["a", "c"]);

    let revision = cli(&fleet, &["schedule", "show", "a"]).await?["revision"].to_string();
    let paused = cli(&fleet, &["schedule", "pause", "a", "--for", "1h", "--revision", &revision]).await?;
    assert!(paused["paused_until"].is_string(), "{paused}");
    refused(&fleet, &["schedule", "resume", "a", "--revision", &revision], 1, "has the revision").await?;
    cli(&fleet, &["schedule", "resume", "a"]).await?;
    refused(&fleet, &["schedule", "pause", "nobody"], 4, "no schedule nobody").await?;
    refused(&fleet, &["schedule", "pause", "a", "--until", "2020-01-01T00:00:00Z"], 2, "until").await?;
    // What can never fire is refused, and nothing is changed.
    let past = json!([one("a", "3h"), {"id": "past", "kind": "k", "at": "2020-01-01T00:00:00Z"}]);
    let told = apply(&fleet, "past.json", &past.to_string()).await.expect_err("it is past").to_string();
    assert!(told.contains("exit status: 2") && told.contains("names no instant"), "{told}");
    assert_eq!(cli(&fleet, &["schedule", "show", "a"]).await?["every"], "2h");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_makes_jobs_of_the_instants_that_lack_one() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    fleet.service("scheduler").await?;
    let file = json!({"id": "daily", "kind": "command.run", "payload": {"argv": ["true"]}, "every": "1day"});
    apply(&fleet, "daily.json", &file.to_string()).await?;
    let range = ["--from", "2024-01-01T00:00:00Z", "--until", "2024-01-05T00:00:00Z"];
    let backfill = |more: &[&'static str]| [&["schedule", "backfill", "daily"][..], &range, more].concat();
    let shown = cli(&fleet, &backfill(&["--dry-run", "--reverse"])).await?;
    assert_eq!((&shown["count"], &shown["instants"][0]), (&json!(5), &json!("2024-01-05T00:00:00Z")));
    let begun = cli(&fleet, &backfill(&["--concurrency", "2"])).await?;
    assert_eq!((&begun["begun"], &begun["count"]), (&json!(true), &json!(5)));
    let id = "daily".parse()?;
    let day = |n: i64| format!("2024-01-0{n}T00:00:00Z").parse::<Timestamp>();
    let jobs: Vec<_> = (1..=5).map(|n| Ok(JobId::of_fire(&id, day(n)?))).collect::<Result<_>>()?;
    for job in &jobs {
        fleet.result(*job).await?;
    }
    // None is missing any more, once the monitor knows.
    let none = |shown: &Value| shown["count"] == json!(0);
    until(&fleet, &backfill(&["--dry-run"]), "the monitor knows the jobs", none).await?;
    assert_eq!(cli(&fleet, &backfill(&["--dry-run", "--which", "failed"])).await?["count"], json!(0));
    assert_eq!(cli(&fleet, &backfill(&["--dry-run", "--which", "all"])).await?["count"], json!(5));
    let history = cli(&fleet, &["schedule", "history", "daily"]).await?;
    let made: Vec<_> =
        history["history"].as_array().into_iter().flatten().map(|e| e["job_id"].clone()).collect();
    assert_eq!(made, jobs.iter().map(|job| json!(job)).collect::<Vec<_>>());
    Ok(())
}

//! Schedules over real processes: each instant makes one job, whoever dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use windlass_core::{Event, JobId, ScheduleId, Transition};
use windlass_proto::v1;
use windlass_testkit::{Fleet, PATIENCE};

/// A rule of these tests, as arithmetic that is none of the product's: the seconds since the epoch that leave this rest.
pub(super) struct Rule {
    pub(super) id: ScheduleId,
    period: i64,
    rest: i64,
    /// Since when it counts.
    made_at: Timestamp,
}

// === impl Rule ===

impl Rule {
    /// Of a schedule as it is listed.
    pub(super) fn read(shown: &Value, period: i64, rest: i64) -> Result<Self> {
        let text = |field: &str| shown[field].as_str().with_context(|| format!("no {field}: {shown}"));
        Ok(Self { id: text("id")?.parse()?, period, rest, made_at: text("created_at")?.parse()? })
    }

    pub(super) async fn of(fleet: &Fleet, id: &str, period: i64, rest: i64) -> Result<Self> {
        Self::read(&listed(fleet, id).await?, period, rest)
    }

    /// Its instants up to this one, with the id of each one's job.
    pub(super) fn until(&self, last: Timestamp) -> Vec<(Timestamp, JobId)> {
        let first = self.made_at.as_second() + 1;
        let seconds = (first..=last.as_second()).filter(|s| s.rem_euclid(self.period) == self.rest);
        let instants = seconds.filter_map(|s| Timestamp::from_second(s).ok());
        instants.map(|instant| (instant, JobId::of_fire(&self.id, instant))).collect()
    }

    /// Its first instants.
    pub(super) fn first(&self, count: usize) -> Vec<(Timestamp, JobId)> {
        let seconds = self.period * (i64::try_from(count).unwrap_or(i64::MAX) + 1);
        let mut instants = self.until(after(self.made_at, seconds));
        instants.truncate(count);
        instants
    }

    /// The instants of which a job was accepted.
    pub(super) fn fired(&self, all: &[Event]) -> BTreeSet<Timestamp> {
        let accepted: BTreeSet<_> = of(all, Transition::Accepted).map(|e| e.job_id).collect();
        // A clock that is ahead would fire early: those are to be seen as well.
        let known = self.until(after(Timestamp::now(), 60));
        known.into_iter().filter(|(_, id)| accepted.contains(id)).map(|(instant, _)| instant).collect()
    }
}

pub(super) fn after(instant: Timestamp, seconds: i64) -> Timestamp {
    instant + Duration::from_secs(seconds.unsigned_abs())
}

pub(super) fn of(all: &[Event], transition: Transition) -> impl Iterator<Item = &Event> {
    all.iter().filter(move |e| e.transition == transition)
}

/// Applies a file, and returns what was done with each schedule.
pub(super) async fn apply(fleet: &Fleet, name: &str, text: &str) -> Result<Vec<String>> {
    let file = fleet.folder.path().join(name);
    std::fs::write(&file, text)?;
    let file = file.to_str().context("the folder's name is no text")?;
    let told: Value =
        serde_json::from_str(&fleet.cli(&["schedule", "apply", "-f", file, "-o", "json"]).await?)?;
    let schedules = told["schedules"].as_array().context("no schedules")?;
    Ok(schedules.iter().filter_map(|s| s["result"].as_str()).map(str::to_owned).collect())
}

pub(super) async fn list(fleet: &Fleet) -> Result<Vec<Value>> {
    let told: Value = serde_json::from_str(&fleet.cli(&["schedule", "list", "-o", "json"]).await?)?;
    assert_eq!(told["malformed"], json!([]));
    Ok(told["schedules"].as_array().context("no schedules")?.clone())
}

async fn listed(fleet: &Fleet, id: &str) -> Result<Value> {
    let found = list(fleet).await?.into_iter().find(|schedule| schedule["id"] == id);
    found.with_context(|| format!("schedule {id} is not listed"))
}

/// Waits until the jobs of all these instants have succeeded.
pub(super) async fn succeeded(fleet: &Fleet, fires: &[(Timestamp, JobId)]) -> Result<Vec<Event>> {
    let all_ended = |all: &[Event]| {
        let ended: BTreeSet<_> = of(all, Transition::Succeeded).map(|e| e.job_id).collect();
        fires.iter().all(|(_, id)| ended.contains(id))
    };
    fleet.tap.until(&format!("the end of {fires:?}"), all_ended).await
}

/// One job each, one attempt each, and no job that no instant names.
pub(super) fn assert_one_job_each(all: &[Event], rules: &[Rule]) {
    let last = after(Timestamp::now(), 1);
    let known: BTreeMap<JobId, Timestamp> =
        rules.iter().flat_map(|rule| rule.until(last)).map(|(instant, id)| (id, instant)).collect();
    let mut counts: BTreeMap<(JobId, &str), usize> = BTreeMap::new();
    for event in all {
        let instant = known.get(&event.job_id).unwrap_or_else(|| panic!("a job of no instant: {event:?}"));
        assert!(event.at >= *instant, "too early: {event:?}");
        assert!(event.attempt <= 1, "an attempt too many: {event:?}");
        *counts.entry((event.job_id, event.transition.as_str())).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "said twice: {twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instant_is_one_job_until_the_schedule_is_deleted() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("scheduler").await?;
    let marks = fleet.folder.path().join("marks");
    let file = format!(
        r#"
        [[schedules]]
        id = "interval"
        kind = "command.run"
        payload = {{ argv = ["sh", "-c", "echo x >> {}"] }}
        every = "1s"

        [[schedules]]
        id = "cron"
        kind = "command.run"
        payload = {{ argv = ["true"] }}
        cron = "1-59/2 * * * * *"
        zone = "Europe/Berlin"
        "#,
        marks.display()
    );
    assert_eq!(apply(&fleet, "two.toml", &file).await?, ["created", "created"]);
    assert_eq!(apply(&fleet, "two.toml", &file).await?, ["unchanged", "unchanged"]);
    let mut rules = vec![Rule::of(&fleet, "interval", 1, 0).await?, Rule::of(&fleet, "cron", 2, 1).await?];
    succeeded(&fleet, &[rules[0].first(3), rules[1].first(2)].concat()).await?;

    // What is announced as the next instant comes.
    for rule in &rules {
        let shown = listed(&fleet, rule.id.as_str()).await?;
        let instant = |field: &str| shown[field].as_str().unwrap_or_default().parse::<Timestamp>();
        let (next, last) = (instant("next_at")?, instant("last_at")?);
        assert_eq!(next.as_second() - last.as_second(), rule.period, "{shown}");
        assert_eq!((next.as_second().rem_euclid(rule.period), next.subsec_nanosecond()), (rule.rest, 0));
        assert_eq!(shown["misfires"], 0);
        succeeded(&fleet, &[(next, JobId::of_fire(&rule.id, next))]).await?;
    }

    fleet.cli(&["schedule", "delete", "interval"]).await?;
    let twice = fleet.cli(&["schedule", "delete", "interval"]).await.expect_err("it is gone").to_string();
    assert!(twice.contains("exit status: 4") && twice.contains("no schedule interval"), "{twice}");
    // Changes are followed in their order: once a later schedule fires, the deletion has been seen.
    let later = r#"{"id": "later", "kind": "command.run", "payload": {"argv": ["true"]}, "every": "1s"}"#;
    assert_eq!(apply(&fleet, "later.json", later).await?, ["created"]);
    rules.push(Rule::of(&fleet, "later", 1, 0).await?);
    let [interval, cron, later] = &rules[..] else { unreachable!() };
    fleet.tap.until("a fire of the later schedule", |all| !later.fired(all).is_empty()).await?;
    let seen_by = Timestamp::now();
    let since = |rule: &Rule, all: &[Event]| rule.fired(all).range(seen_by..).count();
    let both_go_on = |all: &[Event]| since(later, all) >= 2 && since(cron, all) >= 1;
    let all = fleet.tap.until("fires of the schedules that are left", both_go_on).await?;
    assert_eq!(since(interval, &all), 0, "the deleted schedule fires");
    let ids: Vec<_> = list(&fleet).await?.iter().map(|schedule| schedule["id"].clone()).collect();
    assert_eq!(ids, ["cron", "later"]);

    // Until then it had one job for each instant, and each ran once.
    let fired = interval.fired(&all);
    let fires = interval.until(*fired.last().context("nothing fired")?);
    assert_eq!(fired.len(), fires.len(), "{fired:?}");
    let all = succeeded(&fleet, &fires).await?;
    assert_eq!(std::fs::read_to_string(marks)?.lines().count(), fires.len());
    assert_one_job_each(&all, &rules);
    Ok(())
}

/// Follows who holds the lease.
pub(super) struct Leaders {
    changes: std::pin::Pin<Box<dyn futures::Stream<Item = Option<v1::LeaderLease>> + Send>>,
}

// === impl Leaders ===

impl Leaders {
    pub(super) async fn watch(fleet: &Fleet) -> Result<Self> {
        let broker = fleet.broker.connect("admin").await?;
        let control = broker.bucket(broker.names().control_bucket());
        let changes = control.watch().await?.map(move |change| {
            // The connection lives as long as it is read.
            let _ = &broker;
            let change = change.ok().filter(|change| change.key == "leader.scheduler")?;
            v1::LeaderLease::decode(change.value?).ok()
        });
        Ok(Self { changes: Box::pin(changes) })
    }

    /// Waits for one of these processes to lead: a holder's name ends with its process and a random word.
    pub(super) async fn next(&mut self, fleet: &mut Fleet, labels: &[&'static str]) -> Result<&'static str> {
        let mut pids = Vec::new();
        for label in labels {
            pids.push((*label, fleet.process(label)?.pid().to_string()));
        }
        let leading = async {
            while let Some(lease) = self.changes.next().await {
                let holder = lease.unwrap_or_default().holder;
                let pid = holder.rsplit('-').nth(1).unwrap_or_default();
                if let Some((label, _)) = pids.iter().find(|(_, p)| p == pid) {
                    return Ok(*label);
                }
            }
            anyhow::bail!("the bucket is not watched any more")
        };
        timeout(PATIENCE, leading).await.with_context(|| format!("none of {labels:?} leads"))?
    }
}

/// Leaders die in the midst of their fires: the next publishes what is in doubt again, and that makes no second job.
#[tokio::test(flavor = "multi_thread")]
async fn killed_leaders_are_replaced_and_no_instant_is_lost_or_doubled() -> Result<()> {
    const SCHEDULES: usize = 30;
    let mut fleet = Fleet::running().await?;
    fleet.set_env("WINDLASS__SCHEDULER__LEASE_TTL", "2s");
    // Few at a time, so that at each moment some fires are done with, some are on their way, and some have not begun.
    fleet.set_env("WINDLASS__SCHEDULER__MAX_CONCURRENT_FIRES", "6");
    let mut leaders = Leaders::watch(&fleet).await?;
    let mut labels = vec!["scheduler", "scheduler-2", "scheduler-3"];
    for label in &labels {
        fleet.service(label).await?;
    }
    let mut leader = leaders.next(&mut fleet, &labels).await?;
    let task = json!({ "argv": ["true"] });
    let file: Vec<_> = (0..SCHEDULES)
        .map(|n| json!({ "id": format!("s{n}"), "kind": "command.run", "payload": task, "every": "1s" }))
        .collect();
    assert_eq!(apply(&fleet, "all.json", &json!(file).to_string()).await?.len(), SCHEDULES);
    let mut rules = Vec::new();
    for shown in list(&fleet).await? {
        rules.push(Rule::read(&shown, 1, 0)?);
    }
    let begun: Vec<_> = rules.iter().flat_map(|rule| rule.first(2)).collect();
    succeeded(&fleet, &begun).await?;

    let admin = fleet.broker.client("admin").await?;
    // A fire stores its intent, publishes, and stores its end: one leader dies at a publish, one at a cursor's write.
    for sign in ["windlass.task.>", "$KV.windlass_cursors.>"] {
        let mut signs = admin.subscribe(sign).await?;
        for _ in 0..SCHEDULES / 3 {
            admin.next(&mut signs).await?;
        }
        fleet.kill9(leader).await?;
        labels.retain(|label| *label != leader);
        leader = leaders.next(&mut fleet, &labels).await?;
    }

    let last = after(Timestamp::now(), 2);
    let fires: Vec<_> = rules.iter().flat_map(|rule| rule.until(last)).collect();
    let all = succeeded(&fleet, &fires).await?;
    assert_one_job_each(&all, &rules);
    for shown in list(&fleet).await? {
        assert_eq!(shown["misfires"], 0, "{shown}");
    }
    // In a pause instants are late by a lease's time and little more; a slow machine adds to that.
    let instants: BTreeMap<_, _> = fires.iter().map(|(instant, id)| (*id, *instant)).collect();
    let late = of(&all, Transition::Accepted)
        .filter_map(|e| Some(e.at.duration_since(*instants.get(&e.job_id)?).unsigned_abs()))
        .max();
    assert!(late.is_some_and(|late| late < Duration::from_secs(10)), "{late:?}");
    assert_eq!(fleet.take(leader)?.stop().await?.code(), Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_with_the_field_and_its_form_and_changes_nothing() -> Result<()> {
    let fleet = Fleet::start().await?;
    let good = "[[schedules]]\nid = \"good\"\nkind = \"k\"\nevery = \"1m\"\n";
    for (bad, said) in [
        ("kind = \"k\"\nevery = \"0s\"", ["every", "PT30S"]),
        ("kind = \"k\"\nevery = \"500ms\"", ["every", "at least 1s"]),
        ("kind = \"k\"\nevery = \"99999999h\"", ["every", "at most 100 years"]),
        ("kind = \"k\"\nevery = \"soon\"", ["every", "PT30S"]),
        ("kind = \"k\"\ncron = \"61 * * * *\"", ["cron.minute", "0 to 59"]),
        ("kind = \"k\"\ncron = \"* * *\"", ["cron", "fields"]),
        ("kind = \"k\"\ncron = \"* * * * *\"\nzone = \"Mars/Base\"", ["zone", "IANA"]),
        ("kind = \"k\"\nevery = \"1m\"\nzone = \"UTC\"", ["zone", "expected with `cron` or `exclude` only"]),
        ("kind = \"k\"", ["cron", "expected `cron`, `every` or `at`"]),
        ("kind = \"k\"\nevery = \"1m\"\nmax_attempts = 0", ["max_attempts", "1 to 1000"]),
        ("kind = \"two words\"\nevery = \"1m\"", ["kind", "expected"]),
        ("every = \"1m\"", ["kind", "missing"]),
        ("kind = \"k\"\nevery = \"1m\"\ntypo = 1", ["typo", "expected one of"]),
    ] {
        let text = format!("{good}[[schedules]]\nid = \"bad\"\n{bad}\n");
        let refused = apply(&fleet, "bad.toml", &text).await.expect_err("it is bad").to_string();
        assert!(refused.contains("exit status: 2"), "{bad}: {refused}");
        let told = refused.contains("bad.toml") && refused.contains("nothing was changed");
        assert!(told && said.iter().all(|word| refused.contains(word)), "{bad}: {refused}");
    }
    assert_eq!(list(&fleet).await?, Vec::<Value>::new());
    // The good one alone is good.
    assert_eq!(apply(&fleet, "good.toml", good).await?, ["created"]);
    Ok(())
}

/// The value of a metric without labels, as text; empty if there is none.
pub(super) async fn metric(service: &str, name: &str) -> Result<String> {
    let all = reqwest::get(format!("{service}/metrics")).await?.text().await?;
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.unwrap_or_default().to_owned())
}

/// The broker is away for longer than a lease: schedules are kept, and what came due meanwhile fires late.
#[tokio::test(flavor = "multi_thread")]
async fn schedules_survive_a_broker_that_dies_and_go_on() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("scheduler").await?;
    let file = json!([
        {"id": "interval", "kind": "command.run", "payload": {"argv": ["true"]}, "every": "1s"},
        {"id": "cron", "kind": "command.run", "payload": {"argv": ["true"]}, "cron": "*/2 * * * * *"},
    ]);
    assert_eq!(apply(&fleet, "two.json", &file.to_string()).await?, ["created", "created"]);
    let rules = [Rule::of(&fleet, "interval", 1, 0).await?, Rule::of(&fleet, "cron", 2, 0).await?];
    succeeded(&fleet, &[rules[0].first(2), rules[1].first(1)].concat()).await?;
    let before = list(&fleet).await?;

    let scheduler = fleet.process("scheduler")?.http().await?;
    fleet.broker.kill9().await?;
    let lease_ends = async {
        while metric(&scheduler, "windlass_scheduler_leader").await? != "0" {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, lease_ends).await.context("the scheduler still leads")??;
    fleet.broker.restart().await?;
    let back_at = Timestamp::now();

    // Events that came before this connection was back were not heard; a later instant's are.
    let goes_on = |all: &[Event]| rules.iter().all(|r| r.fired(all).range(after(back_at, 1)..).count() >= 1);
    let all = fleet.tap.until("a fire of each after the restart", goes_on).await?;
    let mut expected = BTreeSet::new();
    for rule in &rules {
        let last = *rule.fired(&all).last().context("nothing fired")?;
        for (_, id) in rule.until(last) {
            fleet.result(id).await?;
            expected.insert(id.to_string());
        }
    }
    // Nothing else was made, but for what has fired since.
    let since: BTreeSet<_> = rules
        .iter()
        .flat_map(|r| r.until(after(Timestamp::now(), 1)))
        .map(|(_, id)| id.to_string())
        .collect();
    let subjects = fleet.broker.client("admin").await?.subjects("JOBS").await?;
    let subjects = subjects.as_object().context("no subjects")?;
    let ids: BTreeSet<_> = subjects.keys().filter_map(|s| s.rsplit('.').next()).map(str::to_owned).collect();
    assert!(expected.is_subset(&ids) && ids.is_subset(&since), "{ids:?}");
    for (before, now) in before.iter().zip(list(&fleet).await?) {
        for field in ["id", "created_at", "revision", "every", "cron"] {
            assert_eq!(before[field], now[field]);
        }
        assert_eq!(now["misfires"], 0, "{now}");
    }
    Ok(())
}

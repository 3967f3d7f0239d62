//! `windlass bench`: every figure comes from jobs that ended.

mod flow;

use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use windlass_broker::provision::Layout;
use windlass_testkit::postgres::PASSWORD;
use windlass_testkit::process::{Signal, signal};
use windlass_testkit::{Cluster, PATIENCE, TestBroker, TestPostgres, program};

/// JetStream's word for it.
const STREAM_NOT_FOUND: u64 = 10_059;

/// Runs it. Each measurement of jobs that succeeds is told beside both floors.
async fn bench(args: &[&str]) -> Result<(Option<i32>, Value)> {
    let mut command = Command::new(program("windlass").await?);
    command.arg("bench").args(args).args(["-o", "json"]).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE * 3, command.output()).await??;
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
    if output.status.success() && answer["events_per_second"].is_null() {
        for one in answer["points"].as_array().unwrap_or(&vec![answer.clone()]) {
            positive(one, "/protocol_floor_per_second")?;
            positive(one, "/three_publish_floor_per_second")?;
        }
    }
    Ok((output.status.code(), answer))
}

fn positive(report: &Value, field: &str) -> Result<f64> {
    let value =
        report.pointer(field).and_then(Value::as_f64).with_context(|| format!("no {field} in {report}"))?;
    anyhow::ensure!(value > 0.0, "{field} is {value}");
    Ok(value)
}

/// Whose CPU is told, in the order of the alphabet.
fn processes(report: &Value) -> Result<Vec<&str>> {
    let shares = report["processes"].as_array().context("no processes")?;
    let mut names: Vec<_> = shares.iter().filter_map(|share| share["process"].as_str()).collect();
    names.sort_unstable();
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn throughput_is_told_beside_its_floors() -> Result<()> {
    let args = ["throughput", "--jobs", "400", "--queues", "3", "--monitor", "on", "--concurrency", "50"];
    let (code, report) = bench(&args).await?;
    assert_eq!(code, Some(0), "{report}");
    let rate = positive(&report, "/jobs_per_second")?;
    let floor = positive(&report, "/protocol_floor_per_second")?;
    let ratio = positive(&report, "/ratio_to_protocol_floor")?;
    assert!((ratio - rate / floor).abs() < 1e-6, "{report}");
    for field in
        ["/three_publish_floor_per_second", "/cpu_seconds_per_1000_jobs", "/wait/p50_ms", "/submit/p99_ms"]
    {
        positive(&report, field)?;
    }
    assert_eq!((&report["jobs"], &report["settings"]["queues"]), (&400.into(), &3.into()));
    assert_eq!(processes(&report)?, ["bench-worker", "broker", "client", "dispatcher", "monitor"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_delay_and_idleness_are_told() -> Result<()> {
    let (code, report) = bench(&["latency", "--rate", "200", "--jobs", "100"]).await?;
    assert_eq!(code, Some(0), "{report}");
    positive(&report, "/wait/p50_ms")?;
    let (code, report) = bench(&["delayed", "--jobs", "50", "--in", "2s", "--short", "40"]).await?;
    assert_eq!(code, Some(0), "{report}");
    // As the broker's timers tick; short delays do not wait for them.
    positive(&report, "/late/p50_ms")?;
    positive(&report, "/short_late/p50_ms")?;
    let (code, report) = bench(&["idle", "--for", "200ms"]).await?;
    assert_eq!(code, Some(0), "{report}");
    positive(&report, "/processes/0/resident_memory_mb")?;
    // They lie beside that of the measurement.
    let beside = program("windlass").await?.parent().map(|folder| json!(folder));
    assert_eq!(Some(&report["programs"]), beside.as_ref());
    assert_eq!(processes(&report)?, ["broker", "client", "dispatcher", "scheduler", "worker"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_fire_as_they_are_due() -> Result<()> {
    let args = [
        "schedules",
        "--schedules",
        "400",
        "--burst",
        "50",
        "--rate",
        "20",
        "--for",
        "3s",
        "--overlap",
        "skip",
    ];
    let (code, report) = bench(&args).await?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!((&report["burst"]["fires"], &report["steady"]["fires"]), (&50.into(), &60.into()), "{report}");
    for field in ["/first_fire_seconds", "/idle_memory_mb", "/burst/late/p50_ms", "/steady/late/p99_ms"] {
        positive(&report, field)?;
    }
    assert_eq!(processes(&report)?, ["bench-worker", "broker", "client", "dispatcher", "scheduler"]);
    let (code, said) = bench(&["schedules", "--schedules", "10", "--burst", "10"]).await?;
    assert!(code == Some(2) && said.to_string().contains("--schedules"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_is_compared_to_bare_inserts() -> Result<()> {
    let (code, report) = bench(&["projection", "--jobs", "2000"]).await?;
    assert_eq!((code, &report["events"]), (Some(0), &6000.into()), "{report}");
    let rate = positive(&report, "/events_per_second")?;
    let bare = positive(&report, "/bare_inserts_events_per_second")?;
    let ratio = positive(&report, "/ratio_to_bare_inserts")?;
    assert!((ratio - rate / bare).abs() < 1e-6, "{report}");
    assert_eq!(report["database"], "sqlite", "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_into_postgres_leaves_nothing_there() -> Result<()> {
    let mut server = TestPostgres::start().await?;
    let url = server.database().await?;
    let (code, report) = bench(&["projection", "--jobs", "2000", "--database", &url]).await?;
    assert_eq!((code, &report["events"]), (Some(0), &6000.into()), "{report}");
    assert_eq!(report["database"], "postgres", "{report}");
    for field in ["/events_per_second", "/bare_inserts_events_per_second", "/database_bytes_per_job"] {
        positive(&report, field)?;
    }
    assert_eq!(server.databases().await?, ["postgres", "template0", "template1", "test_0"]);
    // Nobody answers there any more.
    server.stop()?;
    let (code, message) = bench(&["projection", "--jobs", "1000", "--database", &url]).await?;
    let message = message.to_string();
    assert!(code != Some(0) && !message.contains(PASSWORD), "{code:?} {message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_told_by_the_records_of_their_attempts() -> Result<()> {
    let args = ["retries", "--jobs", "60", "--failures", "2", "--delay", "300ms"];
    let (code, report) = bench(&args).await?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["retries"], 120, "two of each job: {report}");
    let jobs = positive(&report, "/jobs_per_second")?;
    let attempts = positive(&report, "/attempts_per_second")?;
    assert!((attempts - 3.0 * jobs).abs() < 1e-6 * attempts, "{report}");
    // They take at least the two delays of the last one.
    assert!(jobs < 60.0 / 0.6, "{report}");
    let (p50, max) = (positive(&report, "/late/p50_ms")?, positive(&report, "/late/max_ms")?);
    assert!(p50 <= max, "{report}");
    positive(&report, "/cpu_seconds_per_1000_attempts")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_compared_to_a_smaller_one() -> Result<()> {
    let args = ["backlog", "--jobs", "600", "--small", "100", "--probe", "80", "--queues", "2"];
    let (code, report) = bench(&args).await?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!((&report["small"]["jobs"], &report["large"]["jobs"]), (&100.into(), &600.into()));
    for (ratio, figure) in [
        ("submit_per_second", "submit_per_second"),
        ("submit_p99", "submit/p99_ms"),
        ("cold_start", "cold_start_seconds"),
        ("drain_per_second", "drain_per_second"),
    ] {
        let large = positive(&report, &format!("/large/{figure}"))?;
        let small = positive(&report, &format!("/small/{figure}"))?;
        let told = positive(&report, &format!("/ratios/{ratio}"))?;
        assert!((told - large / small).abs() < 1e-6 * told, "{ratio}: {report}");
    }
    for process in ["dispatcher-filling", "dispatcher", "bench-worker", "broker"] {
        positive(&report, &format!("/ratios/peak_memory/{process}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_ends_with_its_last_child() -> Result<()> {
    let (code, report) = bench(&["fan-out", "--children", "300", "--queues", "2"]).await?;
    assert_eq!(code, Some(0), "{report}");
    let (all, submitting) = (positive(&report, "/seconds")?, positive(&report, "/submitting_seconds")?);
    let rate = positive(&report, "/children_per_second")?;
    assert!((rate * all - 300.0).abs() < 1e-3, "{report}");
    // A child that its handler submitted last cannot have ended long before all were accepted.
    assert!(all > submitting / 2.0, "{report}");
    positive(&report, "/wait/p50_ms")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_run_again() -> Result<()> {
    let (code, report) = bench(&["recovery", "--running", "40", "--ack-wait", "3s"]).await?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["crashed"], 40, "each has lost an attempt: {report}");
    let recovered = positive(&report, "/recovered_seconds")?;
    // The last sign of life came at most a third of the lease before the death.
    assert!(recovered > 1.0, "{report}");
    let beyond = report["beyond_ack_wait_seconds"].as_f64().context("a number")?;
    assert!((recovered - 3.0 - beyond).abs() < 1e-6, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_are_one_broker() -> Result<()> {
    let args = ["throughput", "--jobs", "200", "--durability", "r3"];
    let (code, report) = bench(&args).await?;
    assert_eq!(code, Some(0), "{report}");
    positive(&report, "/jobs_per_second")?;
    positive(&report, "/ratio_to_protocol_floor")?;
    assert_eq!(report["settings"]["durability"], "r3");
    let names = processes(&report)?;
    assert_eq!(names, ["bench-worker", "broker-1", "broker-2", "broker-3", "client", "dispatcher"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_cluster_gets_three_copies() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let client = cluster.client().await?;
    let mut child = idle(&["--durability", "r3", "--nats-url", &cluster.url()], None).await?;
    // While there is no leader nobody answers.
    let info = async |stream: &str| {
        let answer = client.api(&format!("STREAM.INFO.{stream}"), &json!({})).await;
        answer.unwrap_or_default()
    };
    let streams = ["windlass-bench_TASKS", "windlass-bench_JOBS", "KV_windlass-bench_control"];
    for stream in streams {
        let three = async || match info(stream).await["config"]["num_replicas"].as_u64() {
            Some(copies) if copies != 3 => anyhow::bail!("{stream} has {copies} copies"),
            copies => Ok(copies.is_some()),
        };
        until(&mut child, three).await?;
    }
    assert_eq!(terminate(child).await?, Some(1));
    for stream in streams {
        let gone = async || Ok(info(stream).await["error"]["err_code"] == STREAM_NOT_FOUND);
        held(gone).await.with_context(|| format!("{stream} is left"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_measurement_that_does_not_end_well() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("a path")?;
    let left = || -> Result<Vec<_>> { Ok(std::fs::read_dir(path)?.collect::<Result<_, _>>()?) };
    let mut command = Command::new(program("windlass").await?);
    command.args(["bench", "delayed", "--jobs", "500", "--in", "1ms"]).env("TMPDIR", path);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await??;
    assert_eq!(output.status.code(), Some(2));
    assert!(left()?.is_empty(), "{:?}", left()?);

    let mut child = idle(&[], Some(path)).await?;
    let started = async || {
        let is_there = |entry: &std::fs::DirEntry| entry.path().join("run/bench-worker.address").exists();
        Ok(left()?.iter().any(is_there))
    };
    until(&mut child, started).await?;
    assert_eq!(terminate(child).await?, Some(1));
    assert!(left()?.is_empty(), "{:?}", left()?);
    Ok(())
}

/// A measurement that lasts until it is told to stop, with its folders here.
async fn idle(args: &[&str], folder: Option<&str>) -> Result<Child> {
    let mut command = Command::new(program("windlass").await?);
    command.args(["bench", "idle", "--for", "1h"]).args(args).kill_on_drop(true);
    command.envs(folder.map(|folder| ("TMPDIR", folder)));
    Ok(command.stderr(Stdio::null()).spawn()?)
}

/// Until this holds, while the measurement goes on.
async fn until(child: &mut Child, holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    tokio::select! {
        outcome = held(holds) => outcome,
        status = child.wait() => anyhow::bail!("it ended with {}", status?),
    }
}

/// Until this holds.
async fn held(holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let asking = async {
        while !holds().await? {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, asking).await?
}

async fn terminate(mut child: Child) -> Result<Option<i32>> {
    signal(child.id().context("it runs")?, Signal::TERM).await?;
    Ok(tokio::time::timeout(PATIENCE, child.wait()).await??.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_broker_is_left_as_it_was() -> Result<()> {
    let broker = TestBroker::start().await?;
    let client = broker.client("test").await?;
    let streams = async || -> Result<Vec<String>> {
        let answer = client.api("STREAM.NAMES", &json!({})).await?;
        Ok(serde_json::from_value(answer["streams"].clone()).unwrap_or_default())
    };
    let layout = Layout::default();
    let fleet = broker.provision(&layout).await?;
    let before = streams().await?;
    assert!(!before.is_empty());

    let (code, report) = bench(&["throughput", "--jobs", "150", "--nats-url", broker.url()]).await?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(
        (&report["settings"]["broker"], &report["settings"]["durability"]),
        (&"given".into(), &Value::Null)
    );
    assert_eq!(processes(&report)?, ["bench-worker", "client", "dispatcher"], "its CPU is not ours to count");
    assert_eq!(streams().await?, before, "all is removed, and nothing else");

    // A measurement that fails cleans up, too.
    let args = ["delayed", "--jobs", "500", "--in", "1ms", "--nats-url", broker.url()];
    let (code, said) = bench(&args).await?;
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(streams().await?, before);

    // So does one that is told to stop.
    let mut child = idle(&["--nats-url", broker.url()], None).await?;
    until(&mut child, async || Ok(streams().await? != before)).await?;
    assert_eq!(terminate(child).await?, Some(1));
    assert_eq!(streams().await?, before);

    // What is there is somebody's.
    let namespace = fleet.names().namespace();
    let args = ["latency", "--jobs", "10", "--nats-url", broker.url(), "--namespace", namespace];
    let (code, said) = bench(&args).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.to_string().contains("--namespace") && said.to_string().contains("TASKS"), "{said}");
    assert_eq!(streams().await?, before, "what it did not make it does not remove");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_drawn() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plot = folder.path().join("plot.svg");
    let path = plot.to_str().context("a path")?;
    let args = ["throughput", "--jobs", "100", "--sweep", "queues=1,3", "--plot", path];
    let (code, report) = bench(&args).await?;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["sweep"], "queues");
    for (at, value) in [(0, 1), (1, 3)] {
        let point = &report["points"][at];
        assert_eq!((&point["value"], &point["settings"]["queues"]), (&value.into(), &value.into()));
        positive(point, "/jobs_per_second")?;
        positive(point, "/protocol_floor_per_second")?;
    }
    let svg = std::fs::read_to_string(&plot)?;
    assert!(svg.starts_with("<svg") && svg.contains("queues") && svg.contains("the protocol floor"), "{svg}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_is_said() -> Result<()> {
    for (args, option) in [
        (&["throughput", "--queues", "0"][..], "--queues"),
        (&["latency", "--outcome-ttl", "1s"], "--outcome-ttl"),
        (&["backlog", "--jobs", "10", "--small", "10"], "--small"),
        (&["recovery", "--ack-wait", "1ms"], "--ack-wait"),
        (&["retries", "--delay", "1h"], "--delay"),
        (&["throughput", "--sweep", "jobs=1,2"], "--sweep"),
        (&["throughput", "--sweep", "queues=1,0"], "--queues"),
        (&["throughput", "--plot", "plot.svg"], "--sweep"),
        (&["throughput", "--sweep", "queues=1,2", "--plot", "/nowhere/plot.svg"], "/nowhere/plot.svg"),
        (&["idle", "--nats-url", "nats://127.0.0.1:1", "--durability", "always"], "--durability"),
        (&["idle", "--programs", "/nowhere"], "--programs"),
    ] {
        let (code, said) = bench(args).await?;
        assert_eq!(code, Some(if option.starts_with('/') { 1 } else { 2 }), "{args:?}: {said}");
        assert!(said.to_string().contains(option), "{args:?}: {said}");
    }
    let (code, said) = bench(&["delayed", "--jobs", "2000", "--in", "1ms"]).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.to_string().contains("--in"), "{said}");
    Ok(())
}

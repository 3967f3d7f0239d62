//! `windlass bench`: every figure comes from jobs that ended.

use anyhow::{Context as _, Result};
use serde_json::Value;
use windlass_testkit::PATIENCE;
use windlass_testkit::program;

async fn bench(args: &[&str]) -> Result<(Option<i32>, Value)> {
    let mut command = tokio::process::Command::new(program("windlass").await?);
    command.arg("bench").args(args).args(["-o", "json"]).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE * 3, command.output()).await??;
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
    Ok((output.status.code(), answer))
}

fn positive(report: &Value, field: &str) -> Result<f64> {
    let value =
        report.pointer(field).and_then(Value::as_f64).with_context(|| format!("no {field} in {report}"))?;
    anyhow::ensure!(value > 0.0, "{field} is {value}");
    Ok(value)
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
    let mut names: Vec<_> = report["processes"]
        .as_array()
        .context("no processes")?
        .iter()
        .filter_map(|p| p["process"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["bench-worker", "broker", "client", "dispatcher", "monitor"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_delay_and_idleness_are_told() -> Result<()> {
    let (code, report) = bench(&["latency", "--rate", "200", "--jobs", "100"]).await?;
    assert_eq!(code, Some(0), "{report}");
    positive(&report, "/wait/p50_ms")?;
    let (code, report) = bench(&["delayed", "--jobs", "50", "--in", "2s"]).await?;
    assert_eq!(code, Some(0), "{report}");
    // As the broker's timers tick.
    positive(&report, "/late/p50_ms")?;
    let (code, report) = bench(&["idle", "--for", "200ms"]).await?;
    assert_eq!(code, Some(0), "{report}");
    positive(&report, "/processes/0/resident_memory_mb")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_is_said() -> Result<()> {
    let (code, said) = bench(&["throughput", "--queues", "0"]).await?;
    assert_eq!(code, Some(2));
    assert!(said.to_string().contains("--queues"), "{said}");
    let (code, said) = bench(&["delayed", "--jobs", "2000", "--in", "1ms"]).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.to_string().contains("--in"), "{said}");
    Ok(())
}

//! What flow control costs whom.

use anyhow::Result;

use super::{bench, positive};

#[tokio::test(flavor = "multi_thread")]
async fn what_few_jobs_wait_is_told_alone_and_beside_others() -> Result<()> {
    let args =
        ["fairness", "--jobs", "600", "--few", "3", "--rounds", "2", "--takes", "5ms", "--running", "2"];
    let (code, report) = bench(&args).await?;
    assert_eq!(code, Some(0), "{report}");
    let (alone, beside) = (positive(&report, "/idle/p99_ms")?, positive(&report, "/loaded/p99_ms")?);
    assert!((positive(&report, "/ratio_p99")? - beside / alone).abs() < 1e-6, "{report}");
    // At their end those of the other would have taken a second and a half.
    assert!(beside < 1500.0, "{report}");
    positive(&report, "/decided_per_second")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_dispatcher_goes_on_where_one_was_killed() -> Result<()> {
    let (code, report) = bench(&["takeover", "--jobs", "500", "--takes", "100ms", "--running", "1"]).await?;
    assert_eq!(code, Some(0), "{report}");
    let gap = positive(&report, "/gap_seconds")?;
    assert!(gap > 0.5, "nothing starts while there is no dispatcher: {report}");
    positive(&report, "/starts")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_without_limits_is_measured_alone_and_beside_others() -> Result<()> {
    let args = ["beside", "--jobs", "300", "--limited", "2", "--waiting", "100", "--takes", "30ms"];
    let (code, report) = bench(&[&args[..], &["--runs", "1", "--concurrency", "50"]].concat()).await?;
    assert_eq!(code, Some(0), "{report}");
    let (alone, beside) = (positive(&report, "/alone_per_second")?, positive(&report, "/beside_per_second")?);
    assert!((positive(&report, "/ratio")? - beside / alone).abs() < 1e-6, "{report}");
    positive(&report, "/limited_per_second")?;
    Ok(())
}

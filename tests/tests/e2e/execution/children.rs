//! Jobs that a handler submits are cancelled with its own, unless they are detached.

use anyhow::Result;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use windlass::{Client, Failure, Handlers, JobId, JobState, State};
use windlass_core::Transition;

use super::{Alpha, Beta, fleet, host};

async fn parent(_: Alpha, client: Client) -> Result<(), Failure> {
    let hour = Duration::from_secs(3600);
    client.task(&Beta::new("scheduled")).delay(hour).submit().await?;
    client.task(&Beta::new("unserved")).queue("nobody").submit().await?;
    client.task(&Beta::new("running")).submit().await?;
    client.task(&Beta::new("detached")).delay(hour).detached().submit().await?;
    std::future::pending().await
}

async fn child(_: Beta, client: Client) -> Result<(), Failure> {
    client.task(&Beta::new("grandchild")).delay(Duration::from_secs(3600)).submit().await?;
    std::future::pending().await
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_cancelled_with_their_parent() -> Result<()> {
    let fleet = fleet().await?;
    let _worker = host(&fleet, Handlers::new().register(parent)?.register(child)?).await?;
    let id = fleet.client.submit(&Alpha::new("x")).await?.id;
    // The parent, three children, the one that is detached, and a grandchild.
    let accepted = |all: &[windlass_core::Event]| {
        all.iter().filter(|e| e.transition == Transition::Accepted).map(|e| e.job_id).collect::<Vec<_>>()
    };
    let all = fleet.tap.until("six jobs", |all| accepted(all).len() == 6).await?;
    crate::support::order(&fleet, "default", "cancel", id).await?;
    let cancelled = |all: &[windlass_core::Event]| {
        let ends = all.iter().filter(|e| e.transition == Transition::Cancelled);
        ends.map(|e| e.job_id).collect::<std::collections::HashSet<_>>()
    };
    let ended = fleet.tap.until("five ends", |all| cancelled(all).len() == 5).await?;
    let words: Vec<_> = ended
        .iter()
        .filter(|e| e.transition == Transition::Cancelled && e.job_id != id)
        .map(|e| e.note.contains("its parent, the job"))
        .collect();
    assert!(words.iter().all(|named| *named), "{words:?}");
    let left: Vec<JobId> = accepted(&all).into_iter().filter(|id| !cancelled(&ended).contains(id)).collect();
    assert_eq!(left.len(), 1, "the one that is detached goes on");
    let view: Value =
        serde_json::from_str(&fleet.cli(&["job", "cancel", &left[0].to_string(), "-o", "json"]).await?)?;
    assert_eq!(view["cancelled"], true, "it was there to be cancelled");
    Ok(())
}

/// A child that comes after its parent's cancellation does not run either.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_child_finds_its_parent_cancelled() -> Result<()> {
    let mut fleet = fleet().await?;
    let client = std::sync::Arc::new(tokio::sync::Mutex::new(None::<Client>));
    let handle = {
        let kept = std::sync::Arc::clone(&client);
        async move |_: Alpha, client: Client| -> Result<(), Failure> {
            *kept.lock().await = Some(client);
            std::future::pending().await
        }
    };
    // A closure is a handler, too, if its future can be sent.
    let handle = move |job: Alpha, client: Client| {
        let handle = handle.clone();
        Box::pin(async move { handle(job, client).await })
            as std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>
    };
    let _worker = host(&fleet, Handlers::new().register(handle)?).await?;
    let id = fleet.client.submit(&Alpha::new("x")).await?.id;
    fleet.tap.heard(id, Transition::Started).await?;
    crate::support::order(&fleet, "default", "cancel", id).await?;
    assert_eq!(fleet.ended(id).await?.state, JobState::Cancelled);
    fleet.tap.heard(id, Transition::Cancelled).await?;
    fleet.take("dispatcher")?.stop().await?;
    fleet.service("dispatcher").await?;
    let client = client.lock().await.clone().ok_or_else(|| anyhow::anyhow!("no client"))?;
    let late = client.task(&Beta::new("late")).delay(Duration::from_secs(3600)).submit().await?.id;
    assert_eq!(fleet.ended(late).await?.state, JobState::Cancelled);
    Ok(())
}

/// A handler that cancels its own job: its children are cancelled at once, as if an operator had done it.
#[tokio::test(flavor = "multi_thread")]
async fn children_are_cancelled_by_a_parent_that_cancels_itself() -> Result<()> {
    async fn withdraw(_: Alpha, client: Client, State(gate): State<Arc<Semaphore>>) -> Result<(), Failure> {
        let hour = Duration::from_secs(3600);
        client.task(&Beta::new("scheduled")).delay(hour).submit().await?;
        client.task(&Beta::new("unserved")).queue("nobody").submit().await?;
        client.task(&Beta::new("detached")).delay(hour).detached().submit().await?;
        let _opened = gate.acquire().await;
        Err(Failure::cancel("the order was withdrawn"))
    }
    let fleet = fleet().await?;
    let gate = Arc::new(Semaphore::new(0));
    let _worker = host(&fleet, Handlers::with_state(Arc::clone(&gate)).register(withdraw)?).await?;
    let id = fleet.client.submit(&Alpha::new("x")).await?.id;
    let accepted =
        |all: &[windlass_core::Event]| all.iter().filter(|e| e.transition == Transition::Accepted).count();
    // They stand before their parent ends, so none of them can find it cancelled by itself.
    fleet.tap.until("four jobs", |all| accepted(all) == 4).await?;
    gate.add_permits(1);
    let of_children = |all: &[windlass_core::Event]| {
        let ends = all.iter().filter(|e| e.transition == Transition::Cancelled && e.job_id != id);
        ends.map(|e| e.note.clone()).collect::<Vec<_>>()
    };
    let all = fleet.tap.until("two ends", |all| of_children(all).len() == 2).await?;
    assert!(of_children(&all).iter().all(|note| note.contains(&format!("its parent, the job {id}"))));
    assert_eq!(fleet.ended(id).await?.state, JobState::Cancelled);
    Ok(())
}

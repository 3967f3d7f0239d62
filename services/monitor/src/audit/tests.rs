//! The audit on a real broker, with the rights that the monitor has.

use std::collections::BTreeSet;

use windlass_broker::Names;
use windlass_broker::provision::Layout;
use windlass_core::{Event, Kind, PoolName, Priority, RecordKind, Transition};
use windlass_testkit::TestBroker;

use super::*;
use crate::store::Message;

fn job_id(number: u64) -> JobId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    JobId::from_parts(Timestamp::UNIX_EPOCH, random)
}

/// A queue with more jobs than are compared at a time is compared in parts, one a round.
#[tokio::test]
async fn a_long_queue_is_compared_in_parts() {
    const JOBS: u64 = 1000;
    const PARTS: u64 = 4;
    let lost = [7, 400, 999].map(job_id);
    let server = TestBroker::with_credentials().await.unwrap();
    server.provision(&Layout::default()).await.unwrap();
    let (queue, kind): (QueueName, Kind) = ("default".parse().unwrap(), "file.digest".parse().unwrap());
    let client = server.client("dispatcher").await.unwrap();
    let names = Names::default();
    let store = Store::open(&server.folder().join("monitor.db").display().to_string()).await.unwrap();
    let mut events = Vec::new();
    for id in (0..JOBS).map(job_id) {
        let accepted_at = Some(Timestamp::UNIX_EPOCH);
        let event =
            Event::new(queue.clone(), id, kind.clone(), Transition::Accepted, 0, Timestamp::UNIX_EPOCH);
        events.push(Event { accepted_at, due_at: accepted_at, ..event });
        if !lost.contains(&id) {
            let pool = PoolName::default();
            let subject = names.job_subject(&pool, &queue, RecordKind::Ready, Priority::default(), id);
            client.nats().publish(subject, "x".into()).await.unwrap();
        }
    }
    store.apply(vec![Message { sequence: 1, events, ..Message::default() }]).await.unwrap();
    let all = Progress { last_sequence: Some(1), processed_sequence: 1, lag: Some(0), ..Progress::default() };
    let (_progress, progress) = watch::channel(all);
    let (audited, _audited) = watch::channel(Audited::default());
    let broker = server.connect("monitor").await.unwrap();
    let jobs = Jobs::new(&broker, PoolName::default());
    // All of them are stored.
    while jobs.count_standing(&queue).await.unwrap() < 997 {
        client.nats().flush().await.unwrap();
    }
    let compared = JOBS / PARTS;
    let audit = Audit { broker, store, progress, every: Duration::from_secs(1), compared, audited };

    let mut swept = BTreeMap::new();
    let mut found = Vec::new();
    for _ in 0..PARTS {
        let standing = audit.round(&mut swept).await.unwrap();
        assert_eq!(standing["default"], 997);
        found.push(audit.store.count_lost().await.unwrap().get("default").copied().unwrap_or_default());
    }
    assert!(found[0] < 3 && found[3] == 3, "{found:?}");
    let told: BTreeSet<_> = audit.store.lost(true, 10).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(told, lost.into_iter().collect());
}

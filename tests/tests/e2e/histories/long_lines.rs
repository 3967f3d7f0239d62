//! Lines that are too long to be counted at each look.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use windlass_broker::flow::{Flow, Reading};
use windlass_broker::names::{FlowSubject, Line};
use windlass_core::{JobId, PoolName, Priority, QueueName};
use windlass_proto::Waiting;

use super::world::{LONG_LEASE, World};

/// Beyond what is read in batches.
const LONG: u64 = 6500;

/// Every place comes once and in order, however far apart they are, and though some are gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_is_read_whole_and_in_order() -> Result<()> {
    let world = World::start(LONG_LEASE).await?;
    let flow = Flow::new(&world.connection, PoolName::default(), QueueName::default());
    let admin = world.broker.client("admin").await?;
    let (line, other) = (Line::Turn("one".to_owned()), Line::Turn("other".to_owned()));
    let waiting = Waiting {
        held_sequence: Some(1),
        key: None,
        tenant: None,
        since: Timestamp::now(),
        key_slot: None,
        points: 1,
        kind: "a.b".parse()?,
    };
    let timer = [
        ("Nats-Schedule", "@at 2200-01-01T00:00:00Z"),
        ("Nats-Schedule-Target", "windlass.job.default.due.notice.all.x"),
    ];
    let names = world.connection.names();
    let (pool, queue) = (PoolName::default(), QueueName::default());
    let place = |number: u64| {
        // Between two of the line there are none, one, or a few of the other.
        let line = if number * number % 7 < 4 { &line } else { &other };
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let job_id = JobId::from_parts(Timestamp::UNIX_EPOCH, random);
        let subject = FlowSubject::Wait(line.clone(), Priority::Normal, job_id);
        (job_id, names.flow_subject(&pool, &queue, &subject), line)
    };
    let mut expected: Vec<(u64, JobId)> = stream::iter((0..2 * LONG).map(place))
        .map(|(job_id, subject, of)| {
            let (admin, body, line) = (&admin, waiting.encode().to_vec(), &line);
            async move {
                let stored = admin.store(&subject, &timer, body).await?;
                let sequence = stored["seq"].as_u64().ok_or_else(|| anyhow::anyhow!("{stored}"))?;
                Ok::<_, anyhow::Error>((of == line).then_some((sequence, job_id)))
            }
        })
        .buffer_unordered(64)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await?;
    expected.sort_unstable();
    anyhow::ensure!(expected.len() as u64 > LONG, "the line is long: {}", expected.len());
    let mut number = 0;
    let gone: Vec<u64> = expected
        .iter()
        .filter(|_| {
            number += 1;
            number % 11 == 0 || (1000..1300).contains(&number)
        })
        .map(|(sequence, _)| *sequence)
        .collect();
    for sequence in &gone {
        flow.jobs().delete(*sequence).await?;
    }
    expected.retain(|(sequence, _)| !gone.contains(sequence));
    let (mut reading, mut found, mut pages) = (Reading::default(), Vec::new(), 0);
    loop {
        let (places, more) = flow.line(&line, Some(Priority::Normal), &mut reading, 100).await?;
        assert!(places.len() <= 100);
        found.extend(places.iter().map(|place| (place.sequence, place.job_id)));
        pages += 1;
        if !more {
            break;
        }
        assert!(!flow.is_empty(&line, Some(Priority::Normal), &reading).await?);
    }
    assert!(flow.is_empty(&line, Some(Priority::Normal), &reading).await?);
    assert_eq!(found, expected, "in {pages} pages");
    Ok(())
}

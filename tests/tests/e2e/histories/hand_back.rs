//! Giving a job back.

use anyhow::Result;
use windlass_broker::jobs::Verdict;
use windlass_core::protocol::{self, Kind};
use windlass_core::{Outcome, RecordKind};
use windlass_proto::v1::ClaimReason;

use super::world::{LONG_LEASE, SHORT_LEASE, World, won, won_token};

/// History `hand_back_marker`.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_handed_back_counts_no_crash() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let (subject, first) = world.held().await?;
    let token = won_token(subject.claim(&first, first.sequence, ClaimReason::HandBack).await?)?;
    first.handle().nak(None).await?;
    let second = world.deliver().await?;
    assert_eq!((second.sequence, second.count), (first.sequence, 2));
    assert_eq!(subject.lost_attempt(&second).await?, None);
    let unmarked = Kind::Claim { work: first.sequence };
    let crash = protocol::lost_attempt(second.delivery(), unmarked, false);
    assert_eq!(crash, Some(Outcome::Crashed), "without the mark");
    let taken = subject.take(&second).await?;
    assert_eq!(subject.done(token).await?, Verdict::Lost);
    won(subject.done(taken).await?)?;
    assert!(subject.seen().await?.done.is_some_and(|done| done.attempts.is_empty()));
    Ok(())
}

/// History `drop_overdue_nak`: its first holder may not say anything any more, because the broker would obey.
#[tokio::test(flavor = "multi_thread")]
async fn a_nak_of_a_lease_that_has_ended_takes_the_message_from_its_holder() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    let (subject, first) = world.held().await?;
    won(subject.claim(&first, first.sequence, ClaimReason::HandBack).await?)?;
    let second = world.deliver().await?;
    let token = subject.take(&second).await?;
    assert!(!first.is_fresh(SHORT_LEASE), "its lease has ended: it hands back without a nak");
    // It keeps its lease, so nothing but the nak can bring the third.
    second.handle().extend(SHORT_LEASE).await?;
    first.handle().nak(None).await?;
    let third = world.deliver().await?;
    assert_eq!((third.sequence, third.count), (first.sequence, 3));
    assert!(second.received_at.elapsed() < SHORT_LEASE * 2, "the lease of the second had ended");
    // Even so the token has one holder.
    let fourth = subject.take(&third).await?;
    assert_eq!(subject.done(token).await?, Verdict::Lost);
    won(subject.done(fourth).await?)?;
    assert_eq!(
        subject.left(&world.client).await?.iter().filter(|w| **w == RecordKind::Done.as_str()).count(),
        1
    );
    Ok(())
}

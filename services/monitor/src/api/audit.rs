//! What the conservation audit found.

use axum::Json;
use axum::extract::State;

use super::query::{self, RawQuery};
use super::schema::{AuditReport, QueueAudit};
use super::{Api, Problem};

/// How many lost jobs, and gaps, are told.
const MOST: u32 = 100;

/// Whether every accepted job has ended or stands in a stream.
///
/// Of each queue: how many jobs were accepted, and where they are. A job that was accepted, has not ended and has no
/// message left is named in `lost`. `gaps` tells which events were gone before they were read: what they told is not
/// known here.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "status", operation_id = "getAudit",
    responses(
        (status = 200, body = AuditReport),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(State(api): State<Api>, raw: RawQuery) -> Result<Json<AuditReport>, Problem> {
    query::none(raw)?;
    let audited = api.audited.borrow().clone();
    let lost = api.store.lost(false, MOST).await?;
    let counts = api.store.count_lost().await?;
    let queues = api.store.totals().await?.into_iter().map(|(queue, totals)| QueueAudit {
        accepted: totals.accepted,
        live: totals.live,
        ended: totals.ended,
        standing: audited.standing.get(queue.as_str()).copied(),
        lost: counts.get(queue.as_str()).copied().unwrap_or_default(),
        queue: queue.to_string(),
    });
    Ok(Json(AuditReport {
        holds: counts.is_empty(),
        audited_at: audited.at,
        failure: audited.failure,
        queues: queues.collect(),
        lost,
        gaps: api.store.gaps(MOST).await?,
    }))
}

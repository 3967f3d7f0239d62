//! The body of a request that acts: a JSON object, bounded.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};

use super::query::{Parameters, bad};
use super::{Api, Problem};

/// Of a body.
pub(super) const MOST_BYTES: usize = 16 * 1024;

/// Its members, to be taken.
pub(super) struct Body(pub(super) Parameters);

// === impl Body ===

impl FromRequest<Api> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type());
        }
        // The router bounds it.
        let bytes =
            Bytes::from_request(request, api).await.map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(MOST_BYTES),
                _ => bad("body", &rejection.body_text(), "a JSON object"),
            })?;
        Parameters::of_body(&bytes).map(Self)
    }
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

//! The body of a request that acts: a JSON object, bounded.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::Value;

use super::access::{Fields, content_type};
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
        if content_type(request.headers()) != "application/json" {
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

impl From<&Fields> for Parameters {
    /// A form's fields are all text: what a body has as numbers and flags is read from it.
    fn from(fields: &Fields) -> Self {
        let value = |name: &str, text: &str| match name {
            "rate" | "expected_revision" | "concurrency" => {
                text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
            }
            "all" | "dry_run" | "hand_back" | "reverse" => match text {
                "true" => true.into(),
                "false" => false.into(),
                other => other.into(),
            },
            _ => text.into(),
        };
        let given = fields
            .0
            .iter()
            .map(|(name, text)| (name.clone(), text.trim()))
            .filter(|(_, text)| !text.is_empty());
        Self::of_pairs(given.map(|(name, text)| (name.clone(), value(&name, text))).collect())
    }
}

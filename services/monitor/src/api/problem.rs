//! What an error looks like on the wire: problem details, RFC 9457.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_core::JobId;

use crate::access::{Role, oidc};
use crate::store;

/// Why a request has no other answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what sort of problem it is.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    /// The status in words.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// For people: what is wrong with this request.
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// Which parameter is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, value_type = String)]
    pub field: Option<Box<str>>,
    /// What that parameter must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, value_type = String)]
    pub expected: Option<Box<str>>,
    /// The queues that have a job of this id, where one must be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub queues: Vec<String>,
    /// Where no job has this id: the rejected message that bears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, value_type = RejectedMessage)]
    pub rejected: Option<Box<RejectedMessage>>,
}

/// A message that was no valid task, and became no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedMessage {
    /// Under which it is told: `GET /api/v1/jobs/{id}` and `GET /api/v1/dead/{id}` know it.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// Where it was published.
    pub queue: String,
    /// Why.
    pub reason: String,
}

/// What went wrong, beside an answer: for the log of actions.
#[derive(Debug, Clone)]
pub(super) struct Refused(pub(super) Box<str>);

// === impl Problem ===

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: status.as_u16(),
            detail: detail.into().into(),
            field: None,
            expected: None,
            queues: Vec::new(),
            rejected: None,
        }
    }

    /// A parameter is not what it must be.
    pub(super) fn bad(field: &str, detail: impl Into<String>, expected: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, detail);
        Self { field: Some(field.into()), expected: Some(expected.into().into()), ..problem }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// No job has this id, but a message that bears it was rejected.
    pub(super) fn rejected(detail: impl Into<String>, rejected: RejectedMessage) -> Self {
        Self { rejected: Some(Box::new(rejected)), ..Self::not_found(detail) }
    }

    /// What is asked for stands on the broker, which cannot be read.
    pub(super) fn broker_away() -> Self {
        Self::unavailable("the broker cannot be read just now: try again")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method: `Allow` says which")
    }

    /// Nobody may act here, whoever it is.
    pub(super) fn actions_are_off() -> Self {
        let detail = "actions are off: set monitor.operator_token_file to a file with a token, restart the monitor, and \
             send the token as `Authorization: Bearer TOKEN`, or sign in with it";
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// Whoever asks has not shown who they are.
    pub(super) fn unauthorized() -> Self {
        let detail = "this needs a token of monitor.operator_token_file, of monitor.access.tokens, or of the provider of \
             monitor.oidc: expected `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// What the OpenID provider vouches for is not enough, or it cannot be asked.
    pub(super) fn of_provider(error: &oidc::Error) -> Self {
        let status = match error {
            oidc::Error::Away { .. } => return Self::unavailable(error.to_string()),
            oidc::Error::NoRole { .. } => StatusCode::FORBIDDEN,
            oidc::Error::Stray => StatusCode::BAD_REQUEST,
            oidc::Error::Refused(_) | oidc::Error::Token(_) => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, error.to_string())
    }

    /// Whoever asks may not do this.
    pub(super) fn forbidden(who: &str, has: Role, needs: Role) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("{who} is {has}, and this needs the role {needs}"))
    }

    /// A page of another site asks, or a browser that hides which.
    pub(super) fn cross_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "a page of another site may not act here: use the monitor's own pages",
        )
    }

    /// What a browser sends by itself is not enough to act.
    pub(super) fn session_by_api() -> Self {
        let detail =
            "a browser's session acts by the pages' forms alone: expected `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// A form of another session.
    pub(super) fn stale_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "this form is of another session: load its page again, and try again",
        )
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected a body with `Content-Type: application/json`")
    }

    pub(super) fn unsupported_form() -> Self {
        let detail = "expected a form with `Content-Type: application/x-www-form-urlencoded`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    pub(super) fn too_large(most_bytes: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too large: expected at most {most_bytes} bytes"),
        )
    }

    /// It can be asked for again later.
    pub(super) fn too_many(most: usize) -> Self {
        let detail =
            format!("{most} operations or previews are under way, as many as may be: wait, or abort one");
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// It can be looked at again later.
    pub(super) fn too_many_looking(most: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("{most} look on already, as many as may at a time: try again later"),
        )
    }

    /// It cannot be done to what is there.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// It could not be done now.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        metrics::counter!("windlass_monitor_request_errors_total").increment(1);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(super) fn ambiguous(queues: Vec<String>) -> Self {
        let problem = Self::new(
            StatusCode::CONFLICT,
            format!("several queues have a job of this id ({}): name one with ?queue=", queues.join(", ")),
        );
        Self { queues, ..problem }
    }

    /// The status.
    pub(super) fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, cause, "request failed");
        metrics::counter!("windlass_monitor_request_errors_total").increment(1);
        match error {
            store::Error::TimedOut(_) | store::Error::Statement(_, sqlx::Error::PoolTimedOut) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database is busy: try again")
            }
            // What a database says of itself is for the log.
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the database could not be read; the log says why",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status_code(), Json(&self)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        response.extensions_mut().insert(Refused(self.detail));
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

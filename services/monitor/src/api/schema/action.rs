//! The shapes of actions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::Ref;
use utoipa::{IntoResponses, ToSchema};
use windlass_broker::commands::set::Set;
use windlass_core::JobId;

use super::LetterFilter;
use crate::api::Problem;
use crate::operations::Operation;

/// Why something is to be done.
#[derive(ToSchema)]
pub struct Why {
    /// For people; it is in the job's history. To discard, it must be given.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
}

/// A command that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Commanded {
    /// Of the job.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// Of the job.
    pub queue: String,
    /// Of a letter that is redriven: the job that this makes. Else null.
    #[schema(required, value_type = Option<String>, format = "uuid")]
    pub redriven_id: Option<JobId>,
}

/// Which dead letters, and how to go about it.
#[derive(ToSchema)]
pub struct ManyLetters {
    /// Which.
    #[serde(flatten)]
    pub which: LetterFilter,
    /// How.
    #[serde(flatten)]
    pub manner: Manner,
}

/// Which jobs, and how to go about it.
#[derive(ToSchema)]
pub struct ManyJobs {
    /// Only jobs of this queue
    #[schema(nullable = false)]
    pub queue: Option<String>,
    /// Only jobs of this kind
    #[schema(nullable = false)]
    pub kind: Option<String>,
    /// Only jobs in this state: `scheduled`, `held`, `queued`, `running` or `retrying`
    #[schema(nullable = false)]
    pub state: Option<String>,
    /// Only jobs with this key
    #[schema(nullable = false)]
    pub key: Option<String>,
    /// Only jobs of this tenant
    #[schema(nullable = false)]
    pub tenant: Option<String>,
    /// Only jobs that this schedule published
    #[schema(nullable = false)]
    pub schedule_id: Option<String>,
    /// Only the children of this job, as `queue/id`
    #[schema(nullable = false)]
    pub parent: Option<String>,
    /// Only jobs whose error has this fingerprint
    #[schema(nullable = false)]
    pub fingerprint: Option<String>,
    /// Only jobs accepted at this instant or later
    #[schema(nullable = false)]
    pub since: Option<String>,
    /// Only jobs accepted before this instant
    #[schema(nullable = false)]
    pub until: Option<String>,
    /// How.
    #[serde(flatten)]
    pub manner: Manner,
}

/// How to do one thing to many.
#[derive(ToSchema)]
pub struct Manner {
    /// True, where no filter says which are meant: all.
    #[schema(required = false, default = false)]
    pub all: bool,
    /// For people; it is in each job's history. To discard, it must be given.
    #[schema(required = false, max_length = 500)]
    pub reason: String,
    /// At most so many commands a second.
    #[schema(required = false, default = 50, minimum = 1, maximum = 1000)]
    pub rate: u32,
    /// True: only show what would be done.
    #[schema(required = false, default = false)]
    pub dry_run: bool,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// How many match, and would be commanded.
    pub matched: usize,
    /// How many match and are left out, as they hold no valid task.
    pub unfit: usize,
    /// Whether more match than one set may have (100000).
    pub more: bool,
    /// Some of them, for people.
    pub sample: Vec<String>,
    /// How long it would take to command them, at this rate.
    pub estimated_seconds: f64,
}

/// The operations that are remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationList {
    /// The newest first.
    pub operations: Vec<Operation>,
}

/// How every action may be refused.
#[derive(Debug, Clone, Copy)]
pub struct ActionProblems;

// === impl Preview ===

impl Preview {
    /// That of a set.
    pub fn of(set: Set, per_second: u32) -> Self {
        let estimated_seconds = set.estimate(per_second).as_secs_f64();
        let Set { members, unfit, more, sample, .. } = set;
        Self { matched: members.len(), unfit, more, sample, estimated_seconds }
    }
}

// === impl ActionProblems ===

impl IntoResponses for ActionProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let response = |description: &str| {
            let schema = RefOr::Ref(Ref::from_schema_name(Problem::name()));
            let content = ContentBuilder::new().schema(Some(schema)).build();
            ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", content)
                .build()
        };
        [
            ("400", "A parameter is wrong: `field` says which"),
            ("401", "The token is missing or wrong"),
            ("403", "The token's role is not enough; or actions are off: the monitor has no `operator_token_file`"),
            ("413", "The body is too large"),
            ("415", "The body is not JSON"),
            ("503", "The broker, or the database, is not reached"),
        ]
        .into_iter()
        .map(|(status, description)| (status.to_owned(), RefOr::T(response(description))))
        .collect()
    }
}

//! Alerts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{FiredAlert, SilenceRow};

/// The alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertList {
    /// That are not over, newest first.
    pub firing: Vec<FiredAlert>,
    /// The latest that are over.
    pub resolved: Vec<FiredAlert>,
    /// That hold now.
    pub silences: Vec<SilenceRow>,
}

/// What is not to be told for a while.
#[derive(ToSchema)]
pub struct NewSilence {
    /// Of this rule; left out: of all.
    #[schema(required = false)]
    pub rule: Option<String>,
    /// Of this subject; left out: of all.
    #[schema(required = false)]
    pub subject: Option<String>,
    /// For how long, as `2h`.
    #[schema(rename = "for")]
    pub r#for: String,
    /// Why, for people.
    pub reason: String,
}

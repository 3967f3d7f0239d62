//! A change of a queue's settings, as it is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::QueueSettings;

/// The settings of a queue as they stand, who set them, and what stood there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What holds now.
    pub settings: QueueSettings,
    /// Who set it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, for people; empty if nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What held before; none: the queue was never set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<QueueSettings>,
}

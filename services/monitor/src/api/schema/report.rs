//! Reports that were made by themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::StoredReport;

/// Reports that were made by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredReportList {
    /// The latest first.
    pub reports: Vec<StoredReport>,
}

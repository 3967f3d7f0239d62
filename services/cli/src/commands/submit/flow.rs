//! What flow control counts a task under, as the command line says it.

use windlass::Submission;
use windlass_core::flow::FlowKey;
use windlass_core::task::MAX_POINTS;

use crate::commands::Error;
use crate::commands::arguments::{number, optional};

/// Under what the task counts where its queue has limits, an order, rates or turns.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Limits, order, rates and turns, as the queue's settings have them")]
#[group(skip)]
pub(super) struct Args {
    /// What limits, order and rates by key count it under: 1 to 256 bytes
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,
    /// Whom it is for: turns are shared out among tenants. 1 to 256 bytes
    #[arg(long, value_name = "TENANT", allow_hyphen_values = true)]
    tenant: Option<String>,
    /// What it costs under a rate: 1 to 1000000 [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    points: Option<String>,
}

/// The same, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) key: Option<FlowKey>,
    pub(super) tenant: Option<FlowKey>,
    pub(super) points: Option<u32>,
}

// === impl Args ===

impl Args {
    /// Each option, and whether it is given.
    pub(super) fn given(&self) -> [(&'static str, bool); 3] {
        [("key", self.key.is_some()), ("tenant", self.tenant.is_some()), ("points", self.points.is_some())]
    }

    pub(super) fn read(&self) -> Result<Flow, Error> {
        let points = self.points.as_deref().map(|text| number("points", text, 1, MAX_POINTS));
        Ok(Flow {
            key: optional("key", self.key.as_deref())?,
            tenant: optional("tenant", self.tenant.as_deref())?,
            points: points.transpose()?,
        })
    }
}

// === impl Flow ===

impl Flow {
    /// The task with it.
    pub(super) fn apply(&self, mut task: Submission) -> Submission {
        if let Some(key) = &self.key {
            task = task.key(key.as_str());
        }
        if let Some(tenant) = &self.tenant {
            task = task.tenant(tenant.as_str());
        }
        if let Some(points) = self.points {
            task = task.points(points);
        }
        task
    }
}

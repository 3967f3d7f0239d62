//! The fleet.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who of the fleet lives, and how it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fleet {
    /// The processes that say that they live, by service and id.
    pub instances: Vec<Instance>,
    /// Services of which none says so: `dispatcher`, `scheduler`, `worker` or `monitor`.
    pub missing: Vec<String>,
    /// What the jobs did in the last minutes, and where they stand.
    pub figures: Figures,
    /// The streams of the fleet, by name; empty where they cannot be read.
    pub streams: Vec<StreamFigures>,
}

/// A process as it says of itself. One that was lost is listed for half a minute longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Among all of the fleet; of a worker, as attempts name it.
    pub id: String,
    /// `dispatcher`, `scheduler`, `worker` or `monitor`.
    pub service: String,
    /// Of its program.
    pub version: String,
    /// Where it runs.
    pub host: String,
    /// Since when; null if it does not say.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it last said that it lives, by the broker's clock.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    /// Whether it does its work.
    pub ready: bool,
    /// Why not, a line for each condition.
    pub not_ready: Vec<String>,
    /// Memory that it has in use; null where its operating system does not tell.
    #[schema(required)]
    pub resident_bytes: Option<u64>,
    /// CPU since it was started.
    #[schema(required)]
    pub cpu_seconds: Option<f64>,
    /// Cores that it took in the last seconds.
    #[schema(required)]
    pub cpu_cores: Option<f64>,
    /// Of a worker: attempts that it runs.
    #[schema(required)]
    pub running: Option<u32>,
    /// Of a worker: attempts that it runs at a time.
    #[schema(required)]
    pub slots: Option<u32>,
    /// Some of its metrics since it was started, by the names that `/metrics` has for them, summed over their labels.
    pub metrics: BTreeMap<String, f64>,
}

/// What the jobs did in the last minutes, and where they stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// How many minutes, up to now, the rates are of.
    pub minutes: u32,
    /// Jobs that were accepted, a minute.
    pub accepted_per_minute: f64,
    /// Jobs that ended, a minute.
    pub ended_per_minute: f64,
    /// Of the attempts that ended, the share that failed, 0 to 1; null if none ended.
    #[schema(required)]
    pub failed_share: Option<f64>,
    /// Jobs that could run.
    pub ready: u64,
    /// Jobs that wait for an instant.
    pub deferred: u64,
    /// Jobs that wait for a key, a limit or another job.
    pub held: u64,
    /// Jobs that run.
    pub running: u64,
    /// How long the oldest job that could run has waited; null if there is none.
    #[schema(required)]
    pub oldest_ready_seconds: Option<f64>,
    /// Messages of events that are not in the database yet; null until the broker said.
    #[schema(required)]
    pub lag_messages: Option<u64>,
}

/// What a stream holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamFigures {
    /// Its name.
    pub name: String,
    /// How many messages.
    pub messages: u64,
    /// How many bytes, as the broker counts them.
    pub bytes: u64,
}

//! What bare clients do on the same machine in the same run, for a figure to be compared with.

use serde::Serialize;
use windlass_broker::floor;

use super::Error;
use super::scene::Scene;
use super::settings::Settings;
use super::stage::Stage;
use super::usage::Share;
use super::work;

/// Which of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Floor {
    /// Exactly the writes of a job.
    Protocol,
    ThreePublishes,
}

/// Both of them, beside a measurement.
#[derive(Debug, Serialize)]
pub(super) struct Floors {
    protocol_floor_per_second: f64,
    three_publish_floor_per_second: f64,
    /// Of what was measured, if that was a rate of jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_to_protocol_floor: Option<f64>,
}

/// Enough for a rate, in a second or two.
const JOBS: u64 = 20_000;

// === impl Floor ===

impl Floor {
    /// Jobs a second, and what was used for them.
    pub(super) async fn measure(
        self,
        settings: &Settings,
        jobs: u64,
        scene: &Scene,
    ) -> Result<(f64, Vec<Share>), Error> {
        // A fleet that has nothing to do stands beside it, as beside the jobs.
        let mut stage = Stage::start(scene, settings).await?;
        let work = work::floor(settings, jobs);
        let options = stage.floor(scene).await?;
        scene.screen.busy("measuring a floor");
        stage.begin()?;
        let took = match self {
            Self::Protocol => floor::protocol(&options, &work).await,
            Self::ThreePublishes => floor::three_publishes(&options, &work).await,
        };
        let took = took.map_err(|error| Error::Broker("measured by a bare client", error))?;
        let used = stage.used()?;
        stage.stop(scene).await?;
        Ok((jobs as f64 / took.as_secs_f64(), used))
    }
}

// === impl Floors ===

impl Floors {
    /// Measures both, with no more jobs than the measurement that they stand beside.
    pub(super) async fn measure(settings: &Settings, jobs: u64, scene: &Scene) -> Result<Self, Error> {
        // Many queues are slow in the broker.
        let jobs = jobs.min(JOBS / (1 + settings.queues as u64 / 20));
        let (three_publish_floor_per_second, _) =
            Floor::ThreePublishes.measure(settings, jobs, scene).await?;
        let (protocol_floor_per_second, _) = Floor::Protocol.measure(settings, jobs, scene).await?;
        Ok(Self { protocol_floor_per_second, three_publish_floor_per_second, ratio_to_protocol_floor: None })
    }

    /// Beside a rate of jobs.
    pub(super) fn beside(self, per_second: f64) -> Self {
        Self { ratio_to_protocol_floor: Some(per_second / self.protocol_floor_per_second), ..self }
    }
}

impl std::fmt::Display for Floors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { protocol_floor_per_second, three_publish_floor_per_second, ratio_to_protocol_floor } =
            self;
        write!(
            f,
            "floors  {protocol_floor_per_second:.0} jobs/s by the protocol, {three_publish_floor_per_second:.0} with \
             three plain publishes"
        )?;
        match ratio_to_protocol_floor {
            Some(ratio) => write!(f, "; {ratio:.2} of the former"),
            None => Ok(()),
        }
    }
}

//! The worker of a measurement: the service as it is deployed, with the handlers of measurements.

use anyhow::Context as _;
use windlass_service::{Context, Layout, Part, Service};
use windlass_worker::Options;

use super::kinds::{self, Holds};

/// The worker of `windlass bench`, as a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BenchWorker;

/// Set, whatever to, the jobs that are to be held are held by this worker.
pub(super) const HOLDS: &str = "WINDLASS_BENCH_HOLDS";

impl Service for BenchWorker {
    const NAME: &'static str = windlass_worker::Worker::NAME;
    const ABOUT: &'static str = "Runs the jobs of a measurement";
    const HTTP_PORT: u16 = windlass_worker::Worker::HTTP_PORT;

    type Options = Options;

    fn parts(options: &Options, layout: &Layout) -> Vec<Part> {
        windlass_worker::Worker::parts(options, layout)
    }

    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        let holds = Holds(std::env::var_os(HOLDS).is_some());
        let handlers = kinds::handlers(holds).context("the kinds of a measurement")?;
        windlass_worker::serve(options, context, handlers).await
    }
}

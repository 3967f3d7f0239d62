//! The worker of a measurement: the service as it is deployed, with a handler that does nothing.

use anyhow::Context as _;
use windlass_service::{Context, Layout, Part, Service};
use windlass_worker::Options;

use super::work;

/// The worker of `windlass bench`, as a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BenchWorker;

impl Service for BenchWorker {
    const NAME: &'static str = windlass_worker::Worker::NAME;
    const ABOUT: &'static str = "Runs the jobs of a measurement";
    const HTTP_PORT: u16 = windlass_worker::Worker::HTTP_PORT;

    type Options = Options;

    fn parts(options: &Options, layout: &Layout) -> Vec<Part> {
        windlass_worker::Worker::parts(options, layout)
    }

    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        windlass_worker::serve(options, context, work::handlers().context("the kind of a measurement")?).await
    }
}

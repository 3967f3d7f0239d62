#![allow(missing_docs)]
use serde::{Deserialize, Serialize};
use windlass_broker::provision::{Layout, Part};
use windlass_service::{Context, Service, Validate};
struct Probe;
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options { hang: bool }
impl Validate for Options {}
impl Service for Probe {
    const NAME: &'static str = "probe";
    const ABOUT: &'static str = "Probes";
    const HTTP_PORT: u16 = 7999;
    type Options = Options;
    fn parts(_: &Options, _: &Layout) -> Vec<Part> { vec![Part::Tasks, Part::Events] }
    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        let span = tracing::info_span!("probe", windlass.job.id = "j1");
        span.in_scope(|| tracing::info!("running"));
        context.ready();
        context.stop.cancelled().await;
        if options.hang { std::future::pending::<()>().await; }
        Ok(())
    }
}
fn main() -> std::process::ExitCode { windlass_service::main::<Probe>() }

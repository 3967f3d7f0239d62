//! The service.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::sync::watch;
use windlass_broker::dead::Letters;
use windlass_broker::provision::{Layout, Part};
use windlass_service::http::Routes;
use windlass_service::{Context, Service};

use crate::access::oidc::Oidc;
use crate::access::{Access, Token};
use crate::alerts::Evaluation;
use crate::api::{self, Api};
use crate::audit::{self, Audit, Audited};
use crate::endpoint;
use crate::live::Teller;
use crate::operations::Operations;
use crate::options::Options;
use crate::progress::Progress;
use crate::projection::{self, Projection};
use crate::reports::Reporter;
use crate::store::Store;

/// The monitor as a program of the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Monitor;

// === impl Monitor ===

impl Service for Monitor {
    const NAME: &'static str = "monitor";
    const ABOUT: &'static str = "Keeps the history of all jobs, and serves the HTTP API and the pages";
    const HTTP_PORT: u16 = 8304;
    const TELLS: Option<&'static [&'static str]> =
        Some(&["windlass_monitor_events_total", "windlass_monitor_lag_messages"]);

    type Options = Options;

    fn parts(_: &Options, _: &Layout) -> Vec<Part> {
        vec![Part::Events, Part::EventReader, Part::Dead, Part::Control]
    }

    /// The history, as far as it was told.
    async fn serve_offline(options: &Options, routes: &Routes, listens: SocketAddr) -> anyhow::Result<()> {
        let store = open(options).await?;
        let (trace_url, access) = (options.trace_url.clone(), access(options, listens)?);
        let files = options.access.tokens.iter().map(|token| &token.file);
        let secret = options.oidc.as_ref().and_then(|oidc| oidc.client_secret_file.as_ref());
        for path in
            files.chain(&options.operator_token_file).chain(secret).filter(|path| Token::is_exposed(path))
        {
            let file = path.display().to_string();
            tracing::warn!(file, "others than its owner may read a file with a token of the monitor");
        }
        routes.serve(api::router(Api { trace_url, access, ..Api::of_database(store) }));
        Ok(())
    }

    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        let store = open(&options).await?;
        let (progress, progress_seen) = watch::channel(Progress::default());
        let evaluation = Evaluation {
            broker: context.broker.clone(),
            store: store.clone(),
            progress: progress_seen.clone(),
            options: options.alerts.clone(),
        };
        let teller = Teller::new();
        let (audited, audited_seen) = watch::channel(Audited::default());
        let audit = Audit {
            broker: context.broker.clone(),
            store: store.clone(),
            progress: progress_seen.clone(),
            every: options.audit_every,
            compared: audit::COMPARED,
            audited,
        };
        let operations =
            Operations::new(context.broker.clone(), context.stop.clone(), context.drain_timeout / 2);
        let routes = Api {
            store: store.clone(),
            progress: progress_seen,
            live: Some(teller.live()),
            broker: Some(context.broker.clone()),
            audited: audited_seen,
            trace_url: options.trace_url.clone(),
            letters: Some(Letters::new(&context.broker)),
            operations: Some(operations.clone()),
            access: access(&options, context.http_address)?,
            ..Api::of_database(store.clone())
        };
        let http_url = endpoint::address(options.public_url.as_deref(), context.http_address);
        let reporter = Reporter::new(routes.clone(), options.reports.clone(), Some(&http_url));
        context.routes.serve(api::router(routes));
        let projection = Projection {
            broker: context.broker.clone(),
            store: store.clone(),
            batch_size: options.batch_size,
            progress,
            teller,
            health: context.health.clone(),
        };
        tracing::info!(http_url, database = ?options.database, "the monitor shows the jobs");
        // Before the process can be ready: it is not, until it reads.
        context.health.not_ready(projection::CONDITION, "not read yet");
        context.ready();
        tokio::join!(
            projection.run(&context.stop),
            audit.run(&context.stop),
            evaluation.run(&context.stop),
            reporter.run(&context.stop),
            options.retention.clone().run(store.clone(), &context.stop),
            endpoint::announce(&context.broker, http_url, &context.stop),
            operations.stopped(),
        );
        store.close().await;
        Ok(())
    }
}

fn access(options: &Options, listens: SocketAddr) -> anyhow::Result<Access> {
    let shared = options.operator_token_file.as_deref().map(Token::read).transpose();
    let shared = shared.context("monitor.operator_token_file")?;
    let public_url = options.public_url.as_deref();
    let oidc = options.oidc.as_ref().map(|oidc| Oidc::new(oidc, public_url.unwrap_or_default()));
    let oidc = oidc.transpose().context("monitor.oidc")?;
    let access = Access::new(&options.access, shared, oidc, public_url, listens);
    access.context("monitor.access.tokens")
}

async fn open(options: &Options) -> anyhow::Result<Store> {
    let database = options.database.read(options.database_password_file.as_ref());
    let store = Store::of(database.context("the monitor needs its database")?).await;
    store.context("the monitor needs its database")
}

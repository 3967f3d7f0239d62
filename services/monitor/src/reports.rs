//! Reports that are made by themselves, at the instants of their expressions.
//!
//! Each round looks which instant of each was the latest, and takes it upon itself to make that report if it is not done:
//! a row of the database, which all monitors of a fleet share, says whose it is, and until when, so each is made once,
//! however many monitors run and however often they start. An instant that passed while none ran is made late; of several
//! that passed, the latest alone. What happened is read from the projection, so a report waits until that has come as far
//! as the events had when it was due.

mod options;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use windlass_core::schedule::Spec;

pub use options::Options;

use crate::api::{Api, report_bundle};
use crate::report::{Bundle, Form, What};
use crate::store::{self, Store, report_id};

/// What makes reports.
pub struct Reporter {
    api: Api,
    options: Options,
    schedules: Vec<(What, Spec)>,
    /// Where a report can be read, before its id.
    url: Option<String>,
    http: Option<reqwest::Client>,
    /// What the projection has yet to come to before a report is made, by its id, and since when that is waited for.
    awaited: BTreeMap<String, Awaited>,
}

/// What a report waits for.
struct Awaited {
    /// The last message when the stream was first looked at after the instant; none until then.
    sequence: Option<u64>,
    since: Timestamp,
}

/// A report was not made.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The database does not answer.
    #[error("the database could not be asked")]
    Store(#[from] store::Error),
    /// What it tells could not be read.
    #[error("{0}")]
    Content(String),
}

const EVERY: Duration = Duration::from_secs(5);
/// Whoever makes and sends one has so long. A webhook is tried for some four minutes.
const CLAIM: SignedDuration = SignedDuration::from_mins(10);
/// What happened before the instant may be told a moment later.
const SETTLES: SignedDuration = SignedDuration::from_secs(10);
/// So long the projection is waited for. After that the report says less than it could, and is better than none.
const PATIENCE: SignedDuration = SignedDuration::from_mins(15);

// === impl Reporter ===

impl Reporter {
    /// As configured. Reports are made of what this API would answer; `url` is where others reach it.
    pub fn new(api: Api, options: Options, url: Option<&str>) -> Self {
        let http = options.webhook.as_ref().and_then(|_| {
            let made = crate::webhook::Webhook::client();
            made.inspect_err(|error| tracing::error!(%error, "reports cannot be sent")).ok()
        });
        let url = url.map(|url| url.trim_end_matches('/').to_owned());
        Self { schedules: options.schedules(), api, options, url, http, awaited: BTreeMap::new() }
    }

    /// Runs until stopped.
    pub(crate) async fn run(mut self, stop: &CancellationToken) {
        while !self.schedules.is_empty() && !stop.is_cancelled() {
            stop.run_until_cancelled(Box::pin(self.round(Timestamp::now()))).await;
            stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        }
    }

    /// Makes what is due by then; returns the ids of the reports that this made. What fails is tried again in the next
    /// round.
    pub async fn round(&mut self, now: Timestamp) -> Vec<String> {
        let mut made = Vec::new();
        let due: Vec<_> = self
            .schedules
            .iter()
            .filter_map(|(what, spec)| Some((*what, options::latest(spec, now)?)))
            .collect();
        self.awaited.retain(|id, _| due.iter().any(|(what, due_at)| *id == report_id(*what, *due_at)));
        for (what, due_at) in due {
            match self.step(what, due_at, now).await {
                Ok(true) => made.push(report_id(what, due_at)),
                Ok(false) => {}
                Err(error) => {
                    metrics::counter!("windlass_monitor_report_errors_total").increment(1);
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(error, %what, %due_at, "a report could not be made, trying again");
                }
            }
        }
        made
    }

    /// Makes and sends one, if it is there to be made; whether it did.
    async fn step(&mut self, what: What, due_at: Timestamp, now: Timestamp) -> Result<bool, Error> {
        let (store, id) = (self.api.store.clone(), report_id(what, due_at));
        if store.is_report_done(&id).await? || !self.is_told(&id, due_at, now) {
            return Ok(false);
        }
        let until = now.checked_add(CLAIM).unwrap_or(now);
        if !store.claim_report(&id, what, due_at, now, until).await? {
            return Ok(false);
        }
        let outcome = self.make(&store, &id, what, due_at).await;
        if outcome.is_err() {
            store.release_report(&id).await?;
        }
        outcome?;
        self.awaited.remove(&id);
        Ok(true)
    }

    async fn make(&self, store: &Store, id: &str, what: What, due_at: Timestamp) -> Result<(), Error> {
        // Another may have made it, and stopped before it was sent.
        let bundle = if let Some((_, bundle)) = store.stored_report(id).await? {
            bundle
        } else {
            let made = report_bundle(&self.api, what, due_at).await;
            let bundle = made.map_err(|problem| Error::Content(problem.detail.to_string()))?;
            store.store_report(id, &bundle).await?;
            metrics::counter!("windlass_monitor_reports_total", "what" => what.as_str()).increment(1);
            tracing::info!(id, "a report is made");
            bundle
        };
        if let Some(folder) = &self.options.folder
            && let Err(error) = write_files(folder, id, &bundle)
        {
            tracing::error!(%error, id, folder = %folder.display(), "a report could not be written to its folder");
        }
        let delivery = self.send(id, due_at, &bundle).await;
        store.end_report(id, delivery.as_deref(), Timestamp::now()).await?;
        for old in store.remove_reports(what, self.options.keep).await? {
            self.remove_files(&old);
        }
        Ok(())
    }

    /// Sends it; what came of that, if there is somewhere to send it to.
    async fn send(&self, id: &str, due_at: Timestamp, bundle: &Bundle) -> Option<String> {
        let (webhook, http) = (self.options.webhook.as_ref()?, self.http.as_ref()?);
        let body = serde_json::json!({
            "source": "windlass",
            "report": { "id": id, "what": bundle.what, "due_at": due_at, "made_at": bundle.made_at },
            "url": self.url.as_ref().map(|url| format!("{url}/reports/{id}")),
            "text": bundle.write(Form::Markdown),
        });
        Some(match webhook.send(http, "report", &body).await {
            Ok(()) => "delivered".to_owned(),
            Err(why) => {
                metrics::counter!("windlass_monitor_report_errors_total").increment(1);
                format!("not delivered: {}", why.chars().take(200).collect::<String>())
            }
        })
    }

    /// Whether all that was told of the time before has been read.
    fn is_told(&mut self, id: &str, due_at: Timestamp, now: Timestamp) -> bool {
        let settled = due_at.checked_add(SETTLES).unwrap_or(due_at);
        if now < settled {
            return false;
        }
        let progress = self.api.progress.borrow().clone();
        let looked = progress.checked_at.filter(|at| *at >= settled).and(progress.last_sequence);
        let awaited = self.awaited.entry(id.to_owned()).or_insert(Awaited { sequence: None, since: now });
        awaited.sequence = awaited.sequence.or(looked);
        let is_read = awaited.sequence.is_some_and(|sequence| progress.processed_sequence >= sequence);
        is_read || awaited.since.checked_add(PATIENCE).is_ok_and(|end| now >= end)
    }

    fn remove_files(&self, id: &str) {
        let Some(folder) = &self.options.folder else { return };
        for form in Form::ALL {
            let path = folder.join(format!("{id}.{}", form.ending()));
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, path = %path.display(), "the file of an old report could not be removed");
            }
        }
    }
}

/// Whole, or not at all: whoever watches the folder finds no half of a file.
fn write_files(folder: &Path, id: &str, bundle: &Bundle) -> std::io::Result<()> {
    for form in Form::ALL {
        let name = format!("{id}.{}", form.ending());
        let beside = folder.join(format!(".{name}.part"));
        std::fs::write(&beside, bundle.write(form))?;
        std::fs::rename(beside, folder.join(name))?;
    }
    Ok(())
}

//! What the monitor knows of the demonstration's jobs: those of one trace.

use std::time::Duration;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use windlass::client::Submitted;
use windlass_core::history::JobView;
use windlass_monitor::api::schema::JobList;
use windlass_monitor::store::JobRow;
use windlass_worker::kinds::folder_index::Indexed;

/// Where to ask, and what for.
#[derive(Debug)]
pub(super) struct History {
    http: reqwest::Client,
    api: String,
    first: Submitted,
}

/// What was known at one time.
#[derive(Debug)]
pub(super) struct Seen {
    /// The job that lists the files; none while the monitor has not heard of it.
    pub(super) first: Option<JobView>,
    /// All jobs, that one too.
    pub(super) jobs: Vec<JobRow>,
}

/// The monitor cannot be asked, or its answer not be read.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {url}")]
pub(crate) struct Error {
    url: String,
    source: reqwest::Error,
}

const TIMEOUT: Duration = Duration::from_secs(15);
const PAGE: usize = 500;
/// The monitor hears of jobs nearly in the order of their creation: a job may stand so many pages behind the first.
const PAGES_BEHIND: usize = 2;

// === impl History ===

impl History {
    pub(super) fn new(http_url: &str, first: &Submitted) -> Result<Self, Error> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
        let http = http.map_err(|source| Error { url: http_url.to_owned(), source })?;
        Ok(Self { http, api: format!("{http_url}/api/v1"), first: first.clone() })
    }

    /// Looks now.
    pub(super) async fn look(&self) -> Result<Seen, Error> {
        let Submitted { id, queue, .. } = &self.first;
        let first: Option<JobView> = self.get(format!("{}/jobs/{id}?queue={queue}", self.api)).await?;
        let jobs = if first.is_some() { self.jobs().await? } else { Vec::new() };
        Ok(Seen { first, jobs })
    }

    /// The rows of our trace, newest first; those of earlier runs stand behind the first job's.
    async fn jobs(&self) -> Result<Vec<JobRow>, Error> {
        let (mut jobs, mut cursor, mut behind) = (Vec::new(), String::new(), 0);
        loop {
            let query = format!("queue={}&limit={PAGE}{cursor}", self.first.queue);
            let page: Option<JobList> = self.get(format!("{}/jobs?{query}", self.api)).await?;
            let Some(page) = page else { return Ok(jobs) };
            jobs.extend(
                page.jobs.into_iter().filter(|job| job.trace_id.as_ref() == Some(&self.first.trace_id)),
            );
            if behind > 0 || jobs.iter().any(|job| job.id == self.first.id) {
                behind += 1;
            }
            match page.next_cursor {
                Some(next) if behind <= PAGES_BEHIND => cursor = format!("&cursor={next}"),
                _ => return Ok(jobs),
            }
        }
    }

    /// None if there is no such thing.
    async fn get<T: DeserializeOwned>(&self, url: String) -> Result<Option<T>, Error> {
        let get = async {
            let answer = self.http.get(&url).send().await?;
            if answer.status() == reqwest::StatusCode::NOT_FOUND {
                return Ok(None);
            }
            answer.error_for_status()?.json().await.map(Some)
        };
        get.await.map_err(|source| Error { url: url.clone(), source })
    }
}

// === impl Seen ===

impl Seen {
    /// How many jobs have ended.
    pub(super) fn ended(&self) -> u64 {
        self.jobs.iter().map(|job| u64::from(job.state.is_terminal())).sum()
    }

    /// How many there are, the first one too; none until that one has listed the files.
    pub(super) fn all(&self) -> Option<u64> {
        Some(self.indexed()?.files + 1)
    }

    /// What the first one came to.
    pub(super) fn indexed(&self) -> Option<Indexed> {
        Indexed::deserialize(self.first.as_ref()?.result.as_ref()?).ok()
    }
}

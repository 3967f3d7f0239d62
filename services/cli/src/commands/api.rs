//! The monitor's HTTP API.

use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use windlass::JobId;
use windlass_core::QueueName;
use windlass_core::history::JobView;
use windlass_monitor::api::schema::{
    AlertList, AuditReport, Fleet, JobList, QueueList, StoredReportList, WorkerList,
};
use windlass_monitor::api::{Problem, RejectedMessage};
use windlass_monitor::report::{Bundle, ScheduleLine, What};
use windlass_monitor::store::Report;
use windlass_service::Secret;

/// For a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    url: String,
    token: Option<Secret>,
    http: reqwest::Client,
}

/// The API did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody answers.
    #[error("the monitor at {url} cannot be reached")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// What answers is not a monitor of this version.
    #[error("the answer of the monitor at {url} cannot be read")]
    Malformed {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// A parameter is not what it must be.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// It has trouble of its own.
    #[error("the monitor says: {}", .0.detail)]
    Failed(Box<Problem>),
}

/// What the monitor knows of a job.
#[derive(Debug)]
pub(crate) enum Known {
    /// This.
    Job(Box<JobView>),
    /// Nothing, or nothing yet; a message that bears the id may have been rejected.
    Nothing(Option<Box<RejectedMessage>>),
    /// Several queues have the id.
    Several(Vec<String>),
}

// === impl Monitor ===

impl Monitor {
    /// The monitor at this address, which is shown this token.
    pub(crate) fn new(url: &str, token: Option<Secret>) -> Result<Self, reqwest::Error> {
        let mut client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
        // A proxy of the environment leads out of this machine.
        if is_loopback(url) {
            client = client.no_proxy();
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, http: client.build()? })
    }

    /// A job.
    pub(crate) async fn job(&self, id: JobId, queue: Option<&QueueName>) -> Result<Known, Error> {
        let query = queue.map(|queue| format!("?queue={queue}")).unwrap_or_default();
        match self.get(&format!("/api/v1/jobs/{id}{query}")).await {
            Ok(view) => Ok(Known::Job(Box::new(view))),
            Err(Error::Refused(problem)) if problem.status == 404 => Ok(Known::Nothing(problem.rejected)),
            Err(Error::Refused(problem)) if problem.status == 409 => Ok(Known::Several(problem.queues)),
            Err(error) => Err(error),
        }
    }

    /// Jobs.
    pub(crate) async fn jobs(&self, query: &[(&str, String)]) -> Result<JobList, Error> {
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        self.get(&format!("/api/v1/jobs?{}", query.join("&"))).await
    }

    /// Queues.
    pub(crate) async fn queues(&self) -> Result<QueueList, Error> {
        self.get("/api/v1/queues").await
    }

    /// What happened within a time.
    pub(crate) async fn report(&self, since: Timestamp, until: Timestamp) -> Result<Report, Error> {
        self.get(&format!("/api/v1/report?since={since}&until={until}")).await
    }

    /// The reports that it has made by itself.
    pub(crate) async fn stored_reports(
        &self,
        what: Option<What>,
        limit: u32,
    ) -> Result<StoredReportList, Error> {
        let what = what.map(|what| format!("&what={what}")).unwrap_or_default();
        self.get(&format!("/api/v1/reports/stored?limit={limit}{what}")).await
    }

    /// What one of them says.
    pub(crate) async fn stored_report(&self, id: &str) -> Result<Bundle, Error> {
        self.get(&format!("/api/v1/reports/stored/{}", encoded(id))).await
    }

    /// The first of the schedules, by id.
    pub(crate) async fn schedules(&self) -> Result<Vec<ScheduleLine>, Error> {
        let page: serde_json::Value = self.get("/api/v1/schedules?limit=500").await?;
        let shown = page["schedules"].as_array().into_iter().flatten();
        let mut lines: Vec<_> = shown.map(ScheduleLine::of).collect();
        lines.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(lines)
    }

    /// The processes that live.
    pub(crate) async fn fleet(&self) -> Result<Fleet, Error> {
        self.get("/api/v1/fleet").await
    }

    /// The workers that live.
    pub(crate) async fn workers(&self) -> Result<WorkerList, Error> {
        self.get("/api/v1/workers").await
    }

    /// Alerts.
    pub(crate) async fn alerts(&self) -> Result<AlertList, Error> {
        self.get("/api/v1/alerts").await
    }

    /// What the audit found.
    pub(crate) async fn audit(&self) -> Result<AuditReport, Error> {
        self.get("/api/v1/audit").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let unreachable = |source| Error::Unreachable { url: self.url.clone(), source };
        let malformed = |source| Error::Malformed { url: self.url.clone(), source };
        let mut asked = self.http.get(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            asked = asked.bearer_auth(token.expose());
        }
        let answer = asked.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(malformed);
        }
        let problem: Box<Problem> = answer.json().await.map_err(malformed)?;
        Err(if status.is_client_error() { Error::Refused(problem) } else { Error::Failed(problem) })
    }
}

/// A text as a part of a query: all but letters and digits as the bytes that they are (RFC 3986, section 2.1).
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match char::from(byte) {
        plain if plain.is_ascii_alphanumeric() => plain.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Whether an address is this machine's own.
fn is_loopback(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = authority.split('/').next().unwrap_or_default();
    ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_takes_any_text() {
        assert_eq!(encoded("a &=\u{fc}"), "a%20%26%3D%C3%BC");
    }

    #[test]
    fn this_machine_needs_no_proxy() {
        for url in ["http://127.0.0.1:8304", "http://localhost:1/x", "http://[::1]:1"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["https://jobs.example.org", "http://10.0.0.1/127.0.0.1"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}

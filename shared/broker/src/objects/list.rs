//! Everything that a bucket has, whole objects and what was left of uploads, for who collects what is not needed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::{CALL_TIMEOUT, Error, Objects, Owner, name};
use crate::names::Names;

/// Something in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its name, if it has one of ours.
    pub name: Option<String>,
    /// Whose it is, as its name says.
    pub owner: Option<Owner>,
    nuid: String,
}

#[derive(serde::Deserialize)]
struct Info {
    state: State,
    #[serde(default)]
    total: u64,
}

#[derive(serde::Deserialize)]
struct State {
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

// === impl Objects ===

impl Objects {
    /// All that is there now.
    pub async fn list(&self) -> Result<BTreeSet<Stored>, Error> {
        let call = format!("STREAM.INFO.{}", Names::object_stream(self.bucket()));
        let prefix = format!("{}.", Names::object_subject(self.bucket(), "", "").trim_end_matches('.'));
        let (mut found, mut offset) = (BTreeSet::new(), 0);
        loop {
            let request = json!({ "subjects_filter": ">", "offset": offset });
            let info: Info =
                self.broker.api(&call, &request, CALL_TIMEOUT).await.map_err(|e| self.broken(e))?;
            let subjects = info.state.subjects.unwrap_or_default();
            offset += subjects.len() as u64;
            let is_last = subjects.is_empty() || offset >= info.total;
            // `$O.<bucket>.C.<nuid>`; a nuid of others may have dots.
            let nuids = subjects.keys().filter_map(|s| s.strip_prefix(&prefix)?.split_once('.'));
            found.extend(nuids.map(|(_, nuid)| Stored::new(nuid)));
            if is_last {
                return Ok(found);
            }
        }
    }

    /// When the last of it was stored, by the broker's clock; none if it is gone.
    pub async fn stored_at(&self, stored: &Stored) -> Result<Option<Timestamp>, Error> {
        // What is said of an object is stored last, and is small.
        let subject = Names::object_subject(self.bucket(), "*", &stored.nuid);
        let deadline = Instant::now() + CALL_TIMEOUT;
        let last = self.read(&json!({ "last_by_subj": subject }), deadline).await?;
        Ok(last.map(|message| message.time))
    }

    /// Removes all of it.
    pub async fn discard(&self, stored: &Stored) -> Result<(), Error> {
        self.purge(&stored.nuid).await
    }
}

// === impl Stored ===

impl Stored {
    fn new(nuid: &str) -> Self {
        let name = name::decode(nuid);
        let owner = name.as_deref().and_then(name::read);
        Self { name, owner, nuid: nuid.to_owned() }
    }
}

//! What a queue's owner says of how far its settings are in force.

use async_nats::HeaderMap;
use windlass_core::flow::Applied;

use super::{Flow, TIMEOUT};
use crate::connect::Error;
use crate::publish::{self, header};

// === impl Flow ===

impl Flow {
    /// What the queue's owner, or the last one, said of it: from the stream's leader.
    pub async fn applied(&self) -> Result<Option<Applied>, Error> {
        let subject = self.broker().names().flow_applied(self.pool(), self.queue());
        let Some(found) = self.last(&subject).await? else { return Ok(None) };
        // What an owner of another version says is as good as nothing: the settings are applied anew.
        Ok(serde_json::from_slice(&found.body(&subject)?).ok())
    }

    /// Says it, as the owner of this epoch; false if the queue has another one.
    pub async fn say_applied(&self, epoch: u64, applied: &Applied) -> Result<bool, Error> {
        let names = self.broker().names();
        let subject = names.flow_applied(self.pool(), self.queue());
        let before = self.last(&subject).await?.map(|last| last.seq);
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECTED_SEQUENCE, epoch.to_string());
        headers.insert(header::EXPECTED_SUBJECT, names.flow_owner(self.pool(), self.queue()));
        let malformed =
            |e: serde_json::Error| Error::Malformed { subject: subject.clone(), reason: e.to_string() };
        let body = serde_json::to_vec(applied).map_err(malformed)?;
        match publish::publish(self.broker(), subject, headers, body.into(), TIMEOUT).await {
            Ok(_) => {
                if let Some(before) = before {
                    // One that stays is not the last, and says nothing.
                    let _ = self.jobs().delete(before).await;
                }
                Ok(true)
            }
            Err(Error::Refused { code: 10071, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

//! Removing streams, with all that they hold: for fleets that exist for a while, as those of measurements do.

use super::Desired;
use super::api::{Api, Error, Found};
use crate::connect::Broker;

/// Which of these streams exist, by name.
pub async fn existing(broker: &Broker, wanted: &Desired) -> Result<Vec<String>, Error> {
    let api = Api::new(broker);
    let mut existing = Vec::new();
    for stream in &wanted.streams {
        if let Found::Config { .. } = api.stream(&stream.name).await? {
            existing.push(stream.name.clone());
        }
    }
    Ok(existing)
}

/// Removes all of these streams that exist, and tells the first failure after it has tried each.
pub async fn remove(broker: &Broker, wanted: &Desired) -> Result<(), Error> {
    let api = Api::new(broker);
    let mut outcome = Ok(());
    for stream in &wanted.streams {
        let removed = api.delete_stream(&stream.name).await;
        outcome = outcome.and(removed);
    }
    outcome
}

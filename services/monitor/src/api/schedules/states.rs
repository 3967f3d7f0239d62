//! Where the jobs stand that schedules have made, as this monitor's database says.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_core::{JobId, JobState};

use crate::api::{Api, Problem};

/// Adds `state` to each entry of a history in an answer, by its `job_id`: null where the job is not known.
pub(super) async fn add(api: &Api, shown: &mut Value) -> Result<(), Problem> {
    let mut ids = Vec::new();
    each(shown, &mut |entry| ids.extend(job(entry)));
    ids.sort_unstable();
    ids.dedup();
    let known = api.store.states(&ids, Timestamp::now()).await?;
    // An id that follows from a schedule is in one queue, but where the schedule was given another queue since.
    let states: HashMap<JobId, JobState> = known.into_iter().map(|(_, id, state)| (id, state)).collect();
    each(shown, &mut |entry| {
        let state = job(entry).and_then(|id| states.get(&id).copied());
        entry["state"] = json!(state);
    });
    Ok(())
}

fn job(entry: &Value) -> Option<JobId> {
    entry["job_id"].as_str()?.parse().ok()
}

/// Calls this with each entry, wherever it stands.
fn each(shown: &mut Value, of: &mut dyn FnMut(&mut Value)) {
    match shown {
        Value::Object(members) if members.contains_key("job_id") && members.contains_key("what") => of(shown),
        // What a schedule brings may look like one.
        Value::Object(members) => {
            members.iter_mut().filter(|(name, _)| *name != "payload").for_each(|(_, value)| each(value, of));
        }
        Value::Array(all) => all.iter_mut().for_each(|value| each(value, of)),
        _ => {}
    }
}

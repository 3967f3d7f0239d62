//! Many schedules made to what files say: compared first, then changed, each on the condition that nobody else has
//! changed it meanwhile.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _};
use windlass_core::ScheduleId;

use crate::describe::Difference;
use crate::file::Desired;
use crate::store::{Applied, Author, Error, Planned, ScheduleStore};

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Application {
    planned: Vec<(ScheduleId, Planned)>,
    /// To be deleted, with the revision that was seen.
    surplus: Vec<(ScheduleId, u64)>,
}

/// What was, or is to be, done with a schedule.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Line {
    /// Which.
    pub id: ScheduleId,
    /// `created`, `updated`, `unchanged` or `deleted`.
    pub result: &'static str,
    /// Of what is new: all that it says.
    pub changes: Vec<Difference>,
}

/// Comparisons at one time.
const AT_ONCE: usize = 32;

// === impl ScheduleStore ===

impl ScheduleStore {
    /// Compares what is wanted with what stands; nothing is changed. With `prune`, what is not wanted is to go. A
    /// schedule that is among `expected` must have that revision, 0 if it must not be there.
    pub async fn plan_all(
        &self,
        wanted: Vec<Desired>,
        prune: bool,
        expected: &HashMap<ScheduleId, u64>,
    ) -> Result<Application, Error> {
        let ids: HashSet<_> = wanted.iter().map(|desired| desired.schedule.id.clone()).collect();
        let plan = |desired: Desired| async move {
            let id = desired.schedule.id.clone();
            let planned = self.plan(desired).await?;
            let found = planned.revision.unwrap_or_default();
            match expected.get(&id).filter(|expected| **expected != found) {
                Some(expected) => Err(Error::Revision { id, expected: *expected, found }),
                None => Ok((id, planned)),
            }
        };
        let planned =
            futures::stream::iter(wanted.into_iter().map(plan)).buffered(AT_ONCE).try_collect().await?;
        let mut surplus = Vec::new();
        if prune {
            let found = self.list().await?.schedules.into_iter();
            let found = found.map(|stored| (stored.schedule.id, stored.revision));
            surplus.extend(found.filter(|(id, _)| !ids.contains(id)));
        }
        Ok(Application { planned, surplus })
    }

    /// Does it, up to the first that fails: those before are in force, and told.
    pub async fn carry_out_all(
        &self,
        application: Application,
        author: &Author,
    ) -> (Vec<Line>, Result<(), Error>) {
        let mut lines = Vec::with_capacity(application.planned.len());
        for (id, planned) in application.planned {
            let line = Line::of(id, &planned);
            if let Err(error) = self.carry_out(planned, author).await {
                return (lines, Err(error));
            }
            lines.push(line);
        }
        for (id, revision) in application.surplus {
            if let Err(error) = self.delete_revision(&id, revision).await {
                return (lines, Err(error));
            }
            lines.push(Line::deleted(id));
        }
        (lines, Ok(()))
    }
}

// === impl Application ===

impl Application {
    /// What carrying it out would do.
    pub fn lines(&self) -> Vec<Line> {
        let changed = self.planned.iter().map(|(id, planned)| Line::of(id.clone(), planned));
        changed.chain(self.surplus.iter().map(|(id, _)| Line::deleted(id.clone()))).collect()
    }
}

// === impl Line ===

impl Line {
    fn of(id: ScheduleId, planned: &Planned) -> Self {
        let result = match planned.applied {
            Applied::Created => "created",
            Applied::Updated => "updated",
            Applied::Unchanged => "unchanged",
        };
        Self { id, result, changes: planned.differences.clone() }
    }

    fn deleted(id: ScheduleId) -> Self {
        Self { id, result: "deleted", changes: Vec::new() }
    }
}

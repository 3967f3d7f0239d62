//! Whose turn it is among the lanes that have waiting jobs.
//!
//! This is stride scheduling (Waldspurger and Weihl, 1995) on two levels: between priorities, and between the tenants
//! of one. Whoever takes a turn moves on by a stride, the inverse of its weight, and the one that is least far goes
//! next. The virtual time of a level is how far the one was that went last. Four rules make the bounds exact:
//!
//! - A priority that joins begins a stride after the virtual time. Its last turn, if it had one, was at or before that
//!   time, so two turns are a stride apart at least, however often it leaves and joins in between.
//! - A tenant that joins begins [`CREDIT`] turns before that, but not before the place that it had when it left: who has
//!   had little lately goes first for a few jobs, and who leaves and joins again gains nothing by it. So a few jobs of
//!   one are not slowed by however many of another; in fair queueing of packets, "sparse flows" are favoured alike
//!   (Hoeiland-Joergensen and others, RFC 8290, 2018).
//! - Who is equally far goes in a fixed order: the lower priority first, then tenants by name.
//! - Among priorities, strides are whole numbers; among tenants, they are rounded up by less than 10^-16.
//!
//! From a turn of low at time `p` to its next at `p + 8`, those above it take turns at times from `p` up to but not at
//! `p + 8`, at least 1, 2 and 4 apart: at most 8, 4 and 2 of them. Hence [`MAX_TURNS_BETWEEN`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::Priorities;
use crate::Priority;

/// Where priorities are weighted, the most turns of other priorities between two turns of one that always has waiters,
/// and before its first: each gets one of every 15 at least.
pub const MAX_TURNS_BETWEEN: u32 = 14;

/// Turns that a tenant of weight one may have at once, before others have theirs, after it had none for as long: so many
/// times its weight for others. It has each of them once, until others have had as many.
pub const CREDIT: u32 = 16;

/// Tenants that left, of which it is kept how far they were. Beyond it those are forgotten that have most of their
/// credit left, and have all of it when they come back.
const MOST_AWAY: usize = 10_000;

/// Jobs that wait for the same turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// Of its jobs.
    pub priority: Priority,
    /// Of its jobs: the token of the tenant, the same for all where tenants do not count.
    pub tenant: Arc<str>,
}

/// The lanes that have waiters, and whose turn is next.
///
/// The same calls give the same turns. A step costs the logarithm of the number of tenants. Of a tenant without waiters
/// no more is kept than how far it is, and that for as long as it has not all of its credit.
///
/// Of one priority, while a tenant with weight `w` that always has waiters has `n` turns, every other tenant with weight
/// `v` has at most `n * v / w`, rounded up, and its [`CREDIT`], `v` times, once. So with equal weights a tenant with a
/// million jobs delays none of the first 16 of another that had none lately, but by the turn that is being had; and each
/// further one by one turn.
#[derive(Debug, Clone)]
pub struct Turns {
    priorities: Priorities,
    /// By priority, the most urgent first; all in the first where priorities are ignored.
    levels: [Level; 4],
    /// The virtual time between levels.
    now: u64,
    lanes: usize,
}

/// The tenants of one priority.
#[derive(Debug, Clone)]
struct Level {
    /// How far it is; means nothing while it is empty.
    pass: u64,
    tenants: BTreeMap<Arc<str>, Tenant>,
    /// Every tenant by how far it is.
    order: BTreeSet<(u128, Arc<str>)>,
    /// The virtual time between its tenants.
    now: u128,
    /// How far those are that left and have not all of their credit: by tenant, and in order.
    away: HashMap<Arc<str>, u128>,
    away_order: BTreeSet<(u128, Arc<str>)>,
}

#[derive(Debug, Clone)]
struct Tenant {
    pass: u128,
    weight: u32,
    /// Never empty; more than one only where priorities are ignored, and then they take the tenant's turns in rotation.
    lanes: VecDeque<Lane>,
}

/// The stride of a tenant with a weight of one: so large that rounding the others shifts no turn in 10^12 rounds.
const TENANT_STRIDE: u128 = 1 << 64;

// === impl Lane ===

impl Lane {
    /// Of this priority and tenant.
    pub fn new(priority: Priority, tenant: impl Into<Arc<str>>) -> Self {
        Self { priority, tenant: tenant.into() }
    }
}

// === impl Turns ===

impl Turns {
    /// With no lanes yet.
    pub fn new(priorities: Priorities) -> Self {
        Self { priorities, levels: Default::default(), now: 0, lanes: 0 }
    }

    /// The lane has waiters now. `weight` is that of its tenant, at least 1, and counts from its next turn on where it
    /// is another than before; otherwise joining again changes nothing.
    ///
    /// A tenant that comes back has as much of its credit as others had turns meanwhile; a priority has none.
    pub fn join(&mut self, lane: Lane, weight: u32) {
        let (index, weight) = (self.level_of(lane.priority), weight.max(1));
        let level = &mut self.levels[index];
        if level.tenants.is_empty() {
            level.pass = self.now + stride(lane.priority);
        }
        self.lanes += usize::from(level.join(lane, weight));
    }

    /// The lane has no waiters any more. For a lane whose last job was let go, [`Turns::took`] comes first: a turn that
    /// is not counted would be had again.
    pub fn leave(&mut self, lane: &Lane) {
        let index = self.level_of(lane.priority);
        self.lanes -= usize::from(self.levels[index].leave(lane));
    }

    /// Whose turn is next; none if nobody waits.
    pub fn next(&self) -> Option<&Lane> {
        self.levels[self.next_level()?].next()
    }

    /// One job of the lane was let go: its turn is over. It need not be the one whose turn was next; a lane that has
    /// not joined is ignored.
    pub fn took(&mut self, lane: &Lane) {
        let index = self.level_of(lane.priority);
        let first = self.next_level().map(|next| self.levels[next].pass);
        let level = &mut self.levels[index];
        if level.took(lane) {
            level.pass += stride(lane.priority);
            self.now = self.now.max(first.unwrap_or_default());
        }
    }

    /// Lanes that have waiters.
    pub fn len(&self) -> usize {
        self.lanes
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.lanes == 0
    }

    fn level_of(&self, priority: Priority) -> usize {
        match (self.priorities, priority) {
            (Priorities::Ignored, _) | (_, Priority::Critical) => 0,
            (_, Priority::High) => 1,
            (_, Priority::Normal) => 2,
            (_, Priority::Low) => 3,
        }
    }

    fn next_level(&self) -> Option<usize> {
        let mut waiting = (0..self.levels.len()).filter(|index| !self.levels[*index].tenants.is_empty());
        match self.priorities {
            Priorities::Ignored | Priorities::Strict => waiting.next(),
            // The first of equal ones: the lower priority.
            Priorities::Weighted => waiting.rev().min_by_key(|index| self.levels[*index].pass),
        }
    }
}

/// The inverse of a priority's weight, in eighths: weights are 8, 4, 2 and 1.
const fn stride(priority: Priority) -> u64 {
    match priority {
        Priority::Critical => 1,
        Priority::High => 2,
        Priority::Normal => 4,
        Priority::Low => 8,
    }
}

/// The inverse of a tenant's weight. It is rounded up, so that `n` strides of `n` times the weight are never shorter
/// than one of the weight itself, and bounds hold to the turn.
fn tenant_stride(weight: u32) -> u128 {
    TENANT_STRIDE.div_ceil(u128::from(weight))
}

// === impl Level ===

impl Default for Level {
    fn default() -> Self {
        Self {
            pass: 0,
            tenants: BTreeMap::new(),
            order: BTreeSet::new(),
            // So that nobody begins before the beginning.
            now: u128::from(CREDIT) * TENANT_STRIDE,
            away: HashMap::new(),
            away_order: BTreeSet::new(),
        }
    }
}

impl Level {
    /// Whether the lane is new.
    fn join(&mut self, lane: Lane, weight: u32) -> bool {
        let name = lane.tenant.clone();
        let Some(tenant) = self.tenants.get_mut(&name) else {
            let pass = self.back(&name).max(self.with_all_credit(weight));
            self.order.insert((pass, name.clone()));
            self.tenants.insert(name, Tenant { pass, weight, lanes: [lane].into() });
            return true;
        };
        tenant.weight = weight;
        let new = !tenant.lanes.contains(&lane);
        if new {
            tenant.lanes.push_back(lane);
        }
        new
    }

    /// Where a tenant begins that had no turn for long.
    fn with_all_credit(&self, weight: u32) -> u128 {
        self.now + tenant_stride(weight) - u128::from(CREDIT) * TENANT_STRIDE
    }

    /// How far a tenant was that left; 0 if that matters no more.
    fn back(&mut self, name: &Arc<str>) -> u128 {
        let Some(pass) = self.away.remove(name) else { return 0 };
        self.away_order.remove(&(pass, name.clone()));
        pass
    }

    /// Keeps how far a tenant is that leaves, and forgets of whom that matters no more.
    fn gone(&mut self, name: Arc<str>, Tenant { pass, weight, .. }: Tenant) {
        if pass <= self.with_all_credit(weight) {
            return;
        }
        self.away.insert(name.clone(), pass);
        self.away_order.insert((pass, name));
        let matters_not = self.with_all_credit(u32::MAX);
        while let Some((pass, name)) = self.away_order.first().cloned()
            && (pass <= matters_not || self.away.len() > MOST_AWAY)
        {
            self.away_order.pop_first();
            self.away.remove(&name);
        }
    }

    /// Whether the lane was there.
    fn leave(&mut self, lane: &Lane) -> bool {
        let Some(tenant) = self.tenants.get_mut(&lane.tenant) else { return false };
        let Some(at) = tenant.lanes.iter().position(|l| l == lane) else { return false };
        tenant.lanes.remove(at);
        if tenant.lanes.is_empty() {
            self.order.remove(&(tenant.pass, lane.tenant.clone()));
            if let Some(tenant) = self.tenants.remove(&lane.tenant) {
                self.gone(lane.tenant.clone(), tenant);
            }
        }
        true
    }

    fn next(&self) -> Option<&Lane> {
        let (_, name) = self.order.first()?;
        self.tenants.get(name)?.lanes.front()
    }

    /// Whether the lane is there.
    fn took(&mut self, lane: &Lane) -> bool {
        let Some(tenant) = self.tenants.get_mut(&lane.tenant) else { return false };
        let Some(at) = tenant.lanes.iter().position(|l| l == lane) else { return false };
        if let Some(lane) = tenant.lanes.remove(at) {
            tenant.lanes.push_back(lane);
        }
        if let Some((first, _)) = self.order.first() {
            self.now = self.now.max(*first);
        }
        self.order.remove(&(tenant.pass, lane.tenant.clone()));
        tenant.pass += tenant_stride(tenant.weight);
        self.order.insert((tenant.pass, lane.tenant.clone()));
        true
    }
}

#[cfg(test)]
mod tests;

//! Flow control: what an operator sets for a queue, and the decisions that follow from it.
//!
//! A job of a controlled queue passes two stages before it is let go. The first is its key's: one key has so many jobs
//! running, so many points a minute, or may be paused. The second is its turn among all that wait: the queue's limit,
//! priorities, fairness between tenants, the queue's rate and its pauses. Nothing here counts what runs: whoever lets
//! jobs go does, and asks here what is allowed and whose turn it is. A queue with nothing set is not controlled and
//! costs nothing.

mod applied;
mod cause;
mod change;
mod duration_text;
mod gate;
mod give_way;
mod holders;
mod key;
mod patch;
mod pause;
mod rate;
mod settings;
mod slots;
mod sparse;
mod turns;
mod why;
mod window;

pub use applied::Applied;
pub use cause::{Cause, Doing, Holder, On, Stopped};
pub use change::Change;
pub use gate::{Gate, KeyGate};
pub use give_way::GiveWay;
pub use holders::Holders;
pub use key::{FlowKey, InvalidFlowKey};
pub use pause::{Part, Pause};
pub use rate::{Meter, MeterState, TooManyPoints};
pub use settings::{AtLimit, Fairness, InvalidSettings, OnDead, Order, Priorities, QueueSettings, Rate};
pub use slots::{Follows, Kept, KeySlot, Slot, Slots};
pub use sparse::Sparse;
pub use turns::{CREDIT, Lane, MAX_TURNS_BETWEEN, Turns};
pub use why::{Backlog, Counted, Why};
pub use window::Window;

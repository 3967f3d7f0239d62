//! The allocator of every program of the fleet.
//!
//! A job is some twenty small allocations and a few large ones (its futures), made on one thread and freed on another,
//! which the system's allocator answers with locks and with consolidation: 40% of a worker's time (`ARCHITECTURE.md`,
//! "Where the time goes").

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

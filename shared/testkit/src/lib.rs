//! Real brokers, real processes and faults for the tests of Windlass.

pub mod broker;
pub mod cluster;
pub mod fleet;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod small_disk;
pub mod tap;

pub use broker::{Servers, TestBroker};
pub use cluster::Cluster;
pub use fleet::Fleet;
pub use postgres::TestPostgres;
pub use process::{PATIENCE, Process, ProcessOptions};
pub use programs::program;
pub use proxy::{Proxy, Weather};
pub use small_disk::SmallDisk;
pub use tap::{EventLog, Tap, stored_events};

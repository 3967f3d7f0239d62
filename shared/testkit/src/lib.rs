//! Real brokers, real processes and faults for the tests of Windlass.

pub mod broker;
pub mod cluster;

pub use broker::TestBroker;
pub use cluster::Cluster;

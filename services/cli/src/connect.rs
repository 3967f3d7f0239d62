//! Where the fleet is.

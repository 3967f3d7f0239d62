//! `windlass provision`.

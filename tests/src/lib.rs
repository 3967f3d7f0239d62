//! End-to-end tests over real processes, by guarantee: see `tests/e2e`.

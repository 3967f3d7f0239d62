//! One trace from the publisher to the monitor, across processes.

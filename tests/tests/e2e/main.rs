//! End to end, by guarantee: one program, so that it is linked once.

mod credentials;

//! stress_test: offers thousands of painted images to a pixseal cluster and says, with reasons, whether it held.

pub mod chance;
pub mod paint;

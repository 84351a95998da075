//! Floor 6: builds the running agent from a plan and takes it down in the reverse order.
//!
//! Promises: it starts sinks before sources and stops sources before sinks; stopping takes 5 s at the most and loses nothing.
//! Leaves to others: reading the configuration, the command line, serving HTTP.

pub mod status;

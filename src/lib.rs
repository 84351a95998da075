//! lugger: one agent for a Linux host.
//!
//! The modules form floors; each imports only from floors below its own (ARCHITECTURE.md draws them, `tests/tidy.rs`
//! holds them). Binaries and tests enter through [`cli`]; everything that runs is built by [`agent`] from a
//! [`config`] plan.

pub mod base;

pub mod model;

pub mod format;

pub mod pipeline;
pub mod store;

pub mod sink;
pub mod source;

pub mod config;

pub mod agent;

pub mod demo;
pub mod web;

pub mod cli;

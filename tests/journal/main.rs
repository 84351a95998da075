//! Reading journal files: real ones, compared entry by entry with journalctl; files that grow, and files that are damaged.

#[path = "../support/allocations.rs"]
mod allocations;
#[path = "../support/journalctl.rs"]
mod journalctl;
#[path = "../support/journald.rs"]
mod journald;

mod allocations_of_entries;
mod allocations_of_the_source;
mod compression;
mod damage;
mod large_entries;
mod live;
mod objects;
mod real;

//! Scraping.
mod target;
pub mod settings;
mod ticks;

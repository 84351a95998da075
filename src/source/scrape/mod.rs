//! Scraping.
pub mod settings;
mod target;

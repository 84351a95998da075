//! Floor 2: bytes in, values out. No I/O, but that `journal` asks for bytes at the offsets it needs.
//!
//! Promises: no decoder here panics or allocates without bound, whatever it is given; each format is tested against an independent
//! implementation or its published form. Leaves to others: where the bytes come from and go to.

pub mod chrony;
pub mod civil;
pub mod cri;
pub mod docker;
pub mod gelf;
pub mod journal;
pub mod json;
pub mod letter;
pub mod logfmt;
pub mod logql;
pub mod loki;
pub mod loki_encode;
#[cfg(feature = "geoip")]
pub mod mmdb;
pub mod prometheus;
pub mod push_json;
pub mod push_response;
pub mod record;
pub mod remote_write;
pub mod remote_write_read;
pub mod remote_write_v2;
pub mod rfc3339;
pub mod syslog;
pub mod target_groups;
pub mod time;
pub mod write_response;
pub mod x509;

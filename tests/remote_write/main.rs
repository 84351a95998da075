//! Remote write through the library: a sink that is driven as the agent drives it, against a receiver that answers by script, and against a real
//! Prometheus.

#[path = "../support/scripted.rs"]
mod scripted;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../support/prometheus.rs"]
mod server;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../support/small_disk.rs"]
mod small_disk;
#[allow(dead_code, reason = "a part of it is used")]
#[path = "../support/wait.rs"]
mod wait;

mod answers;
mod divided;
mod outage;
mod prometheus;
mod protocol;
mod rig;
mod tls;
mod written;

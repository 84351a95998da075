//! A collection on its way into a request of remote write allocates nothing in the steady state but the body of a request that it fills.

#[path = "support/allocations.rs"]
mod allocations;

use allocations::{Counting, allocations};
use lugger::base::metrics::Registry;
use lugger::base::shutdown;
use lugger::format::remote_write::push_label;
use lugger::model::points::{Point, Points};
use lugger::model::samples::{Family, Kind};
use lugger::pipeline::relabel::Settings;
use lugger::sink::remote_write::endpoint;
use lugger::sink::remote_write::settings::{Endpoint, Message};
use lugger::sink::settings::{Auth, Tls};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn settings() -> Endpoint {
    Endpoint {
        name: "prom".into(),
        // Nothing is sent: the runtime never gets its turn.
        url: "http://127.0.0.1:9/api/v1/write".into(),
        headers: Vec::new(),
        auth: Auth::None,
        tls: Tls::default(),
        proxy: None,
        timeout: Duration::from_secs(1),
        write_relabel: Vec::new(),
        message: Message::V1,
        exemplars: false,
        metadata: Some(Duration::from_secs(3600)),
        max_samples: 1000,
        deadline: Duration::from_secs(3600),
        backoff: (Duration::from_secs(1), Duration::from_secs(1)),
        sample_age_limit: None,
        retry_rate_limited: true,
    }
}

/// A thousand points of fifty families.
fn points() -> Points {
    let mut points = Points::default();
    for family in 0..50 {
        let name = format!("node_family_{family}_total");
        points.family(&Family { name: &name, help: "What it counts.", unit: "", kind: Kind::Counter });
        for series in 0..20 {
            let mut labels = Vec::new();
            let (cpu, host) = (series.to_string(), "host.example.org:9100");
            for (name, value) in [("__name__", name.as_str()), ("cpu", &cpu), ("instance", host), ("job", "node")] {
                push_label(name, value, &mut labels);
            }
            points.add(&labels, Point { bits: 1.5f64.to_bits(), time_ms: 1_785_571_200_123, start_ms: 7 });
        }
    }
    points
}

/// `at_most` allocations in ten collections.
fn assert_steady(settings: Endpoint, at_most: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let registry = Registry::default();
    let (_trigger, shutdown) = shutdown::channel();
    let handle = endpoint::start(settings, None, &registry, shutdown, Duration::ZERO).unwrap();
    let (output, points) = (handle.output(), points());
    // The queue's own memory grows until it is full; a hundred bodies are a part of that.
    for _ in 0..700 {
        output.write(&points);
    }
    let counted = allocations(|| (0..10).for_each(|_| output.write(&points)));
    assert!(counted <= at_most, "{counted}");
}

#[test]
fn the_first_version() {
    // The body, and what counts who has it.
    assert_steady(settings(), 20);
}

#[test]
fn the_second_version() {
    assert_steady(Endpoint { message: Message::V2, ..settings() }, 20);
}

#[test]
fn with_rules() {
    let rule = Settings { target_label: "site".into(), replacement: Some("home".into()), ..Settings::default() };
    assert_steady(Endpoint { write_relabel: vec![rule], ..settings() }, 20);
}

#[test]
fn what_fills_no_request_allocates_nothing() {
    // Of ten collections one at most fills a request, by its bytes.
    assert_steady(Endpoint { max_samples: 100_000, ..settings() }, 2);
}

//! `time`: the host's clock and time zone, and what it is driven by, from /sys/devices/system/clocksource.

use super::files::{Buffer, File, text, words};
use super::{Collector, Fail, Settings};
use crate::base::clock::Clock;
use crate::model::samples::{Kind, Samples};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(super) struct Time {
    zone: TimeZone,
    available: File,
    current: File,
    buffer: Buffer,
}

impl Time {
    pub(super) fn new(settings: &Settings) -> Time {
        let file = |name: &str| File::new(settings.roots.sys("devices/system/clocksource/clocksource0").join(name));
        Time {
            // A host that says nothing has UTC.
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
            available: file("available_clocksource"),
            current: file("current_clocksource"),
            buffer: Buffer::default(),
        }
    }
}

impl Collector for Time {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let now = Clock::System.now_ns();
        for (file, name, help) in [
            (&mut self.available, "node_time_clocksource_available_info", "What the clock can be driven by."),
            (&mut self.current, "node_time_clocksource_current_info", "What the clock is driven by."),
        ] {
            let Ok(bytes) = file.word(&mut self.buffer) else { continue };
            out.family(name, help, Kind::Gauge);
            for source in words(bytes) {
                out.add(&[("clocksource", text(source)), ("device", "0")], 1.0);
            }
        }
        out.one("node_time_seconds", "The host's time, seconds since 1970.", Kind::Gauge, now as f64 / 1e9);
        let at = Timestamp::from_nanosecond(i128::from(now)).unwrap_or_default();
        let info = self.zone.to_offset_info(at);
        out.family("node_time_zone_offset_seconds", "How much local time is ahead of UTC.", Kind::Gauge);
        out.add(&[("time_zone", info.abbreviation())], f64::from(info.offset().seconds()));
        Ok(())
    }
}

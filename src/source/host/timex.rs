//! `timex`: how well the clock is kept, as adjtimex(2) says.

use super::{Collector, Fail};
use crate::model::samples::{Kind, Samples};

/// Offsets and jitter are in nanoseconds instead of microseconds.
const STA_NANO: i32 = 0x2000;
/// What is returned when the clock is not synchronised.
const TIME_ERROR: i32 = 5;
/// Frequencies are parts of a million, with 16 bits of fraction.
const PPM: f64 = 65_536.0 * 1e6;

pub(super) struct Timex;

/// Asks the kernel, and changes nothing.
fn ask() -> std::io::Result<(i32, libc::timex)> {
    // SAFETY: `timex` is a struct of integers, for which all bits zero is a value; `modes` 0 makes adjtimex only fill it in. rustix lacks the call.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 { Err(std::io::Error::last_os_error()) } else { Ok((state, timex)) }
}

impl Collector for Timex {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "C's long has another width on other hosts")]
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let (state, timex) = match ask() {
            Ok(asked) => asked,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(Fail::NoData),
            Err(error) => return Err(Fail::Error(format!("adjtimex: {error}"))),
        };
        let divisor = if timex.status & STA_NANO != 0 { 1e9 } else { 1e6 };
        let synchronised = f64::from(u8::from(state != TIME_ERROR));
        let gauges = [
            ("node_timex_estimated_error_seconds", "Estimated error.", timex.esterror as f64 / 1e6),
            (
                "node_timex_frequency_adjustment_ratio",
                "By what the clock's frequency is multiplied.",
                1.0 + timex.freq as f64 / PPM,
            ),
            ("node_timex_loop_time_constant", "Time constant of the phase-locked loop.", timex.constant as f64),
            ("node_timex_maxerror_seconds", "Largest error.", timex.maxerror as f64 / 1e6),
            ("node_timex_offset_seconds", "What the clock is off from its reference.", timex.offset as f64 / divisor),
            ("node_timex_pps_frequency_hertz", "Frequency of the pulse per second.", timex.ppsfreq as f64 / PPM),
            ("node_timex_pps_jitter_seconds", "Jitter of the pulse per second.", timex.jitter as f64 / divisor),
            ("node_timex_pps_shift_seconds", "Interval of the pulse per second.", timex.shift as f64),
            ("node_timex_pps_stability_hertz", "Stability of the pulse per second.", timex.stabil as f64 / PPM),
            ("node_timex_status", "Bits of the clock's state.", timex.status as f64),
            ("node_timex_sync_status", "Whether the clock is synchronised.", synchronised),
            ("node_timex_tai_offset_seconds", "What international atomic time is ahead of UTC.", timex.tai as f64),
            ("node_timex_tick_seconds", "Time between two ticks of the clock.", timex.tick as f64 / 1e6),
        ];
        for (name, help, value) in gauges {
            out.one(name, help, Kind::Gauge, value);
        }
        let counters = [
            ("node_timex_pps_calibration_total", "Intervals of calibration.", timex.calcnt as f64),
            ("node_timex_pps_error_total", "Errors of calibration.", timex.errcnt as f64),
            ("node_timex_pps_jitter_total", "How often jitter was above its limit.", timex.jitcnt as f64),
            (
                "node_timex_pps_stability_exceeded_total",
                "How often stability was above its limit.",
                timex.stbcnt as f64,
            ),
        ];
        for (name, help, value) in counters {
            out.one(name, help, Kind::Counter, value);
        }
        Ok(())
    }
}

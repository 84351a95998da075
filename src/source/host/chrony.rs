//! `chrony`: how far the clock is off, as chronyd says (`format/chrony`), under the names that exporters for chronyd have.
//!
//! chronyd is asked on its port for monitoring, which only this host reaches where nobody says otherwise. A host without chronyd has no data.

use super::{Collector, Fail, Settings};
use crate::base::limits::HOST_CHRONY_MS;
use crate::format::chrony::{REQUEST_BYTES, Tracking, ask_tracking, read_tracking};
use crate::model::samples::{Kind, Samples};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

pub(super) struct Chrony {
    address: SocketAddr,
    socket: Option<UdpSocket>,
    number: u32,
}

impl Chrony {
    pub(super) fn new(settings: &Settings) -> Chrony {
        Chrony { address: settings.chrony_address, socket: None, number: 0 }
    }

    fn connected(&self) -> io::Result<UdpSocket> {
        let any: IpAddr = if self.address.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(self.address)?;
        Ok(socket)
    }

    fn ask(&mut self) -> Result<Tracking, Fail> {
        let address = self.address;
        let fail = |error: io::Error| match error.kind() {
            // Nobody listens there.
            ErrorKind::ConnectionRefused => Fail::NoData,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Fail::Error(format!(
                "chronyd at {address} does not answer: `cmdallow` of its configuration says who may ask"
            )),
            _ => Fail::Error(format!("chronyd at {address}: {error}")),
        };
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connected().map_err(fail)?,
        };
        // An answer to an earlier question has another number.
        self.number = self.number.wrapping_add(1);
        socket.send(&ask_tracking(self.number)).map_err(fail)?;
        let until = Instant::now() + Duration::from_millis(HOST_CHRONY_MS);
        let mut answer = [0; REQUEST_BYTES * 2];
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            socket.set_read_timeout(Some(left)).map_err(fail)?;
            let len = socket.recv(&mut answer).map_err(fail)?;
            match read_tracking(answer.get(..len).unwrap_or_default(), self.number) {
                Ok(tracking) => {
                    self.socket = Some(socket);
                    return Ok(tracking);
                }
                Err(error) if Instant::now() >= until => {
                    return Err(Fail::Error(format!("chronyd at {address}: {error}")));
                }
                Err(_) => {}
            }
        }
    }
}

impl Collector for Chrony {
    fn collect(&mut self, out: &mut Samples) -> Result<(), Fail> {
        let tracking = self.ask();
        let up = f64::from(u8::from(tracking.is_ok()));
        let tracking = match tracking {
            Err(Fail::NoData) => return Err(Fail::NoData),
            tracking => {
                out.one("chrony_up", "Whether chronyd answers.", Kind::Gauge, up);
                tracking?
            }
        };
        let (address, id) =
            (tracking.address.map(|address| address.to_string()), format!("{:08X}", tracking.reference_id));
        out.family("chrony_tracking_info", "Always 1; what the clock follows.", Kind::Gauge);
        let address = address.unwrap_or_default();
        out.add(
            &[("tracking_address", &address), ("tracking_name", &tracking.reference_name()), ("tracking_refid", &id)],
            1.0,
        );
        let remote = f64::from(u8::from(tracking.address.is_some()));
        for (name, help, value) in [
            ("chrony_tracking_frequency_ppms", "How wrong the clock would run by itself.", tracking.frequency_ppm),
            ("chrony_tracking_last_offset_seconds", "Offset at the last measurement.", tracking.last_offset_s),
            (
                "chrony_tracking_leap_status",
                "0 normal, 1 or 2 a second is inserted or deleted, 3 not synchronised.",
                f64::from(tracking.leap_status),
            ),
            (
                "chrony_tracking_reference_timestamp_seconds",
                "When the reference was measured last.",
                tracking.reference_time_s,
            ),
            ("chrony_tracking_remote_reference", "Whether the reference is another host.", remote),
            (
                "chrony_tracking_residual_frequency_ppms",
                "What the last measurement says beside the frequency.",
                tracking.residual_frequency_ppm,
            ),
            ("chrony_tracking_rms_offset_seconds", "Average of offsets.", tracking.rms_offset_s),
            ("chrony_tracking_root_delay_seconds", "Delay up to the reference clock.", tracking.root_delay_s),
            (
                "chrony_tracking_root_dispersion_seconds",
                "Uncertainty up to the reference clock.",
                tracking.root_dispersion_s,
            ),
            ("chrony_tracking_skew_ppms", "How uncertain the frequency is.", tracking.skew_ppm),
            (
                "chrony_tracking_stratum",
                "Hosts up to the reference clock; 0: not synchronised.",
                f64::from(tracking.stratum),
            ),
            (
                "chrony_tracking_system_time_seconds",
                "How far the clock is behind true time.",
                tracking.current_correction_s,
            ),
            (
                "chrony_tracking_update_interval_seconds",
                "Between the last two measurements.",
                tracking.update_interval_s,
            ),
        ] {
            out.one(name, help, Kind::Gauge, value);
        }
        Ok(())
    }
}

//! What chronyd says of its clock: the tracking report of its monitoring protocol (version 6, UDP port 323; `candm.h` of chrony has it).
//!
//! Promises: never a wrong number for a report of another form: what is not understood is an error. Leaves to others: the socket.

/// Bytes of a request: as long as the answer, or chronyd does not answer.
pub const REQUEST_BYTES: usize = 104;

const VERSION: u8 = 6;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ASKS_TRACKING: u16 = 33;
const TELLS_TRACKING: u16 = 5;
const IPV4: u16 = 1;
const IPV6: u16 = 2;

/// How the clock is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// Which server it follows, as its report of the protocol has it: an IPv4 address, or up to four letters for a clock of this host.
    pub reference_id: u32,
    /// That server's address, if there is one.
    pub address: Option<std::net::IpAddr>,
    /// How many servers there are up to the reference clock; 0: it is not synchronised.
    pub stratum: u16,
    /// 0 normal, 1 a second is inserted, 2 a second is deleted, 3 not synchronised.
    pub leap_status: u16,
    /// When the reference was measured last, seconds since 1970.
    pub reference_time_s: f64,
    /// How far the clock is from what chronyd takes for true, seconds; more than 0: it is slow.
    pub current_correction_s: f64,
    /// The offset at the last measurement, seconds.
    pub last_offset_s: f64,
    /// Long-term average of offsets, seconds.
    pub rms_offset_s: f64,
    /// How much the clock would be wrong if it were left alone, millionths.
    pub frequency_ppm: f64,
    /// What the last measurement says beside that, millionths.
    pub residual_frequency_ppm: f64,
    /// How uncertain the frequency is, millionths.
    pub skew_ppm: f64,
    /// Delay up to the reference clock, seconds.
    pub root_delay_s: f64,
    /// What may have been added up to there, seconds.
    pub root_dispersion_s: f64,
    /// Between the last two measurements, seconds.
    pub update_interval_s: f64,
}

impl Tracking {
    /// The name of the reference: its letters where it has some, otherwise hexadecimal digits.
    pub fn reference_name(&self) -> String {
        let letters = self.reference_id.to_be_bytes();
        let text = letters.split(|byte| *byte == 0).next().unwrap_or_default();
        let is_text = !text.is_empty()
            && text.iter().all(u8::is_ascii_graphic)
            && letters.get(text.len()..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
        match std::str::from_utf8(text) {
            Ok(text) if is_text => text.to_owned(),
            _ => format!("{:08X}", self.reference_id),
        }
    }
}

/// Why an answer says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It is no answer to the request.
    #[error("an answer of {0} bytes that is none to the question")]
    Foreign(usize),
    /// chronyd refuses.
    #[error("chronyd refuses with status {0}: `cmdallow` of its configuration says who may ask")]
    Refused(u16),
}

/// Asks for the tracking report. `number` comes back in the answer.
pub fn ask_tracking(number: u32) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    let [high, low] = ASKS_TRACKING.to_be_bytes();
    let [a, b, c, d] = number.to_be_bytes();
    // Version, kind, two reserved bytes, command, attempt, number.
    let head = [VERSION, REQUEST, 0, 0, high, low, 0, 0, a, b, c, d];
    for (to, from) in request.iter_mut().zip(head) {
        *to = from;
    }
    request
}

/// Reads the answer to the request of this number.
///
/// # Errors
/// It is no answer to it, or a refusal.
pub fn read_tracking(answer: &[u8], number: u32) -> Result<Tracking, ReplyError> {
    let foreign = || ReplyError::Foreign(answer.len());
    let mut rest = Rest(answer);
    let head = rest.take::<4>().ok_or_else(foreign)?;
    let command = rest.u16().ok_or_else(foreign)?;
    let reply = rest.u16().ok_or_else(foreign)?;
    let status = rest.u16().ok_or_else(foreign)?;
    rest.take::<6>().ok_or_else(foreign)?;
    let sequence = rest.u32().ok_or_else(foreign)?;
    rest.take::<8>().ok_or_else(foreign)?;
    if head != [VERSION, REPLY, 0, 0] || command != ASKS_TRACKING || sequence != number {
        return Err(foreign());
    }
    if status != 0 {
        return Err(ReplyError::Refused(status));
    }
    if reply != TELLS_TRACKING {
        return Err(foreign());
    }
    rest.tracking().ok_or_else(foreign)
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    /// chrony's own floating point: 7 bits of a signed exponent, 25 of a signed coefficient.
    fn float(&mut self) -> Option<f64> {
        let bits = self.u32()? as i32;
        let (exponent, coefficient) = (bits >> 25, (bits << 7) >> 7);
        Some(f64::from(coefficient) * f64::from(exponent - 25).exp2())
    }

    fn tracking(&mut self) -> Option<Tracking> {
        let reference_id = self.u32()?;
        let address: [u8; 16] = self.take()?;
        let family = self.u16()?;
        self.u16()?;
        let address = match family {
            IPV4 => address.first_chunk::<4>().map(|four| std::net::IpAddr::from(*four)),
            IPV6 => Some(address.into()),
            _ => None,
        };
        Some(Tracking {
            reference_id,
            address,
            stratum: self.u16()?,
            leap_status: self.u16()?,
            reference_time_s: {
                let (high, low, ns) = (self.u32()?, self.u32()?, self.u32()?);
                // Old ones say by an impossible half that the other one is all there is.
                let high = if high == 0x7fff_ffff { 0 } else { high };
                (i64::from(high) << 32 | i64::from(low)) as f64 + f64::from(ns) / 1e9
            },
            current_correction_s: self.float()?,
            last_offset_s: self.float()?,
            rms_offset_s: self.float()?,
            frequency_ppm: self.float()?,
            residual_frequency_ppm: self.float()?,
            skew_ppm: self.float()?,
            root_delay_s: self.float()?,
            root_dispersion_s: self.float()?,
            update_interval_s: self.float()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer with all fields told apart.
    fn answer(number: u32) -> Vec<u8> {
        let mut bytes = vec![VERSION, REPLY, 0, 0, 0, 33, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(number.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(*b"GPS\0");
        bytes.extend([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([0, 1, 0, 0, 0, 3, 0, 0]);
        for word in [0u32, 1_700_000_000, 500_000_000] {
            bytes.extend(word.to_be_bytes());
        }
        // 1 is 2^23 with exponent 2; -0.5 is -2^24, the least, with exponent 0.
        let half = 1i32 << 23;
        for (exponent, coefficient) in
            [(2i32, half), (0, -2 * half), (3, half), (0, 0), (1, half), (0, half), (4, half), (5, half), (12, half)]
        {
            bytes.extend((exponent << 25 | (coefficient & 0x01ff_ffff)).to_be_bytes());
        }
        bytes
    }

    #[test]
    fn a_report_is_read() {
        let tracking = read_tracking(&answer(7), 7).unwrap();
        assert_eq!(tracking.reference_name(), "GPS");
        assert_eq!(tracking.address, Some([192, 0, 2, 1].into()));
        assert_eq!((tracking.stratum, tracking.leap_status, tracking.reference_time_s), (3, 0, 1_700_000_000.5));
        let read = tracking.clone();
        let floats = [
            read.current_correction_s,
            read.last_offset_s,
            read.rms_offset_s,
            read.frequency_ppm,
            read.residual_frequency_ppm,
        ];
        assert_eq!(floats, [1.0, -0.5, 2.0, 0.0, 0.5]);
        let floats = [read.skew_ppm, read.root_delay_s, read.root_dispersion_s, read.update_interval_s];
        assert_eq!(floats, [0.25, 4.0, 8.0, 1024.0]);
        assert_eq!(Tracking { reference_id: 0xc000_0201, ..tracking }.reference_name(), "C0000201");
    }

    #[test]
    fn others_are_none() {
        assert_eq!(read_tracking(&answer(7), 8), Err(ReplyError::Foreign(104)));
        let mut refused = answer(7);
        refused[9] = 2;
        assert_eq!(read_tracking(&refused, 7), Err(ReplyError::Refused(2)));
        assert!(ask_tracking(0x0102_0304).starts_with(&[6, 1, 0, 0, 0, 33, 0, 0, 1, 2, 3, 4]));
        assert_eq!(answer(7).len(), REQUEST_BYTES);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_report_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..120), cut in 0usize..110) {
            let _ = read_tracking(&bytes, 7);
            let whole = answer(7);
            let cut = whole.get(..cut).unwrap_or(&whole);
            prop_assert_eq!(read_tracking(cut, 7).is_ok(), cut.len() == whole.len());
        }
    }
}

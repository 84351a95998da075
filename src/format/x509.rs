//! What a certificate says of itself: whose it is, who says so, and from when to when (RFC 5280, in DER).
//!
//! Only that is read: nothing is checked, and no key or extension is looked at. Promises: no panic and no wrong time, whatever the bytes are; what is
//! not understood is an error. Leaves to others: PEM, and everything that a certificate is good for.

use super::civil::days_of;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, which the version is in.
const VERSION: u8 = 0xa0;
const BMP_STRING: u8 = 0x1e;

/// The last byte of the attributes' identifiers (2.5.4.x), with their usual short names.
const ATTRIBUTES: [(u8, &str); 6] = [(3, "CN"), (6, "C"), (7, "L"), (8, "ST"), (10, "O"), (11, "OU")];
/// 2.5.4, encoded.
const ATTRIBUTE: [u8; 2] = [0x55, 0x04];

/// A certificate's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its number, decimal, as its issuer gave it.
    pub serial: String,
    /// Who issued it: short names of attributes (`CN`, `C`, `L`, `ST`, `O`, `OU`) and their texts, as far as they are there. The first of each.
    pub issuer: Vec<(&'static str, String)>,
    /// Whose it is.
    pub subject: Vec<(&'static str, String)>,
    /// From when it holds, seconds since 1970.
    pub not_before_s: i64,
    /// Up to when it holds, seconds since 1970.
    pub not_after_s: i64,
}

/// It is no certificate, or none that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no X.509 certificate: {0} is missing or malformed")]
pub struct NoCertificate(&'static str);

/// Reads a certificate in DER.
///
/// # Errors
/// It is none.
pub fn read(der: &[u8]) -> Result<Certificate, NoCertificate> {
    let mut rest = Rest(der);
    let mut whole = rest.inside(SEQUENCE).ok_or(NoCertificate("the outermost sequence"))?;
    let mut signed = whole.inside(SEQUENCE).ok_or(NoCertificate("what is signed"))?;
    let _ = signed.inside(VERSION);
    let serial = signed.inside(INTEGER).ok_or(NoCertificate("the serial number"))?;
    signed.inside(SEQUENCE).ok_or(NoCertificate("the signature's algorithm"))?;
    let issuer = signed.inside(SEQUENCE).and_then(Rest::name).ok_or(NoCertificate("the issuer"))?;
    let mut validity = signed.inside(SEQUENCE).ok_or(NoCertificate("the validity"))?;
    let not_before_s = validity.time().ok_or(NoCertificate("the beginning of its validity"))?;
    let not_after_s = validity.time().ok_or(NoCertificate("the end of its validity"))?;
    let subject = signed.inside(SEQUENCE).and_then(Rest::name).ok_or(NoCertificate("the subject"))?;
    Ok(Certificate { serial: decimal(serial.0), issuer, subject, not_before_s, not_after_s })
}

/// What is not read yet.
#[derive(Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// The next value and its tag.
    fn value(&mut self) -> Option<(u8, Rest<'a>)> {
        let [tag, first, rest @ ..] = self.0 else { return None };
        let (len, rest) = match usize::from(*first) {
            short @ 0..0x80 => (short, rest),
            // The length is in so many bytes; DER has no indefinite ones, and nothing here is larger than 4 GiB.
            long => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                if !(1..=4).contains(&bytes.len()) {
                    return None;
                }
                (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
            }
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((*tag, Rest(value)))
    }

    /// The next value if it has this tag.
    fn inside(&mut self, tag: u8) -> Option<Rest<'a>> {
        let mut ahead = *self;
        let (found, value) = ahead.value()?;
        if found != tag {
            return None;
        }
        *self = ahead;
        Some(value)
    }

    fn name(mut self) -> Option<Vec<(&'static str, String)>> {
        let mut name: Vec<(&'static str, String)> = Vec::new();
        while !self.0.is_empty() {
            let mut set = self.inside(SET)?;
            while !set.0.is_empty() {
                let mut attribute = set.inside(SEQUENCE)?;
                let object = attribute.inside(OBJECT)?;
                let (tag, text) = attribute.value()?;
                let short = object.0.strip_prefix(&ATTRIBUTE).and_then(|rest| match rest {
                    [last] => ATTRIBUTES.iter().find(|(byte, _)| byte == last).map(|(_, short)| *short),
                    _ => None,
                });
                if let Some(short) = short
                    && !name.iter().any(|(known, _)| *known == short)
                {
                    name.push((short, string(tag, text.0)));
                }
            }
        }
        Some(name)
    }

    /// `UTCTime` or `GeneralizedTime`, in the form that certificates have: to the second, in UTC.
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.value()?;
        let (year, rest) = match (tag, text.0) {
            (UTC_TIME, [a, b, rest @ ..]) => {
                let year = number(&[*a, *b])?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            (GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => (number(&[*a, *b, *c, *d])?, rest),
            _ => return None,
        };
        let [rest @ .., b'Z'] = rest else { return None };
        let (parts, []) = rest.as_chunks::<2>() else { return None };
        let [month, day, hour, minute, second] = parts else { return None };
        let in_range =
            |part: &[u8; 2], range: std::ops::RangeInclusive<i64>| number(part).filter(|value| range.contains(value));
        let (month, day) = (in_range(month, 1..=12)?, in_range(day, 1..=31)?);
        let (hour, minute, second) = (in_range(hour, 0..=23)?, in_range(minute, 0..=59)?, in_range(second, 0..=60)?);
        Some(((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

/// Text of any kind; what is no UTF-8 is shown as well as it can be.
fn string(tag: u8, bytes: &[u8]) -> String {
    if tag == BMP_STRING {
        let units = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair));
        return char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// An integer of any length in two's complement, as decimal digits. Those of certificates have 20 bytes at most; more than 64 are cut.
fn decimal(bytes: &[u8]) -> String {
    let bytes = bytes.get(..bytes.len().min(64)).unwrap_or_default();
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    // The digits, lowest first; of a negative number's complement, to which one is added.
    let mut digits: Vec<u8> = vec![0];
    for byte in bytes {
        let mut carry = u32::from(if negative { !byte } else { *byte });
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = (carry % 10) as u8;
            carry /= 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    if negative {
        let mut carry = 1;
        for digit in &mut digits {
            carry += *digit;
            *digit = carry % 10;
            carry /= 10;
        }
        if carry > 0 {
            digits.push(carry);
        }
    }
    while digits.len() > 1 && digits.last() == Some(&0) {
        digits.pop();
    }
    let sign = if negative { "-" } else { "" };
    digits.iter().rev().fold(String::from(sign), |mut text, digit| {
        text.push(char::from(b'0' + digit));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber, date_time_ymd};

    fn made() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Größe");
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.serial_number = Some(SerialNumber::from(vec![0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]));
        params.not_before = date_time_ymd(1999, 2, 3);
        params.not_after = date_time_ymd(2051, 12, 31);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_read() {
        let name = vec![("CN", "Größe".to_owned()), ("O", "Example".to_owned())];
        let read = read(&made()).unwrap();
        let sorted = |mut name: Vec<_>| {
            name.sort();
            name
        };
        assert_eq!((sorted(read.issuer), sorted(read.subject)), (name.clone(), name));
        assert_eq!(read.serial, "18446744073709551616");
        assert_eq!((read.not_before_s, read.not_after_s), (918_000_000, 2_587_593_600));
    }

    #[test]
    fn numbers_of_any_length() {
        for (bytes, text) in [
            (&[][..], "0"),
            (&[0], "0"),
            (&[0x7f], "127"),
            (&[0x00, 0xff], "255"),
            (&[0xff], "-1"),
            (&[0x80], "-128"),
            (&[0xfe, 0x0c], "-500"),
        ] {
            assert_eq!(decimal(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn numbers_agree(value in any::<i128>()) {
            prop_assert_eq!(decimal(&value.to_be_bytes()), value.to_string());
        }

        #[test]
        fn any_bytes_are_a_certificate_or_an_error(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut der = made();
            let place = at.index(der.len());
            if let Some(place) = der.get_mut(place) {
                *place = byte;
            }
            let _ = read(&der);
            let cut = cut.index(der.len());
            prop_assert!(read(der.get(..cut).unwrap_or_default()).is_err());
        }
    }
}

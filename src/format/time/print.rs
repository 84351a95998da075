//! A moment as text, by a layout.
//!
//! Promises: what is printed is read back by the same layout as the same moment, as far as the layout tells all of it.
//! Leaves to others: layouts.

use super::Unit;
use super::scan::{LONG_DAYS, LONG_MONTHS};
use super::token::{Element, Offset};
use super::zone::Zone;
use crate::format::civil;
use std::fmt::Write as _;

pub(super) fn unix(ns: i64, unit: Unit, out: &mut String) {
    let divisor = match unit {
        Unit::Seconds => 1_000_000_000,
        Unit::Millis => 1_000_000,
        Unit::Micros => 1_000,
        Unit::Nanos => 1,
    };
    let _ = write!(out, "{}", ns.div_euclid(divisor));
}

pub(super) fn elements(list: &[Element], zone: Option<&Zone>, ns: i64, out: &mut String) {
    let second = ns.div_euclid(1_000_000_000);
    let nanos = ns.rem_euclid(1_000_000_000);
    let offset = zone.map_or(0, |zone| zone.offset(second));
    let local = second.saturating_add(offset);
    let days = local.div_euclid(86_400);
    let (year, month, day) = civil::date_of(days);
    let of_day = local.rem_euclid(86_400);
    let (hour, minute, sec) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let hour12 = if hour % 12 == 0 { 12 } else { hour % 12 };
    let year_day = days - civil::days_of(year, 1, 1) + 1;
    let pick = |names: &[&'static str], index: i64| -> &'static str {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or("")
    };
    let month_name = pick(&LONG_MONTHS, month - 1);
    // 1970-01-01 was a Thursday.
    let day_name = pick(&LONG_DAYS, (days + 4).rem_euclid(7));
    // Writing to a String cannot fail.
    for element in list {
        let _ = match element {
            Element::Literal(text) => out.write_str(text),
            Element::Year4 => write!(out, "{year:04}"),
            Element::Year2 => write!(out, "{:02}", year.rem_euclid(100)),
            Element::MonthLong => out.write_str(month_name),
            Element::MonthShort => out.write_str(month_name.get(..3).unwrap_or("")),
            Element::Month2 => write!(out, "{month:02}"),
            Element::Month => write!(out, "{month}"),
            Element::WeekdayLong => out.write_str(day_name),
            Element::WeekdayShort => out.write_str(day_name.get(..3).unwrap_or("")),
            Element::Day2 => write!(out, "{day:02}"),
            Element::DayPadded => write!(out, "{day:2}"),
            Element::Day => write!(out, "{day}"),
            Element::YearDay3 => write!(out, "{year_day:03}"),
            Element::YearDayPadded => write!(out, "{year_day:3}"),
            Element::Hour => write!(out, "{hour:02}"),
            Element::Hour12Two => write!(out, "{hour12:02}"),
            Element::Hour12 => write!(out, "{hour12}"),
            Element::Minute2 => write!(out, "{minute:02}"),
            Element::Minute => write!(out, "{minute}"),
            Element::Second2 => write!(out, "{sec:02}"),
            Element::Second => write!(out, "{sec}"),
            Element::Half => out.write_str(if hour >= 12 { "PM" } else { "AM" }),
            Element::HalfLower => out.write_str(if hour >= 12 { "pm" } else { "am" }),
            Element::ZoneName => out.write_str(zone.map_or("UTC", |zone| zone.name(second))),
            Element::Offset(how) => print_offset(*how, offset, out),
            Element::Fraction(digits, sign) => print_fraction(nanos, *digits, *sign, false, out),
            Element::FractionOptional(digits, sign) => print_fraction(nanos, *digits, *sign, true, out),
        };
    }
}

fn print_offset(how: Offset, offset: i64, out: &mut String) -> std::fmt::Result {
    if how.zulu && offset == 0 {
        return out.write_str("Z");
    }
    let size = offset.abs();
    let colon = if how.colons { ":" } else { "" };
    write!(out, "{}{:02}", if offset < 0 { '-' } else { '+' }, size / 3600)?;
    if how.minutes {
        write!(out, "{colon}{:02}", size / 60 % 60)?;
    }
    if how.seconds {
        write!(out, "{colon}{:02}", size % 60)?;
    }
    Ok(())
}

fn print_fraction(nanos: i64, digits: u8, sign: char, optional: bool, out: &mut String) -> std::fmt::Result {
    let digits = digits.min(9);
    let shown = nanos / 10i64.pow(9 - u32::from(digits));
    if optional && shown == 0 {
        return Ok(());
    }
    write!(out, "{sign}{shown:0width$}", width = usize::from(digits))?;
    if optional {
        out.truncate(out.trim_end_matches('0').len());
    }
    Ok(())
}

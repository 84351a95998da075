//! Go layouts, cut into elements: which bytes of a layout stand for a part of the time, and which for themselves.
//!
//! Promises: the elements together are the layout. Leaves to others: what they mean for a text.

/// A part of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// Bytes that stand for themselves; a run of spaces stands for any run.
    Literal(Box<str>),
    /// `2006`
    Year4,
    /// `06`
    Year2,
    /// `January`
    MonthLong,
    /// `Jan`
    MonthShort,
    /// `01`
    Month2,
    /// `1`
    Month,
    /// `Monday`
    WeekdayLong,
    /// `Mon`
    WeekdayShort,
    /// `02`
    Day2,
    /// `_2`
    DayPadded,
    /// `2`
    Day,
    /// `002`
    YearDay3,
    /// `__2`
    YearDayPadded,
    /// `15`
    Hour,
    /// `03`
    Hour12Two,
    /// `3`
    Hour12,
    /// `04`
    Minute2,
    /// `4`
    Minute,
    /// `05`
    Second2,
    /// `5`
    Second,
    /// `PM`
    Half,
    /// `pm`
    HalfLower,
    /// `MST`
    ZoneName,
    /// `-0700`, `Z07:00` and so on.
    Offset(Offset),
    /// `.000`: exactly so many digits. The sign is `.` or `,`; only printing cares which.
    Fraction(u8, char),
    /// `.999`: any number of digits, or nothing. Printing writes at most so many.
    FractionOptional(u8, char),
}

/// How an offset from UTC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    /// Whether `Z` stands for UTC.
    pub zulu: bool,
    pub colons: bool,
    pub minutes: bool,
    pub seconds: bool,
}

/// Elements that are found by their bytes alone. Where two begin alike, the longer one comes first.
const FIXED: [(&str, Element); 23] = [
    ("January", Element::MonthLong),
    ("Monday", Element::WeekdayLong),
    ("MST", Element::ZoneName),
    ("002", Element::YearDay3),
    ("01", Element::Month2),
    ("02", Element::Day2),
    ("03", Element::Hour12Two),
    ("04", Element::Minute2),
    ("05", Element::Second2),
    ("06", Element::Year2),
    ("15", Element::Hour),
    ("1", Element::Month),
    ("2006", Element::Year4),
    ("2", Element::Day),
    ("__2", Element::YearDayPadded),
    // `_2006` is an underscore and a year: see `next`.
    ("_2", Element::DayPadded),
    ("3", Element::Hour12),
    ("4", Element::Minute),
    ("5", Element::Second),
    ("PM", Element::Half),
    ("pm", Element::HalfLower),
    // Only where no small letter follows: `Janus` and `Month` are words.
    ("Jan", Element::MonthShort),
    ("Mon", Element::WeekdayShort),
];

/// What comes after the `-` or `Z` of an offset.
const OFFSETS: [(&str, bool, bool, bool); 5] = [
    ("070000", false, true, true),
    ("07:00:00", true, true, true),
    ("0700", false, true, false),
    ("07:00", true, true, false),
    ("07", false, false, false),
];

/// Cuts a layout.
pub(super) fn elements(layout: &str) -> Vec<Element> {
    let mut found = Vec::new();
    let mut literal = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        match next(rest) {
            Some((element, len)) => {
                if !literal.is_empty() {
                    found.push(Element::Literal(std::mem::take(&mut literal).into()));
                }
                found.push(element);
                rest = rest.get(len..).unwrap_or_default();
            }
            None => {
                literal.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    if !literal.is_empty() {
        found.push(Element::Literal(literal.into()));
    }
    found
}

/// The element at the start of the text, with its length in bytes.
fn next(rest: &str) -> Option<(Element, usize)> {
    let first = rest.chars().next()?;
    match first {
        '-' | 'Z' => {
            let tail = rest.get(1..)?;
            let (text, colons, minutes, seconds) = OFFSETS.iter().find(|(text, ..)| tail.starts_with(text))?;
            let offset = Offset { zulu: first == 'Z', colons: *colons, minutes: *minutes, seconds: *seconds };
            Some((Element::Offset(offset), 1 + text.len()))
        }
        '.' | ',' => {
            let tail = rest.get(1..)?;
            let digit = tail.chars().next().filter(|c| matches!(c, '0' | '9'))?;
            let after = tail.trim_start_matches(digit);
            if after.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let digits = u8::try_from(tail.len() - after.len()).ok()?;
            let element = match digit {
                '0' => Element::Fraction(digits, first),
                _ => Element::FractionOptional(digits, first),
            };
            Some((element, 1 + usize::from(digits)))
        }
        '_' if rest.starts_with("_2006") => None,
        _ => {
            let (text, element) = FIXED.iter().find(|(text, _)| rest.starts_with(text))?;
            let word = matches!(element, Element::MonthShort | Element::WeekdayShort);
            let goes_on = rest.get(text.len()..).is_some_and(|tail| tail.starts_with(|c: char| c.is_ascii_lowercase()));
            (!word || !goes_on).then(|| (element.clone(), text.len()))
        }
    }
}

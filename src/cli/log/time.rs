//! Times as people and machines read them: UTC, RFC 3339, milliseconds.
//!
//! Promises: never panics, whatever the clock says. Leaves to others: other zones.

/// `2026-01-02T03:04:05.678Z` for nanoseconds since 1970. Times before 1970 are shown as 1970.
pub fn rfc3339(time_ns: i64) -> String {
    let ms = u64::try_from(time_ns).unwrap_or(0) / 1_000_000;
    let (days, seconds, milliseconds) = (ms / 86_400_000, ms / 1_000 % 86_400, ms % 1_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01. Counts in eras of 400 years that begin on the first of March, so
/// that the leap day is the last of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days.saturating_add(DAYS_TO_1970);
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_799, "2000-02-29T23:59:59.007Z"),
            (1_709_164_800, "2024-02-29T00:00:00.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(rfc3339(seconds * 1_000_000_000 + 7_000_000), text);
        }
        assert_eq!(rfc3339(i64::MAX), "2262-04-11T23:47:16.854Z");
        assert_eq!(rfc3339(-5), "1970-01-01T00:00:00.000Z");
    }
}

//! Layouts of C's strftime, which people bring from elsewhere: what they are in Go's way of writing.
//!
//! Promises: only for the text of a message. Leaves to others: layouts that are used.

const LETTERS: [(char, &str); 30] = [
    ('Y', "2006"),
    ('y', "06"),
    ('m', "01"),
    ('d', "02"),
    ('e', "_2"),
    ('H', "15"),
    ('k', "15"),
    ('I', "03"),
    ('l', "3"),
    ('M', "04"),
    ('S', "05"),
    ('f', "000000"),
    ('L', "000"),
    ('N', "000000000"),
    ('b', "Jan"),
    ('h', "Jan"),
    ('B', "January"),
    ('a', "Mon"),
    ('A', "Monday"),
    ('p', "PM"),
    ('P', "pm"),
    ('z', "-0700"),
    ('Z', "MST"),
    ('j', "002"),
    ('T', "15:04:05"),
    ('R', "15:04"),
    ('F', "2006-01-02"),
    ('D', "01/02/06"),
    ('c', "Mon Jan _2 15:04:05 2006"),
    ('s', "Unix"),
];

/// The same layout for Go, if the text has a letter of strftime behind a `%`. Letters that Go has nothing for stay.
pub(super) fn translate(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut any = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        // Flags: no padding, padding with spaces, with zeros.
        let mut letter = chars.next();
        if matches!(letter, Some('-' | '_' | '0')) {
            letter = chars.next();
        }
        match letter {
            Some(letter) => match LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, go)) => {
                    any = true;
                    out.push_str(go);
                }
                None => {
                    if letter != '%' {
                        out.push('%');
                    }
                    out.push(letter);
                }
            },
            None => out.push('%'),
        }
    }
    any.then_some(out)
}

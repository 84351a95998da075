//! Small things that are done to text.
//!
//! Promises: no panic, whatever the text. Leaves to others: meaning.

/// The longest beginning of `text` of at most `max` bytes that does not end within a character.
pub fn head(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        // 0 is a boundary, so that this ends.
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn characters_stay_whole() {
        let text = "aü€😀";
        let heads: Vec<&str> = (0..=11).map(|max| head(text, max)).collect();
        assert_eq!(heads, ["", "a", "a", "aü", "aü", "aü", "aü€", "aü€", "aü€", "aü€", text, text]);
    }
}

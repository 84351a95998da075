//! The nearest word: what somebody probably meant by a key or name that does not exist.
//!
//! Promises: case and `-` against `_` count for nothing; a suggestion is close, or there is none.

/// The candidate nearest to `word`, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word much longer than any key is no slip; the distance of long words would also be slow.
    if word.len() > 64 {
        return None;
    }
    let simple = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    let word = simple(word);
    candidates
        .into_iter()
        // No shorter than the difference of their lengths; most candidates end here.
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= threshold(&word, candidate))
        .map(|candidate| (distance(&word, &simple(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= threshold(&word, candidate))
        .filter(|(_, candidate)| !is_another_short_word(&word, &simple(candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many slips are believable.
fn threshold(word: &[char], candidate: &str) -> usize {
    (word.len().max(candidate.len()) / 3).max(1)
}

/// Among short words one other letter makes another word (`pow`, `now`); what was swapped or left out does not.
fn is_another_short_word(word: &[char], candidate: &[char]) -> bool {
    let sorted = |letters: &[char]| {
        let mut letters = letters.to_vec();
        letters.sort_unstable();
        letters
    };
    word.len() == candidate.len() && word.len() <= 3 && sorted(word) != sorted(candidate)
}

/// `did you mean "x"?`, or all there are.
pub fn suggest<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, candidates.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("{what}: {}", candidates.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// How many characters have to be inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        let mut left = i + 1;
        let mut previous_b = None;
        for (j, &y) in b.iter().enumerate() {
            let diagonal = last.get(j).copied().unwrap_or(usize::MAX);
            let above = last.get(j + 1).copied().unwrap_or(usize::MAX);
            let mut best = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            if previous_a == Some(y)
                && previous_b == Some(x)
                && let Some(swapped) = j.checked_sub(1).and_then(|k| before_last.get(k))
            {
                best = best.min(swapped + 1);
            }
            row.push(best);
            left = best;
            previous_b = Some(y);
        }
        before_last = std::mem::replace(&mut last, row);
        previous_a = Some(x);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["include", "exclude", "start_at", "batch_wait", "url"];
        for (word, expected) in [
            ("inclde", Some("include")),
            ("inculde", Some("include")),
            ("Start-At", Some("start_at")),
            ("batchwait", Some("batch_wait")),
            ("urls", Some("url")),
            ("colour", None),
            ("ulr", Some("url")),
            ("uri", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }

    #[test]
    fn distances() {
        let of = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("abc", ""), 3);
        assert_eq!(of("kitten", "sitting"), 3);
        assert_eq!(of("ab", "ba"), 1);
    }
}

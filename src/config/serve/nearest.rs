/// The known word that a mistyped one was most likely meant to be.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = known.into_iter().map(|word| (distance(typed, word), word)).min()?;
    // With more than a third of it wrong it is another word.
    (near.0 * 3 <= typed.len()).then_some(near.1)
}

/// How many letters have to be put in, taken out or replaced to make one of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in (1..).zip(from.bytes()) {
        let mut diagonal = std::mem::replace(&mut row[0], line);
        for (at, right) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_near_and_other_words_are_not() {
        let known = ["http-addr", "dns-addr", "data-dir", "log-level"];
        for (typed, meant) in [
            ("http-adr", Some("http-addr")),
            ("htp-addr", Some("http-addr")),
            ("http_addr", Some("http-addr")),
            ("http-address", Some("http-addr")),
            ("loglevel", Some("log-level")),
            ("http-addr", Some("http-addr")),
            ("cluster", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
        assert_eq!(
            (distance("kitten", "sitting"), distance("", "abc"), distance("abc", "")),
            (3, 3, 3)
        );
    }
}

/// The known word that a mistyped one was most likely meant to be.
pub(crate) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = known.into_iter().map(|word| (strsim::levenshtein(typed, word), word)).min()?;
    // With more than a third of it wrong it is another word.
    (near.0 * 3 <= typed.len()).then_some(near.1)
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
    }
}

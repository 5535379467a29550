//! Finds the name that was probably meant.

/// Returns the candidate that is most like a word, if one is so much like it that a slip explains
/// the difference.
pub fn nearest<'candidate>(
    word: &str,
    candidates: impl IntoIterator<Item = &'candidate str>,
) -> Option<&'candidate str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &plain(candidate));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            // A third of the letters may differ, so short names do not look like each other.
            *distance <= candidate.chars().count().max(word.chars().count()) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = [
            "address",
            "project",
            "ca",
            "push-credentials",
            "registry",
            "release",
        ];
        let cases = [
            ("adress", Some("address")),
            ("Address", Some("address")),
            ("push_credentials", Some("push-credentials")),
            ("pushCredentials", Some("push-credentials")),
            ("registery", Some("registry")),
            ("realese", Some("release")),
            ("url", None),
            ("cb", None),
            ("", None),
            ("hosts", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}

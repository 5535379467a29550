//! Suggests the name that a misspelt word stands for.

/// Returns the candidate most similar to a word. Returns nothing if none is similar enough to be a
/// misspelling.
pub fn nearest<'candidate>(
    word: &str,
    candidates: impl IntoIterator<Item = &'candidate str>,
) -> Option<&'candidate str> {
    let normalize = |text: &str| text.to_lowercase().replace('_', "-");
    let word = normalize(word);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &normalize(candidate));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            // At most a third of the letters may differ. Two short names are then never similar.
            *distance <= candidate.chars().count().max(word.chars().count()) / 3
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_recognised_and_different_words_are_not() {
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

//! The file name of an archive gives its repository and tag: `calico&apiserver@v3.30.2.tar` is
//! `calico/apiserver:v3.30.2`. Nothing else does, so the name is decoded strictly and never
//! guessed.
//!
//! The encoding is the vendor's (offline installation of MKE 4k 4.1.1, the upload loop): `&`
//! represents `/`, and `@` represents `:`. Neither can occur in a repository or a tag, so decoding
//! is unambiguous. The vendor's shell loop removes the first `.tar` of the name, but means the
//! last.

use std::fmt;

/// A repository and a tag, both valid in the OCI distribution specification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    repository: String,
    tag: String,
}

/// The rule that derives repositories from the archives in a bundle of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetNames {
    /// Number of leading folders to remove.
    pub strip: u8,
    /// Folder to put the repository below.
    pub place: Option<String>,
}

/// Reason why a file name gives no repository and tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The file name does not end in `.tar`.
    #[error("`{name}` does not end in `.tar`")]
    Suffix {
        /// The file name.
        name: String,
    },
    /// The file name has neither `@` nor `_`.
    #[error("`{name}` has neither `@` nor `_` between repository and tag")]
    Underscore {
        /// The file name.
        name: String,
    },
    /// The name has too few folders to remove.
    #[error("`{repository}` has no {strip} leading folders to leave out")]
    Strip {
        /// Repository as decoded.
        repository: String,
        /// Number of folders to remove.
        strip: u8,
    },
    /// The file name has no `@`, or more than one.
    #[error("`{name}` has {count} `@`; expected one between repository and tag")]
    Separator {
        /// The file name.
        name: String,
        /// Number of `@`.
        count: usize,
    },
    /// The part before the `@` is not a repository.
    #[error("`{repository}` is not a repository name: {reason}")]
    Repository {
        /// Repository as decoded.
        repository: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The part after the `@` is not a tag.
    #[error("`{tag}` is not a tag: {reason}")]
    Tag {
        /// Tag as decoded.
        tag: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
}

/// Maximum length of a repository in bytes (OCI distribution specification: 255 including the
/// host).
const LONGEST_REPOSITORY: usize = 255;

impl Name {
    /// Returns the name of `repository` and `tag`.
    ///
    /// # Errors
    /// [`NameError::Repository`] or [`NameError::Tag`] if one of them is not valid.
    pub fn new(repository: &str, tag: &str) -> Result<Self, NameError> {
        check_repository(repository)?;
        check_tag(tag)?;
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// Decodes the file name at the end of `path`. The folders before it are ignored.
    ///
    /// # Errors
    /// [`NameError`] if the file name does not encode a valid repository and tag.
    pub fn decode(path: &str) -> Result<Self, NameError> {
        let name = base_name(path);
        let Some(stem) = name.strip_suffix(".tar") else {
            return Err(NameError::Suffix {
                name: name.to_owned(),
            });
        };
        match stem.split_once('@') {
            Some((repository, tag)) if !tag.contains('@') => {
                Self::new(&repository.replace('&', "/"), tag)
            }
            _ => Err(NameError::Separator {
                name: name.to_owned(),
                count: stem.matches('@').count(),
            }),
        }
    }

    /// Returns the file name that decodes to this name.
    pub fn file_name(&self) -> String {
        format!("{}@{}.tar", self.repository.replace('/', "&"), self.tag)
    }

    /// Returns the repository, such as `calico/apiserver`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag, such as `v3.30.2`.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl SetNames {
    /// Decodes the path of an archive. There are two forms:
    ///
    /// - The file name has an `@`: it is decoded by [`Name::decode`].
    /// - Otherwise the folders are part of the repository, and the last `_` precedes the tag:
    ///   `capi/controller_v2.8.2.tar`.
    ///
    /// # Errors
    /// [`NameError`] if the path does not encode a valid repository and tag.
    pub fn decode(&self, path: &str) -> Result<Name, NameError> {
        let name = base_name(path);
        let decoded = match (name.contains('@'), name.contains('_')) {
            (true, _) => Name::decode(path)?,
            (false, false) => {
                return Err(NameError::Underscore {
                    name: name.to_owned(),
                });
            }
            (false, true) => {
                let stem = path.strip_suffix(".tar").unwrap_or(path);
                let (repository, tag) = stem.rsplit_once('_').unwrap_or((stem, ""));
                Name::new(repository, tag)?
            }
        };
        let strip = usize::from(self.strip);
        let mut parts = decoded.repository.splitn(strip + 1, '/');
        let Some(repository) = parts.nth(strip) else {
            return Err(NameError::Strip {
                repository: decoded.repository.clone(),
                strip: self.strip,
            });
        };
        match &self.place {
            Some(place) => Name::new(&format!("{place}/{repository}"), &decoded.tag),
            None => Name::new(repository, &decoded.tag),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.repository, self.tag)
    }
}

/// Returns the part after the last slash.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Checks the grammar of repositories: parts joined by `/`, each
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn check_repository(repository: &str) -> Result<(), NameError> {
    let invalid = |reason| NameError::Repository {
        repository: repository.to_owned(),
        reason,
    };
    if repository.is_empty() {
        return Err(invalid("it is empty"));
    }
    if repository.len() > LONGEST_REPOSITORY {
        return Err(invalid("it is longer than 255 bytes"));
    }
    for part in repository.split('/') {
        if part.is_empty() {
            return Err(invalid("a part between slashes is empty"));
        }
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !part
            .bytes()
            .all(|byte| alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-'))
        {
            return Err(invalid(
                "only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed",
            ));
        }
        let ends = [part.as_bytes()[0], part.as_bytes()[part.len() - 1]];
        if !ends.into_iter().all(alphanumeric) {
            return Err(invalid(
                "a part must begin and end with a letter or a digit",
            ));
        }
        let mut separators = part.split(|character: char| character.is_ascii_alphanumeric());
        if !separators.all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        }) {
            return Err(invalid(
                "letters and digits may be separated by one `.`, one or two `_`, or any number of `-`",
            ));
        }
    }
    Ok(())
}

/// Checks the grammar of tags: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
fn check_tag(tag: &str) -> Result<(), NameError> {
    let invalid = |reason| NameError::Tag {
        tag: tag.to_owned(),
        reason,
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let Some(&first) = tag.as_bytes().first() else {
        return Err(invalid("it is empty"));
    };
    if tag.len() > 128 {
        return Err(invalid("it is longer than 128 bytes"));
    }
    if !word(first) {
        return Err(invalid("it must begin with a letter, a digit or `_`"));
    }
    if !tag
        .bytes()
        .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
    {
        return Err(invalid(
            "only letters, digits, `_`, `.` and `-` are allowed",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decodes_the_vendors_names() {
        let cases = [
            (
                "images/calico&apiserver@v3.30.2.tar",
                "calico/apiserver:v3.30.2",
            ),
            ("calico&apiserver@v3.30.2.tar", "calico/apiserver:v3.30.2"),
            ("./bundles/images/pause@3.9.tar", "pause:3.9"),
            ("bundle/charts/charts&kof@1.8.1.tar", "charts/kof:1.8.1"),
            (
                "envoyproxy&envoy@distroless-v1.37.3.tar",
                "envoyproxy/envoy:distroless-v1.37.3",
            ),
            ("a&b&c&d@1.tar", "a/b/c/d:1"),
            // Only the last `.tar` is the suffix.
            ("my.tar.tool@v1.tar.tar", "my.tar.tool:v1.tar"),
            (
                "metric-starter@1.0.0_build.5.tar",
                "metric-starter:1.0.0_build.5",
            ),
            ("a__b@1.tar", "a__b:1"),
            ("a---b@_.tar", "a---b:_"),
            // `&` and `@` in a folder are ignored.
            ("some@folder&name/pause@3.9.tar", "pause:3.9"),
        ];
        for (path, expected) in cases {
            assert_eq!(Name::decode(path).unwrap().to_string(), expected, "{path}");
        }
    }

    #[test]
    fn invalid_names_are_refused() {
        let cases = [
            ("pause@3.9", "`pause@3.9` does not end in `.tar`"),
            (
                "pause@3.9.tar.gz",
                "`pause@3.9.tar.gz` does not end in `.tar`",
            ),
            (
                "pause.tar",
                "`pause.tar` has 0 `@`; expected one between repository and tag",
            ),
            (
                "pause@sha256@ab.tar",
                "`pause@sha256@ab.tar` has 2 `@`; expected one between repository and tag",
            ),
            ("@v1.tar", "`` is not a repository name: it is empty"),
            ("a@.tar", "`` is not a tag: it is empty"),
            (
                "a&&b@1.tar",
                "`a//b` is not a repository name: a part between slashes is empty",
            ),
            (
                "&a@1.tar",
                "`/a` is not a repository name: a part between slashes is empty",
            ),
            (
                "Calico@1.tar",
                "`Calico` is not a repository name: only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed",
            ),
            (
                "reg:5000&a@1.tar",
                "`reg:5000/a` is not a repository name: only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed",
            ),
            (
                "..&..&etc@1.tar",
                "`../../etc` is not a repository name: a part must begin and end with a letter or a digit",
            ),
            (
                "._pause@3.9.tar",
                "`._pause` is not a repository name: a part must begin and end with a letter or a digit",
            ),
            (
                "a..b@1.tar",
                "`a..b` is not a repository name: letters and digits may be separated by one `.`, one or two `_`, or any number of `-`",
            ),
            (
                "a___b@1.tar",
                "`a___b` is not a repository name: letters and digits may be separated by one `.`, one or two `_`, or any number of `-`",
            ),
            (
                "a@-1.tar",
                "`-1` is not a tag: it must begin with a letter, a digit or `_`",
            ),
            (
                "a@1+2.tar",
                "`1+2` is not a tag: only letters, digits, `_`, `.` and `-` are allowed",
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(
                Name::decode(path).unwrap_err().to_string(),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn bundles_of_sets_encode_folders_as_folders_or_ampersands() {
        let cases = [
            (
                "capi/controller_v2.8.2.tar",
                0,
                None,
                "capi/controller:v2.8.2",
            ),
            (
                "charts/k0rdent-enterprise_1.2.3.tar",
                0,
                Some("k0rdent"),
                "k0rdent/charts/k0rdent-enterprise:1.2.3",
            ),
            // The last `_` separates. Tags of charts have one for `+`, so both readings are
            // possible; the vendor's loop is inconsistent.
            ("charts/a_1.0.0_b.tar", 0, None, "charts/a_1.0.0:b"),
            (
                "bundle/images/host.example&ceph&rook@v1.tar",
                2,
                Some("ceph"),
                "ceph/rook:v1",
            ),
            ("bundle/images/a_b@v1.tar", 0, None, "a_b:v1"),
            ("top/capi/a_1.tar", 1, None, "capi/a:1"),
        ];
        for (path, strip, place, expected) in cases {
            let place = place.map(str::to_owned);
            let name = SetNames { strip, place }.decode(path);
            assert_eq!(name.unwrap().to_string(), expected, "{path}");
        }
        for (path, strip, wrong) in [
            (
                "capi_old/controller.tar",
                0,
                "`controller.tar` has neither `@` nor `_` between repository and tag",
            ),
            ("a_1.tar", 1, "`a` has no 1 leading folders to leave out"),
            ("_1.tar", 0, "`` is not a repository name: it is empty"),
        ] {
            let place = None;
            let error = SetNames { strip, place }.decode(path).unwrap_err();
            assert_eq!(error.to_string(), wrong, "{path}");
        }
    }

    #[test]
    fn limits_lengths() {
        assert!(Name::new(&"a".repeat(255), &"1".repeat(128)).is_ok());
        assert!(Name::new(&"a".repeat(256), "1").is_err());
        assert!(Name::new("a", &"1".repeat(129)).is_err());
    }

    proptest! {
        #[test]
        fn file_name_and_decode_are_inverse(
            repository in "[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}){0,3}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}",
        ) {
            let name = Name::new(&repository, &tag).unwrap();
            prop_assert_eq!(Name::decode(&name.file_name()).unwrap(), name);
        }

        #[test]
        fn never_panics(path in ".*", strip: u8) {
            let _ = Name::decode(&path);
            let _ = SetNames { strip, place: None }.decode(&path);
        }
    }
}

//! The differences between a registry and a lock, each once and with its kind.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// One thing that a registry does not serve as the lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The artifact, `repository:tag` as in the lock. Of several that lack the same, the first in
    /// each repository.
    pub artifact: String,
    /// The repository in the registry, project included.
    pub repository: String,
    /// The digest that should be there.
    pub digest: String,
    /// The size in bytes of what should be there.
    pub size: u64,
    /// What is there instead, if that is known: a digest, or for [`FindingKind::WrongSize`] a
    /// number of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// Returns how many artifacts findings name.
pub fn affected(findings: &[Finding]) -> usize {
    let named = findings.iter().map(|finding| finding.artifact.as_str());
    named.collect::<BTreeSet<_>>().len()
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// There is no such tag.
    MissingTag,
    /// The tag points at something else.
    MovedTag,
    /// The manifest that the tag is to point at is not available by its digest.
    MissingManifest,
    /// A manifest that an index lists is missing.
    MissingChild,
    /// A config or a layer is missing.
    MissingBlob,
    /// Content of a different size is stored under the digest.
    WrongSize,
    /// Content with a different digest is stored under the digest.
    WrongDigest,
}

impl FindingKind {
    /// All of them, in the order of the way down from a tag.
    pub const ALL: [Self; 7] = [
        Self::MissingTag,
        Self::MovedTag,
        Self::MissingManifest,
        Self::MissingChild,
        Self::MissingBlob,
        Self::WrongSize,
        Self::WrongDigest,
    ];

    /// Returns the name for machines, such as `missing-tag`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingTag => "missing-tag",
            Self::MovedTag => "moved-tag",
            Self::MissingManifest => "missing-manifest",
            Self::MissingChild => "missing-child",
            Self::MissingBlob => "missing-blob",
            Self::WrongSize => "wrong-size",
            Self::WrongDigest => "wrong-digest",
        }
    }

    /// Returns whether the registry serves something else under a digest, which nothing that is
    /// sent replaces.
    pub fn is_damage(self) -> bool {
        matches!(self, Self::WrongSize | Self::WrongDigest)
    }

    /// Returns whether it is about a tag, which a push looks at, and not about what a tag leads to.
    pub fn is_of_tag(self) -> bool {
        matches!(self, Self::MissingTag | Self::MovedTag)
    }
}

/// Returns whether something is wrong below a tag that is right, where no push looks.
pub fn is_below_right_tags(findings: &[Finding]) -> bool {
    let has_wrong_tag = |artifact: &str| {
        let mut of_tags = findings.iter().filter(|finding| finding.kind.is_of_tag());
        of_tags.any(|finding| finding.artifact == artifact)
    };
    findings
        .iter()
        .any(|finding| !finding.kind.is_of_tag() && !has_wrong_tag(&finding.artifact))
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            artifact,
            digest,
            size,
            found,
            ..
        } = self;
        let found = found.as_deref();
        match self.kind {
            FindingKind::MissingTag => write!(formatter, "{artifact} is missing"),
            FindingKind::MovedTag => match found {
                Some(found) => write!(formatter, "{artifact} is {found}, not {digest}"),
                None => write!(formatter, "{artifact} has different content"),
            },
            FindingKind::MissingManifest => {
                write!(formatter, "{artifact}: manifest {digest} is missing")
            }
            FindingKind::MissingChild => {
                write!(
                    formatter,
                    "{artifact}: manifest {digest} of its index is missing"
                )
            }
            FindingKind::MissingBlob => write!(formatter, "{artifact}: blob {digest} is missing"),
            FindingKind::WrongSize => write!(
                formatter,
                "{artifact}: {digest} has {} bytes, not {size}",
                found.unwrap_or("other")
            ),
            FindingKind::WrongDigest => write!(
                formatter,
                "{artifact}: the content of {digest} is {}",
                found.unwrap_or("different content")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_kinds_are_those_in_json() {
        for kind in FindingKind::ALL {
            let yaml = serde_yaml::to_string(&kind).unwrap();
            assert_eq!(yaml.trim_end(), kind.name());
        }
    }
}

//! Differences between a registry and a lock.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// One difference between a registry and the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Kind of the difference.
    pub kind: FindingKind,
    /// Artifact, `repository:tag` as in the lock. If several artifacts of a repository lack the
    /// same content, the first one.
    pub artifact: String,
    /// Repository in the registry, including the project.
    pub repository: String,
    /// Expected digest, `sha256:<hex>`.
    pub digest: String,
    /// Expected size in bytes.
    pub size: u64,
    /// Actual digest, if known. For [`FindingKind::WrongSize`], the actual number of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// Returns the number of distinct artifacts among findings.
pub fn affected(findings: &[Finding]) -> usize {
    let named = findings.iter().map(|finding| finding.artifact.as_str());
    named.collect::<BTreeSet<_>>().len()
}

/// Kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// The tag is missing.
    MissingTag,
    /// The tag refers to a different manifest.
    MovedTag,
    /// The manifest that the tag should refer to is missing under its digest.
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
    /// All kinds, in the order from tags down to blobs.
    pub const ALL: [Self; 7] = [
        Self::MissingTag,
        Self::MovedTag,
        Self::MissingManifest,
        Self::MissingChild,
        Self::MissingBlob,
        Self::WrongSize,
        Self::WrongDigest,
    ];

    /// Returns the name in JSON and metrics, such as `missing-tag`.
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

    /// Returns whether the registry has damaged content under a digest. A push does not replace
    /// that.
    pub fn is_damage(self) -> bool {
        matches!(self, Self::WrongSize | Self::WrongDigest)
    }

    /// Returns whether the finding concerns a tag. A push checks only tags.
    pub fn is_of_tag(self) -> bool {
        matches!(self, Self::MissingTag | Self::MovedTag)
    }
}

/// Returns whether content below a correct tag is missing or damaged. A push does not find that.
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

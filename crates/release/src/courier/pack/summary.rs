//! The summary of a medium, for operators and as JSON.

use std::collections::BTreeSet;

use medium::{Content, What};

/// The summary of a medium.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Name of the pack: the SHA-256 of its manifest.
    pub pack: String,
    /// Environments that the medium was packed for, or that a site returned.
    pub environments: Vec<String>,
    /// Fingerprint of the key that signed the manifest.
    pub signed_by: Option<String>,
    /// Oldest glibc that the program runs on, such as `2.34`; `None` for a static program.
    pub glibc: Option<String>,
    /// Number and size of the contents by kind.
    pub contents: Vec<Amount>,
    /// Total bytes of all contents.
    pub bytes: u64,
    /// Sizes of the volumes in bytes.
    pub volumes: Vec<u64>,
    /// Blobs of the locks that the other side is assumed to have.
    pub assumed: Amount,
    /// Reasons for this assumption, one sentence each.
    pub because: Vec<String>,
}

/// Number and size of files of one kind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Amount {
    /// Kind of the files.
    pub what: &'static str,
    /// Number of files.
    pub files: usize,
    /// Total bytes of the files.
    pub bytes: u64,
}

/// Sums up contents by kind.
pub(super) fn amounts(contents: &[Content]) -> Vec<Amount> {
    let kind = |content: &Content| match content.what {
        What::Repository { .. } => "repository",
        What::Program { .. } => "program",
        What::Mkectl { .. } => "mkectl",
        What::Sources { .. } => "sources",
        What::Blob {} => "blobs",
        What::Commits { .. } => "commits",
        What::Receipt { .. } => "receipts",
        What::Snapshot { .. } => "snapshots",
        What::Log { .. } => "logs",
    };
    let kinds: BTreeSet<&str> = contents.iter().map(kind).collect();
    let mut amounts: Vec<Amount> = Vec::new();
    for what in kinds {
        let of_kind = || contents.iter().filter(|content| kind(content) == what);
        amounts.push(Amount {
            what,
            files: of_kind().count(),
            bytes: of_kind().map(|content| content.size).sum(),
        });
    }
    amounts
}

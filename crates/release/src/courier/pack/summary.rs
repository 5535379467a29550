//! What a medium amounts to, for people and machines.

use std::collections::BTreeSet;

use medium::{Content, What};

/// What a medium amounts to.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The name of the pack: the SHA-256 of its manifest.
    pub pack: String,
    /// The environments that it is for, or of.
    pub environments: Vec<String>,
    /// The fingerprint of the key that signed it.
    pub signed_by: Option<String>,
    /// The oldest C library that the program runs on, such as `2.34`; none if it needs none.
    pub glibc: Option<String>,
    /// The contents by what they are.
    pub contents: Vec<Amount>,
    /// The bytes of all contents.
    pub bytes: u64,
    /// The sizes of the volumes.
    pub volumes: Vec<u64>,
    /// The blobs of the locks that the other side has.
    pub assumed: Amount,
    /// Why it is assumed to have them.
    pub because: Vec<String>,
}

/// So many files of a kind.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Amount {
    /// What they are.
    pub what: &'static str,
    /// How many.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts contents by what they are.
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

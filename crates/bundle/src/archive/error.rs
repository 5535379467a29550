//! What can be wrong with an archive.

use std::io;

use oci_spec::image::Digest;

/// How deep indexes may be nested.
pub(super) const DEEPEST: usize = 8;

/// How many blobs, and how many descriptors, one archive may have. It bounds memory; the largest
/// images have hundreds.
pub(super) const MOST: usize = 20_000;

/// Why an archive does not hold a whole artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive is compressed. The vendor's archives are not, and registries are to get what the
    /// vendor built.
    #[error("it is compressed with {format}; expected an uncompressed OCI archive")]
    Compressed {
        /// The compression.
        format: &'static str,
    },
    /// The archive is not a tar, or a broken one.
    #[error("it is not a complete tar archive")]
    Tar {
        /// What is wrong with it.
        source: io::Error,
    },
    /// The archive has no `oci-layout`, so it is a tar of something else.
    #[error("it has no `oci-layout`, so it is not an OCI archive")]
    NoLayout {
        /// How many blobs it has. With some, it is a damaged OCI archive.
        blobs: usize,
    },
    /// The layout has a version that is not known.
    #[error("its OCI layout has version `{version}`, only 1.x is supported")]
    LayoutVersion {
        /// The version, escaped.
        version: String,
    },
    /// The archive has no `index.json`.
    #[error("it has no `index.json`")]
    NoIndex,
    /// A file that there must be once is there twice.
    #[error("it has `{file}` twice")]
    Twice {
        /// The file.
        file: &'static str,
    },
    /// A document is larger than any registry takes.
    #[error("`{document}` has {size} bytes, but a manifest has at most 4 MiB")]
    TooLarge {
        /// The file or the digest.
        document: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A document is not what it ought to be.
    #[error("`{document}` cannot be parsed")]
    Document {
        /// The file or the digest.
        document: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A descriptor leads to a blob that is not a manifest.
    #[error("`{digest}` is listed as a manifest but is not one")]
    NoManifest {
        /// The blob.
        digest: Digest,
    },
    /// `index.json` names no manifest, or several, so the archive's name identifies none of them.
    #[error("its `index.json` lists {count} manifests; expected one")]
    Roots {
        /// How many.
        count: usize,
    },
    /// A blob, or a document of the layout, is a link or something else that is not a file.
    #[error("`{path}` in it is not a regular file")]
    NotRegular {
        /// The member.
        path: String,
    },
    /// A blob's content has a different digest than its name.
    #[error("blob `{digest}` is corrupt: its content has digest `{found}`")]
    WrongBlob {
        /// The blob by its name.
        digest: Digest,
        /// The digest of its content.
        found: Digest,
    },
    /// A manifest names a blob that is not in the archive.
    #[error("blob `{digest}`, listed in `{named_by}`, is missing")]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// The file or manifest that names it.
        named_by: String,
    },
    /// A descriptor gives a blob another size than it has.
    #[error("blob `{digest}` has {found} bytes, but `{named_by}` records {size}")]
    BlobSize {
        /// The blob.
        digest: Digest,
        /// Its size as the descriptor says, in bytes.
        size: u64,
        /// Its size in bytes.
        found: u64,
        /// The file or manifest that names it, or the lock.
        named_by: String,
    },
    /// A manifest has a media type that no registry of ours is known to take.
    #[error("`{digest}` has the media type `{media_type}`; expected a manifest or an index")]
    MediaType {
        /// The manifest.
        digest: Digest,
        /// Its media type, escaped.
        media_type: String,
    },
    /// A manifest says another media type than the descriptor that leads to it, or could be read as
    /// two things.
    #[error("`{digest}` is listed as `{media_type}`, but its own media type differs")]
    Ambiguous {
        /// The manifest.
        digest: Digest,
        /// The media type of the descriptor.
        media_type: String,
    },
    /// Indexes are nested deeper than is plausible.
    #[error("its indexes are nested deeper than {DEEPEST} levels")]
    TooDeep,
    /// The archive has more blobs or descriptors than anything real.
    #[error("it has more than {MOST} blobs or descriptors")]
    TooMany,
}

impl ArchiveError {
    /// Returns whether the archive is whole as far as one can tell, but of a form that is not
    /// carried: not damaged.
    pub(crate) fn is_of_another(&self) -> bool {
        matches!(
            self,
            Self::Compressed { .. } | Self::NoLayout { blobs: 0 } | Self::Roots { .. }
        )
    }
}

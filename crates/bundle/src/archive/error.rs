//! Errors of reading an archive.

use std::io;

use oci_spec::image::Digest;

/// Maximum depth of nested indexes.
pub(super) const DEEPEST: usize = 8;

/// Maximum number of blobs, and of descriptors, in one archive. It bounds memory; the largest
/// images have hundreds.
pub(super) const MOST: usize = 20_000;

/// Reason why an archive is not a complete artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive is compressed. The vendor's archives are not, and a registry must receive
    /// exactly the bytes that the vendor built.
    #[error("it is compressed with {format}; expected an uncompressed OCI archive")]
    Compressed {
        /// Name of the compression, such as `zstd`.
        format: &'static str,
    },
    /// The archive has no bytes.
    #[error("it is empty; the bundle was damaged or repacked")]
    Empty,
    /// The file has the name of an archive after `._`: macOS stores attributes in such files.
    #[error("it is an AppleDouble file; the bundle was repacked on macOS")]
    AppleDouble,
    /// The archive is not a tar, or is cut off.
    #[error("it is not a complete tar archive")]
    Tar {
        /// The cause.
        source: io::Error,
    },
    /// The archive has no `oci-layout`: it is a tar of something else, or a damaged archive.
    #[error("it has no `oci-layout`, so it is not an OCI archive")]
    NoLayout {
        /// Number of its blobs. If there are some, it is a damaged OCI archive.
        blobs: usize,
    },
    /// The layout has an unknown version.
    #[error("its OCI layout has version `{version}`, only 1.x is supported")]
    LayoutVersion {
        /// The version, escaped.
        version: String,
    },
    /// The archive has no `index.json`.
    #[error("it has no `index.json`")]
    NoIndex,
    /// A file of the layout occurs twice.
    #[error("it has `{file}` twice")]
    Twice {
        /// `oci-layout` or `index.json`.
        file: &'static str,
    },
    /// A document exceeds the limit of registries.
    #[error("`{document}` has {size} bytes, but a manifest has at most 4 MiB")]
    TooLarge {
        /// File name or digest.
        document: String,
        /// Size in bytes.
        size: u64,
    },
    /// A document cannot be parsed.
    #[error("`{document}` cannot be parsed")]
    Document {
        /// File name or digest.
        document: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// A descriptor for a manifest names a different kind of blob.
    #[error("`{digest}` is listed as a manifest but is not one")]
    NoManifest {
        /// Digest of the blob.
        digest: Digest,
    },
    /// `index.json` lists no manifest, or several, so the archive's name identifies none of them.
    #[error("its `index.json` lists {count} manifests; expected one")]
    Roots {
        /// Number of manifests.
        count: usize,
    },
    /// A blob or a document of the layout is not a regular file but, for example, a link.
    #[error("`{path}` in it is not a regular file")]
    NotRegular {
        /// Path in the archive.
        path: String,
    },
    /// A blob is corrupt: its name and its content have different digests.
    #[error("blob `{digest}` is corrupt: its content has digest `{found}`")]
    WrongBlob {
        /// Digest in its name.
        digest: Digest,
        /// Digest of its content.
        found: Digest,
    },
    /// A blob that a manifest names is not in the archive.
    #[error("blob `{digest}`, listed in `{named_by}`, is missing")]
    MissingBlob {
        /// Digest of the blob.
        digest: Digest,
        /// File or manifest that names it.
        named_by: String,
    },
    /// A blob's size differs from that in its descriptor or in the lock.
    #[error("blob `{digest}` has {found} bytes, but `{named_by}` records {size}")]
    BlobSize {
        /// Digest of the blob.
        digest: Digest,
        /// Expected size in bytes.
        size: u64,
        /// Actual size in bytes.
        found: u64,
        /// File or manifest that names it, or `the lock`.
        named_by: String,
    },
    /// The media type of a root or child is not one of the four of manifests and indexes.
    #[error("`{digest}` has the media type `{media_type}`; expected a manifest or an index")]
    MediaType {
        /// Digest of the manifest.
        digest: Digest,
        /// Media type, escaped.
        media_type: String,
    },
    /// A manifest's own media type differs from that of its descriptor, or it could be parsed as
    /// both manifest and index.
    #[error("`{digest}` is listed as `{media_type}`, but its own media type differs")]
    Ambiguous {
        /// Digest of the manifest.
        digest: Digest,
        /// Media type of the descriptor.
        media_type: String,
    },
    /// Indexes are nested too deeply.
    #[error("its indexes are nested deeper than {DEEPEST} levels")]
    TooDeep,
    /// The archive has too many blobs or descriptors.
    #[error("it has more than {MOST} blobs or descriptors")]
    TooMany,
}

impl ArchiveError {
    /// Returns whether the archive seems intact, but has a form that is not mirrored.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Compressed { .. } | Self::NoLayout { blobs: 0 } | Self::Roots { .. }
        ) || self.is_repacked()
    }

    /// Returns whether the file shows that the bundle is not the one that the vendor packed.
    pub fn is_repacked(&self) -> bool {
        matches!(self, Self::Empty | Self::AppleDouble)
    }
}

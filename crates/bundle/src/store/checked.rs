//! Remembers the files that this process hashed while it wrote them. They need not be hashed again
//! before they are pushed.
//!
//! A file is recognised by its inode and its change time (ctime). The kernel sets ctime at every
//! change, and no program can set it. A replaced file has a different inode. Files from before this
//! process are always hashed again.

use std::collections::HashMap;
use std::fs::File;

use oci_spec::image::Digest;

/// Files that this process wrote and hashed.
#[derive(Debug, Default)]
pub(super) struct Checked(HashMap<Digest, Stamp>);

/// Identity of a file and the time of its last change.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Checked {
    /// Records a file whose content has this digest. Without usable metadata it is not recorded.
    pub(super) fn note(&mut self, digest: &Digest, file: &File) {
        if let Some(stamp) = Stamp::of(file) {
            self.0.insert(digest.clone(), stamp);
        }
    }

    /// Returns whether a file of this digest is recorded.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    /// Returns whether this is the recorded file, unchanged.
    pub(super) fn is_unchanged(&self, digest: &Digest, file: &File) -> bool {
        self.0
            .get(digest)
            .is_some_and(|recorded| Stamp::of(file).as_ref() == Some(recorded))
    }
}

impl Stamp {
    #[cfg(unix)]
    fn of(file: &File) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = file.metadata().ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.size(),
        })
    }

    #[cfg(not(unix))]
    fn of(_: &File) -> Option<Self> {
        None
    }
}

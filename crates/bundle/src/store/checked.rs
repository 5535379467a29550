//! Which files of the store need not be hashed before they are sent on, since this process hashed
//! them a moment ago as it wrote them.
//!
//! The kernel keeps the time at which a file was last touched in any way, and no program can set
//! it. A file that was replaced is another one, by its number. So what still carries both is what
//! was hashed, as far as the machine itself does not forget; whatever is older than this process is
//! hashed again.

use std::collections::HashMap;
use std::fs::File;

use oci_spec::image::Digest;

/// The files that this process has written and hashed.
#[derive(Debug, Default)]
pub(super) struct Checked(HashMap<Digest, Stamp>);

/// Which file it is, and when it was touched last.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Checked {
    /// Takes note of a file that is its digest. A file without usable metadata is hashed again.
    pub(super) fn note(&mut self, digest: &Digest, file: &File) {
        if let Some(stamp) = Stamp::of(file) {
            self.0.insert(digest.clone(), stamp);
        }
    }

    /// Returns whether a file of this digest was noted.
    pub(super) fn names(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    /// Returns whether this is the file that was noted, as it was then.
    pub(super) fn holds(&self, digest: &Digest, file: &File) -> bool {
        self.0
            .get(digest)
            .is_some_and(|noted| Stamp::of(file).as_ref() == Some(noted))
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

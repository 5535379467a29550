//! The file names of a medium.

use camino::{Utf8Path, Utf8PathBuf};

/// Name of the file with instructions for the operator.
pub const START: &str = "START.txt";
/// Name of the program.
pub const PROGRAM: &str = "airlock";
/// Name of the manifest.
pub const MANIFEST: &str = "manifest.yaml";
/// Name of the manifest's signature, in OpenSSH's format.
pub const SIGNATURE: &str = "manifest.yaml.sig";
/// Namespace of the signature.
pub const NAMESPACE: &str = "airlock";
/// Folder of all volumes.
pub(crate) const VOLUMES: &str = "volumes";
/// File with the number and the pack of a volume.
pub(crate) const VOLUME: &str = "volume.yaml";

/// Returns the folder of a volume, relative to the medium.
pub(crate) fn volume(number: u32) -> Utf8PathBuf {
    format!("{VOLUMES}/{number:04}").into()
}

/// Returns the path of a piece in its volume's folder.
pub(crate) fn piece(volume: &Utf8Path, sha256: &str) -> Utf8PathBuf {
    let (start, _) = sha256.split_at(2);
    volume.join("pieces").join(start).join(sha256)
}

/// Returns the hash of the piece at a path of a stream, or `None` for a different file.
pub(crate) fn piece_of(path: &Utf8Path) -> Option<&str> {
    let name = path.file_name()?;
    let parent = path.parent()?.parent()?;
    (parent.file_name() == Some("pieces") && is_sha256(name)).then_some(name)
}

/// Returns whether a text consists of 64 lower-case hexadecimal digits.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

//! The names of a medium's files.

use camino::{Utf8Path, Utf8PathBuf};

/// The file that tells people what to type.
pub const START: &str = "START.txt";
/// The program.
pub const PROGRAM: &str = "airlock";
/// The manifest.
pub const MANIFEST: &str = "manifest.yaml";
/// The signature of the manifest's bytes, as OpenSSH writes it.
pub const SIGNATURE: &str = "manifest.yaml.sig";
/// The namespace of the signature.
pub const NAMESPACE: &str = "airlock";
/// The folder of all volumes.
pub(crate) const VOLUMES: &str = "volumes";
/// The file of a volume that contains its number and pack.
pub(crate) const VOLUME: &str = "volume.yaml";

/// Returns the folder of a volume, relative to the medium.
pub(crate) fn volume(number: u32) -> Utf8PathBuf {
    format!("{VOLUMES}/{number:04}").into()
}

/// Returns the path of a piece in the folder of its volume.
pub(crate) fn piece(volume: &Utf8Path, sha256: &str) -> Utf8PathBuf {
    let (start, _) = sha256.split_at(2);
    volume.join("pieces").join(start).join(sha256)
}

/// Returns the piece that a path in a stream names; none if it is a different file.
pub(crate) fn piece_of(path: &Utf8Path) -> Option<&str> {
    let name = path.file_name()?;
    let parent = path.parent()?.parent()?;
    (parent.file_name() == Some("pieces") && is_sha256(name)).then_some(name)
}

/// Returns whether a text has 64 hexadecimal digits in lower case.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

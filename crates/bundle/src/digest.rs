//! SHA-256 digests. No other algorithm is accepted, because a digest is also a file name in the
//! store, and one hash decides about every byte.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use camino::Utf8Path;
use oci_spec::image::{Digest, DigestAlgorithm, Sha256Digest};
use serde::Deserializer;
use serde::de::Visitor;
use sha2::{Digest as _, Sha256};

use crate::event::{Event, Observer};

/// Maximum size of a blob in bytes: 1 PiB. It is far above what registries accept, and low enough
/// that sums of sizes do not overflow.
pub const LARGEST_BLOB: u64 = 1 << 50;

/// Digest of zero bytes.
const OF_NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Returns the rule that `size` breaks for a blob of this digest; `None` if the size is possible.
pub fn size_fault(digest: &Digest, size: u64) -> Option<&'static str> {
    match (size, digest.as_ref() == OF_NOTHING) {
        (0, false) => Some("0 bytes have a different digest"),
        (1.., true) => Some("this is the digest of 0 bytes"),
        _ if size > LARGEST_BLOB => Some("the limit is 1 PiB"),
        _ => None,
    }
}

/// Reason why a text is not accepted as a digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The text does not have the form `algorithm:value`, or the value does not fit the algorithm.
    #[error("`{text}` is not a digest")]
    Malformed {
        /// The text, escaped.
        text: String,
    },
    /// The digest uses an algorithm other than sha256.
    #[error("digest `{text}` uses `{algorithm}`; only `sha256` is supported")]
    Algorithm {
        /// The digest, escaped.
        text: String,
        /// Its algorithm, escaped.
        algorithm: String,
    },
}

/// Maximum length of a malformed digest in messages, in characters. It is above the length of a
/// SHA-512 digest.
const LONGEST_SHOWN: usize = 150;

/// Parses a digest.
///
/// # Errors
/// [`DigestError`] if the text is malformed, or uses an algorithm other than SHA-256.
pub fn sha256_digest(text: &str) -> Result<Digest, DigestError> {
    // The text may come from a foreign document, so it is escaped and cut.
    let shown = |text: &str| redaction::line(text, LONGEST_SHOWN);
    let digest =
        Digest::from_str(text).map_err(|_| DigestError::Malformed { text: shown(text) })?;
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => Ok(digest),
        other => Err(DigestError::Algorithm {
            text: shown(text),
            algorithm: shown(other.as_ref()),
        }),
    }
}

/// Returns the digest with these 64 lower-case hexadecimal digits; `None` if `hex` is something
/// else.
pub(crate) fn from_hex(hex: &str) -> Option<Digest> {
    Sha256Digest::from_str(hex).ok().map(Digest::from)
}

/// Returns the SHA-256 of `bytes` as 64 hexadecimal digits.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.hex()
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.digest()
}

/// Deserializes a digest. As a visitor, so an error carries the position of the digest itself.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    struct DigestVisitor;

    impl Visitor<'_> for DigestVisitor {
        type Value = Digest;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a sha256 digest")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
            sha256_digest(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(DigestVisitor)
}

/// Returns size and SHA-256 of a file. Reports [`Event::BundleRead`] to `observer`.
///
/// # Errors
/// [`io::Error`] if the file cannot be read or is not a regular file.
pub fn hash_file(path: &Utf8Path, observer: &dyn Observer) -> io::Result<(u64, String)> {
    let mut file = files::open(path)?;
    let mut hasher = Hasher::new();
    let size = hasher.update_from(&mut file, |bytes| {
        observer.event(Event::BundleRead { bytes });
    })?;
    Ok((size, hasher.hex()))
}

/// An incremental SHA-256.
#[derive(Clone, Debug)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Hashes `reader` to its end, and returns its length in bytes. Calls `progress` about every
    /// MiB with the length so far.
    pub(crate) fn update_from(
        &mut self,
        reader: &mut impl Read,
        mut progress: impl FnMut(u64),
    ) -> io::Result<u64> {
        let mut buffer = vec![0; 1 << 20];
        let mut length = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(length),
                Ok(count) => {
                    self.update(&buffer[..count]);
                    length += count as u64;
                    progress(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }

    pub(crate) fn digest(self) -> Digest {
        from_hex(&self.hex()).expect("a sha256 has 64 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_other_algorithms_by_name() {
        let text = format!("sha512:{}", "0".repeat(128));
        let error = sha256_digest(&text).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("digest `{text}` uses `sha512`; only `sha256` is supported")
        );
    }

    #[test]
    fn refuses_malformed_digests() {
        for text in ["", "sha256", "sha256:12", "sha256:../../etc/passwd"] {
            assert!(
                matches!(sha256_digest(text), Err(DigestError::Malformed { .. })),
                "{text}"
            );
        }
        let upper = format!("sha256:{}", "A".repeat(64));
        assert!(sha256_digest(&upper).is_err());
    }
}

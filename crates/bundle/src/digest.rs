//! Digests and how they are made. Only sha256 is accepted anywhere, because a digest is also a file
//! name in the store and one hash decides about every byte.

use std::fmt;
use std::io::{self, Read as _};
use std::str::FromStr;

use camino::Utf8Path;
use oci_spec::image::{Digest, DigestAlgorithm, Sha256Digest};
use serde::Deserializer;
use serde::de::Visitor;
use sha2::{Digest as _, Sha256};

use crate::event::{Event, Observer};

/// The limit for a blob, and for all blobs of an artifact, in bytes. It is far above what
/// registries keep, and far below what sums of sizes may reach.
pub const LARGEST_BLOB: u64 = 1 << 50;

/// The digest of nothing.
const OF_NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Returns why a blob cannot have this size, if it cannot.
pub fn size_fault(digest: &Digest, size: u64) -> Option<&'static str> {
    match (size, digest.as_ref() == OF_NOTHING) {
        (0, false) => Some("0 bytes have a different digest"),
        (1.., true) => Some("this is the digest of 0 bytes"),
        _ if size > LARGEST_BLOB => Some("the limit is 1 PiB"),
        _ => None,
    }
}

/// Why a text is not a digest that is accepted here.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The text has not the form `algorithm:value`, or the value not the form that the algorithm
    /// asks for.
    #[error("`{text}` is not a digest")]
    Malformed {
        /// The text, escaped.
        text: String,
    },
    /// The digest uses an algorithm other than sha256.
    #[error("digest `{text}` uses `{algorithm}`; only `sha256` is supported")]
    Algorithm {
        /// The digest.
        text: String,
        /// Its algorithm.
        algorithm: String,
    },
}

/// How much of a text is shown that is not a digest, in characters: more than the longest digest
/// has.
const LONGEST_SHOWN: usize = 150;

/// Returns `text` as a digest.
///
/// # Errors
/// When it is none, or uses another algorithm than sha256.
pub fn sha256_digest(text: &str) -> Result<Digest, DigestError> {
    // It may be from a foreign document, of any characters and any length.
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

/// Returns the digest whose 64 lower-case hexadecimal digits are `hex`, or none.
pub(crate) fn from_hex(hex: &str) -> Option<Digest> {
    Sha256Digest::from_str(hex).ok().map(Digest::from)
}

/// Returns the sha256 of `bytes` as 64 hexadecimal digits.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.hex()
}

/// Returns the digest of `bytes`.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.digest()
}

/// Reads a digest in a document, such that an error carries the place of the digest itself.
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

/// Returns the size and the sha256 of a file. Reports progress to `observer`.
///
/// # Errors
/// When it cannot be read, or is not a regular file.
pub fn hash_file(path: &Utf8Path, observer: &dyn Observer) -> io::Result<(u64, String)> {
    const BUFFER: usize = 1 << 20;
    let mut file = files::open(path)?;
    let mut hasher = Hasher::new();
    let mut bytes = 0;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hasher.hex())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
                observer.event(Event::BundleRead { bytes });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A sha256 in the making.
#[derive(Clone, Debug)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
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
    fn hashes_as_the_standard_says() {
        assert_eq!(
            hex_of(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

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
    fn refuses_what_is_not_a_digest() {
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

//! Computes and checks SHA-256 digests. Other algorithms are not accepted: registries need not
//! verify them.

use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// Returns the digest of `bytes`, `sha256:<hex>`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format_digest(Sha256::new().chain_update(bytes))
}

/// Returns the digest of what `hasher` received, `sha256:<hex>`.
pub(crate) fn format_digest(hasher: Sha256) -> String {
    format!("sha256:{}", hex::encode(hasher.finalize()))
}

/// Parses a sha256 digest.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, Error> {
    let digest: Digest = text.parse().map_err(|_| Error::Name {
        kind: "digest",
        name: text.to_owned(),
    })?;
    check_digest(&digest)?;
    Ok(digest)
}

/// Checks that a digest is a sha256 digest.
pub(crate) fn check_digest(digest: &Digest) -> Result<(), Error> {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => Ok(()),
        _ => Err(Error::DigestAlgorithm {
            digest: digest.clone(),
        }),
    }
}

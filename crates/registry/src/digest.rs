//! Computes and checks SHA-256 digests, the only kind that is accepted.

use oci_spec::image::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// Returns the digest of `bytes` as it is written.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    written(Sha256::new().chain_update(bytes))
}

/// Returns the digest that a hasher has come to, as it is written.
pub(crate) fn written(hasher: Sha256) -> String {
    format!("sha256:{}", hex::encode(hasher.finalize()))
}

/// Reads a digest of the one algorithm that every registry verifies.
pub(crate) fn parse_digest(text: &str) -> Result<Digest, Error> {
    let digest: Digest = text.parse().map_err(|_| Error::Name {
        kind: "digest",
        name: text.to_owned(),
    })?;
    check_digest(&digest)?;
    Ok(digest)
}

/// Checks that a digest is of the one algorithm that every registry verifies.
pub(crate) fn check_digest(digest: &Digest) -> Result<(), Error> {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => Ok(()),
        _ => Err(Error::DigestAlgorithm {
            digest: digest.clone(),
        }),
    }
}

//! The signature of a manifest: what `ssh-keygen -Y sign` writes, verified without OpenSSH.

use std::fmt;

use ssh_key::{HashAlg, PublicKey, SshSig};

use crate::layout::NAMESPACE;

/// The key that signed a manifest.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    pub(crate) key: PublicKey,
}

impl Signer {
    /// Returns the fingerprint as OpenSSH shows it, `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Returns the algorithm, `ssh-ed25519`.
    pub fn algorithm(&self) -> String {
        self.key.algorithm().to_string()
    }

    /// Returns the line for a file of allowed signers that permits this key to sign media.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn allowed_signers_line(&self, principal: &str) -> Result<String, SignatureError> {
        let mut key = self.key.clone();
        key.set_comment("");
        let key = key
            .to_openssh()
            .map_err(|source| SignatureError::Malformed { source })?;
        Ok(format!(
            "{principal} namespaces=\"{NAMESPACE}\" {}\n",
            key.trim()
        ))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.algorithm(), self.fingerprint())
    }
}

/// Why a signature does not permit use.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("the medium is not signed")]
    Missing,
    /// There is one, but it was to be ignored.
    #[error("the medium is signed, so its signature must be checked")]
    Present,
    /// It cannot be read.
    #[error("the signature of the medium cannot be read")]
    Malformed {
        /// Why not.
        source: ssh_key::Error,
    },
    /// It was made for something else.
    #[error("the signature of the medium is for `{namespace}`, not for `{NAMESPACE}`")]
    Namespace {
        /// What it was made for.
        namespace: String,
    },
    /// It does not belong to this manifest.
    #[error("the manifest of the medium was changed after it was signed")]
    Wrong,
    /// The key is not permitted.
    #[error(
        "the medium is signed by an unknown key: {} {}",
        signer.algorithm(),
        signer.fingerprint()
    )]
    Unknown {
        /// The key.
        signer: Signer,
    },
    /// A file of allowed signers cannot be parsed.
    #[error("line {line} of the allowed signers is not valid: {reason}")]
    Signers {
        /// The line, from 1.
        line: usize,
        /// Why not.
        reason: SignersFault,
    },
}

/// What is wrong with a line of a file of allowed signers.
#[derive(Debug, thiserror::Error)]
pub enum SignersFault {
    /// It names no principal, or no key.
    #[error("it has no key")]
    NoKey,
    /// Its key cannot be read.
    #[error("{0}")]
    Key(ssh_key::Error),
    /// It has this option, which could permit less.
    #[error("the option `{0}` is not supported")]
    Option(String),
}

/// Returns the key that signed a manifest, after checking its signature.
///
/// # Errors
/// The signature cannot be read, is for a different namespace, or belongs to different bytes.
pub fn signer(manifest: &[u8], signature: &str) -> Result<Signer, SignatureError> {
    let signature =
        SshSig::from_pem(signature).map_err(|source| SignatureError::Malformed { source })?;
    if signature.namespace() != NAMESPACE {
        return Err(SignatureError::Namespace {
            namespace: redaction::line(signature.namespace(), 60),
        });
    }
    let key = PublicKey::from(signature.public_key().clone());
    key.verify(NAMESPACE, manifest, &signature)
        .map_err(|_| SignatureError::Wrong)?;
    Ok(Signer { key })
}

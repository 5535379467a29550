//! Verifies the signature of a manifest, as `ssh-keygen -Y sign` writes it, without OpenSSH.

use std::fmt;

use ssh_key::{HashAlg, PublicKey, SshSig};

use crate::layout::NAMESPACE;

/// The key that signed a manifest.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    pub(crate) key: PublicKey,
}

impl Signer {
    /// Returns the fingerprint in OpenSSH's format, `SHA256:...`.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Returns the algorithm, such as `ssh-ed25519`.
    pub fn algorithm(&self) -> String {
        self.key.algorithm().to_string()
    }

    /// Returns a line of an allowed signers file that permits this key to sign media.
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

/// Why a signature is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The medium has no signature.
    #[error("the medium is not signed")]
    Missing,
    /// The medium has a signature, but the operator asked for an unsigned medium.
    #[error("the medium is signed, so its signature must be checked")]
    Present,
    /// The signature, or a key, is malformed.
    #[error("the signature of the medium cannot be read")]
    Malformed {
        /// Error of the parser.
        source: ssh_key::Error,
    },
    /// The signature is for a different namespace.
    #[error("the signature of the medium is for `{namespace}`, not for `{NAMESPACE}`")]
    Namespace {
        /// Namespace of the signature.
        namespace: String,
    },
    /// The signature does not match this manifest.
    #[error("the manifest of the medium was changed after it was signed")]
    Wrong,
    /// The signature is valid, but its key is not permitted.
    #[error(
        "the medium is signed by an unknown key: {} {}",
        signer.algorithm(),
        signer.fingerprint()
    )]
    Unknown {
        /// Key of the signature.
        signer: Signer,
    },
    /// A line of the allowed signers file is not valid.
    #[error("line {line} of the allowed signers is not valid: {reason}")]
    Signers {
        /// Number of the line, from 1.
        line: usize,
        /// What is not valid.
        reason: SignersFault,
    },
}

/// Why a line of an allowed signers file is not valid.
#[derive(Debug, thiserror::Error)]
pub enum SignersFault {
    /// The line has no principal or no key.
    #[error("it has no key")]
    NoKey,
    /// The key is malformed.
    #[error("{0}")]
    Key(ssh_key::Error),
    /// The line has this unsupported option, which could restrict the key.
    #[error("the option `{0}` is not supported")]
    Option(String),
}

/// Verifies the signature of a manifest and returns its key.
///
/// # Errors
/// The signature is malformed, for a different namespace, or of different bytes.
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

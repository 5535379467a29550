//! Signatures of bundles, as made by `cosign sign-blob`: ECDSA on P-256 over the SHA-256 of the
//! file, in base64.

use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};

use crate::digest;

/// Maximum size of a signature file in bytes. One of P-256 has about 100.
pub const LARGEST_SIGNATURE: u64 = 8 << 10;

/// Reason why a signature or a key is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The text is not a supported key.
    #[error("expected a PEM public key of P-256, as `cosign generate-key-pair` writes it")]
    Key,
    /// The text is not a signature.
    #[error("expected an ECDSA signature in base64, as `cosign sign-blob` writes it")]
    Form,
    /// The signature is of a different file, or made with a different key.
    #[error("the signature is of a different file or key; the file has SHA-256 {sha256}")]
    Mismatch {
        /// SHA-256 of the file, 64 hexadecimal digits.
        sha256: String,
    },
}

/// A signature of a file.
#[derive(Clone, Debug)]
pub struct Signature(DerSignature);

impl Signature {
    /// Parses a signature as cosign writes it. White space is ignored.
    ///
    /// # Errors
    /// [`SignatureError::Form`] if the text is not a signature.
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        let is_digit = |byte: &u8| !byte.is_ascii_whitespace();
        let digits: Vec<u8> = text.iter().copied().filter(is_digit).collect();
        let bytes = BASE64_STANDARD.decode(digits);
        let signature = bytes.map(|bytes| DerSignature::from_bytes(&bytes));
        match signature {
            Ok(Ok(signature)) => Ok(Self(signature)),
            _ => Err(SignatureError::Form),
        }
    }
}

/// A public key of P-256. Its `FromStr` parses PEM.
#[derive(Clone, Debug)]
pub struct PublicKey(VerifyingKey);

impl FromStr for PublicKey {
    type Err = SignatureError;

    fn from_str(pem: &str) -> Result<Self, SignatureError> {
        let key = VerifyingKey::from_public_key_pem(pem.trim());
        key.map(Self).map_err(|_| SignatureError::Key)
    }
}

impl PublicKey {
    /// Returns the SHA-256 of the key's DER, 64 hexadecimal digits. The layout of its PEM file does
    /// not matter.
    pub fn sha256(&self) -> String {
        let der = self.0.to_public_key_der();
        digest::hex_of(der.expect("a key that was read can be written").as_bytes())
    }

    /// Verifies that this key signed the file with this SHA-256, 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SignatureError::Mismatch`] if the signature is of a different file or key.
    pub fn verify(&self, sha256: &str, signature: &Signature) -> Result<(), SignatureError> {
        let hash = hex::decode(sha256).unwrap_or_default();
        let verified = self.0.verify_prehash(&hash, &signature.0);
        verified.map_err(|_| SignatureError::Mismatch {
            sha256: sha256.to_owned(),
        })
    }
}

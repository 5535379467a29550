//! Verifies servers with two sets of CA certificates: those that the operator configured (`given`)
//! and those of the system.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// The system has no CA certificates to verify a server with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this machine has no CA certificates")]
pub struct NoAuthorities;

/// The server's own certificate is a CA certificate, and it is not one that the operator
/// configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server uses a CA certificate as its own")]
pub struct LeafIsAuthority;

/// A certificate of the server's chain has an RSA key of less than 2048 bits. rustls reports it as
/// a bad signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate of the server has an RSA key of less than 2048 bits")]
pub struct WeakKey;

/// Verifies servers with the configured CA certificates first, then with those of the system.
#[derive(Debug)]
pub struct Verifier {
    given: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Returns a verifier that trusts `given` and the system's CA certificates.
    pub fn new(given: Vec<CertificateDer<'static>>) -> Self {
        Self { given }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let given = match self.given.is_empty() {
            true => None,
            false => match by_given(&self.given, leaf, intermediates, name, now) {
                Ok(()) => return Ok(ServerCertVerified::assertion()),
                Err(error) => Some(error),
            },
        };
        match (by_system(leaf, intermediates, name, now), given) {
            (Ok(()), _) => Ok(ServerCertVerified::assertion()),
            // The configured CA certificates explain the failure better, unless none belongs to
            // this chain.
            (Err(system), Some(given)) if !is_unknown(&given) || is::<NoAuthorities>(&system) => {
                Err(given)
            }
            (Err(system), _) => Err(system),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &ring::default_provider().signature_verification_algorithms;
        let verified =
            rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms);
        verified.map_err(|error| explained(error, certificate, &[]))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &ring::default_provider().signature_verification_algorithms;
        let verified =
            rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms);
        verified.map_err(|error| explained(error, certificate, &[]))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Verifies a server with the certificates in `given` alone.
///
/// `openssl req -x509` makes a server certificate that is its own CA. It is trusted if `given`
/// contains exactly this certificate, as container runtimes do.
///
/// # Errors
/// The reason why the server is not trusted; [`LeafIsAuthority`] and [`WeakKey`] as
/// [`Error::Other`].
pub fn by_given(
    given: &[CertificateDer<'static>],
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    if given.iter().any(|one| one.as_ref() == leaf.as_ref()) {
        return pinned(leaf, name, now);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(given.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let verified = verifier.verify_server_cert(leaf, intermediates, name, &[], now);
    let above = [intermediates, given].concat();
    (verified.map(drop)).map_err(|error| explained(error, leaf, &above))
}

/// Verifies a server with the system's CA certificates alone. They are read once per process.
///
/// # Errors
/// The reason why the server is not trusted; [`NoAuthorities`] as [`Error::Other`] if the system
/// has none.
pub fn by_system(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    static SYSTEM: OnceLock<Option<rustls_platform_verifier::Verifier>> = OnceLock::new();
    let system = SYSTEM.get_or_init(|| {
        let provider = Arc::new(ring::default_provider());
        rustls_platform_verifier::Verifier::new(provider).ok()
    });
    let Some(system) = system else {
        return Err(Error::Other(OtherError(Arc::new(NoAuthorities))));
    };
    let verified = system.verify_server_cert(leaf, intermediates, name, &[], now);
    (verified.map(drop)).map_err(|error| explained(error, leaf, intermediates))
}

/// Verifies a server certificate that is itself in `given`: its names, validity period and purpose.
fn pinned(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    let bad = |error| Err(Error::InvalidCertificate(error));
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return bad(CertificateError::BadEncoding);
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < certificate.validity().not_before.timestamp() {
        return bad(CertificateError::NotValidYet);
    }
    if now > certificate.validity().not_after.timestamp() {
        return bad(CertificateError::Expired);
    }
    match certificate.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.server_auth && !usage.value.any => {
            bad(CertificateError::InvalidPurpose)
        }
        _ => Ok(()),
    }
}

/// Replaces two errors of rustls that mislead: the untyped one for a CA certificate used as a
/// server's, and `BadSignature` for an RSA key that is too short. `above` are the other
/// certificates of the chain.
fn explained(error: Error, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Error {
    let is_authority = || {
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        Some(leaf.basic_constraints().ok()??.value.ca)
    };
    match &error {
        Error::InvalidCertificate(CertificateError::Other(_)) if is_authority() == Some(true) => {
            Error::Other(OtherError(Arc::new(LeafIsAuthority)))
        }
        Error::InvalidCertificate(CertificateError::BadSignature)
            if std::iter::once(leaf).chain(above).any(is_weak) =>
        {
            Error::Other(OtherError(Arc::new(WeakKey)))
        }
        _ => error,
    }
}

/// Returns whether a certificate has an RSA key that rustls does not verify with.
fn is_weak(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(key)) if key.key_size() < 2048)
}

/// Returns whether an error means that no trusted CA certificate belongs to the chain.
fn is_unknown(error: &Error) -> bool {
    use CertificateError::{BadSignature, UnknownIssuer};
    matches!(
        error,
        Error::InvalidCertificate(UnknownIssuer | BadSignature)
    )
}

/// Returns whether a TLS error wraps an error of type `E`: [`NoAuthorities`], [`LeafIsAuthority`]
/// or [`WeakKey`].
pub fn is<E: std::error::Error + 'static>(error: &Error) -> bool {
    matches!(error, Error::Other(OtherError(inner)) if inner.is::<E>())
}

#[cfg(test)]
mod tests;

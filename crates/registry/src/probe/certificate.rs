//! The certificate of the registry, as a node sees it: with the system's authorities alone, and with the one that is named.

use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::finding::{Aspect, Fault, Findings};
use crate::Endpoint;

/// How long the connection and the handshake may take, each.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long before its end a certificate is worth a word, in seconds: 30 days.
const SOON: i64 = 30 * 24 * 60 * 60;

/// Looks at the certificate, and tells whether the registry can be spoken to by it. `now` is in seconds since 1970.
pub(super) async fn look(endpoint: &Endpoint, now: i64, findings: &mut Findings) -> bool {
    let aspect = Aspect::Certificate;
    let url = endpoint.url("/v2/");
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        findings.skip(aspect, format!("`{host}` is no name for a certificate"));
        return true;
    };
    let port = url.port_or_known_default().unwrap_or(443);
    let stream = match timeout(PATIENCE, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        // Whether there is another way, by a proxy, is seen by the request.
        Ok(Err(_)) | Err(_) => {
            findings.skip(aspect, "there is no direct connection to look at it");
            return true;
        }
    };
    let provider = Arc::new(ring::default_provider());
    let chain = match shown(stream, name.clone(), &provider).await {
        Ok(chain) => chain,
        Err(error) => {
            let tls = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let fault = match tls {
                Some(rustls::Error::InvalidMessage(_)) => Fault::PlainHttp,
                _ => Fault::Tls,
            };
            findings.wrong(aspect, fault, format!("no TLS connection: {error}"));
            return false;
        }
    };
    let Some((leaf, others)) = chain.split_first() else {
        findings.wrong(aspect, Fault::Tls, "the server shows no certificate");
        return false;
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unsigned_abs()));
    let verify = |verifier: &dyn ServerCertVerifier| {
        let verified = verifier.verify_server_cert(leaf, others, &name, &[], time);
        verified.map(drop)
    };
    let by_system = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
        .and_then(|verifier| verify(&verifier));
    let by_ca = by_authority(endpoint, &provider, &verify);
    judge(leaf, now, &by_system, by_ca.as_ref(), findings)
}

/// Verifies by the endpoint's own authority alone, if it has one.
fn by_authority(
    endpoint: &Endpoint,
    provider: &Arc<CryptoProvider>,
    verify: &dyn Fn(&dyn ServerCertVerifier) -> Result<(), rustls::Error>,
) -> Option<Result<(), rustls::Error>> {
    endpoint.ca_pem()?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(endpoint.certificates().iter().cloned());
    let builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = builder
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()));
    Some(verifier.and_then(|verifier| verify(&*verifier)))
}

fn judge(
    leaf: &CertificateDer<'_>,
    now: i64,
    by_system: &Result<(), rustls::Error>,
    by_ca: Option<&Result<(), rustls::Error>>,
    findings: &mut Findings,
) -> bool {
    let aspect = Aspect::Certificate;
    let about = About::read(leaf);
    let text = about.text();
    let trust = match (by_system, by_ca) {
        (Ok(()), None | Some(Ok(()))) => "trusted by the system's authorities",
        (Err(_), Some(Ok(()))) => "trusted by registry.ca, not by the system's authorities",
        (Ok(()), Some(Err(_))) => {
            let text = format!("{text}; trusted by the system's authorities, not by registry.ca");
            findings.warn(aspect, Fault::OtherAuthority, text);
            return true;
        }
        (Err(error), None) | (Err(_), Some(Err(error))) => {
            let fault = fault_of(error, by_ca.is_some());
            findings.wrong(aspect, fault, format!("{text}; {error}"));
            return false;
        }
    };
    let text = format!("{text}; {trust}");
    match about.until {
        Some(until) if until - now < SOON => findings.warn(aspect, Fault::ExpiresSoon, text),
        _ => findings.fine(aspect, text),
    }
    true
}

fn fault_of(error: &rustls::Error, has_ca: bool) -> Fault {
    use CertificateError as Certificate;
    let rustls::Error::InvalidCertificate(error) = error else {
        return match has_ca {
            true => Fault::Tls,
            // A system without any authorities.
            false => Fault::UnknownAuthority,
        };
    };
    match error {
        Certificate::Expired | Certificate::ExpiredContext { .. } => Fault::Expired,
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => Fault::NotYetValid,
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            Fault::WrongName
        }
        Certificate::UnknownIssuer | Certificate::BadSignature if has_ca => Fault::OtherAuthority,
        Certificate::UnknownIssuer | Certificate::BadSignature => Fault::UnknownAuthority,
        _ => Fault::Tls,
    }
}

/// What a certificate says of itself.
struct About {
    names: Vec<String>,
    until: Option<i64>,
}

impl About {
    fn read(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return Self {
                names: Vec::new(),
                until: None,
            };
        };
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter());
        Self {
            names: names.into_iter().flatten().filter_map(readable).collect(),
            until: Some(certificate.validity().not_after.timestamp()),
        }
    }

    fn text(&self) -> String {
        let names = match self.names.is_empty() {
            true => "no name".to_owned(),
            false => self.names.join(", "),
        };
        let until = self.until.and_then(|until| u64::try_from(until).ok());
        match until {
            Some(until) => {
                let until = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(until));
                format!("for {names}, until {until}")
            }
            None => format!("for {names}"),
        }
    }
}

fn readable(name: &GeneralName<'_>) -> Option<String> {
    match name {
        // It may be anybody's certificate, with anything in it.
        GeneralName::DNSName(name) => Some(name.escape_debug().to_string()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

/// Returns the chain that a server shows, whatever it is worth. Nothing is sent by this connection.
async fn shown(
    stream: TcpStream,
    name: ServerName<'static>,
    provider: &Arc<CryptoProvider>,
) -> io::Result<Vec<CertificateDer<'static>>> {
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker(Arc::clone(provider))))
        .with_no_client_auth();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = timeout(PATIENCE, connecting)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(chain.iter().map(|one| one.clone().into_owned()).collect())
}

/// Lets every certificate pass, since it is to be looked at and nothing follows.
#[derive(Debug)]
struct Onlooker(Arc<CryptoProvider>);

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_a_terminal_would_obey() {
        let shown = readable(&GeneralName::DNSName("*.example.com\u{1b}[2J"));
        assert_eq!(shown.as_deref(), Some(r"*.example.com\u{1b}[2J"));
    }
}

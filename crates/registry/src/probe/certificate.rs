//! Verifies the registry's certificate as nodes do: with the system's CA certificates alone, and
//! with the configured one.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use network::{LeafIsAuthority, NoAuthorities, Verifier, WeakKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::finding::{Aspect, Fault, Findings};
use crate::recorded::lock;
use crate::{Endpoint, Error, RequestInfo, identify};

/// Timeout of the connection, and of the handshake.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Remaining validity in seconds that is a warning: 30 days.
const SOON: i64 = 30 * 24 * 60 * 60;

/// Verifies the certificate at Unix time `now`, and returns whether requests can use it.
pub(super) async fn look(endpoint: &Endpoint, now: i64, findings: &mut Findings) -> bool {
    let aspect = Aspect::Certificate;
    let url = endpoint.url("/v2/");
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let Ok(name) = ServerName::try_from(host.to_owned()) else {
        findings.skip(aspect, format!("`{host}` is no name for a certificate"));
        return true;
    };
    let chain = match server_chain(endpoint).await {
        Ok(chain) => chain,
        Err(
            error
            @ (Error::PlainHttpServer { .. } | Error::Tls { .. } | Error::NotARegistry { .. }),
        ) => {
            let fault = Fault::of(&error);
            findings.wrong(
                aspect,
                fault,
                format!("no TLS connection: {}", requests::chain(&error)),
            );
            return false;
        }
        // The request itself reports other errors.
        Err(_) => {
            findings.skip(aspect, "not checked: no connection");
            return true;
        }
    };
    let Some((leaf, others)) = chain.split_first() else {
        findings.wrong(aspect, Fault::Tls, "the server shows no certificate");
        return false;
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.try_into().unwrap_or(0)));
    let by_system = network::by_system(leaf, others, &name, time);
    let given = endpoint.certificates();
    let by_ca = match given.is_empty() {
        true => None,
        false => Some(network::by_given(given, leaf, others, &name, time)),
    };
    judge(leaf, now, &by_system, by_ca.as_ref(), findings)
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
            let fault = Fault::of_tls(error, by_ca.is_some());
            let reason = match fault {
                // The library's text is a data structure.
                Fault::UnsupportedSignature => {
                    "its signature is of a kind that Airlock cannot verify".to_owned()
                }
                Fault::WeakKey => WeakKey.to_string(),
                _ => error.to_string(),
            };
            findings.wrong(aspect, fault, format!("{text}; {reason}"));
            return false;
        }
    };
    match about.until.map(|until| until - now) {
        Some(left) if left < SOON => {
            let days = match left / (24 * 60 * 60) {
                ..=0 => "less than a day".to_owned(),
                1 => "1 day".to_owned(),
                days => format!("{days} days"),
            };
            let text = format!("{text}, expires in {days}; {trust}");
            findings.warn(aspect, Fault::ExpiresSoon, text);
        }
        _ => findings.fine(aspect, format!("{text}; {trust}")),
    }
    true
}

impl Fault {
    /// Returns the fault of a TLS error. `has_ca` is set if the operator configured a CA
    /// certificate.
    pub fn of_tls(error: &rustls::Error, has_ca: bool) -> Fault {
        use CertificateError as Certificate;
        if network::is::<LeafIsAuthority>(error) {
            return Fault::AuthorityAsServer;
        }
        if network::is::<NoAuthorities>(error) {
            return Fault::UnknownAuthority;
        }
        if network::is::<WeakKey>(error) {
            return Fault::WeakKey;
        }
        let rustls::Error::InvalidCertificate(error) = error else {
            return Fault::Tls;
        };
        match error {
            Certificate::Expired | Certificate::ExpiredContext { .. } => Fault::Expired,
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => Fault::NotYetValid,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                Fault::WrongName
            }
            Certificate::UnknownIssuer | Certificate::BadSignature if has_ca => {
                Fault::OtherAuthority
            }
            Certificate::UnknownIssuer | Certificate::BadSignature => Fault::UnknownAuthority,
            Certificate::UnsupportedSignatureAlgorithmContext { .. }
            | Certificate::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Fault::UnsupportedSignature
            }
            _ => Fault::Tls,
        }
    }
}

/// Names and expiry of a certificate.
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
        // The certificate is not trusted, so its names may contain control characters.
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

/// Returns the certificate chain of the server, without verification. The connection uses the proxy
/// of other requests, and is closed before a request is sent.
async fn server_chain(endpoint: &Endpoint) -> Result<Vec<CertificateDer<'static>>, Error> {
    let url = endpoint.url("/v2/");
    let place = RequestInfo::new("GET", &url, "").through(endpoint.proxies(), &url)?;
    let recorder = Arc::new(Recorder {
        registry: url.host_str().unwrap_or_default().to_owned(),
        verifier: Verifier::new(Vec::new()),
        chain: Mutex::default(),
    });
    let client = network::with_verifier(Arc::clone(&recorder) as _, endpoint.proxies())
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT * 2)
        .build()
        .map_err(|error| Error::Client {
            address: endpoint.address().to_owned(),
            source: error.into(),
        })?;
    let asked = client.get(url).send().await;
    let chain = std::mem::take(&mut *lock(&recorder.chain));
    match asked {
        Err(error) if chain.is_empty() => {
            let (url, proxies) = (endpoint.url("/v2/"), endpoint.proxies());
            let failure = identify::failure(error, place, &url, proxies, TIMEOUT).await;
            Err(failure.error)
        }
        _ => Ok(chain),
    }
}

/// Records the registry's certificates and refuses them all. Certificates of a proxy are verified
/// as usual.
#[derive(Debug)]
struct Recorder {
    registry: String,
    verifier: Verifier,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if name.to_str() != self.registry.trim_matches(['[', ']']) {
            return self
                .verifier
                .verify_server_cert(leaf, others, name, ocsp, now);
        }
        let chain = [leaf].into_iter().chain(others);
        *lock(&self.chain) = chain.map(|one| one.clone().into_owned()).collect();
        let refused = CertificateError::ApplicationVerificationFailure;
        Err(rustls::Error::InvalidCertificate(refused))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsupported_signature_has_our_wording() {
        let context = CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![42, 134, 72],
            supported_algorithms: Vec::new(),
        };
        let refused = Err(rustls::Error::InvalidCertificate(context));
        let mut findings = Findings::default();
        let leaf = CertificateDer::from(Vec::new());
        assert!(!judge(&leaf, 0, &refused, None, &mut findings));
        let found = findings.complete();
        let found = found
            .iter()
            .find(|found| found.aspect == Aspect::Certificate);
        let found = found.unwrap();
        assert_eq!(found.fault, Some(Fault::UnsupportedSignature));
        assert_eq!(
            found.text,
            "for no name; its signature is of a kind that Airlock cannot verify"
        );
    }

    #[test]
    fn a_certificate_that_expires_soon_has_its_remaining_days() {
        let mut params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2026, 12, 5);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = params.self_signed(&key).unwrap().der().clone();
        let until = About::read(&leaf).until.unwrap();
        let mut findings = Findings::default();
        assert!(judge(&leaf, until - 400_000, &Ok(()), None, &mut findings));
        let found = findings.complete();
        let found = found
            .iter()
            .find(|one| one.fault == Some(Fault::ExpiresSoon));
        assert_eq!(
            found.unwrap().text,
            "for a.example.com, until Sat, 05 Dec 2026 00:00:00 GMT, expires in 4 days; trusted by the system's authorities"
        );
    }

    #[test]
    fn control_characters_in_names_are_escaped() {
        let shown = readable(&GeneralName::DNSName("*.example.com\u{1b}[2J"));
        assert_eq!(shown.as_deref(), Some(r"*.example.com\u{1b}[2J"));
    }
}

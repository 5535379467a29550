//! Checks the file with the certificate of a registry's CA.

use std::{io, net::IpAddr};

use camino::Utf8Path;
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{PemObject, SectionKind},
    },
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, GeneralSubtree},
    prelude::FromDer,
    public_key::PublicKey,
};

use crate::{
    environment::{CertificateAuthority, Registry, Validity},
    keys::Key,
    paths,
    problem::{Problem, quote},
    read::{Read, Reader},
    yaml::{BYTE_ORDER_MARK, Node},
};

/// A problem with a file of CA certificates. Certificates are counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file contains no PEM certificate.
    NoCertificate,
    /// The file is not valid PEM.
    InvalidPem,
    /// A certificate is not an X.509 certificate.
    NotACertificate(usize),
    /// A certificate is not a CA certificate, but that of a server or user.
    NotAnAuthority(usize),
    /// The name constraints of all CAs in the file exclude the registry's host.
    HostExcluded,
    /// Airlock cannot verify the signatures of any CA in the file, because of the type of its key,
    /// such as `ECDSA on P-521`.
    UnsupportedKey(String),
    /// The file contains a private key.
    PrivateKey,
}

impl Read for CertificateAuthority {
    /// Reads the file that the value names.
    fn read(_: &Key, node: Option<&Node>, reader: &mut Reader<'_>) -> Option<CertificateAuthority> {
        let node = node?;
        let path = reader.path(node).filter(|_| node.text() != Some(""))?;
        let written = quote(node.text()?);
        let registry = reader.merged.get("registry");
        let address = registry.and_then(|keys| keys.get("address")?.text());
        let registry = Registry {
            address: address.unwrap_or_default().to_owned(),
            ..Registry::default()
        };
        let checked = match files::read_text(&path) {
            Ok(text) => check(&text, registry.host())
                .map_err(|fault| fault.explain(&written, &quote(registry.host()))),
            Err(error) => Err(explain_read_error(&error, &path, &written, node)),
        };
        match checked {
            Ok(Authorities {
                pem,
                validity,
                warning,
            }) => Some(CertificateAuthority {
                path,
                pem,
                validity,
                warning,
            }),
            Err((rule, help)) => {
                reader.findings.add(Problem::at(node, rule).with_help(help));
                None
            }
        }
    }
}

/// Reads the file with the CA of a host that is not an environment's registry, and returns its
/// text.
///
/// `shown` is the path for messages, `now` is in seconds since 1970. A server's own certificate is
/// accepted, as by most clients.
///
/// # Errors
///
/// Returns the problem with the file.
pub fn read_authority(
    path: &Utf8Path,
    shown: &Utf8Path,
    host: &str,
    now: i64,
) -> Result<String, String> {
    let text = files::read_text(path).map_err(|error| match paths::is_absent(&error) {
        true => format!("{shown} does not exist"),
        false => format!("cannot read {shown}: {error}"),
    })?;
    let rule = match check(&text, host) {
        Ok(found) => date_fault(&found.validity, now)
            .map(|rule| format!("the certificate in {shown} {rule}")),
        Err(Fault::NotAnAuthority(_)) => None,
        Err(fault) => Some(fault.explain(shown.as_str(), host).0),
    };
    rule.map_or(Ok(text), Err)
}

/// Returns the reason if no certificate is valid at the time `now`.
pub(crate) fn date_fault(validity: &[Validity], now: i64) -> Option<String> {
    if validity
        .iter()
        .any(|valid| valid.from <= now && now <= valid.until)
    {
        return None;
    }
    let date = |seconds: i64| {
        let time = x509_parser::time::ASN1Time::from_timestamp(seconds).ok();
        let text = time.and_then(|time| time.to_rfc2822().ok());
        text.unwrap_or_else(|| format!("second {seconds}"))
    };
    let last = validity.iter().map(|valid| valid.until).max()?;
    let first = validity.iter().map(|valid| valid.from).min()?;
    Some(match last < now {
        true => format!("expired on {}", date(last)),
        false => format!("is not valid before {}", date(first)),
    })
}

/// Returns the problem with a file that cannot be read, and the fix.
fn explain_read_error(
    error: &io::Error,
    path: &Utf8Path,
    written: &str,
    node: &Node,
) -> (String, String) {
    if paths::is_absent(error) {
        let help = paths::base_folder_help(&node.source);
        return (format!("the file {written} does not exist"), help);
    }
    if let Some(files::Refusal::NotUtf8 { .. }) = files::Refusal::of(error) {
        // Windows PowerShell redirects output as UTF-16.
        let is_utf16 = files::read(path)
            .is_ok_and(|bytes| matches!(bytes.as_slice(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]));
        let help = match is_utf16 {
            true => "save it as UTF-8 or ASCII, not as UTF-16",
            false => "convert it: `openssl x509 -inform der -in FILE -out FILE.pem`",
        };
        return (format!("{written} is not a PEM file"), help.to_owned());
    }
    (
        format!("cannot read {written}: {error}"),
        "write the path of a PEM file".to_owned(),
    )
}

impl Fault {
    /// Returns the problem and the fix in words. `written` is the path of the file and `host` is
    /// the registry's host, both in quotes.
    fn explain(self, written: &str, host: &str) -> (String, String) {
        let (rule, help) = match self {
            Fault::NotAnAuthority(number) => (
                format!("certificate {number} in {written} is not a CA certificate"),
                "use the certificate of the CA that signed the registry's certificate",
            ),
            Fault::HostExcluded => (
                format!("the CA in {written} may not sign certificates for {host}"),
                "its name constraints exclude the host: use the CA that signed the registry's certificate",
            ),
            Fault::UnsupportedKey(key) => (
                format!(
                    "the CA in {written} has a key of type {key}, whose signatures Airlock cannot verify"
                ),
                "use a CA with RSA of at least 2048 bits, Ed25519, or ECDSA on P-256 or P-384",
            ),
            Fault::NoCertificate => (
                format!("{written} contains no PEM certificate"),
                "a PEM certificate begins with `-----BEGIN CERTIFICATE-----`",
            ),
            Fault::InvalidPem => (
                format!("{written} is not valid PEM"),
                "copy the file again from its source",
            ),
            Fault::NotACertificate(number) => (
                format!("certificate {number} in {written} is not an X.509 certificate"),
                "copy the file again from its source",
            ),
            Fault::PrivateKey => (
                format!("{written} contains a private key"),
                "every node gets this file: keep only the certificates in it",
            ),
        };
        (rule, help.to_owned())
    }
}

/// A valid file of CA certificates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authorities {
    /// The text, with lines that end in `\n`.
    pub(crate) pem: String,
    /// The validity of each certificate, in the order of the file.
    pub(crate) validity: Vec<Validity>,
    /// A warning if Airlock may be unable to verify the registry's certificate.
    pub(crate) warning: Option<String>,
}

/// Checks that a text contains certificates of CAs that may sign for a host, and no private key.
///
/// A server's own certificate is refused: some clients accept one as a CA, but mkectl does not
/// (LAB). The validity is not checked here, because the time is not known.
pub(crate) fn check(text: &str, host: &str) -> Result<Authorities, Fault> {
    let text = text.trim_start_matches(BYTE_ORDER_MARK);
    // The label alone is checked: a private key of any type is refused, encrypted or not.
    let has_key = text
        .lines()
        .any(|line| line.trim_start().starts_with("-----BEGIN") && line.contains("PRIVATE KEY"));
    if has_key {
        return Err(Fault::PrivateKey);
    }
    let mut store = RootCertStore::empty();
    let mut count = 0;
    let mut validity = Vec::new();
    let mut may_sign = false;
    let mut keys = Vec::new();
    let mut warning = None;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, content) = section.map_err(|_| Fault::InvalidPem)?;
        if kind == SectionKind::Certificate {
            count += 1;
            let (_, certificate) =
                X509Certificate::from_der(&content).map_err(|_| Fault::NotACertificate(count))?;
            if !is_authority(&certificate) {
                return Err(Fault::NotAnAuthority(count));
            }
            may_sign |= may_sign_for(&certificate, host);
            keys.push(unsupported_key(&certificate));
            if is_p384_with_sha512(&certificate) {
                warning = Some(format!(
                    "certificate {count} in registry.ca is signed with ECDSA on P-384 and SHA-512: if the registry's certificate is, too, \
                     Airlock cannot verify it; have that one signed with SHA-384"
                ));
            }
            validity.push(Validity {
                from: certificate.validity().not_before.timestamp(),
                until: certificate.validity().not_after.timestamp(),
            });
            store
                .add(CertificateDer::from(content))
                .map_err(|_| Fault::NotACertificate(count))?;
        }
    }
    if count == 0 {
        return Err(Fault::NoCertificate);
    }
    if !may_sign {
        return Err(Fault::HostExcluded);
    }
    if let Some(key) = keys.iter().find(|_| keys.iter().all(Option::is_some)) {
        return Err(Fault::UnsupportedKey(key.clone().unwrap_or_default()));
    }
    Ok(Authorities {
        pem: text.trim_end().replace("\r\n", "\n") + "\n",
        validity,
        warning,
    })
}

const CURVE_P256: &str = "1.2.840.10045.3.1.7";
const CURVE_P384: &str = "1.3.132.0.34";
const CURVE_P521: &str = "1.3.132.0.35";
const ECDSA_WITH_SHA512: &str = "1.2.840.10045.4.3.4";

/// Returns the type of a CA's key if ring, the provider of the TLS library, cannot verify
/// signatures of that key.
fn unsupported_key(certificate: &X509Certificate<'_>) -> Option<String> {
    match certificate.public_key().parsed() {
        // ring verifies RSA keys of 2048 to 8192 bits.
        Ok(PublicKey::RSA(key)) if key.key_size() < 2048 || key.key_size() > 8192 => {
            Some(format!("RSA with {} bits", key.key_size()))
        }
        Ok(PublicKey::EC(_)) => match curve(certificate).as_str() {
            CURVE_P256 | CURVE_P384 => None,
            CURVE_P521 => Some("ECDSA on P-521".to_owned()),
            other => Some(format!("ECDSA on curve {other}")),
        },
        Ok(PublicKey::DSA(_)) => Some("DSA".to_owned()),
        _ => None,
    }
}

/// Returns whether a certificate has a key on P-384 and a signature with SHA-512. ring verifies
/// P-384 only with SHA-256 and SHA-384. A CA with such a signature probably signs servers in the
/// same way.
fn is_p384_with_sha512(certificate: &X509Certificate<'_>) -> bool {
    curve(certificate) == CURVE_P384
        && certificate.signature_algorithm.algorithm.to_id_string() == ECDSA_WITH_SHA512
}

/// Returns the object identifier of a key's elliptic curve; empty for other keys.
fn curve(certificate: &X509Certificate<'_>) -> String {
    let parameters = certificate.public_key().algorithm.parameters.as_ref();
    let curve = parameters.and_then(|parameters| parameters.as_oid().ok());
    curve.map_or_else(String::new, |curve| curve.to_id_string())
}

/// Returns whether a certificate is a CA certificate. Certificates of version 1 have no such
/// extension and count as CA certificates.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        _ => certificate.version().0 == 0,
    }
}

/// Returns whether the name constraints of a CA allow signatures for a host.
fn may_sign_for(certificate: &X509Certificate<'_>, host: &str) -> bool {
    let Ok(Some(constraints)) = certificate.name_constraints() else {
        return true;
    };
    let address: Option<IpAddr> = host.parse().ok();
    // Returns nothing for a subtree of a different kind of name: it does not restrict this host.
    let contains_host = |subtree: &GeneralSubtree<'_>| match (&subtree.base, address) {
        (GeneralName::DNSName(name), None) => Some(is_below(host, name)),
        (GeneralName::IPAddress(network), Some(address)) => Some(is_in(address, network)),
        _ => None,
    };
    let excluded = constraints.value.excluded_subtrees.iter().flatten();
    let permitted = constraints.value.permitted_subtrees.iter().flatten();
    let permitted: Vec<bool> = permitted.filter_map(contains_host).collect();
    !excluded.filter_map(contains_host).any(|contains| contains)
        && (permitted.is_empty() || permitted.contains(&true))
}

/// Returns whether a host is a domain or in a domain.
fn is_below(host: &str, name: &str) -> bool {
    let name = name.trim_start_matches('.').to_ascii_lowercase();
    name.is_empty()
        || host
            .strip_suffix(name.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Returns whether an address is in a network. `network` is the address of the network, followed by
/// its mask.
fn is_in(address: IpAddr, network: &[u8]) -> bool {
    let address = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (base, mask) = network.split_at(network.len() / 2);
    address.len() == base.len()
        && (address.iter().zip(base).zip(mask))
            .all(|((byte, base), mask)| byte & mask == base & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CA certificate for tests, without its private key.
    const CERTIFICATE: &str = include_str!("certificate/example.pem");

    fn pem(text: &str) -> Result<String, Fault> {
        check(text, "registry.example.com").map(|found| found.pem)
    }

    /// Returns a new CA certificate in PEM, changed by `change`.
    fn certificate(change: impl Fn(&mut rcgen::CertificateParams)) -> String {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        change(&mut parameters);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn keys_that_the_tls_library_does_not_verify_are_reported() {
        let p521 = include_str!("certificate/p521.pem");
        assert_eq!(
            pem(p521),
            Err(Fault::UnsupportedKey("ECDSA on P-521".to_owned()))
        );
        let rsa = include_str!("certificate/rsa1024.pem");
        assert_eq!(
            pem(rsa),
            Err(Fault::UnsupportedKey("RSA with 1024 bits".to_owned()))
        );
        // One CA with a supported key is enough.
        assert!(pem(&format!("{p521}{CERTIFICATE}")).is_ok());
        let sha512 = include_str!("certificate/p384-sha512.pem");
        let found = check(sha512, "registry.example.com").unwrap();
        assert!(found.warning.unwrap().contains("P-384 and SHA-512"));
        let found = check(CERTIFICATE, "registry.example.com").unwrap();
        assert_eq!(found.warning, None);
    }

    #[test]
    fn a_server_certificate_is_refused() {
        for is_ca in [rcgen::IsCa::NoCa, rcgen::IsCa::ExplicitNoCa] {
            let server = certificate(|parameters| parameters.is_ca = is_ca);
            assert_eq!(pem(&server), Err(Fault::NotAnAuthority(1)));
            let both = format!("{CERTIFICATE}{server}");
            assert_eq!(pem(&both), Err(Fault::NotAnAuthority(2)));
        }
    }

    #[test]
    fn a_ca_that_may_not_sign_for_the_registry_is_refused() {
        use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};

        let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
        let network = GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
        for (permitted, excluded, host, expected) in [
            (
                vec![dns("example.com")],
                vec![],
                "registry.example.com",
                true,
            ),
            (
                vec![dns(".example.com")],
                vec![],
                "registry.example.com",
                true,
            ),
            (
                vec![dns("example.com")],
                vec![],
                "registry.badexample.com",
                false,
            ),
            (
                vec![dns("a.org"), dns("example.com")],
                vec![],
                "example.com",
                true,
            ),
            (
                vec![],
                vec![dns("example.com")],
                "registry.example.com",
                false,
            ),
            (vec![], vec![dns("example.com")], "registry.a.org", true),
            (vec![network.clone()], vec![], "10.1.2.3", true),
            (vec![network.clone()], vec![], "11.1.2.3", false),
            (vec![network], vec![], "registry.example.com", true),
            (vec![], vec![], "anything", true),
        ] {
            let text = certificate(|parameters| {
                parameters.name_constraints = Some(NameConstraints {
                    permitted_subtrees: permitted.clone(),
                    excluded_subtrees: excluded.clone(),
                });
            });
            let found = check(&text, host).map(|_| ());
            let expected = if expected {
                Ok(())
            } else {
                Err(Fault::HostExcluded)
            };
            assert_eq!(found, expected, "{permitted:?} {excluded:?} {host}");
            // A second CA in the file may sign.
            assert!(check(&format!("{text}{CERTIFICATE}"), host).is_ok());
        }
    }

    #[test]
    fn text_between_certificates_is_kept() {
        assert_eq!(pem(CERTIFICATE), Ok(CERTIFICATE.to_owned()));
        let two = format!("subject=CN = one\n{CERTIFICATE}\nsubject=CN = two\n{CERTIFICATE}");
        assert_eq!(pem(&two), Ok(two.clone()));
    }

    #[test]
    fn line_breaks_are_normalised() {
        let windows = format!("\u{feff}{}\r\n", CERTIFICATE.replace('\n', "\r\n"));
        assert_eq!(pem(&windows), Ok(CERTIFICATE.to_owned()));
        assert_eq!(pem(CERTIFICATE.trim_end()), Ok(CERTIFICATE.to_owned()));
    }

    #[test]
    fn files_that_are_not_certificates_are_refused() {
        let body_changed = CERTIFICATE.replace("MII", "AAA");
        let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let request =
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
        let cases = [
            (String::new(), Fault::NoCertificate),
            ("no certificate\n".to_owned(), Fault::NoCertificate),
            (request.to_owned(), Fault::NoCertificate),
            (
                CERTIFICATE.replace("-----END", "-----FIN"),
                Fault::InvalidPem,
            ),
            (CERTIFICATE.replace("MII", "M*I"), Fault::InvalidPem),
            (body_changed.clone(), Fault::NotACertificate(1)),
            (
                format!("{CERTIFICATE}{body_changed}"),
                Fault::NotACertificate(2),
            ),
            (format!("{CERTIFICATE}{key}"), Fault::PrivateKey),
            (format!("{encrypted}{CERTIFICATE}"), Fault::PrivateKey),
        ];
        for (text, fault) in cases {
            assert_eq!(pem(&text), Err(fault), "{text}");
        }
    }
}

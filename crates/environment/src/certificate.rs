//! Checks the file with a registry's certificate authority.

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{PemObject, SectionKind},
    },
};

/// What is wrong with a file of certificates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no certificate in PEM format in it.
    NoCertificate,
    /// The PEM format is broken.
    Broken,
    /// A certificate, counted from 1, is not one.
    NotACertificate(usize),
    /// There is a private key in it.
    PrivateKey,
}

/// Checks that a text holds certificates and no key, and returns it with lines that end in `\n`.
pub(crate) fn check(text: &str) -> Result<String, Fault> {
    let text = text.trim_start_matches('\u{feff}');
    // A label is enough: whoever put a key here, of whatever kind and however encrypted, is to hear of it.
    let has_key = text
        .lines()
        .any(|line| line.trim_start().starts_with("-----BEGIN") && line.contains("PRIVATE KEY"));
    if has_key {
        return Err(Fault::PrivateKey);
    }
    let mut store = RootCertStore::empty();
    let mut count = 0;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, content) = section.map_err(|_| Fault::Broken)?;
        if kind == SectionKind::Certificate {
            count += 1;
            store
                .add(CertificateDer::from(content))
                .map_err(|_| Fault::NotACertificate(count))?;
        }
    }
    if count == 0 {
        return Err(Fault::NoCertificate);
    }
    Ok(text.trim_end().replace("\r\n", "\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate authority made for these tests; its key is gone.
    const CERTIFICATE: &str = include_str!("certificate/example.pem");

    #[test]
    fn certificates_pass_with_their_remarks() {
        assert_eq!(check(CERTIFICATE), Ok(CERTIFICATE.to_owned()));
        let two = format!("subject=CN = one\n{CERTIFICATE}\nsubject=CN = two\n{CERTIFICATE}");
        assert_eq!(check(&two), Ok(two.clone()));
    }

    #[test]
    fn line_ends_are_made_uniform() {
        let windows = format!("\u{feff}{}\r\n", CERTIFICATE.replace('\n', "\r\n"));
        assert_eq!(check(&windows), Ok(CERTIFICATE.to_owned()));
        assert_eq!(check(CERTIFICATE.trim_end()), Ok(CERTIFICATE.to_owned()));
    }

    #[test]
    fn what_is_not_a_certificate_is_refused() {
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
            (CERTIFICATE.replace("-----END", "-----FIN"), Fault::Broken),
            (CERTIFICATE.replace("MII", "M*I"), Fault::Broken),
            (body_changed.clone(), Fault::NotACertificate(1)),
            (
                format!("{CERTIFICATE}{body_changed}"),
                Fault::NotACertificate(2),
            ),
            (format!("{CERTIFICATE}{key}"), Fault::PrivateKey),
            (format!("{encrypted}{CERTIFICATE}"), Fault::PrivateKey),
        ];
        for (text, fault) in cases {
            assert_eq!(check(&text), Err(fault), "{text}");
        }
    }
}

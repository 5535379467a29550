//! Certificates as operators make them, and what is said of each.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use super::*;

const HOST: &str = "registry.example.com";

/// A moment in the validity of the certificates that `rcgen` makes by default.
const NOW: u64 = 1_700_000_000;

/// Makes a certificate that signs itself, as `openssl req -x509` does.
fn self_signed(change: impl Fn(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut parameters = CertificateParams::new([HOST.to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    parameters.self_signed(&key).unwrap().der().clone()
}

fn verify(
    given: &[CertificateDer<'static>],
    leaf: &CertificateDer<'_>,
    host: &str,
    now: u64,
) -> Result<(), Error> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    by_given(given, leaf, &[], &name, now)
}

// case 4.1
#[test]
fn a_certificate_that_is_its_own_authority_is_trusted_where_exactly_it_is_given() {
    let server = self_signed(|_| {});
    let given = [self_signed(|_| {}), server.clone()];
    assert_eq!(verify(&given, &server, HOST, NOW), Ok(()));

    let stranger = self_signed(|_| {});
    let error = verify(&given, &stranger, HOST, NOW).unwrap_err();
    assert!(is::<LeafIsAuthority>(&error), "{error:?}");
}

// case 4.1
#[test]
fn names_dates_and_purpose_hold_for_it_as_for_others() {
    let server = self_signed(|parameters| {
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2030, 1, 1);
    });
    let given = [server.clone()];
    let error = |host, now| match verify(&given, &server, host, now) {
        Err(Error::InvalidCertificate(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        error("other.example.com", NOW),
        CertificateError::NotValidForNameContext { .. }
    ));
    assert_eq!(error(HOST, 0), CertificateError::NotValidYet);
    assert_eq!(error(HOST, u64::MAX), CertificateError::Expired);

    let client = self_signed(|parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let error = verify(std::slice::from_ref(&client), &client, HOST, NOW).unwrap_err();
    assert_eq!(
        error,
        Error::InvalidCertificate(CertificateError::InvalidPurpose)
    );
}

//! Verification of certificates as operators make them.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use rustls::pki_types::pem::PemObject as _;

use super::*;

const HOST: &str = "registry.example.com";

/// A moment in the validity of the certificates that `rcgen` makes by default.
const NOW: u64 = 1_700_000_000;

/// Makes a self-signed CA certificate, as `openssl req -x509` does.
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

#[test]
fn a_self_signed_certificate_is_trusted_if_it_is_configured() {
    let server = self_signed(|_| {});
    let given = [self_signed(|_| {}), server.clone()];
    assert_eq!(verify(&given, &server, HOST, NOW), Ok(()));

    let unrelated = self_signed(|_| {});
    let error = verify(&given, &unrelated, HOST, NOW).unwrap_err();
    assert!(is::<LeafIsAuthority>(&error), "{error:?}");
}

#[test]
fn names_dates_and_purpose_of_a_self_signed_certificate_are_checked() {
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

/// A CA with an RSA key of 1024 bits, made by OpenSSL, since `rcgen` makes no RSA keys.
const WEAK_CA: &str = "-----BEGIN CERTIFICATE-----\n\
    MIICADCCAWmgAwIBAgIUQvrQ+HZVwqVlFzXN5TTjfF7+6ZkwDQYJKoZIhvcNAQEL\n\
    BQAwETEPMA0GA1UEAwwGd2Vha2NhMCAXDTI2MTEzMDE3MjU1OVoYDzIxMjYxMTA2\n\
    MTcyNTU5WjARMQ8wDQYDVQQDDAZ3ZWFrY2EwgZ8wDQYJKoZIhvcNAQEBBQADgY0A\n\
    MIGJAoGBAJmnPL/wfL5Pax87BwkBBLcutfyjebXsq5hHyLvOwp70Pw9qTnoRDSxa\n\
    a0DhCWoSL1GAUxd9iKNIvAMAuEELYH8kNLWcEtUh+erhrYLqvjw8UeGQ0VYy7OVS\n\
    tY0LF3PN4hC6DXta0NEBtsxGJ8zDrwCqwEbNBIskAd48DnZRBTL5AgMBAAGjUzBR\n\
    MB0GA1UdDgQWBBT+hkav/GNmluu1RfvDK65fTxUsNTAfBgNVHSMEGDAWgBT+hkav\n\
    /GNmluu1RfvDK65fTxUsNTAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBCwUA\n\
    A4GBAAYY1sEabdGvhCZ49IJ24NfHFdR43PuHOkFKkQoEdrE1lElw7Y4RpKUghW7L\n\
    OI9GCof4tDakCtOlG1kYadk89Im7baPd4z7taAeFm//R2M9RkoOv0CfG19al5NiE\n\
    f3IgCh+WoTibS9fNSaz1wJq40WkaaLuJedfyG02EJknCJfbC\n\
    -----END CERTIFICATE-----";

/// A server certificate issued by that CA.
const OF_WEAK_CA: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIB0jCCATugAwIBAgIUNPsy0f21ge60NKsd54DFWYHA6FIwDQYJKoZIhvcNAQEL\n\
    BQAwETEPMA0GA1UEAwwGd2Vha2NhMCAXDTI2MTEzMDE3MjYwMFoYDzIxMjYxMTA2\n\
    MTcyNjAwWjAMMQowCAYDVQQDDAFsMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n\
    Je6jzuGu9VY264XhTcUIKqzws6iannw/rDNwbBflr1IWTZj8uNExpMBjUcmuUAOJ\n\
    zQ++fp6Jw+K2BWOaZxF37qNxMG8wHQYDVR0OBBYEFP8SFD1LAhfefbishOtwDqqJ\n\
    d2coMB8GA1UdIwQYMBaAFP6GRq/8Y2aW67VF+8Mrrl9PFSw1MAwGA1UdEwEB/wQC\n\
    MAAwHwYDVR0RBBgwFoIUcmVnaXN0cnkuZXhhbXBsZS5jb20wDQYJKoZIhvcNAQEL\n\
    BQADgYEAbNwM9fPN8L5At8S/KXBELnLxiXTADZ7VAgYDLrT/K0ihoo4vJ2iM0xVf\n\
    oyY6rzIKXxdr0hBHp5PE9cB7X52Bq06xvXeZcX/n3B5ysIdXj267koReU9MwODpS\n\
    IqXVxzHjilF3GlqrU7Glu5wrm/zftqDFYnYJKthQcXSvuwnv1Bw=\n\
    -----END CERTIFICATE-----";

#[test]
fn a_short_key_is_distinguished_from_an_unknown_authority() {
    let [ca, leaf] =
        [WEAK_CA, OF_WEAK_CA].map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
    let now = 4_000_000_000;
    let error = verify(std::slice::from_ref(&ca), &leaf, HOST, now).unwrap_err();
    assert!(is::<WeakKey>(&error), "{error:?}");
    // In a handshake, `explained` gets the server's certificate alone. A certificate with a long
    // key keeps the error.
    let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
    assert!(is::<WeakKey>(&explained(bad(), &ca, &[])));
    assert_eq!(explained(bad(), &leaf, &[]), bad());
}

//! The check of the validity of a CA certificate.

use super::{CERTIFICATE, PROD, Workspace};

#[test]
fn an_expired_or_future_ca_is_refused() {
    let environment = Workspace::new(&[
        (
            PROD,
            "release: v4.1.5\nregistry:\n  address: registry.example.com\n  ca: ca.pem\n",
        ),
        ("environments/prod/ca.pem", CERTIFICATE),
    ])
    .loaded();
    assert_eq!(environment.check_dates(1_795_377_604), Ok(()));
    assert_eq!(environment.check_dates(4_948_977_604), Ok(()));
    insta::assert_snapshot!(environment.check_dates(1_795_377_603).unwrap_err(), @r#"
    environments/prod/environment.yaml:4:7: the certificate in `registry.ca` is not valid before Sun, 22 Nov 2026 20:00:04 +0000; replace it with the current certificate
    "#);
    insta::assert_snapshot!(environment.check_dates(4_948_977_605).unwrap_err(), @r#"
    environments/prod/environment.yaml:4:7: the certificate in `registry.ca` expired on Tue, 29 Oct 2126 20:00:04 +0000; replace it with the current certificate
    "#);
}

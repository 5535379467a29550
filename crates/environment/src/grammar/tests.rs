//! Accepted texts, and refused texts with their messages.

use super::*;

/// Checks that each text is accepted, or refused with this rule and help.
fn check_table<Value>(
    check: impl Fn(&str) -> Result<Value, Fault>,
    good: &[&str],
    bad: &[(&str, &str, Option<&str>)],
) {
    for text in good {
        if let Err(fault) = check(text) {
            panic!("{text:?} is refused: {fault:?}");
        }
    }
    for (text, rule, help) in bad {
        let Err(fault) = check(text) else {
            panic!("{text:?} is accepted");
        };
        assert_eq!((fault.rule.as_str(), fault.help.as_deref()), (*rule, *help));
    }
}

#[test]
fn releases() {
    const SHAPE: Option<&str> = Some("write `v` and three numbers, such as `v4.1.5`");
    check_table(
        release,
        &["v4.1.5", "v4.1.5-demo", "v10.20.30-alpha.3"],
        &[
            ("4.1.5", "`4.1.5` is not a release", Some("write `v4.1.5`")),
            (
                "V4.1.5",
                "`V4.1.5` is not a release",
                Some("write `v4.1.5`"),
            ),
            ("v4.1", "`v4.1` is not a release", SHAPE),
            ("4.10", "`4.10` is not a release", SHAPE),
            ("v4.01.5", "`v4.01.5` is not a release", SHAPE),
            ("v4.1.5 ", "`v4.1.5 ` is not a release", SHAPE),
            ("latest", "`latest` is not a release", SHAPE),
            ("", "`` is not a release", SHAPE),
        ],
    );
}

#[test]
fn addresses() {
    const SHAPE: Option<&str> = Some("write `host` or `host:port`");
    const NAME: Option<&str> =
        Some("a host name is made of letters, digits and hyphens between single dots");
    const PORT: Option<&str> = Some("a port is a number from 1 to 65535");
    let long_label = "a".repeat(64);
    let long_rule = format!("the host `{}…` is not a host name", "a".repeat(60));
    check_table(
        address,
        &[
            "registry.example.com",
            "registry.example.com:5000",
            "registry:443",
            "localhost",
            "localhost:1",
            "127.0.0.1:65535",
            "10.0.0.1",
            "[::1]:5000",
            "[2001:db8::1]",
            "1and1.example",
            "xn--bcher-kva.example",
            "a-b.c-d",
        ],
        &[
            ("", "the registry's address is empty", SHAPE),
            (
                "https://registry.example.com",
                "the address `https://registry.example.com` has a scheme",
                Some("write `registry.example.com`"),
            ),
            (
                "oci://registry.example.com:5000/platform/mke/",
                "the address `oci://registry.example.com:5000/platform/mke/` has a scheme",
                Some("write `registry.example.com:5000`, and `platform/mke` as `project`"),
            ),
            (
                "registry.example.com/mke",
                "the address `registry.example.com/mke` has a path",
                Some("write `registry.example.com`, and `mke` as `project`"),
            ),
            (
                "registry.example.com/",
                "the address `registry.example.com/` has a path",
                Some("write `registry.example.com`"),
            ),
            (
                "admin:hunter2@registry.example.com",
                "an address cannot contain a user or password",
                Some("write `host` or `host:port`, and name the credentials in `push-credentials`"),
            ),
            (
                "Registry.example.com:5000",
                "the host `Registry.example.com` has upper-case letters",
                Some("write `registry.example.com`"),
            ),
            // The lower-case form is not a host name either.
            (
                "My_registry.example.com",
                "the host `My_registry.example.com` is not a host name",
                NAME,
            ),
            ("registry.example.com:", "the port `` is not valid", PORT),
            ("registry.example.com:0", "the port `0` is not valid", PORT),
            (
                "registry.example.com:65536",
                "the port `65536` is not valid",
                PORT,
            ),
            (
                "registry.example.com:+80",
                "the port `+80` is not valid",
                PORT,
            ),
            (
                "registry.example.com:https",
                "the port `https` is not valid",
                PORT,
            ),
            (":5000", "the host `` is not a host name", NAME),
            (
                "registry..example.com",
                "the host `registry..example.com` is not a host name",
                NAME,
            ),
            (
                "registry.example.com.",
                "the host `registry.example.com.` is not a host name",
                NAME,
            ),
            (
                "-registry.example.com",
                "the host `-registry.example.com` is not a host name",
                NAME,
            ),
            (
                "my_registry.example.com",
                "the host `my_registry.example.com` is not a host name",
                NAME,
            ),
            (
                "registry example.com",
                "the host `registry example.com` is not a host name",
                NAME,
            ),
            (
                "größe.example.com",
                "the host `größe.example.com` is not a host name",
                NAME,
            ),
            (&long_label, &long_rule, NAME),
            (
                "256.0.0.1",
                "the address `256.0.0.1` is neither a host name nor an IPv4 address",
                Some("write `host` or `host:port`, such as `registry.example.com:5000`"),
            ),
            (
                "10.0.1",
                "the address `10.0.1` is neither a host name nor an IPv4 address",
                Some("write `host` or `host:port`, such as `registry.example.com:5000`"),
            ),
            (
                "5000",
                "the address `5000` is neither a host name nor an IPv4 address",
                Some("write `host` or `host:port`, such as `registry.example.com:5000`"),
            ),
            (
                "::1",
                "the address `::1` has more than one colon",
                Some("write an IPv6 address in brackets: `[::1]`"),
            ),
            (
                "a:1:2",
                "the address `a:1:2` has more than one colon",
                SHAPE,
            ),
            (
                "[::1",
                "the address `[::1` is not an IPv6 address in brackets",
                None,
            ),
            (
                "[127.0.0.1]:80",
                "the address `[127.0.0.1]` is not an IPv6 address in brackets",
                None,
            ),
            (
                "[::1]5000",
                "the address `[::1]5000` is not an IPv6 address in brackets",
                None,
            ),
            (
                "registry",
                "in an image reference `registry` without a port means a namespace on Docker Hub",
                Some("write the port as well, such as `registry:443`, or the full host name"),
            ),
        ],
    );
}

#[test]
fn projects() {
    const PARTS: Option<&str> = Some(
        "each part is made of lower-case letters and digits, which `.`, `_`, `__` or hyphens may separate",
    );
    check_table(
        project,
        &["", "mke", "platform/mke", "a/b/c/d", "a.b_c__d-e---f", "4"],
        &[
            (
                "/mke",
                "the project `/mke` has a leading, trailing or doubled slash",
                Some("write `mke`"),
            ),
            (
                "mke/",
                "the project `mke/` has a leading, trailing or doubled slash",
                Some("write `mke`"),
            ),
            (
                "a//b",
                "the project `a//b` has a leading, trailing or doubled slash",
                Some("write `a/b`"),
            ),
            (
                "/",
                "the project `/` has a leading, trailing or doubled slash",
                Some("remove it"),
            ),
            (
                "MKE",
                "the project `MKE` has upper-case letters",
                Some("write `mke`"),
            ),
            ("a/_b", "`_b` cannot be part of a repository name", PARTS),
            (
                "a___b",
                "`a___b` cannot be part of a repository name",
                PARTS,
            ),
            ("a..b", "`a..b` cannot be part of a repository name", PARTS),
            ("a.-b", "`a.-b` cannot be part of a repository name", PARTS),
            ("a-", "`a-` cannot be part of a repository name", PARTS),
            ("..", "`..` cannot be part of a repository name", PARTS),
            (
                "mke:latest",
                "`mke:latest` cannot be part of a repository name",
                PARTS,
            ),
            (
                "größe",
                "`größe` cannot be part of a repository name",
                PARTS,
            ),
            (
                "oci://registry/mke",
                "the project `oci://registry/mke` has a scheme",
                Some("a project is the path alone, such as `platform/mke`"),
            ),
        ],
    );
}

#[test]
fn variable_names() {
    for name in ["PROD_REGISTRY", "_", "A1", "_1"] {
        assert!(is_variable_name(name), "{name}");
    }
    for name in [
        "",
        "1A",
        "prod",
        "PROD-REGISTRY",
        "PROD REGISTRY",
        "$PROD",
        "PÄD",
    ] {
        assert!(!is_variable_name(name), "{name}");
    }
}

#[test]
fn environment_names() {
    let longest = "a".repeat(63);
    for name in ["prod", "prod-1", "1", &longest] {
        assert!(environment_name(name).is_ok(), "{name}");
    }
    let too_long = "a".repeat(64);
    for name in [
        "", "Prod", "prod_1", "-prod", "prod-", "../prod", "a/b", ".", "a.b", "prod ", "ci",
        &too_long,
    ] {
        assert!(environment_name(name).is_err(), "{name}");
    }
}

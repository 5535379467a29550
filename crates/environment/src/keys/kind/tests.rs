//! Valid and invalid values of each type.

use std::sync::Arc;

use super::*;
use crate::yaml::{self, Source};

fn rule(kind: Kind) -> Rule {
    let mut rule: Rule = serde_yaml::from_str("{ key: a, type: any }").unwrap();
    rule.kind = kind;
    rule
}

fn node(text: &str) -> Node {
    yaml::parse(Arc::new(Source {
        path: "a.yaml".into(),
        text: text.to_owned(),
    }))
    .unwrap()
}

#[test]
fn each_type_accepts_valid_values_and_refuses_others() {
    let cases: [(Kind, &[&str], &[&str]); 17] = [
        (
            Kind::Boolean,
            &["true", "False", "~"],
            &["'true'", "1", "maybe", "yes", "[]"],
        ),
        (
            Kind::Integer,
            &["0", "-1", "12500"],
            &[
                "'1'", "1.5", "1e3", "0755", "0x1F", "1_000", "12:30", "many",
            ],
        ),
        (
            Kind::Port,
            &["1", "22", "65535"],
            &["0", "65536", "'22'", "ssh", "022"],
        ),
        (
            Kind::PortRange,
            &["30000-32767"],
            &["30000", "2-1", "0-5", "1-70000", "a-b"],
        ),
        (
            Kind::Text,
            &[
                "a",
                "'1.10'",
                "10.0.0.1",
                "0.0.0.0:10249",
                "''",
                "v4.1.5",
                "1m0s",
            ],
            &["1.10", "0755", "true", "on", "12", "{a: b}"],
        ),
        (Kind::Texts, &["[]", "[a, '1']"], &["a", "[1]", "[[a]]"]),
        (
            Kind::Duration,
            &["0s", "1m0s", "1h2m3.5s", "'0'", "300ms"],
            &["1 minute", "10", "m", "1d", "s1"],
        ),
        (
            Kind::Quantity,
            &["250m", "4Gi", "1", "'1'", "1.5Gi"],
            &["4 Gi", "Gi", "4GB", "-"],
        ),
        (Kind::Size, &["8GB", "2GiB", "1024"], &["8 GB", "lots"]),
        (
            Kind::Cidr,
            &["10.96.0.0/16", "fd00::/108", "10.0.0.0/8,fd00::/64"],
            &["10.96.0.0", "10.96.0.1/16", "10.96.0.0/33", "cidr"],
        ),
        (
            Kind::Address,
            &["10.0.0.1", "mke.example.com", "fd00::1", "Node_1", "n-1"],
            &[
                "10.0.0.256",
                "10.0.0.1:22",
                "https://a",
                "a b",
                "''",
                "'192.0.2.1\"'",
                "host;rm",
                "$(id)",
                "'*'",
                "-V",
                "-oProxyCommand=id",
                "a..b",
            ],
        ),
        (
            Kind::Host,
            &[
                "mke.example.com",
                "mke.example.com:6443",
                "10.0.0.1",
                "fd00::1",
                "'[fd00::1]:6443'",
            ],
            &[
                "https://mke",
                "mke:0",
                "mke/path",
                "1.2.3",
                "<name>",
                "'*:6443'",
            ],
        ),
        (
            Kind::Url,
            &["https://idp.example.com"],
            &["idp.example.com"],
        ),
        (
            Kind::Interface,
            &["172.16.0.100/16", "fd00::1/64"],
            &["172.16.0.100", "172.16.0.100/33", "vip/16"],
        ),
        (
            Kind::K0sFolder,
            &["/var/lib/k0s"],
            &["/var/lib", "k0s", "/k0s/"],
        ),
        (Kind::Any, &["a", "{a: b}", "[1]"], &[]),
        (Kind::Pem, &["'-----BEGIN CERTIFICATE-----'"], &["ca.pem"]),
    ];
    for (kind, valid, invalid) in cases {
        for text in valid {
            assert_eq!(
                config_value_fault(&rule(kind), &node(text)),
                None,
                "{kind:?} {text}"
            );
        }
        for text in invalid {
            let fault = config_value_fault(&rule(kind), &node(text));
            assert!(fault.is_some(), "{kind:?} {text}");
        }
    }
}

#[test]
fn the_help_names_the_fix() {
    let numbers = Rule {
        min: Some(0),
        max: Some(10),
        ..rule(Kind::Integer)
    };
    let modes = Rule {
        values: vec!["iptables".to_owned(), "ipvs".to_owned()],
        ..rule(Kind::Text)
    };
    for (rule, text, expected) in [
        (
            &numbers,
            "11",
            "`11`, which is out of range; write an integer from 0 to 10",
        ),
        (
            &numbers,
            "010",
            "`010`, which YAML readers take for different numbers; write an integer from 0 to 10, in decimal digits",
        ),
        (
            &modes,
            "iptable",
            "`iptable`, which is not one of its values; did you mean `iptables`?",
        ),
        (
            &modes,
            "ebpf-dataplane",
            "`ebpf-dataplane`, which is not one of its values; write one of `iptables`, `ipvs`",
        ),
        (
            &modes,
            "1.10",
            "`1.10`, which YAML reads as a number, not as a string; write it in quotes: `\"1.10\"`",
        ),
        (
            &self::rule(Kind::Cidr),
            "10.96.3.0/16",
            "`10.96.3.0/16`, whose address has host bits set; write `10.96.0.0/16`",
        ),
    ] {
        let fault = config_value_fault(rule, &node(text)).unwrap();
        assert_eq!(format!("{}; {}", fault.description, fault.help), expected);
        assert!(!fault.is_warning);
    }
    let fault = config_value_fault(&self::rule(Kind::Boolean), &node("no")).unwrap();
    assert!(fault.is_warning);
    assert_eq!(fault.help, "write `false`");
}

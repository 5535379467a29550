//! Tests of the checks for each line of the script's output.

use std::time::Duration;

use super::*;
use crate::preflight::nodes::NodeVerdict;

/// The output of a node without faults.
const FINE: &str = "airlock\ttime\t1800000000\t\n\
    airlock\tmachine\tx86_64\tubuntu 22.04\n\
    airlock\tname\tfound\t10.0.0.5 \n\
    airlock\tbalancer\tfound\t10.0.0.6 \n\
    airlock\thttps\tverified\t200\n\
    airlock\tpull\t404\thttps://registry.example.com/v2/mke/a/manifests/1\n\
    airlock\tdisk\t50000000\t/var/lib\n\
    airlock\tcgroup\t2\t\n\
    airlock\tproxy\tend\t\n\
    airlock\tunit\tend\t\n\
    airlock\tservice\tend\t\n\
    airlock\tsudo\tfree\t\n\
    airlock\tidentity\t3766705eb195582e\tnode-1\n\
    airlock\tsystem\t8\t33554432\n\
    airlock\tinotify\t512\t524288\n\
    airlock\tpackage\tend\t\n\
    airlock\tend\t\t\n";

fn judged(required: &Requirements, text: &str) -> Vec<NodeCheck> {
    judged_after(required, text, Duration::from_millis(20))
}

fn judged_after(required: &Requirements, text: &str, round_trip: Duration) -> Vec<NodeCheck> {
    let begun = Instant::now();
    let sent = begun + Duration::from_secs(1);
    let answer = Answer {
        lines: text.lines().map(str::to_owned).collect(),
        sent,
        first: sent + round_trip,
    };
    let now = jiff::Timestamp::from_second(1_799_999_999).unwrap();
    judge(&answer, required, (begun, now))
}

fn required() -> Requirements {
    Requirements {
        registry: "registry.example.com".to_owned(),
        registry_address: "registry.example.com".to_owned(),
        balancer: "mke.example.com".to_owned(),
        has_ca: true,
        needs: mke::Release::of(&semver::Version::new(4, 1, 5))
            .unwrap()
            .node_requirements(),
        machine: "x86_64",
        images: Some(5_000_000_000),
        ..Requirements::default()
    }
}

/// Returns the checks with findings if `line` replaces the line of its subject.
fn with(required: &Requirements, line: &str) -> Vec<(Aspect, NodeVerdict, Option<NodeFault>)> {
    let what = line.split('\t').nth(1).unwrap();
    let begins = format!("airlock\t{what}\t");
    let text: Vec<&str> = FINE
        .lines()
        .filter(|other| {
            ["proxy", "unit", "service", "package"].contains(&what) || !other.starts_with(&begins)
        })
        .chain([line])
        .collect();
    let checks = judged(required, &text.join("\n")).into_iter();
    let not_fine = checks.filter(|check| check.verdict != NodeVerdict::Ok);
    not_fine
        .map(|check| (check.aspect, check.verdict, check.fault))
        .collect()
}

#[test]
fn a_correct_node_has_no_findings() {
    let checks = judged(&required(), FINE);
    assert_eq!(checks.len(), Aspect::ALL.len() - 1);
    for check in checks {
        assert_eq!(check.verdict, NodeVerdict::Ok, "{check:?}");
    }
}

#[test]
fn each_line_has_its_fault() {
    use NodeVerdict::{CannotTell, Problem, Warning};
    for (line, aspect, verdict, fault) in [
        (
            "name\tfound\t127.0.1.1",
            Aspect::Name,
            Warning,
            Some(NodeFault::NameOfLoopback),
        ),
        (
            "name\tunknown\tthere is no getent",
            Aspect::Name,
            CannotTell,
            None,
        ),
        (
            "balancer\tmissing\t",
            Aspect::Balancer,
            Problem,
            Some(NodeFault::NameNotResolved),
        ),
        (
            "pull\t401\t",
            Aspect::Pull,
            Problem,
            Some(NodeFault::NotAnonymous),
        ),
        (
            "pull\ttoken\thttps://t/",
            Aspect::Pull,
            Problem,
            Some(NodeFault::NoToken),
        ),
        (
            "pull\t503\t",
            Aspect::Pull,
            Warning,
            Some(NodeFault::NotServed),
        ),
        (
            "time\t1800003600\t",
            Aspect::Clock,
            Problem,
            Some(NodeFault::ClockOff),
        ),
        (
            "time\t1799999940\t",
            Aspect::Clock,
            Warning,
            Some(NodeFault::ClockOff),
        ),
        ("time\t%s\t", Aspect::Clock, CannotTell, None),
        (
            "disk\t4000000\t/var",
            Aspect::Disk,
            Problem,
            Some(NodeFault::DiskFull),
        ),
        (
            "disk\t9000000\t/var",
            Aspect::Disk,
            Warning,
            Some(NodeFault::DiskFull),
        ),
        (
            "disk\tunknown\tthere is no df",
            Aspect::Disk,
            CannotTell,
            None,
        ),
        (
            "cgroup\t1\t",
            Aspect::Cgroup,
            Warning,
            Some(NodeFault::CgroupVersion),
        ),
        (
            "service\tactive\tfirewalld.service",
            Aspect::Services,
            Warning,
            Some(NodeFault::ServiceInTheWay),
        ),
        (
            "machine\taarch64\tubuntu 22.04",
            Aspect::Machine,
            Problem,
            Some(NodeFault::OtherMachine),
        ),
        (
            "proxy\tvariable\tHTTPS_PROXY=http://p:1",
            Aspect::Proxy,
            Problem,
            Some(NodeFault::ProxyForBalancer),
        ),
        (
            "unit\tvariable\tHTTPS_PROXY=http://p:1",
            Aspect::Proxy,
            Problem,
            Some(NodeFault::ProxyInUnits),
        ),
        (
            "sudo\tpassword\tsudo: a password is required",
            Aspect::Sudo,
            Problem,
            Some(NodeFault::SudoPassword),
        ),
        (
            "sudo\tmissing\t",
            Aspect::Sudo,
            Problem,
            Some(NodeFault::SudoPassword),
        ),
        (
            "sudo\tunknown\tthere is no id",
            Aspect::Sudo,
            CannotTell,
            None,
        ),
        (
            "identity\tnone\tnode-1",
            Aspect::Identity,
            Problem,
            Some(NodeFault::NoMachineId),
        ),
        (
            "identity\tuninitialized\tnode-1",
            Aspect::Identity,
            Problem,
            Some(NodeFault::NoMachineId),
        ),
        (
            "machine\tx86_64\tdebian 12",
            Aspect::System,
            Warning,
            Some(NodeFault::SystemUnlisted),
        ),
        (
            "system\t4\t33554432",
            Aspect::System,
            Warning,
            Some(NodeFault::SystemSmall),
        ),
        (
            "system\t8\t8000000",
            Aspect::System,
            Warning,
            Some(NodeFault::SystemSmall),
        ),
        (
            "system\t0\t",
            Aspect::System,
            Warning,
            Some(NodeFault::SystemSmall),
        ),
        (
            "inotify\t128\t524288",
            Aspect::Limits,
            Warning,
            Some(NodeFault::InotifyLow),
        ),
        (
            "inotify\t512\t8192",
            Aspect::Limits,
            Warning,
            Some(NodeFault::InotifyLow),
        ),
        ("inotify\t\t", Aspect::Limits, CannotTell, None),
        (
            "package\tmissing\tcontainer-selinux",
            Aspect::Packages,
            Warning,
            Some(NodeFault::PackagesMissing),
        ),
        (
            "package\tfips\tlibcrypto-k0s.so.3",
            Aspect::Packages,
            Problem,
            Some(NodeFault::FipsMissing),
        ),
    ] {
        let found = with(&required(), &format!("airlock\t{line}"));
        assert_eq!(found, [(aspect, verdict, fault)], "{line}");
    }
    let wants_2 = Requirements {
        needs: mke::NodeRequirements {
            cgroup_2: true,
            selinux: false,
            ..required().needs
        },
        ..required()
    };
    assert_eq!(with(&wants_2, "airlock\tcgroup\t1\t")[0].1, Problem);
    assert_eq!(
        with(&wants_2, "airlock\tselinux\t1\t")[0].2,
        Some(NodeFault::Selinux)
    );
    let with_secret = Requirements {
        pulls_with_secret: true,
        ..required()
    };
    assert_eq!(with(&with_secret, "airlock\tpull\t401\t"), []);
}

#[test]
fn consequences_of_a_fault_are_skipped() {
    use NodeVerdict::{Problem, Skipped};
    for (line, expected) in [
        (
            "name\tmissing\t",
            vec![
                (Aspect::Name, Problem, Some(NodeFault::NameNotResolved)),
                (Aspect::Https, Skipped, None),
                (Aspect::Pull, Skipped, None),
            ],
        ),
        (
            "https\tuntrusted\tself-signed certificate",
            vec![
                (Aspect::Https, Problem, Some(NodeFault::NotTrusted)),
                (Aspect::Pull, Skipped, None),
            ],
        ),
        (
            "https\tverified\t302",
            vec![
                (Aspect::Https, Problem, Some(NodeFault::NotARegistry)),
                (Aspect::Pull, Skipped, None),
            ],
        ),
    ] {
        assert_eq!(
            with(&required(), &format!("airlock\t{line}")),
            expected,
            "{line}"
        );
    }
}

#[test]
fn a_slow_connection_is_not_a_wrong_clock() {
    // Forty seconds apart, of which the line may have taken all but five.
    let text = FINE.replace("1800000000", "1800000040");
    let clock = |round_trip| {
        let checks = judged_after(&required(), &text, Duration::from_secs(round_trip));
        checks
            .into_iter()
            .find(|check| check.aspect == Aspect::Clock)
            .unwrap()
            .verdict
    };
    assert_eq!(clock(0), NodeVerdict::Warning);
    assert_eq!(clock(80), NodeVerdict::Ok);
}

#[test]
fn aspects_missing_from_the_output_are_unknown() {
    let checks = judged(
        &required(),
        "airlock\ttime\t1800000000\t\nairlock\tname\tfound\t10.0.0.5",
    );
    for aspect in [
        Aspect::Https,
        Aspect::Disk,
        Aspect::Cgroup,
        Aspect::Proxy,
        Aspect::Machine,
        Aspect::Sudo,
        Aspect::Identity,
        Aspect::System,
        Aspect::Limits,
        Aspect::Packages,
    ] {
        let check = checks.iter().find(|check| check.aspect == aspect).unwrap();
        assert_eq!(check.verdict, NodeVerdict::CannotTell, "{check:?}");
    }
}

#[test]
fn texts_of_nodes_cannot_move_the_cursor() {
    assert_eq!(readable("a\u{1b}[2Jb\u{7}"), "a[2Jb");
    assert_eq!(readable(&"x".repeat(1000)).len(), 200);
}

#[test]
fn the_worse_proxy_of_login_and_units_is_reported() {
    let fine = with(&required(), "airlock\tunit\tvariable\tNO_PROXY=10.0.0.0/8");
    assert_eq!(fine, []);
    // A login's proxy for the registry alone is a warning; in the units of k0s it stops the pulls.
    let exempt = "airlock\tproxy\tvariable\tNO_PROXY=mke.example.com\nairlock\tproxy\tvariable\tHTTPS_PROXY=http://p:1";
    let found = with(&required(), exempt);
    assert_eq!(found[0].2, Some(NodeFault::ProxyForRegistry));
    let both = format!(
        "{exempt}\nairlock\tunit\tvariable\tNO_PROXY=mke.example.com\nairlock\tunit\tvariable\tHTTPS_PROXY=http://p:1"
    );
    let found = with(&required(), &both);
    assert_eq!(found[0].2, Some(NodeFault::ProxyInUnits));
}

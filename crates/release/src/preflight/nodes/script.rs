//! The script that a node's shell runs: what this environment wants in variables, then `look.sh`.
//!
//! No secret is in it. The CA is none, and it stays out of every argument, too, since it comes by standard input.

use std::fmt::Write as _;
use std::net::IpAddr;

use environment::Environment;

const LOOK: &str = include_str!("look.sh");

/// Where k0s keeps everything, unless `mkectl init --data-dir` was told otherwise.
const DATA: &str = "/var/lib/k0s";

/// Returns the script for an environment. The manifest that is asked for is the first of the release.
pub(super) fn script(environment: &Environment, lock: Option<&bundle::Lock>) -> String {
    let registry = &environment.registry;
    let artifact = lock.and_then(|lock| lock.artifacts.first());
    let repository = artifact.map(|artifact| registry.repository(&artifact.repository));
    let reference = artifact.map(|artifact| artifact.tag.clone());
    let balancer = mke::external_address(environment).unwrap_or_default();
    let mut script = String::new();
    for (variable, value) in [
        (
            "ca",
            registry.ca.as_ref().map_or("", |ca| ca.pem.trim_end()),
        ),
        ("registry", &registry.address),
        ("name", name(registry.host())),
        ("balancer", name(host(&balancer))),
        ("repository", repository.as_deref().unwrap_or_default()),
        ("reference", reference.as_deref().unwrap_or_default()),
        ("data", DATA),
    ] {
        let quoted = value.replace('\'', r"'\''");
        // Writing into a text cannot fail.
        let _ = writeln!(script, "{variable}='{quoted}'");
    }
    script + LOOK
}

/// Returns a host if it is a name, and nothing for an address, which needs no resolver.
fn name(host: &str) -> &str {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => "",
        Err(_) => host,
    }
}

/// Returns `host` of `host[:port]`.
pub(super) fn host(address: &str) -> &str {
    if let Some(inner) = address.strip_prefix('[') {
        return inner.split(']').next().unwrap_or_default();
    }
    match address.split_once(':') {
        // An address of IPv6 without brackets has no port.
        Some((_, rest)) if rest.contains(':') => address,
        Some((host, _)) => host,
        None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_come_without_ports_and_only_names_are_resolved() {
        for (address, host_of, name_of) in [
            ("mke.example.com:443", "mke.example.com", "mke.example.com"),
            ("mke.example.com", "mke.example.com", "mke.example.com"),
            ("10.0.0.1:443", "10.0.0.1", ""),
            ("[fd00::1]:443", "fd00::1", ""),
            ("fd00::1", "fd00::1", ""),
        ] {
            assert_eq!(host(address), host_of);
            assert_eq!(name(host(address)), name_of);
        }
    }
}

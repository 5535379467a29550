//! The script that a node's shell runs: variables with this environment's values, then `look.sh`.
//!
//! No secret is in it. The CA is none, and it stays out of every argument, too, since it comes by
//! standard input.

use std::fmt::Write as _;
use std::net::IpAddr;

use environment::Environment;

const LOOK: &str = include_str!("look.sh");

/// Where k0s keeps everything, unless `k8sProviderSpecs.dataDir` says otherwise.
const DATA: &str = "/var/lib/k0s";

/// Returns the script for an environment. The manifest that is asked for is one of the release.
pub(super) fn script(environment: &Environment, lock: Option<&bundle::Lock>) -> String {
    let registry = &environment.registry;
    let artifact = lock.and_then(|lock| asked_for(&lock.artifacts));
    let repository = artifact.map(|artifact| registry.repository(&artifact.repository));
    let reference = artifact.map(|artifact| artifact.tag.clone());
    let balancer = mke::external_address(environment).unwrap_or_default();
    let at = |section: &str, key: &str| environment.config.get(section)?.get(key)?.text();
    let data = at("k8sProviderSpecs", "dataDir").unwrap_or(DATA);
    let fips = at("fips", "enabled").filter(|enabled| *enabled == "true");
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
        ("data", data),
        ("fips", fips.unwrap_or_default()),
    ] {
        let quoted = value.replace('\'', r"'\''");
        // Writing into a text cannot fail.
        let _ = writeln!(script, "{variable}='{quoted}'");
    }
    script + LOOK
}

/// Returns the artifact that nodes are asked to read: one that is neither an image nor a chart
/// where there is one, since nodes pull k0s as such (AV) and not every registry serves it.
fn asked_for(artifacts: &[bundle::Artifact]) -> Option<&bundle::Artifact> {
    let mut others = artifacts.iter();
    let other = others.find(|artifact| artifact.kind == bundle::Kind::Artifact);
    other.or_else(|| artifacts.first())
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

    /// Item 25: nodes are asked to read what not every registry serves, where the release has it.
    #[test]
    fn nodes_are_asked_to_read_another_artifact_where_there_is_one() {
        let artifact = |repository: &str, kind| bundle::Artifact {
            repository: repository.to_owned(),
            tag: "1".to_owned(),
            kind,
            archive: String::new(),
            source: None,
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
            media_type: oci_spec::image::MediaType::ImageManifest,
            size: 1,
            manifests: Vec::new(),
        };
        let image = artifact("image", bundle::Kind::Image);
        let k0s = artifact("k0s", bundle::Kind::Artifact);
        let asked =
            |artifacts: &[bundle::Artifact]| asked_for(artifacts).map(|one| one.repository.clone());
        assert_eq!(asked(&[image.clone(), k0s]).as_deref(), Some("k0s"));
        assert_eq!(asked(&[image]).as_deref(), Some("image"));
        assert_eq!(asked(&[]), None);
    }
}

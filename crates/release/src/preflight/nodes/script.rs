//! The script that a node's shell runs: variables with the environment's values, then `look.sh`.
//!
//! It contains no secret. It is sent by standard input, so it is in no argument of a process
//! either.

use std::fmt::Write as _;
use std::net::IpAddr;

use environment::Environment;

const LOOK: &str = include_str!("look.sh");

/// Default data folder of k0s; `k8sProviderSpecs.dataDir` changes it.
const DATA: &str = "/var/lib/k0s";

/// Returns the script for an environment. With a lock, it also requests a manifest of the release.
pub(super) fn script(environment: &Environment, lock: Option<&bundle::Lock>) -> String {
    let registry = &environment.registry;
    let artifact = lock.and_then(|lock| probed_artifact(&lock.artifacts));
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

/// Returns the artifact whose manifest the nodes read. Preferred is one that is neither an image
/// nor a chart: nodes pull k0s as such an artifact (AV), and not every registry serves those.
fn probed_artifact(artifacts: &[bundle::Artifact]) -> Option<&bundle::Artifact> {
    let mut others = artifacts.iter();
    let other = others.find(|artifact| artifact.kind == bundle::Kind::Artifact);
    other.or_else(|| artifacts.first())
}

/// Returns a host if it is a name, else an empty text: addresses need no lookup.
fn name(host: &str) -> &str {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => "",
        Err(_) => host,
    }
}

/// Returns `HOST` of `HOST[:PORT]`.
pub(super) fn host(address: &str) -> &str {
    if let Some(inner) = address.strip_prefix('[') {
        return inner.split(']').next().unwrap_or_default();
    }
    match address.split_once(':') {
        // An IPv6 address without brackets has no port.
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

    #[test]
    fn nodes_read_an_artifact_that_is_neither_image_nor_chart_if_there_is_one() {
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
        let asked = |artifacts: &[bundle::Artifact]| {
            probed_artifact(artifacts).map(|one| one.repository.clone())
        };
        assert_eq!(asked(&[image.clone(), k0s]).as_deref(), Some("k0s"));
        assert_eq!(asked(&[image]).as_deref(), Some("image"));
        assert_eq!(asked(&[]), None);
    }
}

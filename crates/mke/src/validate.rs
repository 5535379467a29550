//! Validates an `mke4.yaml`: reads it as MKE would, and returns its problems.
//!
//! This module parses the text with `serde_yaml`, not with the renderer's YAML library, so it
//! detects faults of the renderer. The stand-in for `mkectl` of a rehearsal uses it.

use semver::Version;
use serde_yaml::Value;

use crate::{Machine, Release, hosts};

/// The values of a valid `mke4.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// The release to install.
    pub version: Version,
    /// The registry of images, without scheme.
    pub image_registry: String,
    /// The private CA of the image registry, in PEM.
    pub image_ca: Option<String>,
    /// The registry of charts, with `oci://`.
    pub chart_registry: String,
    /// The private CA of the chart registry, in PEM.
    pub chart_ca: Option<String>,
    /// The address of the cluster for clients.
    pub external_address: Option<String>,
    /// The machines, in the order of the file.
    pub hosts: Vec<Machine>,
}

/// Checks the text of an `mke4.yaml` for an offline installation.
///
/// # Errors
///
/// All problems, a fragment each, in the usual order of the file.
pub fn validate(text: &str) -> Result<Validated, Vec<String>> {
    let document: Value = match serde_yaml::from_str(text) {
        Ok(document) => document,
        Err(error) => return Err(vec![format!("it is not YAML: {error}")]),
    };
    let mut validator = Validator::new(&document);
    validator.constant("apiVersion", "mke.mirantis.com/v1alpha1");
    match validator.value("kind").and_then(Value::as_str) {
        Some("MkeChildConfig") => validator.note(format!(
            "`kind` is `MkeChildConfig`: {}",
            crate::render::CHILD_CLUSTERS
        )),
        _ => validator.constant("kind", "MkeConfig"),
    }
    validator.string("metadata.name");
    validator.constant("metadata.namespace", "mke");
    let version = validator.version();
    if validator.value("spec.airgap.enabled") != Some(&Value::Bool(true)) {
        validator.note("`spec.airgap.enabled` is not `true`");
    }
    let image_registry = validator.registry("imageRegistry", "");
    let chart_registry = validator.registry("chartRegistry", "oci://");
    let external_address = validator.external_address(version.as_ref());
    let hosts = validator.hosts();

    match (version, image_registry, chart_registry) {
        (Some(version), Some(image_registry), Some(chart_registry))
            if validator.problems.is_empty() =>
        {
            Ok(Validated {
                version,
                image_registry,
                image_ca: validator.ca("imageRegistry"),
                chart_registry,
                chart_ca: validator.ca("chartRegistry"),
                external_address,
                hosts,
            })
        }
        _ => Err(validator.problems),
    }
}

/// Reads values of a document and collects its problems.
pub(crate) struct Validator<'a> {
    document: &'a Value,
    pub(crate) problems: Vec<String>,
}

impl<'a> Validator<'a> {
    pub(crate) fn new(document: &'a Value) -> Self {
        Self {
            document,
            problems: Vec::new(),
        }
    }

    fn note(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Returns the value at a path of keys with dots between them.
    pub(crate) fn value(&self, path: &str) -> Option<&'a Value> {
        path.split('.')
            .try_fold(self.document, |value, key| value.get(key))
            .filter(|value| !value.is_null())
    }

    /// Returns the string at a path. Notes a missing or empty one.
    fn string(&mut self, path: &str) -> Option<&'a str> {
        match self.value(path) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            Some(_) => {
                self.note(format!("`{path}` is not a string"));
                None
            }
            None => {
                self.note(format!("`{path}` is missing"));
                None
            }
        }
    }

    fn constant(&mut self, path: &str, expected: &str) {
        if let Some(text) = self.string(path)
            && text != expected
        {
            self.note(format!("`{path}` is `{text}`, not `{expected}`"));
        }
    }

    fn version(&mut self) -> Option<Version> {
        let text = self.string("spec.version")?;
        let version = text
            .strip_prefix('v')
            .and_then(|version| Version::parse(version).ok());
        match version.as_ref().map(Release::of) {
            None => self.note(format!(
                "`spec.version` is `{text}`, not a version such as `v4.1.5`"
            )),
            Some(Err(error)) => self.note(error.to_string()),
            Some(Ok(_)) => {}
        }
        version
    }

    /// Returns the `caData` of a registry.
    pub(crate) fn ca(&self, name: &str) -> Option<String> {
        let pem = self.value(&format!("spec.registries.{name}.caData"))?;
        pem.as_str().map(str::to_owned)
    }

    /// Returns the `url` of a registry, and notes its problems. The URL must begin with `scheme`,
    /// followed by a host.
    pub(crate) fn registry(&mut self, name: &str, scheme: &str) -> Option<String> {
        let path = format!("spec.registries.{name}");
        if self.value(&format!("{path}.URL")).is_some() {
            self.note(format!("`{path}.URL` is not read; the key is `url`"));
        }
        if let Some(pem) = self.value(&format!("{path}.caData")) {
            let is_certificate = pem
                .as_str()
                .is_some_and(|pem| pem.contains("-----BEGIN CERTIFICATE-----"));
            if !is_certificate {
                self.note(format!("`{path}.caData` contains no PEM certificate"));
            }
        }
        let path = format!("{path}.url");
        let url = self.string(&path)?;
        match url.strip_prefix(scheme) {
            None => self.note(format!(
                "`{path}` is `{url}`, which does not begin with `{scheme}`"
            )),
            Some(rest) if rest.contains("://") => {
                self.note(format!(
                    "`{path}` is `{url}`, which has a scheme; expected a host"
                ));
            }
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                self.note(format!("`{path}` is `{url}`, which has no host"));
            }
            Some(rest) if rest.ends_with('/') => {
                self.note(format!("`{path}` is `{url}`, which ends with a slash"));
            }
            Some(_) => {}
        }
        Some(url.to_owned())
    }

    fn external_address(&mut self, version: Option<&Version>) -> Option<String> {
        const PATH: &str = "spec.apiServer.externalAddress";
        let is_required = version
            .and_then(|version| Release::of(version).ok())
            .is_some_and(|release| release.external_address_required());
        if !is_required && self.value(PATH).is_none() {
            return None;
        }
        let address = self.string(PATH)?;
        if address.contains("://") {
            self.note(format!("`{PATH}` is `{address}`, which has a scheme"));
        }
        Some(address.to_owned())
    }

    fn hosts(&mut self) -> Vec<Machine> {
        let hosts = match self.value("spec.hosts") {
            Some(Value::Sequence(hosts)) if !hosts.is_empty() => hosts,
            _ => {
                self.note("`spec.hosts` lists no machine");
                return Vec::new();
            }
        };
        let (mut read, mut has_controller) = (Vec::new(), false);
        for (index, host) in hosts.iter().enumerate() {
            let path = format!("spec.hosts[{index}]");
            let notes = self.problems.len();
            let mut text = |keys: &[&str]| {
                let value = keys.iter().try_fold(host, |value, key| value.get(*key));
                let text = value.and_then(Value::as_str).unwrap_or_default();
                if text.is_empty() {
                    self.note(format!(
                        "`{path}.{}` is missing or not a string",
                        keys.join(".")
                    ));
                }
                text
            };
            let role = text(&["role"]);
            text(&["ssh", "address"]);
            text(&["ssh", "user"]);
            if !role.is_empty() && !hosts::ROLES.contains(&role) {
                self.note(format!(
                    "`{path}.role` is `{role}`, which is not a valid role"
                ));
            }
            has_controller |= hosts::is_controller(role);
            match serde_yaml::from_value(host.clone()) {
                Ok(host) => read.push(host),
                Err(error) if self.problems.len() == notes => {
                    self.note(format!("`{path}` is not a host: {error}"));
                }
                Err(_) => {}
            }
        }
        if !has_controller {
            self.note("no host in `spec.hosts` is a controller");
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: mke.mirantis.com/v1alpha1
kind: MkeConfig
metadata:
  name: mke
  namespace: mke
spec:
  version: v4.2.0
  airgap:
    enabled: true
  registries:
    imageRegistry:
      url: registry.example.com:5000/mke
      caData: |
        -----BEGIN CERTIFICATE-----
        AAAA
        -----END CERTIFICATE-----
    chartRegistry:
      url: oci://registry.example.com:5000/mke
  apiServer:
    externalAddress: mke.example.com
  hosts:
    - role: controller+worker
      ssh: { address: 10.0.0.1, user: root, port: 22 }
    - role: worker
      ssh: { address: 10.0.0.2, user: root }
";

    #[test]
    fn a_valid_file_is_read() {
        let validated = validate(GOOD).unwrap();
        assert_eq!(validated.version.to_string(), "4.2.0");
        assert_eq!(validated.image_registry, "registry.example.com:5000/mke");
        assert_eq!(
            validated.chart_registry,
            "oci://registry.example.com:5000/mke"
        );
        assert_eq!(
            validated.external_address.as_deref(),
            Some("mke.example.com")
        );
        let host = &validated.hosts[1];
        assert_eq!(
            [&host.role, &host.ssh.address, &host.ssh.user],
            ["worker", "10.0.0.2", "root"]
        );
    }

    #[test]
    fn each_rule_has_its_own_message() {
        for (old, new, expected) in [
            (
                "mke.mirantis.com/v1alpha1",
                "v1",
                "`apiVersion` is `v1`, not `mke.mirantis.com/v1alpha1`",
            ),
            (
                "kind: MkeConfig",
                "kind: Cluster",
                "`kind` is `Cluster`, not `MkeConfig`",
            ),
            (
                "namespace: mke",
                "namespace: default",
                "`metadata.namespace` is `default`, not `mke`",
            ),
            ("  name: mke\n", "", "`metadata.name` is missing"),
            (
                "v4.2.0",
                "4.2.0",
                "`spec.version` is `4.2.0`, not a version such as `v4.1.5`",
            ),
            (
                "version: v4.2.0",
                "version: 4.2",
                "`spec.version` is not a string",
            ),
            (
                "v4.2.0",
                "v4.0.0",
                "v4.0.0 has no documented offline installation; the first release with one is v4.1.0",
            ),
            (
                "enabled: true",
                "enabled: 'true'",
                "`spec.airgap.enabled` is not `true`",
            ),
            (
                "enabled: true",
                "enabled: false",
                "`spec.airgap.enabled` is not `true`",
            ),
            (
                "url: registry.example.com",
                "url: https://registry.example.com",
                "`spec.registries.imageRegistry.url` is `https://registry.example.com:5000/mke`, which has a scheme; expected a host",
            ),
            (
                "url: oci://registry",
                "url: registry",
                "`spec.registries.chartRegistry.url` is `registry.example.com:5000/mke`, which does not begin with \
                 `oci://`",
            ),
            (
                "url: oci://registry.example.com:5000/mke",
                "url: oci://",
                "`spec.registries.chartRegistry.url` is `oci://`, which has no host",
            ),
            (
                "  caData: |\n        -----BEGIN CERTIFICATE-----\n        AAAA\n        -----END CERTIFICATE-----",
                "  caData: registry-ca.pem",
                "`spec.registries.imageRegistry.caData` contains no PEM certificate",
            ),
            (
                "url: oci://registry.example.com:5000/mke",
                "url: oci://registry.example.com:5000/mke/",
                "`spec.registries.chartRegistry.url` is `oci://registry.example.com:5000/mke/`, which ends with a slash",
            ),
            (
                "    externalAddress: mke.example.com\n",
                "    sans: []\n",
                "`spec.apiServer.externalAddress` is missing",
            ),
            (
                "externalAddress: mke",
                "externalAddress: https://mke",
                "`spec.apiServer.externalAddress` is `https://mke.example.com`, which has a scheme",
            ),
            (
                "role: controller+worker",
                "role: worker",
                "no host in `spec.hosts` is a controller",
            ),
            (
                "role: worker",
                "role: manager",
                "`spec.hosts[1].role` is `manager`, which is not a valid role",
            ),
            (
                "address: 10.0.0.2, ",
                "",
                "`spec.hosts[1].ssh.address` is missing or not a string",
            ),
            (
                "  hosts:\n",
                "  hosts: []\n  others:\n",
                "`spec.hosts` lists no machine",
            ),
        ] {
            assert!(GOOD.contains(old), "{old}");
            assert_eq!(
                validate(&GOOD.replace(old, new)),
                Err(vec![expected.to_owned()]),
                "{new}"
            );
        }
    }

    #[test]
    fn every_problem_is_reported_together() {
        let problems = validate("spec: {registries: {imageRegistry: {URL: a/}}}").unwrap_err();
        assert_eq!(
            problems,
            [
                "`apiVersion` is missing",
                "`kind` is missing",
                "`metadata.name` is missing",
                "`metadata.namespace` is missing",
                "`spec.version` is missing",
                "`spec.airgap.enabled` is not `true`",
                "`spec.registries.imageRegistry.URL` is not read; the key is `url`",
                "`spec.registries.imageRegistry.url` is missing",
                "`spec.registries.chartRegistry.url` is missing",
                "`spec.hosts` lists no machine",
            ]
        );
        assert!(validate("a: b: c").unwrap_err()[0].starts_with("it is not YAML: "));
        assert!(validate("a: 1\na: 2\n").unwrap_err()[0].contains("duplicate"));
        assert_eq!(validate("").unwrap_err().len(), 9);
    }

    #[test]
    fn older_releases_need_no_external_address() {
        let text = GOOD
            .replace("v4.2.0", "v4.1.5")
            .replace("    externalAddress: mke.example.com\n", "    sans: []\n");
        assert_eq!(validate(&text).unwrap().external_address, None);
    }
}

//! The registries that the nodes of a cluster pull from. They are read from its `mke4.yaml` only,
//! because the nodes use that file.

use serde_yaml::Value;

use crate::validate::Validator;

/// The registries of images and charts, which are usually the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRegistries {
    /// `spec.registries.imageRegistry`.
    pub images: PullRegistry,
    /// `spec.registries.chartRegistry`.
    pub charts: PullRegistry,
}

/// A registry of `mke4.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRegistry {
    /// Host, port and path, without scheme: `registry.example.com:5000/mke`.
    pub url: String,
    /// Its private CA, in PEM.
    pub ca_pem: Option<String>,
    /// The name of the pull secret. Without one, nodes pull anonymously (CHILDREG).
    pub secret: Option<String>,
}

impl PullRegistry {
    /// Returns `host[:port]`.
    pub fn address(&self) -> &str {
        self.url.split_once('/').map_or(&self.url, |(host, _)| host)
    }

    /// Returns the repository of an artifact, as in the registry's API.
    pub fn repository(&self, name: &str) -> String {
        match self.url.split_once('/') {
            Some((_, project)) => format!("{project}/{name}"),
            None => name.to_owned(),
        }
    }
}

/// Reads the registries from the text of an `mke4.yaml`. The rest of the file is not checked.
///
/// # Errors
///
/// All problems of the two registries, a fragment each.
pub fn pull_registries(text: &str) -> Result<PullRegistries, Vec<String>> {
    let document: Value =
        serde_yaml::from_str(text).map_err(|error| vec![format!("it is not YAML: {error}")])?;
    let mut validator = Validator::new(&document);
    let images = registry(&mut validator, "imageRegistry", "");
    let charts = registry(&mut validator, "chartRegistry", "oci://");
    match (images, charts) {
        (Some(images), Some(charts)) if validator.problems.is_empty() => {
            Ok(PullRegistries { images, charts })
        }
        _ => Err(validator.problems),
    }
}

fn registry(validator: &mut Validator<'_>, name: &str, scheme: &str) -> Option<PullRegistry> {
    let url = validator.registry(name, scheme)?;
    let secret = validator.value(&format!("spec.registries.{name}.credentialsSecretName"));
    Some(PullRegistry {
        url: url.strip_prefix(scheme).unwrap_or(&url).to_owned(),
        ca_pem: validator.ca(name),
        secret: secret
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_registries_are_read_and_other_keys_ignored() {
        let text = "\
spec:
  registries:
    imageRegistry:
      url: images.example.com:5000/deep/mke
      credentialsSecretName: pull
    chartRegistry:
      url: oci://charts.example.com
      caData: |
        -----BEGIN CERTIFICATE-----
      credentialsSecretName: ''
";
        let registries = pull_registries(text).unwrap();
        assert_eq!(registries.images.address(), "images.example.com:5000");
        assert_eq!(
            registries.images.repository("calico/node"),
            "deep/mke/calico/node"
        );
        assert_eq!(registries.images.secret.as_deref(), Some("pull"));
        assert_eq!(registries.images.ca_pem, None);
        assert_eq!(registries.charts.address(), "charts.example.com");
        assert_eq!(registries.charts.repository("charts/kof"), "charts/kof");
        assert_eq!(registries.charts.secret, None);
        assert!(registries.charts.ca_pem.is_some());
    }

    #[test]
    fn a_file_without_registries_is_refused() {
        assert_eq!(
            pull_registries("spec: { registries: { imageRegistry: { url: 'a/' } } }").unwrap_err(),
            [
                "`spec.registries.imageRegistry.url` is `a/`, which ends with a slash",
                "`spec.registries.chartRegistry.url` is missing"
            ]
        );
        assert!(pull_registries("[").is_err());
    }
}

//! Writes the first `environment.yaml` of a new environment.

use semver::Version;

use crate::{error::Error, grammar};

/// Returns the text of a new, commented `environment.yaml`, which loads as it is.
///
/// With `has_parent` it inherits from `environments/base.yaml`, which the caller knows to be there. The name becomes
/// part of the addresses in it, which are examples.
///
/// # Errors
///
/// Returns [`Error::Name`] if this cannot be the name of an environment.
pub fn scaffold(name: &str, release: &Version, has_parent: bool) -> Result<String, Error> {
    grammar::environment_name(name)?;
    let variable = name.to_uppercase().replace('-', "_");
    // A variable's name cannot begin with a digit.
    let variable = if variable.starts_with(|c: char| c.is_ascii_digit()) {
        format!("REGISTRY_{variable}")
    } else {
        format!("{variable}_REGISTRY")
    };
    let inherit = if has_parent {
        "\
# Takes what all environments share. Maps are merged, lists and single values replaced, and `null` removes.
inherit: ../base.yaml

"
    } else {
        ""
    };
    Ok(format!(
        "\
# yaml-language-server: $schema=../environment.schema.json
# Where {name} is and how its cluster is to look. Try it with `cargo xtask plan {name}`, which changes nothing.

{inherit}# The release that {name} is to run. Changing this line is how an upgrade begins.
release: v{release}

# The registry that the nodes of {name} pull from. Once the cluster runs, it cannot be changed.
registry:
  # host[:port], without a scheme.
  address: registry.{name}.example.com:5000
  # The path below the address, if there is one.
  project: mke
  # The certificate of the registry's CA, if it is a private one: a PEM file next to this file.
  # ca: registry-ca.pem
  # Names the variables {variable}_USERNAME and {variable}_PASSWORD.
  # Without it: the credential files and helpers of Docker and Podman.
  # push-credentials: {{ env: {variable} }}

# Makes `deploy` ask for the environment's name before it changes anything.
protected: false

# The cluster: the keys of `spec` in mke4.yaml.
config:
  apiServer:
    # Where the API server is reached: the load balancer, or the only controller.
    externalAddress: mke.{name}.example.com
  hosts:
    - role: controller+worker
      ssh:
        address: 192.0.2.10
        user: ubuntu
        port: 22
        keyPath: ~/.ssh/id_ed25519
"
    ))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::{CredentialSource, Environment, load};

    fn loaded(name: &str, text: &str, base: Option<&str>) -> Environment {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let directory = root.join("environments").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("environment.yaml"), text).unwrap();
        if let Some(base) = base {
            std::fs::write(root.join("environments/base.yaml"), base).unwrap();
        }
        load(root, name).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn what_is_written_loads_with_and_without_a_parent() {
        let release = Version::new(4, 1, 5);
        let alone = loaded("prod", &scaffold("prod", &release, false).unwrap(), None);
        assert_eq!(alone.release, release);
        assert_eq!(
            alone.registry.image_url(),
            "registry.prod.example.com:5000/mke"
        );
        assert_eq!(alone.files.len(), 1);

        let base = "release: v4.1.0\nprotected: true\nconfig: { tracking: { enabled: false } }\n";
        let child = loaded(
            "prod",
            &scaffold("prod", &release, true).unwrap(),
            Some(base),
        );
        assert_eq!(child.release, release);
        assert_eq!(child.files.len(), 2);
        assert!(child.config.get("tracking").is_some());
    }

    #[test]
    fn the_settings_in_comments_are_right_too() {
        for name in ["eu-1", "1-eu"] {
            let text = scaffold(name, &Version::new(4, 1, 5), false)
                .unwrap()
                .replace("  # push-credentials:", "  push-credentials:");
            let expected = match name {
                "eu-1" => "EU_1_REGISTRY",
                _ => "REGISTRY_1_EU",
            };
            assert_eq!(
                loaded(name, &text, None).registry.push_credentials,
                Some(CredentialSource::Environment(expected.to_owned()))
            );
        }
    }

    #[test]
    fn a_name_that_would_not_load_is_refused() {
        for name in ["Prod", "../prod", ""] {
            let result = scaffold(name, &Version::new(4, 1, 5), false);
            assert!(matches!(result, Err(Error::Name { .. })), "{name}");
        }
    }
}

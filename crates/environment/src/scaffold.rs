//! Creates the text of `environment.yaml` for a new environment.

use semver::Version;

use crate::grammar::Fault;
use crate::keys::kind::{self, Kind};
use crate::{error::Error, grammar, problem::quote, yaml};

/// A question about a new environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The registry's address.
    Registry,
    /// The project: the path below the registry's address.
    Project,
    /// The external address of the API server.
    ExternalAddress,
    /// The address of the first controller.
    Host,
    /// The SSH user of the first controller.
    User,
}

impl Question {
    /// Returns an example of an answer, for the environment `name`.
    pub fn example(self, name: &str) -> String {
        match self {
            Self::Registry => format!("registry.{name}.example.com:5000"),
            Self::Project => "mke".to_owned(),
            Self::ExternalAddress => format!("mke.{name}.example.com"),
            Self::Host => "192.0.2.10".to_owned(),
            Self::User => "ubuntu".to_owned(),
        }
    }

    /// Checks an answer.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Answer`] if the answer is not valid.
    pub fn check(self, answer: &str) -> Result<(), Error> {
        // The same rule as for `config`. A name without a dot is allowed, because nodes do not pull
        // images from these addresses.
        let host = |kind| match kind::host(kind, answer) {
            None => Ok(()),
            Some(fault) => Err(Fault {
                rule: fault.description,
                help: Some(fault.help),
            }),
        };
        let is_user = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let checked = match self {
            Self::Registry => grammar::address(answer),
            Self::Project => grammar::project(answer),
            Self::ExternalAddress => host(Kind::Host),
            Self::Host => host(Kind::Address),
            Self::User if !answer.is_empty() && answer.chars().all(is_user) => Ok(()),
            Self::User => Err(Fault::new(format!("{} is not a user", quote(answer)))),
        };
        checked.map_err(|fault| {
            // The error already names the question.
            let rule = ["the address ", "the project "]
                .iter()
                .find_map(|subject| fault.rule.strip_prefix(subject))
                .unwrap_or(&fault.rule);
            Error::Answer {
                question: self.to_string(),
                rule: match fault.help {
                    Some(help) => format!("{rule}; {help}"),
                    None => rule.to_owned(),
                },
            }
        })
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Registry => "registry address",
            Self::Project => "project in the registry",
            Self::ExternalAddress => "external address of the API server",
            Self::Host => "address of the first controller",
            Self::User => "SSH user",
        })
    }
}

/// Returns the text of a new `environment.yaml` with comments. The environment loads unchanged.
///
/// With `has_parent`, it inherits from `environments/base.yaml`, which must exist. If `answer`
/// returns nothing for a question, the text has an example.
///
/// # Errors
///
/// Returns [`Error::Name`] if the name is not valid, and [`Error::Answer`] if an answer is not
/// valid.
pub fn scaffold(
    name: &str,
    release: &Version,
    has_parent: bool,
    answer: impl Fn(Question) -> Option<String>,
) -> Result<String, Error> {
    grammar::environment_name(name)?;
    let answered = |question: Question| -> Result<String, Error> {
        let Some(answer) = answer(question) else {
            return Ok(question.example(name));
        };
        question.check(&answer)?;
        // `Node::string` would quote an IPv4 address, although all readers read it as a string.
        match answer.parse::<std::net::Ipv4Addr>() {
            Ok(_) => Ok(answer),
            Err(_) => Ok(yaml::emit(&yaml::Node::string(answer))
                .trim_end()
                .to_owned()),
        }
    };
    let registry = answered(Question::Registry)?;
    let project = answered(Question::Project)?;
    let external_address = answered(Question::ExternalAddress)?;
    let host = answered(Question::Host)?;
    let user = answered(Question::User)?;
    let variable = name.to_uppercase().replace('-', "_");
    // The name of a variable cannot begin with a digit.
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
# Describes {name}: its release, registry and cluster. Check it with `check {name}`.

{inherit}# The release that {name} is to run. Changing this line is how an upgrade begins.
release: v{release}

# The registry that the nodes of {name} pull from. Once the cluster runs, it cannot be changed.
registry:
  # host[:port], without a scheme.
  address: {registry}
  # The path below the address, if there is one.
  project: {project}
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
    externalAddress: {external_address}
  hosts:
    - role: controller+worker
      ssh:
        address: {host}
        user: {user}
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
    fn a_new_environment_loads_with_and_without_a_parent() {
        let release = Version::new(4, 1, 5);
        let alone = loaded(
            "prod",
            &scaffold("prod", &release, false, |_| None).unwrap(),
            None,
        );
        assert_eq!(alone.release, release);
        assert_eq!(
            alone.registry.image_url(),
            "registry.prod.example.com:5000/mke"
        );
        assert_eq!(alone.files.len(), 1);

        let base = "release: v4.1.0\nprotected: true\nconfig: { tracking: { enabled: false } }\n";
        let child = loaded(
            "prod",
            &scaffold("prod", &release, true, |_| None).unwrap(),
            Some(base),
        );
        assert_eq!(child.release, release);
        assert_eq!(child.files.len(), 2);
        assert!(child.config.get("tracking").is_some());
    }

    #[test]
    fn commented_out_settings_are_valid() {
        for name in ["eu-1", "1-eu"] {
            let text = scaffold(name, &Version::new(4, 1, 5), false, |_| None)
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
    fn an_invalid_name_is_refused() {
        for name in ["Prod", "../prod", ""] {
            let result = scaffold(name, &Version::new(4, 1, 5), false, |_| None);
            assert!(matches!(result, Err(Error::Name { .. })), "{name}");
        }
    }

    #[test]
    fn answers_are_read_back_unchanged() {
        let address = |environment: &Environment| {
            let server = environment.config.get("apiServer").unwrap();
            server
                .get("externalAddress")
                .unwrap()
                .text()
                .map(str::to_owned)
        };
        for (question, given) in [
            (Question::Registry, "[fd00::5]:5602"),
            (Question::Registry, "mkehost:6443"),
            (Question::ExternalAddress, "mkehost"),
            (Question::ExternalAddress, "MKE.lan"),
            (Question::Host, "mkehost"),
            (Question::Project, "123"),
            (Question::ExternalAddress, "[fd00::9]"),
            (Question::ExternalAddress, "fd00::9"),
            (Question::ExternalAddress, "[fd00::9]:6443"),
            (Question::ExternalAddress, "mke.example.com:6443"),
            (Question::Host, "fd00::9"),
            (Question::User, "yes"),
            (Question::User, "-"),
        ] {
            let answer = |asked| (asked == question).then(|| given.to_owned());
            let text = scaffold("lab", &Version::new(4, 1, 5), false, answer).unwrap();
            let loaded = loaded("lab", &text, None);
            let host = &loaded.config.get("hosts").unwrap().as_sequence().unwrap()[0];
            let ssh = |key| host.get("ssh").unwrap().get(key).unwrap().text();
            let read = match question {
                Question::Registry => Some(loaded.registry.address.clone()),
                Question::Project => Some(loaded.registry.project.clone()),
                Question::ExternalAddress => address(&loaded),
                Question::Host => ssh("address").map(str::to_owned),
                Question::User => ssh("user").map(str::to_owned),
            };
            assert_eq!(read.as_deref(), Some(given), "{text}");
        }
    }

    #[test]
    fn answers_replace_examples_and_are_checked() {
        let release = Version::new(4, 1, 5);
        let answer = |question| {
            let text = match question {
                Question::Registry => "harbor.lan",
                Question::Project => "teams/mke",
                Question::ExternalAddress => "10.0.0.5",
                Question::Host => "node-1.lan",
                Question::User => "core",
            };
            Some(text.to_owned())
        };
        let loaded = loaded(
            "lab",
            &scaffold("lab", &release, false, answer).unwrap(),
            None,
        );
        assert_eq!(loaded.registry.image_url(), "harbor.lan/teams/mke");
        for (question, wrong) in [
            (Question::Registry, "https://harbor.lan"),
            (Question::Project, "mke/"),
            (Question::ExternalAddress, "mke.lan:0"),
            (Question::ExternalAddress, "https://mke.lan"),
            (Question::ExternalAddress, "10.0.0.5:99999"),
            (Question::Host, "a: b"),
            (Question::Host, "not_host!"),
            (Question::Host, "[::1]"),
            (Question::User, "root #"),
            (Question::User, ""),
        ] {
            let answer = |asked| (asked == question).then(|| wrong.to_owned());
            let refused = scaffold("lab", &release, false, answer);
            assert!(
                matches!(refused, Err(Error::Answer { .. })),
                "{wrong}: {refused:?}"
            );
        }
    }
}

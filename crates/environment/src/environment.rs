//! The types of a checked environment. A field has the name of its key in the table of keys.

use std::{net::IpAddr, sync::Arc};

use camino::Utf8PathBuf;
use semver::Version;

use crate::grammar::{split_address, without_brackets};
use crate::keys::Key;
use crate::operation::Operation;
use crate::problem::{Problem, Problems};
use crate::promotion::Requirement;
use crate::read::{Read, Reader, keyed};
use crate::yaml::{Node, Source};

keyed! {
    /// A checked environment: the release, its registry, and the configuration of the cluster.
    #[derive(Debug, Clone)]
    pub struct Environment {
        /// The release to deploy.
        pub release: Version,
        /// The registry that the nodes pull from.
        pub registry: Registry,
        /// The names of the sets that the environment deploys with the release, as texts. Whether
        /// the sets exist has not been checked.
        pub sets: Vec<Node>,
        /// Whether a deploy must be confirmed with the environment's name.
        pub protected: bool,
        /// Whether deploys are rehearsals on this machine: with the embedded registry and a
        /// stand-in for `mkectl`.
        pub rehearsal: bool,
        /// The `mkectl` to run instead of the one on the PATH. Whether the file exists has not been
        /// checked.
        pub mkectl: Option<Utf8PathBuf>,
        /// The settings for running `mkectl`.
        pub operation: Operation,
        /// The MKE 3 cluster to migrate.
        pub mke3: Option<Mke3>,
        /// The deploy to a different environment that must have succeeded first.
        pub requires: Option<Requirement>,
        /// Whether receipts record the operator.
        pub record_operator: bool,
        /// The names of the rules that are switched off, as texts. Whether the rules exist has not
        /// been checked.
        pub accept: Vec<Node>,
        /// Facts of the release that override the table of releases.
        pub facts: Facts,
        /// The mapping below `config`, merged and otherwise unchanged; may be empty.
        pub config: Node,
    }
    computed {
        /// The name of the environment's folder.
        pub name: String,
        /// The environment's folder, below the root that [`load`](crate::load()) received.
        pub directory: Utf8PathBuf,
        /// The machines in the file that `inventory` names. Each is a mapping from column to single
        /// value.
        pub inventory: Vec<Node>,
        /// The file whose values `config` has for the keys that the environment does not set. See
        /// [`Environment::apply_defaults`].
        pub defaults: Option<Arc<Source>>,
        /// The merged document, without `inherit` and without the keys that `null` removed.
        pub merged: Node,
        /// The files that were read: `environment.yaml` first, then its parent, and so on.
        pub files: Vec<Arc<Source>>,
    }
}

keyed! {
    /// Facts of the release that override the table of releases. `None` means that the table
    /// applies.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Facts {
        /// Whether nodes trust a registry whose certificate is signed by a private CA.
        pub private_ca: Option<bool>,
        /// Whether nodes can pull only without credentials.
        pub anonymous_pull: Option<bool>,
        /// Whether `apiServer.externalAddress` must be set.
        pub external_address: Option<bool>,
    }
}

keyed! {
    /// The registry of an environment.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Registry {
        /// `host[:port]`, in lower case, without a scheme. An IPv6 address is in brackets.
        pub address: String,
        /// The path below the address, such as `platform/mke`; may be empty.
        pub project: String,
        /// The private CA that signed the registry's certificate.
        pub ca: Option<CertificateAuthority>,
        /// The credentials for pushing. `None` means the files and helpers of Docker and Podman.
        pub push_credentials: Option<CredentialSource>,
        /// The credentials that nodes pull with. `None` if nodes pull without credentials, or if
        /// mkectl already has them.
        pub pull_credentials: Option<CredentialSource>,
    }
}

keyed! {
    /// The MKE 3 cluster that `migrate` turns into this environment's cluster.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Mke3 {
        /// The version of MKE 3.
        pub version: Version,
        /// The credentials of the cluster's administrator.
        pub credentials: CredentialSource,
        /// The configuration that MKE 3 exports: a TOML file. Whether the file exists has not been
        /// checked.
        pub config: Option<Utf8PathBuf>,
    }
}

/// A file with the certificates of private CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// The path of the file.
    pub path: Utf8PathBuf,
    /// The text of the file: at least one PEM certificate and no private key. Every line ends in
    /// `\n`.
    pub pem: String,
    /// The validity of each certificate, in the order of the file.
    pub validity: Vec<Validity>,
    /// A warning about signatures that Airlock cannot verify.
    pub warning: Option<String>,
}

/// The time in which a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

/// The place of a user name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// The environment variables `<name>_USERNAME` and `<name>_PASSWORD`.
    Environment(String),
}

impl Read for CredentialSource {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<CredentialSource> {
        let name = node?.get("env")?.text()?;
        Some(CredentialSource::Environment(name.to_owned()))
    }
}

impl Environment {
    /// Returns the names of the sets, sorted and without duplicates.
    pub fn set_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.sets.iter().filter_map(Node::text).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Merges `config` over `defaults`, a `spec` with the values of keys that the environment does
    /// not set.
    pub fn apply_defaults(&mut self, defaults: Node) {
        self.files.push(Arc::clone(&defaults.source));
        self.defaults = Some(Arc::clone(&defaults.source));
        self.config = crate::merge(defaults, self.config.clone());
    }

    /// Checks that a certificate of the registry's CA is valid now.
    ///
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Returns a problem if all certificates have expired or none is valid yet.
    pub fn check_dates(&self, now: i64) -> Result<(), Problems> {
        let Some(ca) = &self.registry.ca else {
            return Ok(());
        };
        let Some(rule) = crate::certificate::date_fault(&ca.validity, now) else {
            return Ok(());
        };
        let node = self.merged.get("registry").and_then(|node| node.get("ca"));
        Err(Problems(node.map_or_else(Vec::new, |node| {
            let rule = format!("the certificate in `registry.ca` {rule}");
            vec![Problem::at(node, rule).with_help("replace it with the current certificate")]
        })))
    }
}

impl Registry {
    /// Returns the host without port and brackets, the form in certificates and for resolvers.
    pub fn host(&self) -> &str {
        let (host, _) = split_address(&self.address);
        without_brackets(host)
    }

    /// Returns the port, if the address names one.
    pub fn port(&self) -> Option<u16> {
        split_address(&self.address)
            .1
            .and_then(|port| port.parse().ok())
    }

    /// Returns whether the registry is on this machine: `localhost`, `127.0.0.0/8` or `[::1]`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Returns the address of images in MKE's notation: `host:port/project`.
    pub fn image_url(&self) -> String {
        match self.project.as_str() {
            "" => self.address.clone(),
            project => format!("{}/{project}", self.address),
        }
    }

    /// Returns the address of charts in MKE's notation: `oci://host:port/project`.
    pub fn chart_url(&self) -> String {
        format!("oci://{}", self.image_url())
    }

    /// Returns the repository of an artifact for the registry's API: `project/name`.
    pub fn repository(&self, name: &str) -> String {
        match self.project.as_str() {
            "" => name.to_owned(),
            project => format!("{project}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(address: &str, project: &str) -> Registry {
        Registry {
            address: address.to_owned(),
            project: project.to_owned(),
            ..Registry::default()
        }
    }

    #[test]
    fn an_address_is_split_into_host_and_port() {
        let cases = [
            ("registry.example.com", "registry.example.com", None, false),
            (
                "registry.example.com:5000",
                "registry.example.com",
                Some(5000),
                false,
            ),
            ("127.0.0.1:5443", "127.0.0.1", Some(5443), true),
            ("127.8.9.1", "127.8.9.1", None, true),
            ("10.0.0.1:80", "10.0.0.1", Some(80), false),
            ("localhost:5000", "localhost", Some(5000), true),
            (
                "localhost.example.com",
                "localhost.example.com",
                None,
                false,
            ),
            ("[::1]:5000", "::1", Some(5000), true),
            ("[::1]", "::1", None, true),
            ("[2001:db8::7]:443", "2001:db8::7", Some(443), false),
        ];
        for (address, host, port, is_loopback) in cases {
            let registry = registry(address, "mke");
            assert_eq!(registry.host(), host, "{address}");
            assert_eq!(registry.port(), port, "{address}");
            assert_eq!(registry.is_loopback(), is_loopback, "{address}");
        }
    }

    #[test]
    fn the_project_is_a_prefix_if_it_is_set() {
        let nested = registry("registry.example.com:5000", "platform/mke");
        assert_eq!(nested.image_url(), "registry.example.com:5000/platform/mke");
        assert_eq!(
            nested.chart_url(),
            "oci://registry.example.com:5000/platform/mke"
        );
        assert_eq!(
            nested.repository("calico/apiserver"),
            "platform/mke/calico/apiserver"
        );

        let bare = registry("registry.example.com:5000", "");
        assert_eq!(bare.image_url(), "registry.example.com:5000");
        assert_eq!(bare.chart_url(), "oci://registry.example.com:5000");
        assert_eq!(bare.repository("calico/apiserver"), "calico/apiserver");
    }
}

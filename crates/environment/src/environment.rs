//! What a checked environment is. A field has the name of its key in the table of keys.

use std::{net::IpAddr, sync::Arc};

use camino::Utf8PathBuf;
use semver::Version;

use crate::grammar::split_address;
use crate::keys::Key;
use crate::operation::Operation;
use crate::problem::{Problem, Problems};
use crate::promotion::Requirement;
use crate::read::{Read, Reader, keyed};
use crate::yaml::{Node, Source};

keyed! {
    /// A checked environment: where a release goes and how the cluster is to look.
    #[derive(Debug, Clone)]
    pub struct Environment {
        /// The release that it is to run.
        pub release: Version,
        /// The registry that its nodes pull from.
        pub registry: Registry,
        /// The names of the sets that it carries beside the release, texts; whether they exist has
        /// not been checked.
        pub sets: Vec<Node>,
        /// Whether a deploy asks for the environment's name first.
        pub protected: bool,
        /// Whether nothing outside this machine takes part: the registry is embedded and `mkectl`
        /// has a stand-in.
        pub rehearsal: bool,
        /// The `mkectl` to use instead of the one on the PATH. Whether it exists has not been
        /// checked.
        pub mkectl: Option<Utf8PathBuf>,
        /// How it is run.
        pub operation: Operation,
        /// The MKE 3 cluster that becomes this one.
        pub mke3: Option<Mke3>,
        /// What must have succeeded elsewhere before a deploy.
        pub requires: Option<Requirement>,
        /// Whether receipts say who deployed.
        pub record_operator: bool,
        /// The names of the rules that it does without, texts; whether there are such rules has not
        /// been checked.
        pub accept: Vec<Node>,
        /// What people know better of the release than the table of releases does.
        pub facts: Facts,
        /// What is written under `config`, untouched: a mapping, maybe empty.
        pub config: Node,
    }
    others {
        /// The name of its folder.
        pub name: String,
        /// Its folder, below the workspace root that was given to [`load`](crate::load()).
        pub directory: Utf8PathBuf,
        /// The machines of the file that `inventory` names: a mapping from column to single value
        /// each.
        pub inventory: Vec<Node>,
        /// The file whose values `config` has where no file of the environment sets them, by
        /// [`Environment::apply_defaults`].
        pub defaults: Option<Arc<Source>>,
        /// The whole document as merged, without `inherit` and without keys that `null` removed.
        pub merged: Node,
        /// The files that were read: the environment's own first, then its parent, and so on.
        pub files: Vec<Arc<Source>>,
    }
}

keyed! {
    /// Facts of the release that override the table of releases; `None` if the table applies.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Facts {
        /// Whether nodes trust a registry whose certificate is of a private authority.
        pub private_ca: Option<bool>,
        /// Whether nodes pull without credentials only.
        pub anonymous_pull: Option<bool>,
        /// Whether `apiServer.externalAddress` must be set.
        pub external_address: Option<bool>,
    }
}

keyed! {
    /// The registry that an environment's nodes pull from.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Registry {
        /// `host[:port]`, in lower case, without a scheme. An IPv6 address is in brackets.
        pub address: String,
        /// The path below the address, such as `platform/mke`; empty for none.
        pub project: String,
        /// The authority that signed the registry's certificate, if it is not a public one.
        pub ca: Option<CertificateAuthority>,
        /// Where the credentials for pushing are; nothing for the files and helpers of Docker and
        /// Podman.
        pub push_credentials: Option<CredentialSource>,
        /// Where the credentials are that nodes pull with; none if they pull without, or where
        /// mkectl has them already.
        pub pull_credentials: Option<CredentialSource>,
    }
}

keyed! {
    /// The MKE 3 cluster that becomes this one, by `migrate`: its version, and the credentials that
    /// may change it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Mke3 {
        /// Its version.
        pub version: Version,
        /// Where the credentials of its administrator are.
        pub credentials: CredentialSource,
        /// Its configuration, as MKE 3 gives it out: a TOML file. Whether it exists has not been
        /// checked.
        pub config: Option<Utf8PathBuf>,
    }
}

/// A private certificate authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// The file with its certificate.
    pub path: Utf8PathBuf,
    /// The text of the file, which holds at least one PEM certificate and no private key. Lines end
    /// in `\n`, the last one as well.
    pub pem: String,
    /// When each of its certificates is valid, in their order.
    pub validity: Vec<Validity>,
    /// What an operator should know of its signature.
    pub warning: Option<String>,
}

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

/// Where credentials for the registry are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// In the environment variables `<name>_USERNAME` and `<name>_PASSWORD`.
    Environment(String),
}

impl Read for CredentialSource {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<CredentialSource> {
        let name = node?.get("env")?.text()?;
        Some(CredentialSource::Environment(name.to_owned()))
    }
}

impl Environment {
    /// Returns the names of its sets, in order, each once.
    pub fn set_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.sets.iter().filter_map(Node::text).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Puts `config` over `defaults`, the keys of a `spec` that hold where the environment says
    /// nothing.
    pub fn apply_defaults(&mut self, defaults: Node) {
        self.files.push(Arc::clone(&defaults.source));
        self.defaults = Some(Arc::clone(&defaults.source));
        self.config = crate::merge(defaults, self.config.clone());
    }

    /// Checks what depends on the time: whether a certificate of the registry's authority is valid.
    ///
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// All of them have expired, or none is valid yet.
    pub fn check_dates(&self, now: i64) -> Result<(), Problems> {
        let Some(ca) = &self.registry.ca else {
            return Ok(());
        };
        let Some(rule) = crate::certificate::date_fault(&ca.validity, now) else {
            return Ok(());
        };
        let written = self.merged.get("registry").and_then(|node| node.get("ca"));
        Err(Problems(written.map_or_else(Vec::new, |node| {
            let rule = format!("the certificate in `registry.ca` {rule}");
            vec![Problem::at(node, rule).with_help("replace it with the current certificate")]
        })))
    }
}

impl Registry {
    /// Returns the host without port and brackets, as certificates and resolvers expect it.
    pub fn host(&self) -> &str {
        let (host, _) = split_address(&self.address);
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// Returns the port, if the address names one.
    pub fn port(&self) -> Option<u16> {
        split_address(&self.address)
            .1
            .and_then(|port| port.parse().ok())
    }

    /// Returns whether the registry is on this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Returns where images are, as MKE writes it: `host:port/project`.
    pub fn image_url(&self) -> String {
        match self.project.as_str() {
            "" => self.address.clone(),
            project => format!("{}/{project}", self.address),
        }
    }

    /// Returns where charts are, as MKE writes it: `oci://host:port/project`.
    pub fn chart_url(&self) -> String {
        format!("oci://{}", self.image_url())
    }

    /// Returns the repository that holds an artifact, as the registry's API names it:
    /// `project/name`.
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
    fn addresses_fall_into_host_and_port() {
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
    fn the_project_is_a_prefix_only_where_there_is_one() {
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

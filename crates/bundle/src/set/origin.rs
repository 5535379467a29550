//! The origin of a set's entry.

use std::fmt;

use oci_spec::image::Digest;
use url::{Host, Url};

use super::Reference;

/// The origin of a set's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A reference of a registry.
    Registry(Reference),
    /// A chart of a classic Helm repository, which has an `index.yaml`.
    HelmRepository {
        /// URL of the repository, without a slash at its end.
        repository: String,
        /// Name of the chart.
        name: String,
        /// Version of the chart.
        version: String,
    },
    /// A file on a web server.
    File {
        /// URL of the file.
        url: Url,
        /// Digest of the file.
        digest: Digest,
    },
}

impl Origin {
    /// Returns the default repository and tag in a mirror: the path upstream, without the host.
    pub(super) fn place(&self) -> (String, String) {
        match self {
            Self::Registry(reference) => (reference.repository.clone(), reference.mirrored_tag()),
            Self::HelmRepository {
                repository,
                name,
                version,
            } => {
                let folder = Url::parse(repository).map(|url| url.path().to_owned());
                let path = format!("{}/{name}", folder.unwrap_or_default());
                // Tags cannot have `+`. Helm writes `_` for it, and reads it back.
                let tag = version.replace('+', "_");
                (path.trim_start_matches('/').to_owned(), tag)
            }
            Self::File { url, digest } => {
                let path = url.path().trim_start_matches('/').to_owned();
                (path, digest.to_string().replace(':', "-"))
            }
        }
    }

    /// Returns the name upstream, without the host.
    pub fn name(&self) -> &str {
        match self {
            Self::Registry(reference) => &reference.repository,
            Self::HelmRepository { name, .. } => name,
            Self::File { url, .. } => file_name(url),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(formatter),
            Self::HelmRepository {
                repository,
                name,
                version,
            } => write!(formatter, "{repository}/{name}:{version}"),
            Self::File { url, digest } => write!(formatter, "{url}@{digest}"),
        }
    }
}

/// Returns the file name in a URL; empty for a folder.
pub fn file_name(url: &Url) -> &str {
    url.path().rsplit('/').next().unwrap_or_default()
}

/// Returns why a URL is not allowed in a set; `None` if it is.
pub fn url_fault(url: &Url) -> Option<&'static str> {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("credentials come from the files of Podman, Skopeo or Docker");
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        _ => return Some("expected `https://`; plain HTTP is for loopback"),
    }
    match url.query().or(url.fragment()) {
        // It may be a secret token, and locks are committed.
        Some(_) => Some("a query or a fragment is not allowed"),
        None => None,
    }
}

/// Returns why a bundle's URL is not allowed in a set; `None` if it is. The bundle's file is kept
/// in `bundles/`, beside sets and locks.
pub fn bundle_fault(url: &Url) -> Option<&'static str> {
    let name = file_name(url);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let is_packed = name.ends_with(".tar.gz") || name.ends_with(".tgz");
    match is_packed && !name.starts_with('.') && name.bytes().all(is_word) {
        true => url_fault(url),
        false => Some("expected the URL of a bundle, a `.tar.gz` or `.tgz` file"),
    }
}

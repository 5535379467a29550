//! What is checked while a set's file is read, since only then its line is known. No error repeats
//! a value that may be a secret.

use std::collections::BTreeMap;

use oci_spec::image::Digest;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::{Upstream, bundle_fault, file_name, reference, url_fault};
use crate::name::Name;

/// Why a value with a user name and password is refused.
const CREDENTIALS: &str = "after `@` only a digest is allowed; credentials come from the files of Podman, Skopeo or Docker";

/// A registry, `host[:port]`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Host(String);

/// Returns a text if no user name and password can be in it: after `@`, it has a digest alone.
pub(super) fn without_credentials<E: Error>(text: &str) -> Result<&str, E> {
    let is_digest = |rest: &str| {
        rest.starts_with("sha") && rest.contains(':') && !rest.contains(['/', '@', '.'])
    };
    match text.split_once('@') {
        Some((_, rest)) if !is_digest(rest) => Err(E::custom(CREDENTIALS)),
        _ => Ok(text),
    }
}

/// Reads the registries, whose keys are hosts.
pub(super) fn registries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Upstream>, D::Error> {
    let registries = BTreeMap::<Host, Upstream>::deserialize(deserializer)?;
    let registries = registries.into_iter();
    Ok(registries.map(|(host, known)| (host.0, known)).collect())
}

/// Reads a mirror, `host[:port]` or `host[:port]/path`.
pub(super) fn mirror<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let (host, path) = match text.split_once('/') {
        Some((host, path)) => (host, Some(path.trim_matches('/'))),
        None => (text.as_str(), None),
    };
    check_host(&text, host)?;
    match path.map(|path| Name::new(path, "latest")) {
        Some(Err(source)) => Err(D::Error::custom(source)),
        _ => Ok(Some(text)),
    }
}

/// Reads a URL that a set may be carried from.
pub(super) fn some_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    // What does not parse is not repeated: it may have a password.
    let url = Url::parse(&text).map_err(|_| D::Error::custom("expected a URL, `https://...`"))?;
    match url_fault(&url) {
        Some(fault) => Err(D::Error::custom(fault)),
        None => Ok(Some(url)),
    }
}

/// Reads the URL of a file.
pub(super) fn file_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    match some_url(deserializer)? {
        Some(url) if !file_name(&url).is_empty() => Ok(url),
        _ => Err(D::Error::custom(
            "expected the URL of a file, not of a folder",
        )),
    }
}

/// Reads the URL of a bundle.
pub(super) fn bundle_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let url = file_url(deserializer)?;
    match bundle_fault(&url) {
        Some(fault) => Err(D::Error::custom(fault)),
        None => Ok(url),
    }
}

/// Reads a SHA-256, if there is one.
pub(super) fn some_sha256<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Digest>, D::Error> {
    sha256(deserializer).map(Some)
}

/// Reads a SHA-256.
pub(super) fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?.to_ascii_lowercase();
    let digest = reference::checked(&format!("sha256:{text}")).ok();
    let digest = digest.and_then(|digest| digest.parse().ok());
    digest.ok_or_else(|| D::Error::custom("expected a SHA-256, 64 hexadecimal digits"))
}

/// Reads a place in the mirror.
pub(super) fn some_place<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    without_credentials::<D::Error>(text.as_deref().unwrap_or_default())?;
    Ok(text)
}

/// Reads more places in the mirror.
pub(super) fn places<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let places = Vec::<String>::deserialize(deserializer)?;
    for place in &places {
        without_credentials::<D::Error>(place)?;
    }
    Ok(places)
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check_host(&text, &text)?;
        Ok(Self(text))
    }
}

/// Refuses a text that is to begin with a registry, `host`, and does not.
fn check_host<E: Error>(text: &str, host: &str) -> Result<(), E> {
    if text.contains('@') {
        return Err(E::custom(
            "a registry is `host[:port]`; credentials come from the files of Podman, Skopeo or Docker",
        ));
    }
    if text.contains("://") {
        return Err(E::custom(format!(
            "`{text}` has a scheme; a registry is `host[:port]`"
        )));
    }
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    match host.bytes().all(is_known) && Url::parse(&format!("https://{host}/")).is_ok() {
        true => Ok(()),
        false => Err(E::custom(format!("`{host}` is not `host[:port]`"))),
    }
}

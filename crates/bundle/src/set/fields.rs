//! Validates values while a set's file is parsed, because only then their line is known. No error
//! repeats a value that may be a secret.

use std::collections::BTreeMap;

use oci_spec::image::Digest;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::{Upstream, bundle_fault, file_name, reference, url_fault};
use crate::name::Name;

/// Message for a value with credentials.
const CREDENTIALS: &str = "after `@` only a digest is allowed; credentials come from the files of Podman, Skopeo or Docker";

/// Host of a registry, `host[:port]`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Host(String);

/// Returns the text unless it may contain credentials. Only a digest is allowed after `@`.
pub(super) fn without_credentials<E: Error>(text: &str) -> Result<&str, E> {
    let is_digest = |rest: &str| {
        rest.starts_with("sha") && rest.contains(':') && !rest.contains(['/', '@', '.'])
    };
    match text.split_once('@') {
        Some((_, rest)) if !is_digest(rest) => Err(E::custom(CREDENTIALS)),
        _ => Ok(text),
    }
}

/// Deserializes the registries, whose keys are hosts.
pub(super) fn registries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Upstream>, D::Error> {
    let registries = BTreeMap::<Host, Upstream>::deserialize(deserializer)?;
    let registries = registries.into_iter();
    Ok(registries
        .map(|(host, settings)| (host.0, settings))
        .collect())
}

/// Deserializes a mirror, `host[:port]` or `host[:port]/path`.
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

/// Deserializes a URL that is allowed in a set.
pub(super) fn some_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    // An invalid URL is not repeated: it may contain a password.
    let url = Url::parse(&text).map_err(|_| D::Error::custom("expected a URL, `https://...`"))?;
    match url_fault(&url) {
        Some(fault) => Err(D::Error::custom(fault)),
        None => Ok(Some(url)),
    }
}

/// Deserializes the URL of a file.
pub(super) fn file_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    match some_url(deserializer)? {
        Some(url) if !file_name(&url).is_empty() => Ok(url),
        _ => Err(D::Error::custom(
            "expected the URL of a file, not of a folder",
        )),
    }
}

/// Deserializes the URL of a bundle.
pub(super) fn bundle_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let url = file_url(deserializer)?;
    match bundle_fault(&url) {
        Some(fault) => Err(D::Error::custom(fault)),
        None => Ok(url),
    }
}

/// Deserializes an optional SHA-256.
pub(super) fn some_sha256<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Digest>, D::Error> {
    sha256(deserializer).map(Some)
}

/// Deserializes a SHA-256, 64 hexadecimal digits in any case.
pub(super) fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?.to_ascii_lowercase();
    let digest = reference::check_digest(&format!("sha256:{text}")).ok();
    let digest = digest.and_then(|digest| digest.parse().ok());
    digest.ok_or_else(|| D::Error::custom("expected a SHA-256, 64 hexadecimal digits"))
}

/// Deserializes a place in the mirror.
pub(super) fn some_place<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    without_credentials::<D::Error>(text.as_deref().unwrap_or_default())?;
    Ok(text)
}

/// Deserializes aliases.
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

/// Checks that `host`, the beginning of `text`, is a registry.
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

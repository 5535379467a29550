//! References of images and charts in registries, parsed like Docker parses them.

use std::fmt;

use crate::name::{Name, NameError};

/// Host of short names.
pub const DOCKER_HUB: &str = "docker.io";

/// A reference, `host[:port]/repository`, with a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Registry, `host[:port]`.
    pub host: String,
    /// Repository in the registry.
    pub repository: String,
    /// Tag; `None` for a reference with only a digest.
    pub tag: Option<String>,
    /// Digest. If there is one, the tag is not resolved.
    pub digest: Option<String>,
}

/// Reason why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The host is not valid.
    #[error("`{host}` is not a registry's host")]
    Host {
        /// The text in its place.
        host: String,
    },
    /// Repository or tag is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest is not a supported one.
    #[error("`{digest}` is not `sha256:` and 64 lower-case hexadecimal digits")]
    Digest {
        /// The text in its place, shortened.
        digest: String,
    },
}

impl Reference {
    /// Parses a reference. A name without a host is one of Docker Hub. Without tag and digest, the
    /// tag is `latest`.
    ///
    /// # Errors
    /// [`ReferenceError`] if a part is not valid.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(check_digest(digest)?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let tag_at = name.rfind(':').filter(|at| !name[*at..].contains('/'));
        let (name, tag) = match tag_at {
            Some(at) => (&name[..at], Some(&name[at + 1..])),
            None => (name, None),
        };
        let is_host = |part: &str| {
            part.contains(['.', ':'])
                || part == "localhost"
                || part.chars().any(|one| one.is_ascii_uppercase())
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (host, path.to_owned()),
            _ => (DOCKER_HUB, name.to_owned()),
        };
        let host = match host {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
            host => host.to_ascii_lowercase(),
        };
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let url = url::Url::parse(&format!("https://{host}/"));
        let is_url = url.is_ok_and(|url| url.port() != Some(0)) && !host.ends_with(':');
        if !is_url || !host.bytes().all(is_known) {
            return Err(ReferenceError::Host { host });
        }
        let repository = match host == DOCKER_HUB && !path.contains('/') {
            true => format!("library/{path}"),
            false => path,
        };
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Name::new(&repository, tag.as_deref().unwrap_or("latest"))?;
        Ok(Self {
            host,
            repository,
            tag,
            digest,
        })
    }

    /// Returns whether a text is a registry, with or without a path: `registry.example.com/mke`.
    pub fn is_place(text: &str) -> bool {
        let reference = Self::parse(&format!("{text}/name:tag"));
        reference
            .is_ok_and(|one| format!("{}/{}", one.host, one.repository) == format!("{text}/name"))
    }

    /// Returns what a registry is asked for: the digest or, without one, the tag.
    pub fn asked(&self) -> &str {
        let tag = self.tag.as_deref().unwrap_or_default();
        self.digest.as_deref().unwrap_or(tag)
    }

    /// Returns the tag in a mirror. Without a tag it is made of the digest: `sha256-<hex>`.
    pub fn mirrored_tag(&self) -> String {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => tag.clone(),
            (None, digest) => digest.as_deref().unwrap_or_default().replace(':', "-"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(formatter, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Returns the digest unchanged if it is a supported one.
pub(super) fn check_digest(digest: &str) -> Result<String, ReferenceError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    match hex.len() == 64 && hex.bytes().all(is_digit) {
        true => Ok(digest.to_owned()),
        false => Err(ReferenceError::Digest {
            digest: redaction::line(digest, 100),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_parsed_like_in_docker() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, whole) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.29", "docker.io/library/nginx:1.29"),
            ("bitnami/nginx:1", "docker.io/bitnami/nginx:1"),
            ("docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("index.docker.io/a/b:1", "docker.io/a/b:1"),
            ("localhost/a:1", "localhost/a:1"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("quay.io/a/b/c:v1", "quay.io/a/b/c:v1"),
            ("Registry.Example.com/a:1", "registry.example.com/a:1"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), whole, "{text}");
        }
        let by_digest = Reference::parse(&format!("nginx@{digest}")).unwrap();
        assert_eq!(by_digest.asked(), digest);
        assert_eq!(by_digest.mirrored_tag(), digest.replace(':', "-"));
        let both = Reference::parse(&format!("nginx:1@{digest}")).unwrap();
        assert_eq!(
            (both.asked(), both.mirrored_tag().as_str()),
            (digest.as_str(), "1")
        );
    }

    #[test]
    fn invalid_references_are_refused() {
        for text in [
            "",
            "a b",
            "nginx:",
            "quay.io/",
            "NGINX",
            "a//b",
            "nginx@sha256:12",
            "https://quay.io/a",
            "localhost:99999/a",
            "localhost:0/a",
            "localhost:/a",
            "[::1/a",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}

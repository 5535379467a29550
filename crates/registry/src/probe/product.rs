//! Guesses the product from its headers, and lists its known limitations.
//!
//! The guess may be wrong: proxies before the registry set headers too. The source of each
//! limitation is beside it.

use reqwest::header::{HeaderMap, SERVER, WWW_AUTHENTICATE};

/// The product of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Harbor,
    GitLab,
    Artifactory,
    Nexus,
    Quay,
    Ecr,
    Acr,
    Ghcr,
    Zot,
    Distribution,
    Unknown,
}

impl Product {
    /// Returns the name of the product, unless it is unknown.
    pub(super) fn name(self) -> Option<&'static str> {
        (self != Self::Unknown).then(|| self.about().0)
    }

    /// Returns the text of the finding.
    pub(super) fn text(self) -> String {
        let (name, limitations) = self.about();
        match limitations.is_empty() {
            true => name.to_owned(),
            false => format!("{name}: {limitations}"),
        }
    }

    /// Returns the name and the known limitations.
    fn about(self) -> (&'static str, &'static str) {
        match self {
            // goharbor/harbor#18860, #3270.
            Self::Harbor => (
                "Harbor",
                "a project must exist before the first push and may have a quota; its nginx may limit the size of a request",
            ),
            // GitLab's documentation of its token endpoint.
            Self::GitLab => (
                "GitLab",
                "the project must exist before the first push; tokens expire after minutes",
            ),
            // RTFACT-13797; GoogleContainerTools/jib#3399.
            Self::Artifactory => (
                "Artifactory",
                "it answers 403 for missing repositories, and 404 for existing upload sessions",
            ),
            // containers/buildah#575; Nexus' documentation of its Docker connectors.
            Self::Nexus => (
                "Nexus",
                "the registry has its own port; anonymous pulls require its Docker Bearer Token Realm",
            ),
            // GoogleContainerTools/jib#703; Quay's documentation of
            // FEATURE_EXTENDED_REPOSITORY_NAMES.
            Self::Quay => (
                "Quay",
                "deep paths must be enabled, mounts may be refused, and the request rate is limited",
            ),
            // The documentation of ECR: repositories, quotas of its API.
            Self::Ecr => (
                "ECR",
                "each repository must exist before the first push, tokens expire after 12 hours, and every pull requires one",
            ),
            // ACR's documentation of anonymous pull.
            Self::Acr => (
                "ACR",
                "anonymous pulls must be enabled, in the standard or premium tier",
            ),
            // oras-project/rust-oci-client#35.
            Self::Ghcr => ("GHCR", "each package is private until it is made public"),
            Self::Zot => ("zot", ""),
            // distribution's documentation of its configuration.
            Self::Distribution => (
                "distribution (registry:2), or based on it",
                "it deletes nothing unless storage.delete.enabled is set",
            ),
            Self::Unknown => ("unknown: its headers do not name it", ""),
        }
    }
}

/// Guesses the product from the address and the headers of `GET /v2/`.
pub(super) fn guess(address: &str, headers: &HeaderMap) -> Product {
    let text = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_lowercase()
    };
    let server = text(SERVER.as_str());
    let challenge = text(WWW_AUTHENTICATE.as_str());
    let host = address.to_lowercase();
    let host = host.split(':').next().unwrap_or_default();
    let has = |name: &str| headers.contains_key(name);
    if challenge.contains("service=\"harbor-registry\"") || has("x-harbor-csrf-token") {
        Product::Harbor
    } else if challenge.contains("service=\"container_registry\"") {
        Product::GitLab
    } else if has("x-jfrog-version") || has("x-artifactory-id") || server.contains("artifactory") {
        Product::Artifactory
    } else if server.starts_with("nexus") || challenge.contains("sonatype nexus") {
        Product::Nexus
    } else if host == "quay.io" || challenge.contains("/v2/auth\"") {
        Product::Quay
    } else if host.contains(".dkr.ecr.") {
        Product::Ecr
    } else if host.ends_with(".azurecr.io") {
        Product::Acr
    } else if host == "ghcr.io" {
        Product::Ghcr
    } else if server.starts_with("zot") || challenge.contains("realm=\"zot") {
        Product::Zot
    } else if has("docker-distribution-api-version") {
        Product::Distribution
    } else {
        Product::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_recognised_by_their_headers() {
        let api = ("docker-distribution-api-version", "registry/2.0");
        for (address, said, product) in [
            (
                "r.example.com",
                vec![
                    api,
                    (
                        "www-authenticate",
                        "Bearer realm=\"https://r.example.com/service/token\",service=\"harbor-registry\"",
                    ),
                ],
                Product::Harbor,
            ),
            (
                "r.example.com",
                vec![
                    api,
                    (
                        "www-authenticate",
                        "Bearer realm=\"https://git.example.com/jwt/auth\",service=\"container_registry\"",
                    ),
                ],
                Product::GitLab,
            ),
            (
                "r.example.com",
                vec![api, ("x-jfrog-version", "7")],
                Product::Artifactory,
            ),
            (
                "r.example.com",
                vec![api, ("server", "Nexus/3.70")],
                Product::Nexus,
            ),
            ("1.dkr.ecr.eu-west-1.amazonaws.com", vec![api], Product::Ecr),
            ("r.example.com:5000", vec![api], Product::Distribution),
            ("r.example.com", vec![("server", "nginx")], Product::Unknown),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in said {
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(guess(address, &headers), product);
        }
    }
}

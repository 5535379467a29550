//! What to do about a registry that refuses: one piece of advice for each of its errors.

use release::{Error, RegistryError};

/// Returns the advice for a registry's error, in the light of what was being done.
pub(super) fn advice(doing: &Error, error: &RegistryError) -> Vec<String> {
    let advice = match error {
        _ if matches!(doing, Error::NotAnonymous { .. }) => {
            "nodes pull without credentials: make the project public (Harbor, MSR: the project's access level). \
             Where the release supports it, name a pull secret in config.registries.imageRegistry.credentialsSecretName"
        }
        RegistryError::Unauthorized { .. } => {
            "check user and password: the variables that registry.push-credentials names, or `skopeo login`, \
             `docker login`, `podman login`"
        }
        RegistryError::Forbidden { .. } => {
            "the account must be allowed to push to this project, and its tags be changeable"
        }
        RegistryError::NotFound { .. } => {
            "does the project exist? Harbor, MSR and others want it made first; some registries allow only two levels \
             of names, and this bundle needs more"
        }
        RegistryError::UnknownAuthority { .. } => {
            "put the CA that signed the registry's certificate beside environment.yaml and name it: `registry.ca: registry-ca.pem`"
        }
        RegistryError::WrongHostName { .. } => {
            "the certificate must name the host as registry.address does: nodes check it as well"
        }
        RegistryError::CertificateExpired { .. } | RegistryError::CertificateNotYetValid { .. } => {
            "renew the registry's certificate, or mend this machine's clock"
        }
        RegistryError::CertificateAuthority { .. } => {
            "registry.ca must be the CA's certificate in PEM form"
        }
        RegistryError::PlainHttpServer { .. } => {
            "MKE's nodes want HTTPS: give the registry a certificate. Plain HTTP is spoken on loopback only"
        }
        RegistryError::HttpsServer { .. } => {
            "name the CA of this loopback registry in registry.ca, then HTTPS is spoken"
        }
        RegistryError::ConnectionRefused { .. } => {
            "is the registry up, and the port right? A firewall may refuse, too"
        }
        RegistryError::NameNotResolved { .. } => {
            "is registry.address right? Nodes and pods must be able to resolve this name as well"
        }
        RegistryError::NotARegistry { .. } => {
            "is the port that of the registry, and not of its web page?"
        }
        RegistryError::TooLarge { .. } => {
            "raise the body limit of the registry, or of the proxy before it (nginx: client_max_body_size 0)"
        }
        RegistryError::RateLimited { .. } | RegistryError::Unavailable { .. } => {
            "run it again later: what was pushed stays"
        }
        RegistryError::TimedOut { .. }
        | RegistryError::Stalled { .. }
        | RegistryError::ConnectionLost { .. } => {
            "run it again: what was pushed stays. Behind a proxy, put the registry into NO_PROXY"
        }
        RegistryError::Location { .. } => {
            "let the proxy before the registry pass on the Host and one X-Forwarded-Proto \
             (nginx: `proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;`), \
             or set the registry's own address (distribution: http.host, or http.relativeurls: true)"
        }
        RegistryError::UntrustedRealm { .. } => "the registry's token server must speak HTTPS",
        RegistryError::SourceContent { .. } | RegistryError::Source { .. } => {
            "the store is damaged: delete bundles/store, then run it again"
        }
        _ => return Vec::new(),
    };
    vec![advice.to_owned()]
}

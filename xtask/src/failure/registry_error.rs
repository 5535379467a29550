//! What to do about a registry that refuses: one piece of advice for each of its errors.

use release::{Error, RegistryError};

/// Returns the advice for a registry's error, in the light of what was being done.
pub(super) fn advice(doing: &Error, error: &RegistryError) -> Vec<String> {
    let proxy = error.place().and_then(|place| place.proxy.as_deref());
    if let (Some(proxy), true) = (proxy, is_about_the_way(error)) {
        return vec![format!(
            "check the proxy {proxy}, or add the registry to NO_PROXY"
        )];
    }
    let advice = match error {
        _ if matches!(
            doing,
            Error::Connect(release::connect::Error::NotAnonymous { .. })
        ) =>
        {
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
        RegistryError::NoAuthorities { .. } => {
            "add the CA that signed the registry's certificate as `registry.ca: registry-ca.pem` in environment.yaml, or install \
             the package ca-certificates"
        }
        RegistryError::AuthorityAsServer { .. } => return own_authority(error),
        RegistryError::UnsupportedSignature { .. } => {
            "Airlock verifies RSA, Ed25519, and ECDSA with P-256 or P-384 and SHA-256 or SHA-384: have the registry's certificate \
             signed with one of these"
        }
        RegistryError::Proxy { .. } => {
            "set the variable to http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters in the password \
             percent-encoded; to connect directly, add the registry to NO_PROXY"
        }
        RegistryError::WrongHostName { .. } => {
            "have a certificate issued that lists the host of registry.address as a subject alternative name (`openssl req -x509 ... \
             -addext \"subjectAltName=DNS:HOST\"`); nodes check the name too"
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
        RegistryError::Silent { .. } => {
            "is the port that of the registry? A firewall, or a balancer whose registry is down, accepts connections as well"
        }
        RegistryError::NameNotResolved { .. } => {
            "is registry.address right? Nodes and pods must be able to resolve this name as well"
        }
        RegistryError::Rejected { at, answer }
            if answer.status == 405 && !matches!(at.method.as_str(), "GET" | "HEAD") =>
        {
            "the registry is in read-only or maintenance mode, or a proxy before it forbids the methods POST, PUT and PATCH: \
             allow them for /v2/"
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
        | RegistryError::ConnectionLost { .. } => "run the command again: it resumes",
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

/// Returns whether an error is about reaching the registry, and not about what it answers.
fn is_about_the_way(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::ConnectionRefused { .. }
            | RegistryError::ConnectionLost { .. }
            | RegistryError::NameNotResolved { .. }
            | RegistryError::ProxyFailed { .. }
            | RegistryError::TimedOut { .. }
    )
}

/// Returns the commands for a registry whose certificate is its own CA.
fn own_authority(error: &RegistryError) -> Vec<String> {
    let url = error.place().map_or("", |place| place.url.as_str());
    let server = url.split('/').nth(2).unwrap_or_default();
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
        _ => (server, "443"),
    };
    vec![
        "compare the certificate that the registry uses with the one in use by its owner, then name it as `registry.ca: registry-ca.pem`:"
            .to_owned(),
        format!(
            "openssl s_client -connect {host}:{port} -servername {host} </dev/null | openssl x509 -out registry-ca.pem"
        ),
        format!(
            "or issue a server certificate: openssl req -x509 -CA ca.pem -CAkey ca.key -newkey rsa:3072 -noenc -keyout server.key \
             -out server.pem -days 365 -subj /CN={host} -addext basicConstraints=critical,CA:FALSE \
             -addext subjectAltName=DNS:{host}"
        ),
    ]
}

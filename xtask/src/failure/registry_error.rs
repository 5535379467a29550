//! Hints for errors of a registry: the advice for its fault, and details that the error has.

use release::RegistryError;
use release::preflight::RegistryFault;

use crate::advice;

pub(super) fn hints(error: &RegistryError) -> Vec<String> {
    let special = match error {
        RegistryError::CertificateAuthority { .. } => {
            "registry.ca must be the CA's certificate in PEM form"
        }
        RegistryError::Silent { .. } => {
            "check the port; a firewall, or a load balancer whose registry is down, also accepts connections"
        }
        RegistryError::Rejected { response, .. } if response.status == 411 => {
            "let the proxy before the registry pass bodies with their Content-Length; a request with a length was refused, too"
        }
        RegistryError::UntrustedRealm { .. } => "the registry's token server must speak HTTPS",
        RegistryError::RateLimited { quota: Some(_), .. } => {
            "wait until the limit is reset; with a login for that registry it is higher, and `mirror` in the set's file asks a mirror instead"
        }
        RegistryError::SourceContent { .. } | RegistryError::Source { .. } => {
            "the store is damaged: delete bundles/store, then run it again"
        }
        _ => match (advice::fault(error), error) {
            (Some(RegistryFault::Proxy), _) => return vec![proxy(error)],
            (Some(RegistryFault::TokenService), _) => advice::registry(RegistryFault::TokenService),
            (Some(RegistryFault::WrongLocation), RegistryError::NotFound { .. }) => {
                "let the proxy before the registry pass paths unchanged, in requests and in `Location`; replicas of a registry must share \
                 their storage and their secret (distribution: http.secret)"
            }
            (_, RegistryError::ConnectionLost { at, .. } | RegistryError::TimedOut { at, .. })
                if matches!(at.method.as_str(), "GET" | "HEAD") =>
            {
                "check the registry, or the proxy before it, then run the command again"
            }
            (
                _,
                RegistryError::ConnectionLost { .. }
                | RegistryError::TimedOut { .. }
                | RegistryError::Stalled { .. },
            ) => "run the command again: it resumes",
            (Some(fault), _) => advice::registry(fault),
            (None, _) => return Vec::new(),
        },
    };
    let mut hints = vec![special.to_owned()];
    match error {
        RegistryError::NoAuthorities { .. } => {
            hints.push("or install the package ca-certificates".to_owned());
        }
        RegistryError::AuthorityAsServer { .. } => hints.extend(own_authority(error)),
        RegistryError::Unauthorized { at, .. } if at.has_odd_password => hints.push(
            "the password begins or ends with a space or a quotation mark: check that it belongs there".to_owned(),
        ),
        _ => {}
    }
    hints
}

/// Returns whether the registry refused a request and would refuse it again.
pub(super) fn is_final(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Unauthorized { .. }
            | RegistryError::Forbidden { .. }
            | RegistryError::NotFound { .. }
            | RegistryError::TooLarge { .. }
            | RegistryError::Rejected { .. }
    )
}

/// Returns the advice for a proxy, with its name if the error has it.
fn proxy(error: &RegistryError) -> String {
    match error.place().and_then(|place| place.proxy.as_deref()) {
        Some(proxy) => format!("check the proxy {proxy}, or add the registry to NO_PROXY"),
        None => advice::registry(RegistryFault::Proxy).to_owned(),
    }
}

/// Returns the commands for a registry whose server certificate is also its CA.
fn own_authority(error: &RegistryError) -> [String; 2] {
    let url = error.place().map_or("", |place| place.url.as_str());
    let server = url.split('/').nth(2).unwrap_or_default();
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
        _ => (server, "443"),
    };
    let name = host.trim_matches(['[', ']']);
    let kind = match name.parse::<std::net::IpAddr>() {
        Ok(_) => "IP",
        Err(_) => "DNS",
    };
    [
        format!(
            "show the certificate: openssl s_client -connect {host}:{port} -servername {name} </dev/null | openssl x509 -out registry-ca.pem"
        ),
        format!(
            "issue a server certificate: openssl req -x509 -CA ca.pem -CAkey ca.key -newkey rsa:3072 -noenc -keyout server.key \
             -out server.pem -days 365 -subj /CN={name} -addext basicConstraints=critical,CA:FALSE \
             -addext subjectAltName={kind}:{name}"
        ),
    ]
}

//! What to do about each fault that preflight finds, and the command for it, where there is one.

mod node;

use environment::Environment;
use release::preflight::{Check, Fault, RegistryFault, WorkspaceFault};

/// What is to be done.
pub(super) struct Cure {
    /// In words.
    pub(super) text: &'static str,
    /// The command that does it, or shows more.
    pub(super) command: Option<String>,
}

/// Returns the cure of the fault that a check found in an environment.
pub(super) fn cure(fault: Fault, check: &Check, environment: &Environment) -> Cure {
    match fault {
        Fault::Workspace(fault) => here(fault, environment),
        Fault::Registry(fault) => there(fault, environment),
        Fault::Node(fault) => node::on_nodes(fault, &check.shared, environment),
    }
}

fn here(fault: WorkspaceFault, environment: &Environment) -> Cure {
    let name = &environment.name;
    let release = &environment.release;
    let (text, command) = match fault {
        WorkspaceFault::Configuration => (
            "mend environment.yaml; the command shows each problem where it stands",
            format!("cargo xtask render {name} --check"),
        ),
        WorkspaceFault::AuthorityOutOfDate => {
            return words("put the certificate that is in use into the file of registry.ca");
        }
        WorkspaceFault::CredentialsMissing => {
            return words(
                "set the variables that registry.push-credentials names, or remove it and log in with Docker, Podman or Skopeo",
            );
        }
        WorkspaceFault::NotLocked => (
            "lock the release on a machine with internet, and commit the lock",
            format!("cargo xtask lock v{release}"),
        ),
        WorkspaceFault::LockBroken => (
            "restore the committed lock",
            format!("git checkout -- bundles/v{release}-amd64.lock.yaml"),
        ),
        WorkspaceFault::BundleMissing => (
            "fetch the bundle on a machine with internet, and carry its file to bundles/",
            format!("cargo xtask fetch {name}"),
        ),
        WorkspaceFault::BundleDiffers => (
            "delete the file, then fetch it again, or copy it again: it is another one, or not whole",
            format!("cargo xtask fetch {name}"),
        ),
        WorkspaceFault::NotInBundle => {
            return words(
                "bring it across the gap and prepare the nodes with it; then write `accept: [not-in-bundle]` in environment.yaml",
            );
        }
        WorkspaceFault::ToolMissing => {
            return words(
                "bring kubectl and helm across the gap, and put them into a folder of PATH",
            );
        }
        WorkspaceFault::MkectlMissing => (
            "fetch the release's mkectl on a machine with internet, and carry bundles/mkectl/; or put it on PATH",
            format!("cargo xtask fetch {name}"),
        ),
        WorkspaceFault::RequirementUnmet => (
            "deploy to the required environment first; `deploy --override-requires REASON` goes without, and the receipt keeps the reason",
            match &environment.requires {
                Some(requirement) => format!("cargo xtask deploy {}", requirement.environment),
                None => format!("cargo xtask check {name}"),
            },
        ),
        WorkspaceFault::DiskFull => (
            "make room, or give bundles/ a larger disk; what no lock names can go",
            "cargo xtask store gc".to_owned(),
        ),
    };
    with(text, command)
}

fn there(fault: RegistryFault, environment: &Environment) -> Cure {
    let address = &environment.registry.address;
    let host = environment.registry.host();
    let port = environment.registry.port().unwrap_or(443);
    let is_plain = environment.registry.is_loopback() && environment.registry.ca.is_none();
    let scheme = if is_plain { "http" } else { "https" };
    let (text, command) = match fault {
        RegistryFault::NameNotResolved => (
            "put the name into the DNS that nodes and pods use, or mend registry.address",
            format!("getent hosts {host}"),
        ),
        RegistryFault::NameOfLoopback => (
            "take the name out of this machine's hosts file: nodes and pods must resolve it by DNS",
            format!("getent hosts {host}"),
        ),
        RegistryFault::NotReached => (
            "start the registry, open the port in the firewall, or mend registry.address",
            format!("curl -v {scheme}://{address}/v2/"),
        ),
        RegistryFault::Proxy => (
            "check the proxy variable of this machine, or add the registry to NO_PROXY",
            format!("curl -v {scheme}://{address}/v2/"),
        ),
        RegistryFault::PlainHttp => (
            "give the registry a certificate: nodes want HTTPS",
            format!("curl -v http://{address}/v2/"),
        ),
        RegistryFault::WantsTls => {
            return words(
                "name the CA of this loopback registry in registry.ca, then HTTPS is spoken",
            );
        }
        RegistryFault::UnknownAuthority => (
            "put the CA that signed the certificate beside environment.yaml and name it: `registry.ca: registry-ca.pem`",
            show_certificate(host, port),
        ),
        RegistryFault::OtherAuthority => (
            "put the CA that signed the certificate in use into the file of registry.ca: nodes get that file",
            show_certificate(host, port),
        ),
        RegistryFault::AuthorityAsServer => (
            "put the certificate that the registry uses into the file of registry.ca, or issue a server certificate from your CA",
            show_certificate(host, port),
        ),
        RegistryFault::UnsupportedSignature => (
            "have the certificate signed with RSA, Ed25519, or ECDSA with P-256 or P-384 and SHA-256 or SHA-384",
            show_certificate(host, port),
        ),
        RegistryFault::WrongName => (
            "have a certificate made that names the host as registry.address does, or use a name that it has",
            show_certificate(host, port),
        ),
        RegistryFault::Expired | RegistryFault::ExpiresSoon => (
            "renew the registry's certificate; if its date is right, mend this machine's clock",
            show_certificate(host, port),
        ),
        RegistryFault::NotYetValid => (
            "mend this machine's clock, or have the registry's certificate made again",
            "timedatectl".to_owned(),
        ),
        RegistryFault::Tls => (
            "look at the registry's TLS settings: version 1.2 or 1.3 with a modern cipher is wanted",
            show_certificate(host, port),
        ),
        RegistryFault::LoginPage => (
            "take the registry's own port, or let the proxy before it pass /v2/ without a login page",
            format!("curl -i {scheme}://{address}/v2/"),
        ),
        RegistryFault::Redirected => (
            "write the host that it leads to into registry.address, or let it answer /v2/ itself",
            format!("curl -i {scheme}://{address}/v2/"),
        ),
        RegistryFault::NotARegistry => (
            "take the port of the registry, and let proxies before it pass /v2/",
            format!("curl -i {scheme}://{address}/v2/"),
        ),
        RegistryFault::ClockOff => (
            "set both clocks by the same time server: tokens and certificates depend on them",
            "timedatectl".to_owned(),
        ),
        RegistryFault::LoginRefused => (
            "check user and password: the variables that registry.push-credentials names, or log in again",
            format!("skopeo login {address}"),
        ),
        RegistryFault::TokenService => (
            "start the registry's token service, and let this machine and the nodes reach the address that it names",
            format!("curl -i {scheme}://{address}/v2/"),
        ),
        RegistryFault::DeepPath => {
            return words(
                "allow nested repositories in the registry, or use another one: a release has names of several levels below the project",
            );
        }
        RegistryFault::NotAllowed => {
            return words("let the account push to this project");
        }
        RegistryFault::NoProject => {
            return words("make the project in the registry first, or mend registry.project");
        }
        RegistryFault::ReadOnly => {
            return words(
                "end the registry's read-only or maintenance mode, or push to the one that it is a copy of",
            );
        }
        RegistryFault::Quota => {
            return words("raise the project's quota, or remove what it does not need");
        }
        RegistryFault::BodyLimit => {
            return words(
                "raise the body limit of the registry, or of the proxy before it (nginx: client_max_body_size 0)",
            );
        }
        RegistryFault::NoChunks => {
            return words(
                "nothing has to be done: large blobs go in one request, and start over where it is cut",
            );
        }
        RegistryFault::NoMount => {
            return words("nothing has to be done: shared blobs are sent once for each repository");
        }
        RegistryFault::ManifestRefused => {
            return words(
                "allow this kind of manifest in the registry (OCI image, OCI index, Helm chart, other OCI artifacts), or update it: a release \
                 needs all of them",
            );
        }
        RegistryFault::HeadRefused => {
            return words(
                "let the proxy before the registry pass HEAD as it passes GET: container runtimes look tags up by it",
            );
        }
        RegistryFault::ServedElsewhere => {
            return words(
                "let nodes resolve, reach and trust that host as well, or turn redirects off in the registry \
                 (distribution: storage.redirect.disable)",
            );
        }
        RegistryFault::WrongLocation => {
            return words(
                "let the proxy before the registry pass on the Host and one X-Forwarded-Proto \
                 (nginx: `proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;`), \
                 or set the registry's own address (distribution: http.host, or http.relativeurls: true)",
            );
        }
        RegistryFault::RedirectedWithCa => {
            return words(
                "turn redirects off in the registry, because charts are pulled with caData alone (distribution: storage.redirect.disable: true; \
                 Harbor: storage_service.redirect.disable: true, or persistence.imageChartStorage.disableredirect in its chart; \
                 Quay: FEATURE_PROXY_STORAGE: true)",
            );
        }
        RegistryFault::NotAnonymous => {
            return words(
                "make the project public (Harbor, MSR: the project's access level), or where the release supports it, \
                 name a pull secret in config.registries.imageRegistry.credentialsSecretName",
            );
        }
        RegistryFault::PullRefused => {
            return words(
                "let the account of registry.pull-credentials read the project, or mend what they name: nodes pull with them",
            );
        }
        RegistryFault::NotServed => {
            return words(
                "look at the registry's log: it took something, and does not serve it as it was",
            );
        }
        RegistryFault::NoDelete => {
            return words(
                "remove the tags that are named by hand, if they are in the way; nothing else needs deletion",
            );
        }
        RegistryFault::Slow => (
            "find out what holds it up before a push of hours: the line, a proxy, the registry's disk",
            format!("curl -o /dev/null -w '%{{time_total}}\\n' {scheme}://{address}/v2/"),
        ),
        RegistryFault::RateLimited => {
            return words(
                "raise the limit of requests for this account; pushes slow down by themselves",
            );
        }
        RegistryFault::Unavailable | RegistryFault::Other => {
            return words("look at the registry's log for the request that is named");
        }
    };
    with(text, command)
}

fn show_certificate(host: &str, port: u16) -> String {
    format!("openssl s_client -connect {host}:{port} -servername {host} -showcerts </dev/null")
}

fn words(text: &'static str) -> Cure {
    Cure {
        text,
        command: None,
    }
}

fn with(text: &'static str, command: String) -> Cure {
    Cure {
        text,
        command: Some(command),
    }
}

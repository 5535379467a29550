//! Advice for faults, in one wording for the hints of errors, `preflight` and `status`.

use camino::Utf8Path;
use release::RegistryError;
use release::event::Remediable;
use release::preflight::RegistryFault;

/// Advice for a receipt in the format of a newer version.
pub(crate) const NEWER_AIRLOCK: &str = "use the version of Airlock that wrote it, or a newer one";

/// Advice for push credentials that an environment names and that are missing.
pub(crate) const CREDENTIALS: &str = "set the variables that `push-credentials` names; without `push-credentials`, log in with Docker, Podman or Skopeo, which write the file";

/// Message for a workspace without environments.
pub(crate) const NO_ENVIRONMENTS: &str =
    "No environment exists yet. Create one with `cargo xtask new NAME`.\n";

/// Advice for a disk without room for bundles.
pub(crate) const DISK_FULL: &str = "free space, or use a larger disk for bundles/; `cargo xtask store gc` removes blobs that no lock names";

/// Advice if the address of a rehearsal's registry is in use.
pub(crate) const ADDRESS_IN_USE: &str = "wait for another command of this environment to end, or change registry.address to a free port";

/// Returns `inside` if this run is inside the air gap, where nothing is downloaded, else `outside`.
pub(crate) fn here<T>(outside: T, inside: T) -> T {
    match crate::called::is_inside() {
        true => inside,
        false => outside,
    }
}

/// Returns the advice for a missing mkectl of a release such as `v4.1.5`. `is_locked` is whether
/// the lock lists that mkectl, if known.
pub(crate) fn mkectl(release: &str, is_locked: Option<bool>) -> String {
    let folder = release::transfer::program::folder(release);
    let locked = here(
        format!("`cargo xtask fetch {release}` downloads it to {folder}/; or "),
        format!("copy `mkectl` and `mkectl.tar.gz` to {folder}/; or "),
    );
    let locked = match is_locked {
        Some(true) => locked,
        Some(false) => String::new(),
        None => format!("if the lock lists it, {locked}"),
    };
    format!(
        "{locked}put the mkectl of {release} on PATH, or name it in the environment: `mkectl: ./path/to/mkectl`"
    )
}

/// Returns the advice for a file missing from bundles/. `name` is empty if it is unknown.
pub(crate) fn bundle_missing(name: &str) -> String {
    format!("copy the file to bundles/{name}")
}

/// Returns the advice for a bundle that differs from its lock. It does not say to delete the file,
/// which may be the operator's only copy.
pub(crate) fn bundle_differs(path: Option<&Utf8Path>) -> String {
    // The vendor's file names contain the release: `mke_bundle_v4.1.5_amd64.tar.gz`.
    let named = path
        .and_then(Utf8Path::file_name)
        .and_then(|name| name.strip_prefix("mke_bundle_"))
        .and_then(|name| name.strip_suffix(".tar.gz"))
        .and_then(|name| name.rsplit_once('_'));
    let lock = match named {
        Some((release, arch)) => format!("the lock bundles/{release}-{arch}.lock.yaml"),
        None => "the lock".to_owned(),
    };
    format!(
        "trust {lock}, which was reviewed and committed, not the copied bundle: compare {} with its source, and copy it again{}",
        path.map_or("the file", Utf8Path::as_str),
        here(
            "; to download it, move it away and run `cargo xtask fetch`",
            ""
        )
    )
}

/// Returns the advice for a release or a set without a lock.
pub(crate) fn not_locked(name: &str) -> String {
    format!(
        "with internet: `cargo xtask lock {name}`, and commit it; without: unpack a medium that has the lock"
    )
}

/// Returns the advice for a committed lock that is not valid.
pub(crate) fn lock_broken(path: &str) -> String {
    format!("restore the committed lock: `git checkout HEAD -- {path}`")
}

/// Returns the advice for a file of Airlock with a merge conflict.
pub(crate) fn conflict(path: &Utf8Path) -> String {
    format!(
        "keep one of the two sides: `git checkout --ours {path}` or `git checkout --theirs {path}`, then `git add {path}`"
    )
}

/// Returns the advice for an unmet `requires` of an environment.
pub(crate) fn requirement_unmet(environment: &str, required: &str) -> String {
    format!(
        "`cargo xtask status {required}` shows more; `cargo xtask deploy {environment} --override-requires REASON` ignores the requirement, \
         and the receipt records the reason"
    )
}

/// Returns the text of a warning, with the remedy.
pub(crate) fn warning(fault: &Remediable) -> String {
    match fault {
        Remediable::NoDefaults(release) => format!(
            "no mkectl v{release} on PATH: its defaults are not recorded, and a rendered configuration lacks them; install it and run \
             `cargo xtask lock v{release} --replace`"
        ),
        Remediable::PasswordMissed { can_reset } => {
            let reset = match can_reset {
                true => {
                    "; if the log does not have it, set a new one with `mkectl reset-password --user admin --password-stdin`"
                }
                false => "",
            };
            format!(
                "mkectl printed the administrator's password in an unknown format: look for it in the log{reset}"
            )
        }
        Remediable::Contradiction { release, what } => {
            format!("{release}: {what}; `cargo xtask learn {release}` records it")
        }
    }
}

/// Returns the message for a workspace without locks.
pub(crate) fn no_locks() -> &'static str {
    here(
        "No release is locked. Lock one with `cargo xtask lock v4.1.5`.\n",
        "No release is locked. Copy the repository here again, with a lock from outside.\n",
    )
}

/// Returns the advice for blobs that neither the store nor the registry of an environment has.
pub(crate) fn blobs_missing(environment: &str) -> [String; 2] {
    [
        format!(
            "write a snapshot of the registry, and carry it outside: `cargo xtask snapshot {environment} --out FILE`"
        ),
        format!(
            "outside, `pack {environment} --have FILE --out DIR` writes what is missing; here, `unpack DIR` imports it"
        ),
    ]
}

/// Returns the advice for a fault of a registry.
pub(crate) fn registry(fault: RegistryFault) -> &'static str {
    match fault {
        RegistryFault::NameNotResolved => {
            "put the name into the DNS that nodes and pods use, or correct registry.address"
        }
        RegistryFault::NameOfLoopback => {
            "remove the name from the hosts file: nodes and pods must resolve it by DNS"
        }
        RegistryFault::NotReached => {
            "start the registry, open the port in the firewall, or correct registry.address"
        }
        RegistryFault::Proxy => {
            "check the proxy variable of this machine (http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters in the \
             password percent-encoded), or add the registry to NO_PROXY"
        }
        RegistryFault::PlainHttp => {
            "give the registry a certificate: nodes require HTTPS. Airlock uses plain HTTP for loopback addresses only"
        }
        RegistryFault::RequiresTls => {
            "name the CA of this loopback registry in registry.ca: Airlock then uses HTTPS"
        }
        RegistryFault::UnknownAuthority => {
            "copy the CA that signed the registry's certificate next to environment.yaml and name it: `registry.ca: registry-ca.pem`; a CA that is named there already did not sign it"
        }
        RegistryFault::OtherAuthority => {
            "put the CA that signed the certificate in use into the file of registry.ca: nodes get that file"
        }
        RegistryFault::AuthorityAsServer => {
            "compare the certificate that the registry uses with the one of its owner, then name it as `registry.ca: registry-ca.pem`; \
             or issue a server certificate from your CA"
        }
        RegistryFault::UnsupportedSignature => {
            "have the certificate signed with RSA, Ed25519, or ECDSA with P-256 or P-384 and SHA-256 or SHA-384"
        }
        RegistryFault::WeakKey => {
            "have the certificates of the registry and of its CA issued with RSA keys of 2048 bits or more, or with ECDSA keys"
        }
        RegistryFault::WrongName => {
            "have a certificate issued that lists the host of registry.address as a subject alternative name (`openssl req -x509 ... \
             -addext \"subjectAltName=DNS:HOST\"`, or `IP:ADDRESS` for an address); nodes check the name too"
        }
        RegistryFault::Expired => {
            "renew the registry's certificate; if its date is right, correct this machine's clock"
        }
        RegistryFault::ExpiresSoon => {
            "renew the registry's certificate before it expires: nodes then stop pulling"
        }
        RegistryFault::NotYetValid => {
            "correct this machine's clock, or have the registry's certificate issued again"
        }
        RegistryFault::Tls => {
            "correct the registry's TLS settings: offer version 1.2 or 1.3 with a modern cipher, and turn client certificates off, or use another \
             port; if the certificate is not for servers, reissue it with extended key usage serverAuth"
        }
        RegistryFault::LoginPage => {
            "use the registry's own port, or let the proxy before it pass /v2/ without a login page"
        }
        RegistryFault::Redirected => {
            "write the host that it leads to into registry.address, or let it answer /v2/ itself"
        }
        RegistryFault::NotARegistry => {
            "use the port of the registry, and let proxies before it pass /v2/"
        }
        RegistryFault::ClockOff => {
            "synchronize both clocks with the same time server: tokens and certificates depend on them"
        }
        RegistryFault::LoginRefused => {
            "check user and password: the variables that registry.push-credentials names, or `skopeo login`, `docker login`, `podman login`"
        }
        RegistryFault::NoCredentials => {
            "configure a login: name variables in `registry.push-credentials` and set them, or use `skopeo login`, `docker login` or \
             `podman login`"
        }
        RegistryFault::UnsupportedLogin => {
            "let the server, or the proxy before it, accept a name and a password (Basic) or tokens (Bearer), and use a robot or service \
             account"
        }
        RegistryFault::TokenService => {
            "start the registry's token service, and let this machine and the nodes reach the address that the registry names as its realm; if \
             that address redirects, name the final one in the registry's configuration (distribution: auth.token.realm)"
        }
        RegistryFault::DeepPath => {
            "allow nested repositories in the registry, or use a different one: a release has names of several levels below the project"
        }
        RegistryFault::NotAllowed => "let the account push to this project and change its tags",
        RegistryFault::NoProject => {
            "create the project in the registry first (Harbor, MSR), or correct registry.project; some registries allow only two levels \
             of names, and a release needs more"
        }
        RegistryFault::ReadOnly => {
            "end the registry's read-only or maintenance mode, push to the registry that it is a copy of, or let the proxy before it pass \
             POST, PUT and PATCH for /v2/"
        }
        RegistryFault::Quota => "raise the project's quota, or remove what it does not need",
        RegistryFault::DiskFull => {
            "free space on the registry's disk, or enlarge it; a rehearsal's registry is in this workspace, in bundles/rehearsal/"
        }
        RegistryFault::BodyLimit => {
            "raise the body limit of the registry, or of the proxy before it (nginx: client_max_body_size 0)"
        }
        RegistryFault::NoChunks => {
            "no action needed: large blobs are sent in one request, and start over if it is cut"
        }
        RegistryFault::NoMount => {
            "no action needed: shared blobs are sent once for each repository"
        }
        RegistryFault::ManifestRefused => {
            "allow this kind of manifest in the registry (OCI image, OCI index, Helm chart, other OCI artifacts), or update it: a release \
             needs all of them"
        }
        RegistryFault::ImmutableTag => {
            "allow this tag to be overwritten (the project's rules for immutable or locked tags), or push to a different project: \
             `registry.project`"
        }
        RegistryFault::Blocked => {
            "a policy of the registry, or of a proxy before it, blocks this image: ask its administrator for an exception"
        }
        RegistryFault::HeadRefused => {
            "let the proxy before the registry pass HEAD as it passes GET: container runtimes look up tags with HEAD"
        }
        RegistryFault::ServedElsewhere => {
            "let nodes resolve, reach and trust that host as well, or turn redirects off in the registry \
             (distribution: storage.redirect.disable)"
        }
        RegistryFault::WrongLocation => {
            "let the proxy before the registry pass on the Host and one X-Forwarded-Proto \
             (nginx: `proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;`), \
             or set the registry's own address (distribution: http.host, or http.relativeurls: true)"
        }
        RegistryFault::RedirectedWithCa => {
            "turn redirects off in the registry, because charts are pulled with caData alone (distribution: storage.redirect.disable: true; \
             Harbor: storage_service.redirect.disable: true, or persistence.imageChartStorage.disableredirect in its chart; \
             Quay: FEATURE_PROXY_STORAGE: true)"
        }
        RegistryFault::NotAnonymous => {
            "nodes pull without credentials: make the project public (Harbor, MSR: the project's access level). \
             Where the release supports it, name a pull secret in config.registries.imageRegistry.credentialsSecretName"
        }
        RegistryFault::PullRefused => {
            "let the account of registry.pull-credentials (without them, of push-credentials) read the project, or correct what they name: \
             nodes pull with them"
        }
        RegistryFault::NotServed => "check the registry's log: it does not serve what it accepted",
        RegistryFault::NoDelete => {
            "delete the tags by hand if they disturb; Airlock does not need deletion"
        }
        RegistryFault::Slow => {
            "find the bottleneck before a long push: network, proxy or the registry's disk"
        }
        RegistryFault::RateLimited => {
            "raise the limit of requests for this account, or run it again later"
        }
        RegistryFault::Unavailable => {
            "run it again later; if it fails again, check the registry's log for this request"
        }
        RegistryFault::Other => "check the registry's log for this request",
    }
}

/// Returns the fault behind a registry's error, or `None` if the advice is to retry.
pub(crate) fn fault(error: &RegistryError) -> Option<RegistryFault> {
    match error {
        RegistryError::Unauthorized { .. } => Some(RegistryFault::of_login(error)),
        error => match (RegistryFault::of(error), error) {
            (RegistryFault::Blocked, _) => Some(RegistryFault::Blocked),
            // A refused read is not caused by a registry in read-only mode.
            (_, RegistryError::Rejected { at, .. })
                if matches!(at.method.as_str(), "GET" | "HEAD") =>
            {
                None
            }
            (RegistryFault::Other, RegistryError::Rejected { .. }) => Some(RegistryFault::Other),
            (RegistryFault::Other | RegistryFault::NotServed | RegistryFault::Slow, _) => None,
            (fault, _) => Some(fault),
        },
    }
}

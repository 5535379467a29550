//! Hints for downloads, and for files that are not on this machine.

use camino::Utf8Path;
use release::preflight::RegistryFault;
use release::transfer::fetch::Error;

use crate::advice::{self, here};

pub(super) fn hints(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::Offline { what, .. }
            if !what.starts_with("bundles") && !what.as_str().contains(' ') =>
        {
            "run it on a machine with internet, without `--offline` and AIRLOCK_OFFLINE".to_owned()
        }
        Error::Offline { what, .. } => missing(what),
        Error::NoBundle { path } => missing(path),
        Error::Nowhere { environment, .. } | Error::NoMatrix { environment, .. } => {
            return advice::blobs_missing(environment).into();
        }
        Error::NoPlatform { known, .. } => match known.first() {
            Some(known) => format!("name a platform of the lock, such as `--platform {known}`"),
            None => return Vec::new(),
        },
        Error::Download { source, path, .. } => return download(source, path),
    };
    vec![hint]
}

/// Returns whether the server sent different content than expected.
fn has_different_content(error: &release::DownloadError) -> bool {
    use release::DownloadError::{Html, NotGzip, Sha256, Size};
    matches!(
        error,
        Html { .. } | NotGzip { .. } | Size { .. } | Sha256 { .. }
    )
}

/// Returns the hint for a file that is missing on this machine and not downloaded.
fn missing(path: &Utf8Path) -> String {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    match path.file_name() {
        Some("mkectl.tar.gz") => format!(
            "copy mkectl's archive to {path}; for `fetch` without `--platform`, it is enough to put the release's mkectl on PATH{}",
            here(
                "; a connected machine downloads it with `cargo xtask fetch --platform`",
                ""
            )
        ),
        Some(name) if folder == "bundles" => advice::bundle_missing(name),
        _ if path.as_str().contains(' ') => "give it as a file with `--checksum FILE`".to_owned(),
        _ => format!("check the path {path}"),
    }
}

fn download(error: &release::DownloadError, path: &Utf8Path) -> Vec<String> {
    use release::RequestError::{Connect, Name, TimedOut};
    // Bundles of releases have known names; every other file in bundles/ belongs to a set.
    let name = path.file_name().unwrap_or_default();
    let is_of_set =
        path.starts_with("bundles") && !name.starts_with("mke_bundle_") && name != "mkectl.tar.gz";
    let hint = match error {
        release::DownloadError::Request(Name { .. } | Connect { .. } | TimedOut { .. }) => {
            return vec![
                format!(
                    "on a machine without internet, {}, and add `--offline`",
                    missing(path)
                ),
                "behind a proxy, set HTTPS_PROXY".to_owned(),
            ];
        }
        release::DownloadError::Request(release::RequestError::NotFound { .. }) if is_of_set => {
            "check the URL in the set's file; a bundle that is copied to bundles/ is not downloaded"
        }
        release::DownloadError::Request(release::RequestError::NotFound { .. }) => {
            "check the release; name a different URL with `cargo xtask lock --url URL`, or a file with \
             `--bundle FILE`; a bundle that is copied to bundles/ is not downloaded"
        }
        release::DownloadError::Html { .. } => {
            "a proxy or portal answers instead of the server, or requires a login: open the URL in a browser. \
             Behind a proxy, set HTTPS_PROXY"
        }
        release::DownloadError::Request(release::RequestError::ProxyFailed { .. }) => {
            "check the proxy and its variable, or add the host to NO_PROXY; a bundle that is copied to bundles/ is not downloaded"
        }
        release::DownloadError::Request(release::RequestError::Proxy { .. }) => {
            "set the variable to http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with special characters in the password \
             percent-encoded; to connect directly, add the host to NO_PROXY"
        }
        release::DownloadError::Request(error) if error.has_no_authorities() => {
            "install the package ca-certificates, or set SSL_CERT_FILE to a file of CA certificates; a bundle that is copied to \
             bundles/ is not downloaded"
        }
        error if has_different_content(error) && is_of_set => {
            "the file at the URL is not the one of the set or its lock: ask the vendor whether it was replaced; nothing of the download was kept"
        }
        error if has_different_content(error) => {
            "trust the committed lock, and ask the vendor whether the file at the URL was replaced; nothing of the download was kept"
        }
        release::DownloadError::Request(
            release::RequestError::TooManyRedirects { .. }
            | release::RequestError::InsecureRedirect { .. },
        ) => {
            "the server redirects in a loop or to an insecure URL; download the bundle by other means and copy it to bundles/"
        }
        release::DownloadError::Request(release::RequestError::Status {
            status: 401 | 403,
            ..
        }) if is_of_set => {
            "log in to the server with Docker, Podman or Skopeo, or correct the login; a bundle that is copied to bundles/ is not \
             downloaded"
        }
        release::DownloadError::Request(error) if let Some(tls) = error.tls() => {
            match RegistryFault::of_tls(tls, false) {
                RegistryFault::UnknownAuthority | RegistryFault::AuthorityAsServer if is_of_set => {
                    "name the server's CA by `ca` below `registries` in the set's file; a bundle that is copied to bundles/ is not downloaded"
                }
                RegistryFault::UnknownAuthority | RegistryFault::AuthorityAsServer => {
                    "a proxy may inspect TLS: add its CA to the system's certificates, or name a file with it as SSL_CERT_FILE; a bundle \
                     that is copied to bundles/ is not downloaded"
                }
                RegistryFault::Expired | RegistryFault::NotYetValid => {
                    "correct this machine's clock; if it is right, the server needs a new certificate. A bundle that is copied to \
                     bundles/ is not downloaded"
                }
                RegistryFault::WrongName => {
                    "use the server's own name in the URL; a bundle that is copied to bundles/ is not downloaded"
                }
                RegistryFault::WeakKey | RegistryFault::UnsupportedSignature => {
                    "the server needs a certificate with a stronger key or signature; download the bundle by other means and copy it \
                     to bundles/"
                }
                _ => {
                    "the server must offer TLS 1.2 or 1.3 with a modern cipher, ask for no client certificate, and have a certificate for servers \
                     (serverAuth); a bundle that is copied to bundles/ is not downloaded"
                }
            }
        }
        release::DownloadError::Request(release::RequestError::Status { status: 429, .. }) => {
            "the server limits requests: run it again later; the download resumes"
        }
        _ => "run it again: the download resumes. Behind a proxy, set HTTPS_PROXY",
    };
    vec![hint.to_owned()]
}

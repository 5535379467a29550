//! The syntax of addresses, projects, releases and names. The functions are pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use semver::Version;

use crate::{error::Error, problem::quote};

/// A problem with a text, and its fix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) rule: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(rule: impl Into<String>) -> Fault {
        Fault {
            rule: rule.into(),
            help: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }
}

/// Parses a release: `v` and a semantic version.
pub(crate) fn release(text: &str) -> Result<Version, Fault> {
    let fault = || Fault::new(format!("{} is not a release", quote(text)));
    let Some(number) = text.strip_prefix('v') else {
        let number = text.strip_prefix('V').unwrap_or(text);
        return Err(match Version::parse(number) {
            Ok(version) => fault().help(format!("write `v{version}`")),
            Err(_) => fault().help("write `v` and three numbers, such as `v4.1.5`"),
        });
    };
    Version::parse(number)
        .map_err(|_| fault().help("write `v` and three numbers, such as `v4.1.5`"))
}

/// Parses a version of MKE 3, with or without a `v`.
pub(crate) fn mke3_version(text: &str) -> Result<Version, Fault> {
    let version = Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    version.filter(|version| version.major == 3).ok_or_else(|| {
        Fault::new(format!("{} is not an MKE 3 version", quote(text)))
            .help("write all three numbers, such as `3.8.2`")
    })
}

/// Checks a registry's address: `host[:port]`.
///
/// Messages do not quote an address with user information, which may contain a password.
pub(crate) fn address(text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(
            Fault::new("the registry's address is empty").help("write `host` or `host:port`")
        );
    }
    if text.contains('@') {
        return Err(Fault::new("an address cannot contain a user or password")
            .help("write `host` or `host:port`, and name the credentials in `push-credentials`"));
    }
    // Not quoted: a query may contain a token.
    if text.contains(['?', '#']) {
        return Err(
            Fault::new("an address cannot contain a query").help("write `host` or `host:port`")
        );
    }
    let quoted = quote(text);
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.trim_matches('/');
        return Err(
            Fault::new(format!("the address {quoted} has a scheme")).help(
                match rest.split_once('/') {
                    None => format!("write {}", quote(rest)),
                    Some((host, path)) => {
                        format!("write {}, and {} as `project`", quote(host), quote(path))
                    }
                },
            ),
        );
    }
    if let Some((host, path)) = text.split_once('/') {
        let path = path.trim_matches('/');
        return Err(Fault::new(format!("the address {quoted} has a path")).help(
            if path.is_empty() {
                format!("write {}", quote(host))
            } else {
                format!("write {}, and {} as `project`", quote(host), quote(path))
            },
        ));
    }
    let (host, port) = split_address(text);
    if !host.starts_with('[') && host.contains(':') {
        let fault = Fault::new(format!("the address {quoted} has more than one colon"));
        return Err(if text.parse::<Ipv6Addr>().is_ok() {
            fault.help(format!("write an IPv6 address in brackets: `[{text}]`"))
        } else {
            fault.help("write `host` or `host:port`")
        });
    }
    check_host(host)?;
    let Some(port) = port else {
        return check_not_docker_hub(host);
    };
    let is_number = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    if !is_number || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(Fault::new(format!("the port {} is not valid", quote(port)))
            .help("a port is a number from 1 to 65535"));
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), Fault> {
    let quoted = quote(host);
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.strip_suffix(']') {
            Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => Ok(()),
            _ => Err(Fault::new(format!(
                "the address {quoted} is not an IPv6 address in brackets"
            ))),
        };
    }
    let lower = host.to_lowercase();
    if lower != host && check_host(&lower).is_ok() {
        return Err(
            Fault::new(format!("the host {quoted} has upper-case letters"))
                .help(format!("write {}", quote(&lower))),
        );
    }
    let is_strict = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if !is_host_name(host) || !host.chars().all(is_strict) {
        return Err(Fault::new(format!("the host {quoted} is not a host name"))
            .help("a host name is made of letters, digits and hyphens between single dots"));
    }
    if ends_in_number(host) && host.parse::<Ipv4Addr>().is_err() {
        return Err(Fault::new(format!(
            "the address {quoted} is neither a host name nor an IPv4 address"
        ))
        .help("write `host` or `host:port`, such as `registry.example.com:5000`"));
    }
    Ok(())
}

/// Returns whether the last part of a host is a number. Resolvers read such a host as an IPv4
/// address.
pub(crate) fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a text may be a host name. Upper-case letters and underscores are allowed:
/// machines have them, although no standard permits underscores.
pub(crate) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && (label.chars()).all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Refuses a host without a dot and without a port, unless it is `localhost`. In an image
/// reference, such a host is a namespace on Docker Hub, and the nodes would pull from there.
fn check_not_docker_hub(host: &str) -> Result<(), Fault> {
    if host.contains(['.', ':']) || host == "localhost" {
        return Ok(());
    }
    Err(Fault::new(format!(
        "in an image reference {} without a port means a namespace on Docker Hub",
        quote(host)
    ))
    .help(format!(
        "write the port as well, such as `{host}:443`, or the full host name"
    )))
}

/// Checks a project: empty, or a path of repository name components as in the OCI distribution
/// specification.
pub(crate) fn project(text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Ok(());
    }
    let quoted = quote(text);
    if text.contains("://") {
        return Err(Fault::new(format!("the project {quoted} has a scheme"))
            .help("a project is the path alone, such as `platform/mke`"));
    }
    let trimmed: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    if trimmed.len() != text.split('/').count() {
        return Err(Fault::new(format!(
            "the project {quoted} has a leading, trailing or doubled slash"
        ))
        .help(if trimmed.is_empty() {
            "remove it".to_owned()
        } else {
            format!("write {}", quote(&trimmed.join("/")))
        }));
    }
    match trimmed.iter().find(|part| !is_repository_component(part)) {
        None => Ok(()),
        Some(part) if part.chars().any(|c| c.is_ascii_uppercase()) => Err(Fault::new(format!(
            "the project {quoted} has upper-case letters"
        ))
        .help(format!("write {}", quote(&text.to_lowercase())))),
        Some(part) => {
            let rule = format!("{} cannot be part of a repository name", quote(part));
            Err(Fault::new(rule).help(
                "each part is made of lower-case letters and digits, which `.`, `_`, `__` or hyphens may separate",
            ))
        }
    }
}

/// Returns whether a text matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_repository_component(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators: Vec<&str> = text
        .split(is_letter)
        .filter(|separator| !separator.is_empty())
        .collect();
    let is_separator = |separator: &&str| {
        matches!(*separator, "." | "_" | "__") || separator.chars().all(|c| c == '-')
    };
    text.starts_with(is_letter) && text.ends_with(is_letter) && separators.iter().all(is_separator)
}

/// Returns whether a text is an allowed name of an environment variable: `[A-Z_][A-Z0-9_]*`.
pub(crate) fn is_variable_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The folders of `environments/` that are not environments: facts recorded by `learn`, pipelines
/// and examples.
const RESERVED: [&str; 3] = ["facts", "ci", "examples"];

/// Checks the name of an environment, which becomes part of folder names, file names, messages and
/// prompts.
pub(crate) fn environment_name(text: &str) -> Result<(), Error> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rule = if text.is_empty() {
        "it is empty"
    } else if text.len() > 63 {
        "it has more than 63 characters"
    } else if !text.chars().all(|c| is_letter(c) || c == '-') {
        "only lower-case letters, digits and hyphens are allowed"
    } else if !text.starts_with(is_letter) || !text.ends_with(is_letter) {
        "it begins or ends with a hyphen"
    } else if RESERVED.contains(&text) {
        "its folder is reserved for other files"
    } else {
        return Ok(());
    };
    Err(Error::Name {
        name: redaction::without_login(text),
        rule: rule.to_owned(),
    })
}

/// Splits `host[:port]`. Colons within the brackets of an IPv6 address belong to the host.
pub(crate) fn split_address(address: &str) -> (&str, Option<&str>) {
    let host_end = match address.rfind(']') {
        Some(bracket) => bracket,
        // Without the closing bracket, a port cannot be recognised.
        None if address.starts_with('[') => address.len(),
        None => 0,
    };
    match address[host_end..].rfind(':') {
        Some(colon) => {
            let colon = host_end + colon;
            (&address[..colon], Some(&address[colon + 1..]))
        }
        None => (address, None),
    }
}

/// Removes the brackets around an IPv6 address.
pub(crate) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests;

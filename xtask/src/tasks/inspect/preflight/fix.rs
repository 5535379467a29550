//! The fix for each fault that preflight finds: advice, and a command if there is one.

mod node;

use std::borrow::Cow;

use environment::Environment;
use release::preflight::{Check, Fault, RegistryFault, WorkspaceFault};

use crate::advice;
use crate::called::is_inside;

/// The fix of a fault.
pub(super) struct Fix {
    /// The advice.
    pub(super) text: Cow<'static, str>,
    /// A command that fixes the fault or shows more about it.
    pub(super) command: Option<String>,
}

/// Returns the fix of the fault that a check found in an environment.
pub(super) fn fix(fault: Fault, check: &Check, environment: &Environment) -> Fix {
    match fault {
        Fault::Workspace(fault) => workspace_fix(fault, environment),
        Fault::Registry(fault) => registry_fix(fault, environment),
        Fault::Node(fault) => node::node_fix(fault, &check.shared, environment),
    }
}

fn workspace_fix(fault: WorkspaceFault, environment: &Environment) -> Fix {
    let name = &environment.name;
    let release = &environment.release;
    match fault {
        WorkspaceFault::Configuration => with_command(
            "correct environment.yaml; the command shows each problem with its line",
            format!("cargo xtask check {name}"),
        ),
        WorkspaceFault::AuthorityOutOfDate => {
            advice_only("put the current certificate into the file of registry.ca")
        }
        WorkspaceFault::CredentialsMissing => advice_only(advice::CREDENTIALS),
        WorkspaceFault::SecretMissing => {
            advice_only("set the variable or write the file that `$env` or `$file` names")
        }
        WorkspaceFault::SshKey => advice_only("copy the key to this machine, or correct `keyPath`"),
        WorkspaceFault::MkectlMissing => {
            let text = advice::mkectl(&format!("v{release}"), None);
            match is_inside() {
                true => advice_only(text),
                false => with_command(text, format!("cargo xtask fetch {name}")),
            }
        }
        WorkspaceFault::NotLocked => advice_only(advice::not_locked(&format!("v{release}"))),
        WorkspaceFault::SetNotLocked => {
            let sets = environment.set_names().join("`, `cargo xtask lock ");
            advice_only(advice::not_locked(&sets))
        }
        WorkspaceFault::LockBroken => advice_only(advice::lock_broken("'bundles/*.lock.yaml'")),
        WorkspaceFault::BundleMissing if is_inside() => advice_only(advice::bundle_missing("")),
        WorkspaceFault::BundleMissing => with_command(
            format!("{}, or download it", advice::bundle_missing("")),
            format!("cargo xtask fetch {name}"),
        ),
        WorkspaceFault::BlobsMissing => advice_only(advice::blobs_missing(name).join("; ")),
        WorkspaceFault::BundleDiffers => advice_only(advice::bundle_differs(None)),
        WorkspaceFault::NotInBundle => advice_only(
            "copy it across the gap and prepare the nodes with it; then write `accept: [not-in-bundle]` in environment.yaml",
        ),
        WorkspaceFault::ToolMissing => {
            advice_only("copy kubectl and helm across the gap to a folder of PATH")
        }
        WorkspaceFault::RequirementUnmet => {
            let required = environment.requires.as_ref();
            let required = required.map_or("", |one| one.environment.as_str());
            advice_only(advice::requirement_unmet(name, required))
        }
        WorkspaceFault::DiskFull => advice_only(advice::DISK_FULL),
    }
}

fn registry_fix(fault: RegistryFault, environment: &Environment) -> Fix {
    let address = &environment.registry.address;
    let host = environment.registry.host();
    let port = environment.registry.port().unwrap_or(443);
    let is_plain = environment.registry.is_loopback() && environment.registry.ca.is_none();
    let scheme = if is_plain { "http" } else { "https" };
    let command = match fault {
        RegistryFault::NameNotResolved | RegistryFault::NameOfLoopback => {
            format!("getent hosts {host}")
        }
        RegistryFault::NotReached | RegistryFault::Proxy => {
            format!("curl -v {scheme}://{address}/v2/")
        }
        RegistryFault::PlainHttp => format!("curl -v http://{address}/v2/"),
        RegistryFault::UnknownAuthority
        | RegistryFault::OtherAuthority
        | RegistryFault::AuthorityAsServer
        | RegistryFault::UnsupportedSignature
        | RegistryFault::WeakKey
        | RegistryFault::WrongName
        | RegistryFault::Expired
        | RegistryFault::ExpiresSoon
        | RegistryFault::Tls => show_certificate(host, port),
        RegistryFault::NotYetValid | RegistryFault::ClockOff => "timedatectl".to_owned(),
        RegistryFault::LoginPage
        | RegistryFault::Redirected
        | RegistryFault::NotARegistry
        | RegistryFault::UnsupportedLogin
        | RegistryFault::TokenService => format!("curl -i {scheme}://{address}/v2/"),
        RegistryFault::LoginRefused | RegistryFault::NoCredentials => {
            format!("skopeo login {address}")
        }
        RegistryFault::Slow => {
            format!("curl -o /dev/null -w '%{{time_total}}\\n' {scheme}://{address}/v2/")
        }
        RegistryFault::RequiresTls
        | RegistryFault::DeepPath
        | RegistryFault::NotAllowed
        | RegistryFault::NoProject
        | RegistryFault::ReadOnly
        | RegistryFault::Quota
        | RegistryFault::DiskFull
        | RegistryFault::BodyLimit
        | RegistryFault::NoChunks
        | RegistryFault::NoMount
        | RegistryFault::ManifestRefused
        | RegistryFault::ImmutableTag
        | RegistryFault::Blocked
        | RegistryFault::HeadRefused
        | RegistryFault::ServedElsewhere
        | RegistryFault::WrongLocation
        | RegistryFault::RedirectedWithCa
        | RegistryFault::NotAnonymous
        | RegistryFault::PullRefused
        | RegistryFault::NotServed
        | RegistryFault::NoDelete
        | RegistryFault::RateLimited
        | RegistryFault::Unavailable
        | RegistryFault::Other => return advice_only(advice::registry(fault)),
    };
    with_command(advice::registry(fault), command)
}

fn show_certificate(host: &str, port: u16) -> String {
    let address = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    format!("openssl s_client -connect {address}:{port} -servername {host} -showcerts </dev/null")
}

fn advice_only(text: impl Into<Cow<'static, str>>) -> Fix {
    Fix {
        text: text.into(),
        command: None,
    }
}

fn with_command(text: impl Into<Cow<'static, str>>, command: String) -> Fix {
    Fix {
        text: text.into(),
        command: Some(command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_gets_ipv6_addresses_in_brackets() {
        assert_eq!(
            show_certificate("fd00::5", 5602),
            "openssl s_client -connect [fd00::5]:5602 -servername fd00::5 -showcerts </dev/null"
        );
    }
}

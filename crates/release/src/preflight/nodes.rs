//! Checks the nodes: runs a read-only script on each by `ssh`, concurrently.
//!
//! ```text
//! hosts    addresses and logins, from the environment's files
//! script   the script: look.sh, after variables with the environment's values
//! judge    a check for each aspect, from the script's output
//! identity host names and machine ids, which must differ
//! gather   one finding for all nodes with the same fault
//! ```

mod hosts;
mod script;
mod judge;
mod identity;
mod gather;

use std::time::{Duration, Instant};

use environment::Environment;
use programs::ssh::{Answer, Bounds, Destination, Ssh, SshFailure, SshFailureKind};
use serde::Serialize;

use crate::transfer::program;
use crate::{Context, Kind, chain};

pub use gather::Shared;
pub(super) use gather::checks;
use hosts::Host;
use identity::Identity;
use judge::Requirements;

/// Limits for the logins. A node responds within seconds; the script limits its own requests.
const BOUNDS: Bounds = Bounds {
    concurrent: 32,
    each: Duration::from_secs(20),
    total: Duration::from_secs(90),
};

/// The results of all nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    /// The nodes, in the order of the configuration.
    pub nodes: Vec<Node>,
    /// Why no node could be checked, if none could.
    pub none: Option<(NodeFault, String)>,
    /// Further checks of nodes that the environment's mkectl has, according to its help: `hosts`,
    /// `ports`.
    pub offered: Vec<&'static str>,
}

/// The results of one node.
#[derive(Debug)]
pub struct Node {
    /// Its address; without one, its place in the configuration: `config.hosts[0]`.
    pub address: String,
    /// Its role in the configuration: `controller+worker`, `worker` or `single`.
    pub role: String,
    /// A check for each aspect, in the order of [`Aspect::ALL`].
    pub checks: Vec<NodeCheck>,
    /// The command that logs in; a remote command can follow. Empty if the login is not known.
    pub ssh: String,
    /// Address and port of the SSH server to which host keys belong: the bastion's if the login
    /// failed there, else the node's.
    pub ssh_server: Option<(String, u16)>,
    /// Whether it is reached through a bastion.
    pub has_bastion: bool,
}

/// The result of one aspect on one node.
#[derive(Debug, Clone)]
pub struct NodeCheck {
    /// The aspect that was checked.
    pub aspect: Aspect,
    /// The verdict.
    pub verdict: NodeVerdict,
    /// The fault; `None` if there is none, or if it is unknown.
    pub fault: Option<NodeFault>,
    /// The observation, a sentence without its full stop.
    pub text: String,
}

/// The aspects of a node that are checked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The login with the environment's account.
    Ssh,
    /// The registry's name resolves on the node.
    Name,
    /// The load balancer's name resolves on the node.
    Balancer,
    /// The node trusts the registry's certificate.
    Https,
    /// A manifest can be read without credentials.
    Pull,
    /// The clock.
    Clock,
    /// The free space for images.
    Disk,
    /// The version of cgroups.
    Cgroup,
    /// The proxy variables of the login and of k0s's units.
    Proxy,
    /// Services that disturb MKE, and SELinux.
    Services,
    /// The machine's architecture.
    Machine,
    /// Whether the account can become root.
    Sudo,
    /// The machine id and the host name, which must be unique.
    Identity,
    /// The operating system, processors and memory.
    System,
    /// The kernel's inotify limits.
    Limits,
    /// Packages that are not in the bundle.
    Packages,
}

/// The verdict on an aspect of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeVerdict {
    /// As required.
    Ok,
    /// An installation works or may work.
    Warning,
    /// An installation would fail.
    Problem,
    /// The node cannot report it.
    CannotTell,
    /// Not checked, because of an earlier finding.
    Skipped,
}

/// A fault of a node. Each has its own fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeFault {
    /// This machine has no `ssh`.
    NoSsh,
    /// The configuration lists no hosts.
    NoHosts,
    /// The configuration of the host lacks what a login needs.
    NotDescribed,
    /// The host's name does not resolve on this machine.
    HostNotResolved,
    /// Its address does not respond, or its SSH port is closed.
    HostNotReached,
    /// It closes the connection before the login.
    ConnectionClosed,
    /// Its host key is not in the known hosts.
    HostKeyUnknown,
    /// Its host key differs from the one in the known hosts.
    HostKeyChanged,
    /// It refuses the account's key.
    KeyRefused,
    /// The private key cannot be read or used on this machine.
    KeyUnusable,
    /// The account's shell does not run a script to its end.
    NoShell,
    /// The registry's or the load balancer's name does not resolve on the node.
    NameNotResolved,
    /// The name resolves to the node's own loopback address.
    NameOfLoopback,
    /// The node cannot reach the registry.
    RegistryNotReached,
    /// The node does not trust the registry's certificate.
    NotTrusted,
    /// The HTTPS connection fails for a different reason.
    NoHttps,
    /// The service at the registry's address is not a registry.
    NotARegistry,
    /// The registry requires credentials, and nodes have none.
    NotAnonymous,
    /// The registry's token server issues no token without credentials.
    NoToken,
    /// The registry responds with a server error.
    NotServed,
    /// The clock differs too much from this machine's.
    ClockOff,
    /// The disk lacks space for the release's images.
    DiskFull,
    /// The node uses cgroup v1.
    CgroupVersion,
    /// A proxy is configured for the registry.
    ProxyForRegistry,
    /// A proxy is configured for the load balancer.
    ProxyForBalancer,
    /// A service runs that the vendor requires to be off.
    ServiceInTheWay,
    /// SELinux is enforcing, and the release may not run under it.
    Selinux,
    /// The images are for a different architecture.
    OtherMachine,
    /// The units of k0s configure a proxy for the registry or the load balancer.
    ProxyInUnits,
    /// The account is not root, and cannot become root without a password.
    SudoPassword,
    /// It has no machine id.
    NoMachineId,
    /// A different node has the same machine id.
    SameMachineId,
    /// A different node has the same host name.
    SameHostname,
    /// The vendor does not list its operating system.
    SystemUnlisted,
    /// It has fewer processors or less memory than the vendor requires.
    SystemSmall,
    /// The inotify limits are low.
    InotifyLow,
    /// Packages are missing, which MKE would install from a repository.
    PackagesMissing,
    /// The library for FIPS is missing.
    FipsMissing,
}

impl NodeFault {
    /// Returns the kind of the failure.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::NotDescribed | Self::NoHosts => Kind::Workspace,
            Self::NoSsh
            | Self::HostNotResolved
            | Self::HostNotReached
            | Self::ConnectionClosed
            | Self::HostKeyUnknown
            | Self::HostKeyChanged
            | Self::KeyRefused
            | Self::KeyUnusable
            | Self::NoShell
            | Self::NameNotResolved
            | Self::NameOfLoopback
            | Self::RegistryNotReached
            | Self::NotTrusted
            | Self::NoHttps
            | Self::NotARegistry
            | Self::NotAnonymous
            | Self::NoToken
            | Self::NotServed
            | Self::ClockOff
            | Self::DiskFull
            | Self::CgroupVersion
            | Self::ProxyForRegistry
            | Self::ProxyForBalancer
            | Self::ServiceInTheWay
            | Self::Selinux
            | Self::OtherMachine
            | Self::ProxyInUnits
            | Self::SudoPassword
            | Self::NoMachineId
            | Self::SameMachineId
            | Self::SameHostname
            | Self::SystemUnlisted
            | Self::SystemSmall
            | Self::InotifyLow
            | Self::PackagesMissing
            | Self::FipsMissing => Kind::Machine,
        }
    }
}

impl Aspect {
    /// All aspects, in their order.
    pub const ALL: [Self; 16] = [
        Self::Ssh,
        Self::Name,
        Self::Balancer,
        Self::Https,
        Self::Pull,
        Self::Clock,
        Self::Disk,
        Self::Cgroup,
        Self::Proxy,
        Self::Services,
        Self::Machine,
        Self::Sudo,
        Self::Identity,
        Self::System,
        Self::Limits,
        Self::Packages,
    ];

    /// Returns the name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Name => "name",
            Self::Balancer => "balancer",
            Self::Https => "https",
            Self::Pull => "pull",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::Cgroup => "cgroup",
            Self::Proxy => "proxy",
            Self::Services => "services",
            Self::Machine => "machine",
            Self::Sudo => "sudo",
            Self::Identity => "identity",
            Self::System => "system",
            Self::Limits => "limits",
            Self::Packages => "packages",
        }
    }
}

impl Node {
    /// Returns the check of an aspect.
    pub fn check(&self, aspect: Aspect) -> Option<&NodeCheck> {
        self.checks.iter().find(|check| check.aspect == aspect)
    }

    /// Returns whether an installation would fail on the node.
    pub fn has_problem(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| check.verdict == NodeVerdict::Problem)
    }
}

impl NodeCheck {
    fn new(
        aspect: Aspect,
        verdict: NodeVerdict,
        fault: Option<NodeFault>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            aspect,
            verdict,
            fault,
            text: text.into(),
        }
    }

    fn fine(aspect: Aspect, text: impl Into<String>) -> Self {
        Self::new(aspect, NodeVerdict::Ok, None, text)
    }

    fn wrong(aspect: Aspect, fault: NodeFault, text: impl Into<String>) -> Self {
        Self::new(aspect, NodeVerdict::Problem, Some(fault), text)
    }

    fn warn(aspect: Aspect, fault: NodeFault, text: impl Into<String>) -> Self {
        Self::new(aspect, NodeVerdict::Warning, Some(fault), text)
    }

    fn cannot_tell(aspect: Aspect, why: impl Into<String>) -> Self {
        Self::new(aspect, NodeVerdict::CannotTell, None, why)
    }

    fn skipped(aspect: Aspect, why: impl Into<String>) -> Self {
        Self::new(aspect, NodeVerdict::Skipped, None, why)
    }
}

/// Checks all nodes of an environment.
pub(super) async fn ask(
    context: &Context<'_>,
    environment: &Environment,
    lock: Option<&bundle::Lock>,
) -> Nodes {
    let none = |fault, text: String| Nodes {
        none: Some((fault, text)),
        ..Nodes::default()
    };
    // The hosts of a rehearsal are examples, and their addresses may belong to real machines.
    if environment.rehearsal {
        return Nodes::default();
    }
    let hosts = hosts::hosts(environment);
    if hosts.is_empty() {
        return none(
            NodeFault::NoHosts,
            "the configuration lists no hosts".to_owned(),
        );
    }
    let ssh = match Ssh::find(&context.tool.variables) {
        Ok(ssh) => ssh,
        Err(error) => return none(NodeFault::NoSsh, chain(&error)),
    };
    let destinations: Vec<Destination> = (hosts.iter().flatten())
        .map(|host| host.destination.clone())
        .collect();
    let required = Requirements::of(environment, lock);
    let script = script::script(environment, lock);
    let clock = (Instant::now(), (context.tool.now)());
    let stop = context.tool.signals.stop();
    let answers = tokio::task::spawn_blocking(move || {
        ssh.ask_all(
            &destinations,
            &script,
            BOUNDS,
            &|| stop.is_requested(),
            &|| {},
        )
    });
    let mut answers = answers.await.unwrap_or_default().into_iter();
    let nodes = hosts.into_iter().filter_map(|host| match host {
        Ok(host) => {
            let answer = answers.next()?;
            let identity = answer.as_ref().ok().and_then(judge::identity);
            Some((node(host, answer, &required, clock), identity))
        }
        Err(undescribed) => Some((
            Node {
                address: undescribed.name,
                role: String::new(),
                checks: only_ssh(NodeCheck::wrong(
                    Aspect::Ssh,
                    NodeFault::NotDescribed,
                    undescribed.why,
                )),
                ssh: String::new(),
                ssh_server: None,
                has_bastion: false,
            },
            None,
        )),
    });
    let (mut nodes, identities): (Vec<Node>, Vec<Option<Identity>>) = nodes.unzip();
    identity::compare(&mut nodes, &identities);
    Nodes {
        nodes,
        none: None,
        offered: lock.map_or_else(Vec::new, |lock| offered(context, environment, lock)),
    }
}

/// Returns the checks of nodes that the environment's mkectl has; none without an mkectl.
fn offered(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
) -> Vec<&'static str> {
    let variables = context.tool.variables.clone();
    let Ok(mkectl) = program::find(context, environment, lock, variables) else {
        return Vec::new();
    };
    let Ok(help) = mkectl.help(&["check"]) else {
        return Vec::new();
    };
    let commands = ["hosts", "ports"].into_iter();
    commands
        .filter(|command| help.has_command(command))
        .collect()
}

fn node(
    host: Host,
    answer: Result<Answer, SshFailure>,
    required: &Requirements,
    clock: (Instant, jiff::Timestamp),
) -> Node {
    let Destination { login, bastion } = &host.destination;
    let mut ssh_server = (login.address.clone(), login.port);
    let checks = match answer {
        Ok(answer) => {
            let mut checks = vec![NodeCheck::fine(Aspect::Ssh, "accepts the login")];
            checks.extend(judge::judge(&answer, required, clock));
            checks
        }
        Err(refusal) => {
            if let (true, Some(bastion)) = (refusal.at_bastion, bastion) {
                ssh_server = (bastion.address.clone(), bastion.port);
            }
            only_ssh(refused(&refusal, &ssh_server.0))
        }
    };
    Node {
        address: login.address.clone(),
        has_bastion: bastion.is_some(),
        ssh: host.destination.shown(""),
        role: host.role,
        checks,
        ssh_server: Some(ssh_server),
    }
}

/// Returns the check of a failed login to `server`.
fn refused(refusal: &SshFailure, server: &str) -> NodeCheck {
    let fault = match refusal.kind {
        SshFailureKind::NotStarted => NodeFault::NoSsh,
        SshFailureKind::NameNotResolved => NodeFault::HostNotResolved,
        SshFailureKind::TimedOut | SshFailureKind::Refused | SshFailureKind::NoRoute => {
            NodeFault::HostNotReached
        }
        SshFailureKind::Closed | SshFailureKind::Other => NodeFault::ConnectionClosed,
        SshFailureKind::HostKeyUnknown => NodeFault::HostKeyUnknown,
        SshFailureKind::HostKeyChanged => NodeFault::HostKeyChanged,
        SshFailureKind::KeyRefused => NodeFault::KeyRefused,
        SshFailureKind::KeyUnusable => NodeFault::KeyUnusable,
        SshFailureKind::Cut | SshFailureKind::Hangs => NodeFault::NoShell,
        SshFailureKind::NoTurn => {
            let text = format!("not checked within {} s", BOUNDS.total.as_secs());
            return NodeCheck::cannot_tell(Aspect::Ssh, text);
        }
    };
    let what = match refusal.kind {
        SshFailureKind::TimedOut => "nothing answers",
        SshFailureKind::Refused => "nothing listens on its SSH port",
        SshFailureKind::Hangs => "accepts the login, but did not finish in time",
        SshFailureKind::Cut => "accepts the login, but its shell ended too early",
        _ => "",
    };
    let message = redaction::line(&refusal.message, judge::LONGEST);
    let text = match (what, message.as_str()) {
        ("", message) => message.to_owned(),
        (what, "") => what.to_owned(),
        (what, message) => format!("{what} ({message})"),
    };
    let text = match refusal.at_bastion {
        true => format!("the bastion {server}: {text}"),
        false => text,
    };
    NodeCheck::wrong(Aspect::Ssh, fault, text)
}

/// Returns the checks of a node whose login failed: all others are skipped.
fn only_ssh(ssh: NodeCheck) -> Vec<NodeCheck> {
    let others = Aspect::ALL.into_iter().skip(1);
    let others =
        others.map(|aspect| NodeCheck::skipped(aspect, "not checked, because the login failed"));
    std::iter::once(ssh).chain(others).collect()
}

//! Checks the nodes: runs a read-only script on each by `ssh`, concurrently.
//!
//! ```text
//! script   what is sent: look.sh, after variables with this environment's values
//! judge    what came back, a check for each aspect
//! identity what no two nodes may share
//! gather   what many nodes share, reported once
//! ```

mod hosts;
mod script;
mod judge;
mod identity;
mod gather;

use std::time::{Duration, Instant};

use environment::Environment;
use programs::ssh::{Answer, Bounds, Destination, NotAnswered, Ssh, Why};
use serde::Serialize;

use crate::transfer::program;
use crate::{Context, Kind, chain};

pub use gather::Shared;
pub(super) use gather::checks;
use hosts::Host;
use identity::Identity;
use judge::Wanted;

/// How many nodes are checked concurrently. A node responds within seconds; its own requests have
/// limits of their own.
const BOUNDS: Bounds = Bounds {
    concurrent: 32,
    each: Duration::from_secs(20),
    total: Duration::from_secs(90),
};

/// What the nodes answered.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Each of them, in the order of the configuration.
    pub nodes: Vec<Node>,
    /// Why none of them could be asked, if that is so.
    pub none: Option<(NodeFault, String)>,
    /// What the environment's mkectl can look at on the nodes itself, as its help lists it:
    /// `hosts`, `ports`.
    pub offered: Vec<&'static str>,
}

/// What one node answered.
#[derive(Debug)]
pub struct Node {
    /// Its address, or its place in the configuration where it has none.
    pub address: String,
    /// Its role, as the configuration has it.
    pub role: String,
    /// A check for each aspect, in their order.
    pub checks: Vec<NodeCheck>,
    /// How one logs in to it, to be typed; a remote command can follow.
    pub ssh: String,
    /// The machine that a host key is of, and its port: the node's, or its bastion's where that is
    /// the one that was not passed.
    pub door: Option<(String, u16)>,
    /// Whether it is reached through another machine.
    pub has_bastion: bool,
}

/// What came of one aspect on one node.
#[derive(Debug, Clone)]
pub struct NodeCheck {
    /// What was looked at.
    pub aspect: Aspect,
    /// What came of it.
    pub verdict: NodeVerdict,
    /// What is wrong, if something is.
    pub fault: Option<NodeFault>,
    /// What was seen, in a sentence without its end.
    pub text: String,
}

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// It lets the environment's account in.
    Ssh,
    /// The registry's name has an address there.
    Name,
    /// The load balancer's name has an address there.
    Balancer,
    /// The registry's certificate is trusted there.
    Https,
    /// A manifest can be asked for without credentials.
    Pull,
    /// Its clock.
    Clock,
    /// The room for images.
    Disk,
    /// The version of cgroups.
    Cgroup,
    /// The variables that send requests to a proxy.
    Proxy,
    /// Services that are in the way.
    Services,
    /// What kind of machine it is.
    Machine,
    /// The rights of root for the account.
    Sudo,
    /// What identifies it: its machine id and its host name.
    Identity,
    /// Its operating system, processors and memory.
    System,
    /// The limits of the kernel.
    Limits,
    /// Packages that no bundle has.
    Packages,
}

/// What came of an aspect on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeVerdict {
    /// As it should be.
    Ok,
    /// An installation gets along with it, or it is not certain that it does not.
    Warning,
    /// An installation would fail by it.
    Problem,
    /// The node has no means to say.
    CannotTell,
    /// Not looked at, because of what was found before.
    Skipped,
}

/// What is wrong with a node, as far as other things would be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeFault {
    /// This machine has no `ssh`.
    NoSsh,
    /// There are no hosts in the configuration.
    NoHosts,
    /// The description of the host is not enough to log in.
    NotDescribed,
    /// Its name has no address here.
    HostNotResolved,
    /// Nothing answers at its address, or nothing listens at the port.
    HostNotReached,
    /// It ends the connection before the login.
    ConnectionClosed,
    /// Its host key is not among the known ones.
    HostKeyUnknown,
    /// Its host key is another one than the known one.
    HostKeyChanged,
    /// The account is not let in with the key.
    KeyRefused,
    /// The private key cannot be read or used here.
    KeyUnusable,
    /// The account has no shell that runs a script to its end.
    NoShell,
    /// The registry's or the load balancer's name has no address there.
    NameNotResolved,
    /// The name resolves to the node's own loopback address.
    NameOfLoopback,
    /// The registry cannot be reached from there.
    RegistryNotReached,
    /// The registry's certificate is not trusted there.
    NotTrusted,
    /// No HTTPS connection comes about for another reason.
    NoHttps,
    /// The service there is not a registry.
    NotARegistry,
    /// The registry requires credentials, and nodes have none.
    NotAnonymous,
    /// The registry's token server issues no token without credentials.
    NoToken,
    /// The registry fails.
    NotServed,
    /// The clock is far off.
    ClockOff,
    /// There is not enough room for the release's images.
    DiskFull,
    /// Cgroups are of version 1.
    CgroupVersion,
    /// A proxy is configured for the registry.
    ProxyForRegistry,
    /// A proxy is configured for the load balancer.
    ProxyForBalancer,
    /// A service runs that the vendor requires to be off.
    ServiceInTheWay,
    /// SELinux is enforcing, and the release may not run under it.
    Selinux,
    /// The images are for another kind of machine.
    OtherMachine,
    /// A proxy is configured for the registry or the load balancer in the units of k0s.
    ProxyInUnits,
    /// The account is not root, and cannot become root without a password.
    SudoPassword,
    /// It has no machine id.
    NoMachineId,
    /// Another node has the same machine id.
    SameMachineId,
    /// Another node has the same host name.
    SameHostname,
    /// The vendor does not list its operating system.
    SystemUnlisted,
    /// It has fewer processors or less memory than the vendor asks for.
    SystemSmall,
    /// The limits of inotify are low.
    InotifyLow,
    /// Packages are missing that MKE would install from a repository.
    PackagesMissing,
    /// The library for FIPS is missing.
    FipsMissing,
}

impl NodeFault {
    /// Returns the kind of the failure: of nodes it is what comes before mkectl could begin.
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
    /// All of them, in their order.
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

    /// Returns its name.
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
    /// Returns what came of an aspect.
    pub fn check(&self, aspect: Aspect) -> Option<&NodeCheck> {
        self.checks.iter().find(|check| check.aspect == aspect)
    }

    /// Returns whether an installation would fail by it.
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

/// Asks all nodes of a configuration.
pub(super) async fn ask(
    context: &Context<'_>,
    environment: &Environment,
    lock: Option<&bundle::Lock>,
) -> Nodes {
    let none = |fault, text: String| Nodes {
        none: Some((fault, text)),
        ..Nodes::default()
    };
    // Its hosts are made up, and their addresses may belong to real machines.
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
    let wanted = Wanted::of(environment, lock);
    let script = script::script(environment, lock);
    let clock = (Instant::now(), (context.tool.now)());
    let stop = context.tool.signals.stop();
    let asking = tokio::task::spawn_blocking(move || {
        ssh.ask_all(
            &destinations,
            &script,
            BOUNDS,
            &|| stop.is_requested(),
            &|| {},
        )
    });
    let answers = asking.await.unwrap_or_default();
    let mut answers = answers.into_iter();
    let nodes = hosts.into_iter().filter_map(|host| match host {
        Ok(host) => {
            let answer = answers.next()?;
            let identity = answer.as_ref().ok().and_then(judge::identity);
            let node = node(host, answer, &wanted, clock);
            Some((node, identity))
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
                door: None,
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

/// Returns what the environment's mkectl can look at on the nodes, if there is one and its help
/// says so.
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
    let known = ["hosts", "ports"].into_iter();
    known.filter(|command| help.has_command(command)).collect()
}

fn node(
    host: Host,
    answer: Result<Answer, NotAnswered>,
    wanted: &Wanted,
    clock: (Instant, jiff::Timestamp),
) -> Node {
    let Destination { login, bastion } = &host.destination;
    let mut door = (login.address.clone(), login.port);
    let checks = match answer {
        Ok(answer) => {
            let mut checks = vec![NodeCheck::fine(Aspect::Ssh, "accepts the login")];
            checks.extend(judge::judge(&answer, wanted, clock));
            checks
        }
        Err(refusal) => {
            if let (true, Some(bastion)) = (refusal.at_bastion, bastion) {
                door = (bastion.address.clone(), bastion.port);
            }
            only_ssh(refused(&refusal, &door.0))
        }
    };
    Node {
        address: login.address.clone(),
        has_bastion: bastion.is_some(),
        ssh: host.destination.shown(""),
        role: host.role,
        checks,
        door: Some(door),
    }
}

fn refused(refusal: &NotAnswered, door: &str) -> NodeCheck {
    let fault = match refusal.why {
        Why::NotStarted => NodeFault::NoSsh,
        Why::NameNotResolved => NodeFault::HostNotResolved,
        Why::TimedOut | Why::Refused | Why::NoRoute => NodeFault::HostNotReached,
        Why::Closed | Why::Other => NodeFault::ConnectionClosed,
        Why::HostKeyUnknown => NodeFault::HostKeyUnknown,
        Why::HostKeyChanged => NodeFault::HostKeyChanged,
        Why::KeyRefused => NodeFault::KeyRefused,
        Why::KeyUnusable => NodeFault::KeyUnusable,
        Why::Cut | Why::Hangs => NodeFault::NoShell,
        Why::NoTurn => {
            let text = format!("not checked within {} s", BOUNDS.total.as_secs());
            return NodeCheck::cannot_tell(Aspect::Ssh, text);
        }
    };
    let what = match refusal.why {
        Why::TimedOut => "nothing answers",
        Why::Refused => "nothing listens on its SSH port",
        Why::Hangs => "accepts the login, but did not finish in time",
        Why::Cut => "accepts the login, but its shell ended too early",
        _ => "",
    };
    let said = redaction::line(&refusal.said, judge::LONGEST);
    let text = match (what, said.as_str()) {
        ("", said) => said.to_owned(),
        (what, "") => what.to_owned(),
        (what, said) => format!("{what} ({said})"),
    };
    let text = match refusal.at_bastion {
        true => format!("the bastion {door}: {text}"),
        false => text,
    };
    NodeCheck::wrong(Aspect::Ssh, fault, text)
}

/// Returns the checks of a node that nothing else is known of.
fn only_ssh(ssh: NodeCheck) -> Vec<NodeCheck> {
    let others = Aspect::ALL.into_iter().skip(1);
    let others =
        others.map(|aspect| NodeCheck::skipped(aspect, "not checked, because the login failed"));
    std::iter::once(ssh).chain(others).collect()
}

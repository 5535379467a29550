//! Turns the output of the script on a node into checks, without side effects.

mod proxy;

use std::time::Instant;

use environment::Environment;
use programs::ssh::Answer;

use super::identity::Identity;
use super::{Aspect, NodeCheck, NodeFault, script};

/// Difference of clocks that is a warning, in seconds. A clock that follows a time server differs
/// less.
const CLOCKS_DIFFER: f64 = 10.0;

/// Difference of clocks that is a problem, in seconds: tokens and certificates fail. The limit for
/// the registry's clock is the same.
const CLOCKS_FAIL: f64 = 300.0;

/// Disk space that a node needs, as a multiple of the images' size in the registry: it stores them
/// compressed and unpacked. A rule of thumb, so less is only a warning.
const UNPACKED: u64 = 3;

/// The requirements that a node must meet.
#[derive(Debug, Clone, Default)]
pub(super) struct Requirements {
    /// Host of the registry.
    pub(super) registry: String,
    /// Host and port of the registry.
    pub(super) registry_address: String,
    /// Host of the load balancer.
    pub(super) balancer: String,
    /// Whether the registry has a loopback address, as in a trial.
    pub(super) is_loopback: bool,
    pub(super) pulls_with_secret: bool,
    pub(super) has_ca: bool,
    pub(super) needs: mke::NodeRequirements,
    /// Architecture, as `uname -m` prints it.
    pub(super) machine: &'static str,
    /// Size of the images in the registry in bytes; `None` without a lock.
    pub(super) images: Option<u64>,
}

impl Requirements {
    pub(super) fn of(environment: &Environment, lock: Option<&bundle::Lock>) -> Self {
        let release = mke::Release::of(&environment.release).ok();
        let release = release.as_ref();
        let balancer = mke::external_address(environment).unwrap_or_default();
        Self {
            registry: script::host(&environment.registry.address).to_owned(),
            registry_address: environment.registry.address.clone(),
            balancer: script::host(&balancer).to_owned(),
            is_loopback: environment.registry.is_loopback(),
            pulls_with_secret: mke::PullSecrets::of(environment).images,
            has_ca: environment.registry.ca.is_some(),
            needs: release
                .map(mke::Release::node_requirements)
                .unwrap_or_default(),
            machine: match lock.map(|lock| lock.arch.as_str()) {
                Some("arm64") => "aarch64",
                _ => "x86_64",
            },
            images: lock.map(images),
        }
    }
}

/// Returns the size of a lock's images in bytes, each blob counted once.
fn images(lock: &bundle::Lock) -> u64 {
    let images = (lock.artifacts.iter()).filter(|artifact| artifact.kind == bundle::Kind::Image);
    let blobs: std::collections::BTreeMap<String, u64> = images
        .flat_map(bundle::Artifact::blobs)
        .map(|(digest, size)| (digest.to_string(), size))
        .collect();
    blobs.values().sum()
}

/// A line of the script's output: its subject, a keyword and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    subject: String,
    keyword: String,
    text: String,
}

/// Returns a check for each aspect except the login, in their order. `clock` is an instant and the
/// time of this machine's clock at that instant.
pub(super) fn judge(
    answer: &Answer,
    required: &Requirements,
    clock: (Instant, jiff::Timestamp),
) -> Vec<NodeCheck> {
    let lines: Vec<Line> = answer
        .lines
        .iter()
        .filter_map(|line| parse_line(line))
        .collect();
    let of = |subject: &str| lines.iter().find(|line| line.subject == subject);
    let name = resolved(Aspect::Name, &required.registry, of("name"));
    let has_no_address = name.fault == Some(NodeFault::NameNotResolved);
    let (https, pull) = registry(required, has_no_address, of("https"), of("pull"));
    vec![
        name,
        resolved(Aspect::Balancer, &required.balancer, of("balancer")),
        https,
        pull,
        time(answer, clock, of("time")),
        disk(required.images, of("disk")),
        cgroup(required.needs.cgroup_2, of("cgroup")),
        proxies(required, &lines),
        services(
            required,
            lines.iter().filter(|line| line.subject == "service"),
            of("selinux"),
        ),
        machine(required.machine, of("machine")),
        sudo(of("sudo")),
        identified(of("identity")),
        system(&required.needs, of("machine"), of("system")),
        limits(&required.needs, of("inotify")),
        packages(lines.iter().filter(|line| line.subject == "package")),
    ]
}

/// Returns the machine id and host name of a node, if its output has them.
pub(super) fn identity(answer: &Answer) -> Option<Identity> {
    let mut lines = answer.lines.iter().filter_map(|line| parse_line(line));
    let line = lines.find(|line| line.subject == "identity")?;
    let machine_id = has_machine_id(&line).then(|| line.keyword.clone());
    Some(Identity {
        machine_id,
        hostname: line.text,
    })
}

/// Returns whether a line has a machine id. systemd writes `uninitialized` into images whose
/// machines generate one.
fn has_machine_id(line: &Line) -> bool {
    !matches!(line.keyword.as_str(), "" | "none" | "uninitialized")
}

/// Parses a line of the script's output: `airlock`, subject, keyword and text, separated by tabs.
fn parse_line(line: &str) -> Option<Line> {
    let mut parts = line.strip_prefix("airlock\t")?.split('\t');
    let subject = readable(parts.next()?);
    let longest = match subject.as_str() {
        // NO_PROXY may be long, and each entry matters.
        "proxy" => 16 * 1024,
        _ => LONGEST,
    };
    let mut part = || parts.next().map(|part| readable_up_to(part, longest));
    Some(Line {
        keyword: part()?,
        text: part().unwrap_or_default(),
        subject,
    })
}

/// Removes control characters from a node's text, and cuts it at [`LONGEST`] characters.
pub(super) fn readable(text: &str) -> String {
    readable_up_to(text, LONGEST)
}

/// Maximum length of a node's text, in characters.
pub(super) const LONGEST: usize = 200;

fn readable_up_to(text: &str, longest: usize) -> String {
    let plain = text.chars().filter(|character| !character.is_control());
    plain.take(longest).collect::<String>().trim().to_owned()
}

/// Returns the check of an aspect that the output lacks.
fn missing_from_output(aspect: Aspect) -> NodeCheck {
    NodeCheck::cannot_tell(aspect, "its output does not report it")
}

fn resolved(aspect: Aspect, name: &str, line: Option<&Line>) -> NodeCheck {
    let Some(line) = line else {
        let text = match name {
            "" => "there is none",
            _ => "it is an address; nothing to resolve",
        };
        return NodeCheck::fine(aspect, text);
    };
    match line.keyword.as_str() {
        "found" => {
            let addresses = line.text.split(' ').filter_map(|text| text.parse().ok());
            let addresses: Vec<std::net::IpAddr> = addresses.collect();
            let text = format!("{name} is {}", line.text);
            match addresses.iter().any(std::net::IpAddr::is_loopback) {
                true => NodeCheck::warn(aspect, NodeFault::NameOfLoopback, text),
                false => NodeCheck::fine(aspect, text),
            }
        }
        "missing" => {
            let text = format!("{name} does not resolve on this node");
            NodeCheck::wrong(aspect, NodeFault::NameNotResolved, text)
        }
        "late" => {
            let text = format!("{name}: its resolver gives {}", line.text);
            NodeCheck::wrong(aspect, NodeFault::NameNotResolved, text)
        }
        _ => NodeCheck::cannot_tell(aspect, &line.text),
    }
}

/// Returns the checks of the connection to the registry and of pulls.
fn registry(
    required: &Requirements,
    has_no_address: bool,
    https: Option<&Line>,
    pull: Option<&Line>,
) -> (NodeCheck, NodeCheck) {
    let both = |text: &str| {
        (
            NodeCheck::skipped(Aspect::Https, text),
            NodeCheck::skipped(Aspect::Pull, text),
        )
    };
    if required.is_loopback {
        return both("the registry listens on the loopback of one machine");
    }
    if has_no_address {
        return both("not checked: the registry's name does not resolve");
    }
    let Some(https) = https else {
        return (
            missing_from_output(Aspect::Https),
            missing_from_output(Aspect::Pull),
        );
    };
    let https = connection(required, https);
    let pull = match (https.fault, pull) {
        (Some(_), _) => NodeCheck::skipped(Aspect::Pull, "not checked: no connection"),
        (None, Some(line)) => pulled(required, line),
        (None, None) => NodeCheck::skipped(Aspect::Pull, "not checked: the lock cannot be used"),
    };
    (https, pull)
}

fn connection(required: &Requirements, line: &Line) -> NodeCheck {
    let aspect = Aspect::Https;
    let message = &line.text;
    let of = match required.has_ca {
        true => "by registry.ca",
        false => "by its system's CAs",
    };
    match line.keyword.as_str() {
        "verified" if matches!(message.as_str(), "200" | "401" | "403") => NodeCheck::fine(
            aspect,
            format!("the registry's certificate is trusted {of}"),
        ),
        "verified" => {
            let text = format!("the service at this address is not a registry: {message}");
            NodeCheck::wrong(aspect, NodeFault::NotARegistry, text)
        }
        "untrusted" => {
            let message = match message.contains("asn1") || message.contains("signature") {
                true => "it is signed by a different key than that of the CA with this name",
                false => message,
            };
            let text = format!("the registry's certificate is not trusted {of}: {message}");
            NodeCheck::wrong(aspect, NodeFault::NotTrusted, text)
        }
        "unreachable" | "late" => {
            let text = format!("the registry cannot be reached: {message}");
            NodeCheck::wrong(aspect, NodeFault::RegistryNotReached, text)
        }
        "failed" => {
            let text = format!("no HTTPS connection to the registry: {message}");
            NodeCheck::wrong(aspect, NodeFault::NoHttps, text)
        }
        _ => NodeCheck::cannot_tell(aspect, message),
    }
}

fn pulled(required: &Requirements, line: &Line) -> NodeCheck {
    let aspect = Aspect::Pull;
    match line.keyword.as_str() {
        "200" => NodeCheck::fine(aspect, "manifests are served without credentials"),
        "404" => NodeCheck::fine(
            aspect,
            "no credentials are required; the release is not pushed yet",
        ),
        "401" | "403" | "token" if required.pulls_with_secret => NodeCheck::fine(
            aspect,
            "the registry requires credentials; the nodes' secret has them",
        ),
        "401" | "403" => {
            let text = format!(
                "the registry requires credentials from nodes: {}",
                line.keyword
            );
            NodeCheck::wrong(aspect, NodeFault::NotAnonymous, text)
        }
        "token" => {
            let text = format!("{} gives no token without credentials", line.text);
            NodeCheck::wrong(aspect, NodeFault::NoToken, text)
        }
        status if status.starts_with('5') => {
            let text = format!("the registry answers with {status}");
            NodeCheck::warn(aspect, NodeFault::NotServed, text)
        }
        "unknown" => NodeCheck::cannot_tell(aspect, &line.text),
        status => NodeCheck::cannot_tell(aspect, format!("the registry answers with {status}")),
    }
}

/// Compares the node's clock with this machine's, at the middle of the round trip.
fn time(answer: &Answer, clock: (Instant, jiff::Timestamp), line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::Clock;
    let Some(theirs) = line.and_then(|line| line.keyword.parse::<f64>().ok()) else {
        return NodeCheck::cannot_tell(aspect, "its `date` does not print the seconds");
    };
    let half = (answer.first - answer.sent).as_secs_f64() / 2.0;
    let since = (answer.sent - clock.0).as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of this century fit many times over"
    )]
    let ours = clock.1.as_millisecond() as f64 / 1000.0 + since + half;
    // The node prints whole seconds: half a second too little on average.
    let difference = theirs + 0.5 - ours;
    let minimum = (difference.abs() - half - 0.5).max(0.0);
    let side = match difference > 0.0 {
        true => "ahead of",
        false => "behind",
    };
    let text = format!(
        "its clock is {:.0} s {side} this machine's",
        difference.abs()
    );
    if minimum < CLOCKS_DIFFER {
        NodeCheck::fine(aspect, "agrees with this machine's")
    } else if minimum < CLOCKS_FAIL {
        NodeCheck::warn(aspect, NodeFault::ClockOff, text)
    } else {
        NodeCheck::wrong(aspect, NodeFault::ClockOff, text)
    }
}

fn disk(images: Option<u64>, line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::Disk;
    let Some(line) = line else {
        return missing_from_output(aspect);
    };
    let Ok(free) = line.keyword.parse::<u64>().map(|blocks| blocks * 1024) else {
        let why = match line.text.is_empty() || line.text.starts_with('/') {
            true => "its `df` does not report the free space",
            false => &line.text,
        };
        return NodeCheck::cannot_tell(aspect, why);
    };
    let shown = |bytes| bytesize::ByteSize(bytes).display().si().to_string();
    let room = format!("{} are free at {}", shown(free), line.text);
    let Some(images) = images else {
        return NodeCheck::fine(aspect, room);
    };
    let text = format!("{room}; the release's images have {}", shown(images));
    if free < images {
        NodeCheck::wrong(aspect, NodeFault::DiskFull, text)
    } else if free < images.saturating_mul(UNPACKED) {
        let text = format!("{text}; unpacked they take several times that");
        NodeCheck::warn(aspect, NodeFault::DiskFull, text)
    } else {
        NodeCheck::fine(aspect, room)
    }
}

fn cgroup(needs_2: bool, line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::Cgroup;
    match line.map(|line| (line.keyword.as_str(), &line.text)) {
        None => missing_from_output(aspect),
        Some(("2", _)) => NodeCheck::fine(aspect, "version 2"),
        Some(("1", _)) if needs_2 => {
            let text = "cgroups are of version 1, but the release's k0s requires version 2";
            NodeCheck::wrong(aspect, NodeFault::CgroupVersion, text)
        }
        Some(("1", _)) => {
            let text = "cgroups are of version 1, which only k0s before 1.35 supports: MKE 4.2 requires version 2";
            NodeCheck::warn(aspect, NodeFault::CgroupVersion, text)
        }
        Some((_, why)) => NodeCheck::cannot_tell(aspect, why),
    }
}

/// Checks services and SELinux. The vendor requires these services to be off on Red Hat's systems
/// (LAB); other systems are checked too.
fn services<'a>(
    required: &Requirements,
    lines: impl Iterator<Item = &'a Line>,
    selinux: Option<&Line>,
) -> NodeCheck {
    let aspect = Aspect::Services;
    let mut active = Vec::new();
    let mut unknown = None;
    for line in lines {
        match line.keyword.as_str() {
            "active" => active.push(line.text.as_str()),
            "unknown" => unknown = Some(&line.text),
            _ => {}
        }
    }
    if !active.is_empty() {
        let text = format!("{} runs", active.join(" and "));
        return NodeCheck::warn(aspect, NodeFault::ServiceInTheWay, text);
    }
    if selinux.is_some_and(|line| line.keyword == "1") && !required.needs.selinux {
        let text = "SELinux is enforcing, which is known to work only from v4.1.3 on";
        return NodeCheck::warn(aspect, NodeFault::Selinux, text);
    }
    match unknown {
        Some(why) => NodeCheck::cannot_tell(aspect, why),
        None => NodeCheck::fine(aspect, "neither firewalld nor nm-cloud-setup runs"),
    }
}

/// Checks proxy variables: those of a login, which mkectl uses on the node, and those of k0s's
/// units, with which images are pulled (k0s#1099).
fn proxies(required: &Requirements, lines: &[Line]) -> NodeCheck {
    let of = |subject: &'static str| lines.iter().filter(move |line| line.subject == subject);
    let login = proxy::judge(required, of("proxy"));
    let units = proxy::judge(required, of("unit"));
    match (login.fault, units.fault) {
        (Some(NodeFault::ProxyForBalancer), _) | (_, None) => login,
        (_, Some(_)) => {
            let text = format!("in the units of k0s: {}", units.text);
            NodeCheck::wrong(Aspect::Proxy, NodeFault::ProxyInUnits, text)
        }
    }
}

/// Checks that the account can become root. k0sctl, a part of mkectl, requires that without a
/// password (k0sctl#517).
fn sudo(line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::Sudo;
    let Some(line) = line else {
        return missing_from_output(aspect);
    };
    match line.keyword.as_str() {
        "root" => NodeCheck::fine(aspect, "the account is root"),
        "free" => NodeCheck::fine(aspect, "the account becomes root without a password"),
        "password" => {
            let text = format!(
                "the account cannot become root without a password: {}",
                line.text
            );
            NodeCheck::wrong(
                aspect,
                NodeFault::SudoPassword,
                text.trim_end_matches([':', ' ']),
            )
        }
        "missing" => {
            let text = "the account is not root, and neither sudo nor doas is installed";
            NodeCheck::wrong(aspect, NodeFault::SudoPassword, text)
        }
        _ => NodeCheck::cannot_tell(aspect, &line.text),
    }
}

fn identified(line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::Identity;
    match line {
        None => missing_from_output(aspect),
        Some(line) if has_machine_id(line) => NodeCheck::fine(aspect, "it has a machine id"),
        Some(_) => {
            let text = "/etc/machine-id is missing or empty";
            NodeCheck::wrong(aspect, NodeFault::NoMachineId, text)
        }
    }
}

/// Compares operating system, processors and memory with the vendor's requirements.
fn system(needs: &mke::NodeRequirements, machine: Option<&Line>, line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::System;
    let Some((machine, line)) = machine.zip(line) else {
        return missing_from_output(aspect);
    };
    let name = machine.text.as_str();
    let mut missing = Vec::new();
    let is_listed = needs.systems.is_empty() || needs.systems.iter().any(|one| one == name);
    if !is_listed && !name.is_empty() {
        let listed = needs.systems.join(", ");
        missing.push(format!("{name} is not among the listed systems: {listed}"));
    }
    let processors = line.keyword.parse::<u64>().ok();
    if let Some(processors) = processors.filter(|count| *count < needs.processors) {
        let needed = needs.processors;
        missing.push(format!("{processors} processors; {needed} are required"));
    }
    // MemTotal excludes memory that the kernel reserves, so a tenth less is accepted.
    let memory = line.text.parse::<u64>().ok().map(|blocks| blocks * 1024);
    if let Some(memory) = memory.filter(|memory| *memory < needs.memory / 10 * 9) {
        let shown = |bytes| bytesize::ByteSize(bytes).display().si().to_string();
        missing.push(format!(
            "{} of memory; {} are required",
            shown(memory),
            shown(needs.memory)
        ));
    }
    match (missing.is_empty(), processors.zip(memory)) {
        (false, _) => {
            let fault = match is_listed {
                true => NodeFault::SystemSmall,
                false => NodeFault::SystemUnlisted,
            };
            NodeCheck::warn(aspect, fault, missing.join("; "))
        }
        (true, Some(_)) if !name.is_empty() => NodeCheck::fine(aspect, name),
        (true, _) => {
            NodeCheck::cannot_tell(aspect, "its system, processors or memory cannot be read")
        }
    }
}

/// Compares the inotify limits. The values that the vendor requires were not seen, so a low limit
/// is only a warning.
fn limits(needs: &mke::NodeRequirements, line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::Limits;
    let Some(line) = line else {
        return missing_from_output(aspect);
    };
    let (Ok(instances), Ok(watches)) = (line.keyword.parse::<u64>(), line.text.parse::<u64>())
    else {
        return NodeCheck::cannot_tell(aspect, "the limits of inotify cannot be read");
    };
    let low: Vec<String> = [
        ("instances", instances, needs.inotify_instances),
        ("watches", watches, needs.inotify_watches),
    ]
    .into_iter()
    .filter(|(_, has, needed)| has < needed)
    .map(|(what, has, needed)| format!("fs.inotify.max_user_{what} is {has}, less than {needed}"))
    .collect();
    match low.is_empty() {
        true => NodeCheck::fine(aspect, "the limits of inotify are high enough"),
        false => NodeCheck::warn(aspect, NodeFault::InotifyLow, low.join("; ")),
    }
}

/// Checks packages that are not in the bundle: MKE would install them from a repository (SELINUX),
/// or never installs them (FIPS).
fn packages<'a>(lines: impl Iterator<Item = &'a Line>) -> NodeCheck {
    let aspect = Aspect::Packages;
    let (mut missing, mut fips, mut ended) = (Vec::new(), None, false);
    for line in lines {
        match line.keyword.as_str() {
            "missing" if !missing.contains(&line.text.as_str()) => missing.push(line.text.as_str()),
            "fips" => fips = Some(&line.text),
            "end" => ended = true,
            _ => {}
        }
    }
    if let Some(library) = fips {
        let text = format!("{library} is missing, and `fips.enabled` is `true`");
        NodeCheck::wrong(aspect, NodeFault::FipsMissing, text)
    } else if !missing.is_empty() {
        let text = format!(
            "SELinux is on, and these packages are missing: {}",
            missing.join(", ")
        );
        NodeCheck::warn(aspect, NodeFault::PackagesMissing, text)
    } else if ended {
        NodeCheck::fine(aspect, "all packages that bundles lack are installed")
    } else {
        missing_from_output(aspect)
    }
}

fn machine(required: &str, line: Option<&Line>) -> NodeCheck {
    let aspect = Aspect::Machine;
    let Some(line) = line.filter(|line| !line.keyword.is_empty()) else {
        return missing_from_output(aspect);
    };
    let text = format!("{}, {}", line.keyword, line.text);
    match line.keyword == required {
        true => NodeCheck::fine(aspect, text.trim_end_matches([',', ' '])),
        false => {
            let text = format!("it is {}, but the bundle is for {required}", line.keyword);
            NodeCheck::wrong(aspect, NodeFault::OtherMachine, text)
        }
    }
}

#[cfg(test)]
mod tests;

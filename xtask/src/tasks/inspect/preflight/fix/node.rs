//! The fix for each fault of nodes. A command is for all nodes with the fault if possible, else for
//! the first of them.

use environment::Environment;
use release::preflight::RegistryFault;
use release::preflight::nodes::{NodeFault, Shared};

use crate::advice;

use super::{Fix, advice_only, show_certificate, with_command};

pub(super) fn node_fix(fault: NodeFault, shared: &Shared, environment: &Environment) -> Fix {
    let registry = &environment.registry;
    let (host, port) = (registry.host(), registry.port().unwrap_or(443));
    // A command to run on the first node.
    let on_node = |remote: &str| format!("{} '{remote}'", shared.ssh);
    let (text, command) = match fault {
        NodeFault::NoSsh => (
            "install OpenSSH's client here: nodes are checked with the system's ssh",
            "apt-get install openssh-client".to_owned(),
        ),
        NodeFault::NoHosts => {
            return advice_only("name the machines below config.hosts, or in an inventory");
        }
        NodeFault::NotDescribed => (
            "correct the host in environment.yaml: `ssh` needs an address and a key path",
            format!("cargo xtask show {}", environment.name),
        ),
        NodeFault::HostNotResolved => (
            "give the host a name that this machine resolves, or write its address into ssh.address",
            format!("getent hosts {}", addresses(shared)),
        ),
        NodeFault::HostNotReached => (
            "start the machine or its sshd, open the port of SSH in the firewall, or correct ssh.address and ssh.port",
            shared.ssh.clone(),
        ),
        NodeFault::ConnectionClosed => (
            "read the log of its sshd, which closes the connection (MaxStartups, hosts.deny, a restart)",
            shared.ssh.clone(),
        ),
        NodeFault::HostKeyUnknown if shared.has_bastion => (
            "log in once by hand, compare the fingerprint with the machine's own, and answer yes",
            shared.ssh.clone(),
        ),
        NodeFault::HostKeyUnknown => (
            "compare the fingerprint with the machine's own, then add the key to the known hosts",
            format!("{} >> ~/.ssh/known_hosts", keyscan(shared)),
        ),
        NodeFault::HostKeyChanged => (
            "if the machine was reinstalled, remove its old host key; otherwise a different machine answers at this address",
            remove_host_keys(shared),
        ),
        NodeFault::KeyRefused => (
            "put the public key into the account's authorized_keys on the node, or correct ssh.user and ssh.keyPath; \
             without keyPath, load the key into the agent (`ssh-add`)",
            shared.ssh.clone(),
        ),
        NodeFault::KeyUnusable => (
            "correct ssh.keyPath: the file must exist and be readable only by you; load a key with a passphrase into the agent (`ssh-add`)",
            shared.ssh.clone(),
        ),
        NodeFault::NoShell => (
            "find out why a script does not finish on the node: a login shell that exits, a forced command, a hanging machine",
            on_node("echo it works"),
        ),
        NodeFault::NameNotResolved => (
            advice::registry(RegistryFault::NameNotResolved),
            on_node("cat /etc/resolv.conf; grep . /etc/hosts"),
        ),
        NodeFault::NameOfLoopback => (
            advice::registry(RegistryFault::NameOfLoopback),
            on_node("cat /etc/resolv.conf; grep . /etc/hosts"),
        ),
        NodeFault::RegistryNotReached => (
            "allow connections from the nodes to the registry in routing and firewall",
            on_node(&format!(
                "curl -v --noproxy \"*\" https://{}/v2/",
                registry.address
            )),
        ),
        NodeFault::NotTrusted if registry.ca.is_some() => (
            "check which certificate the node receives: it differs from the one trusted here; \
             a proxy that intercepts TLS, or a different machine with the same name, is likely",
            on_node(&show_certificate(host, port)),
        ),
        NodeFault::NotTrusted => (
            "name the CA that signed the certificate as registry.ca, which nodes get, or add it to the CA certificates of the node",
            on_node(&show_certificate(host, port)),
        ),
        NodeFault::NoHttps | NodeFault::NotARegistry | NodeFault::NotServed => (
            "check what answers the node at the registry's address",
            on_node(&format!(
                "curl -vk --noproxy \"*\" https://{}/v2/",
                registry.address
            )),
        ),
        NodeFault::NotAnonymous => {
            return advice_only(advice::registry(RegistryFault::NotAnonymous));
        }
        NodeFault::NoToken => {
            return advice_only(
                "let nodes resolve, reach and trust the token server that the registry names, and allow anonymous tokens",
            );
        }
        NodeFault::ClockOff => (
            "let the nodes and this machine follow the same time server: tokens, certificates and etcd depend on it",
            on_node("timedatectl"),
        ),
        NodeFault::DiskFull => (
            "give the folder a larger disk before the installation: k0s keeps images there, and the kubelet evicts when it fills up",
            on_node("df -h /var/lib"),
        ),
        NodeFault::CgroupVersion => (
            "boot with cgroup v2 (kernel argument systemd.unified_cgroup_hierarchy=1), or use a newer system",
            on_node("stat -fc %T /sys/fs/cgroup"),
        ),
        NodeFault::ProxyForRegistry | NodeFault::ProxyForBalancer => (
            "add the load balancer and the registry to no_proxy where the proxy is set; mkectl asks the load balancer from the nodes",
            on_node("env | grep -i _proxy; cat /etc/environment"),
        ),
        NodeFault::ServiceInTheWay => (
            "disable it before the installation, as the vendor requires",
            on_node(
                "sudo systemctl disable --now firewalld nm-cloud-setup.service nm-cloud-setup.timer",
            ),
        ),
        NodeFault::Selinux => (
            "use v4.1.3 or later, or set SELinux to permissive",
            on_node("getenforce"),
        ),
        NodeFault::ProxyInUnits => (
            "add the load balancer and the registry to NO_PROXY in the drop-ins of k0s; containerd pulls with these variables",
            on_node("cat /etc/systemd/system/k0s*.service.d/*.conf"),
        ),
        NodeFault::SudoPassword => (
            "let the account become root without a password (a file in /etc/sudoers.d with NOPASSWD: ALL), or log in as root",
            on_node("sudo -n true"),
        ),
        NodeFault::NoMachineId => (
            "give the machine its own id",
            on_node("sudo systemd-machine-id-setup"),
        ),
        NodeFault::SameMachineId => (
            "give each machine its own id, also after cloning an image, and restart it",
            on_node("sudo rm /etc/machine-id; sudo systemd-machine-id-setup"),
        ),
        NodeFault::SameHostname => (
            "give each machine its own host name",
            on_node("sudo hostnamectl set-hostname NAME"),
        ),
        NodeFault::SystemUnlisted => (
            "use a system that the vendor lists for this release",
            format!("cargo xtask releases v{}", environment.release),
        ),
        NodeFault::SystemSmall => {
            return advice_only(
                "give the machine the resources that the vendor requires: upgrades fail on smaller ones",
            );
        }
        NodeFault::InotifyLow => (
            "raise the limits before the installation, also in a file of /etc/sysctl.d; compare them with the vendor's system requirements",
            on_node(
                "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288",
            ),
        ),
        NodeFault::PackagesMissing => (
            "install the packages before the installation; otherwise MKE needs a reachable dnf repository",
            on_node(
                "sudo dnf install -y container-selinux policycoreutils policycoreutils-python-utils",
            ),
        ),
        NodeFault::FipsMissing => (
            "install the libcrypto3-mirantis packages and create the symlink libcrypto-k0s.so.3, as the vendor's prepare-fips.sh does",
            on_node(
                "ls /usr/lib64/libcrypto-k0s.so.3 /usr/lib/x86_64-linux-gnu/libcrypto-k0s.so.3",
            ),
        ),
        NodeFault::OtherMachine => {
            return advice_only(
                "use machines of the bundle's architecture, or lock a bundle for theirs",
            );
        }
    };
    with_command(text, command)
}

fn addresses(shared: &Shared) -> String {
    let addresses = shared
        .ssh_servers
        .iter()
        .map(|(address, _)| address.as_str());
    addresses.collect::<Vec<_>>().join(" ")
}

/// Returns the command that prints the host keys of all servers with the port of the first one.
fn keyscan(shared: &Shared) -> String {
    let port = shared.ssh_servers.first().map_or(22, |(_, port)| *port);
    let same = shared
        .ssh_servers
        .iter()
        .filter(|(_, other)| *other == port);
    let hosts: Vec<&str> = same.map(|(address, _)| address.as_str()).collect();
    match port {
        22 => format!("ssh-keyscan {}", hosts.join(" ")),
        port => format!("ssh-keyscan -p {port} {}", hosts.join(" ")),
    }
}

/// Returns the commands that remove known host keys.
fn remove_host_keys(shared: &Shared) -> String {
    let commands = shared.ssh_servers.iter().map(|(address, port)| match port {
        22 => format!("ssh-keygen -R {address}"),
        port => format!("ssh-keygen -R '[{address}]:{port}'"),
    });
    commands.collect::<Vec<_>>().join("; ")
}

//! Machines of a test in namespaces of this machine. Each has a network of its own and runs
//! OpenSSH's server.
//!
//! The namespaces have no names: a namespace ends with its process. The kernel kills these
//! processes when the thread that started them ends, so none outlives the test. Addresses are in
//! 10.213.0.0/16 and exist only in the namespaces. Requires root, OpenSSH, iproute2 and util-linux.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start the programs that their machines run"
)]

use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::keys::make_key;

/// The programs that a node has unless a test removes some. `systemctl` is a script besides
/// these.
pub const PROGRAMS: [&str; 16] = [
    "sh", "date", "uname", "getent", "curl", "wget", "openssl", "sed", "grep", "tr", "df", "tail",
    "sort", "timeout", "env", "id",
];

/// The address of the hub, where the operator and the registries are.
pub const HUB: &str = "10.213.0.1";

/// A second address of the hub.
pub const HUB_TOO: &str = "10.213.0.2";

/// Machines in namespaces; they end when this is dropped.
pub struct Namespaces {
    folder: tempfile::TempDir,
    hub: Machine,
    nodes: Vec<Machine>,
}

/// How a node differs from the default.
#[derive(Debug, Clone)]
pub struct Special {
    /// Lines of `/etc/hosts`.
    pub hosts: String,
    /// Lines at the start of the configuration of the SSH server.
    pub sshd: String,
    /// More variables of its shells, `NAME=value` with spaces between them.
    pub variables: String,
    /// The key that the SSH server accepts: `user` or `user-other`.
    pub lets_in: &'static str,
    /// Programs that the node lacks.
    pub lacks: &'static [&'static str],
    /// Shell commands in its namespaces before the server starts.
    pub before: String,
    /// The index of the node through which alone this node is reached, by a network of the two.
    pub behind: Option<usize>,
}

impl Default for Special {
    fn default() -> Self {
        Self {
            hosts: String::new(),
            sshd: String::new(),
            variables: String::new(),
            lets_in: "user",
            lacks: &[],
            before: String::new(),
            behind: None,
        }
    }
}

struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    /// Runs a shell script in new namespaces, which end with the script.
    fn start(text: &str, arguments: &[&str], log: &Utf8Path) -> Self {
        let log = std::fs::File::create(log).expect("a log");
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--propagation=private"])
            .args(arguments)
            .args(["sh", "-ec", text])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        // SAFETY: `prctl` is async-signal-safe and touches no memory.
        unsafe {
            command.pre_exec(
                || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    -1 => Err(std::io::Error::last_os_error()),
                    _ => Ok(()),
                },
            );
        }
        Self(command.spawn().expect("`unshare` of util-linux"))
    }

    fn namespace(&self, kind: &str) -> std::fs::File {
        std::fs::File::open(format!("/proc/{}/ns/{kind}", self.0.id())).expect("a namespace")
    }
}

impl Namespaces {
    /// Starts nodes, and waits until their SSH servers listen. Node `i` has the address
    /// [`Namespaces::address`]. `hosts` is the operator's `/etc/hosts`.
    pub fn start(hosts: &str, nodes: &[Special]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("airlock-nodes-")
            .tempdir()
            .expect("a folder");
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("a path in UTF-8");
        for key in ["host", "host-other", "user", "user-other"] {
            make_key(&path.join(key), "airlock-test", "");
        }
        std::fs::write(path.join("hosts"), hosts).expect("a file");
        let text = format!(
            "mount --bind {path}/hosts /etc/hosts\nip link set lo up\nip link add hub type bridge\n\
             ip addr add {HUB}/24 dev hub\nip addr add {HUB_TOO}/24 dev hub\nip link set hub up\n\
             echo listening on\nexec sleep infinity"
        );
        let hub = Machine::start(&text, &[], &path.join("hub.log"));
        wait_for(&path.join("hub.log"));
        let machines: Vec<Machine> = nodes
            .iter()
            .enumerate()
            .map(|(index, special)| node(&path, index, special))
            .collect();
        for (index, special) in nodes.iter().enumerate() {
            connect(&hub, &machines, index, special);
        }
        for index in 0..nodes.len() {
            wait_for(&path.join(format!("node-{index}.log")));
        }
        Self {
            folder,
            hub,
            nodes: machines,
        }
    }

    /// Returns a file in the folder of the machines, such as the private keys `user`, which the
    /// nodes accept by default, and `user-other`.
    pub fn file(&self, name: &str) -> Utf8PathBuf {
        let path = self.folder.path().join(name);
        Utf8PathBuf::from_path_buf(path).expect("a path in UTF-8")
    }

    /// Returns a line of `known_hosts`, with the key of the host or with a different one.
    pub fn known_host(&self, address: &str, is_own: bool) -> String {
        let file = if is_own { "host.pub" } else { "host-other.pub" };
        let key = std::fs::read_to_string(self.file(file)).expect("a key");
        format!("{address} {key}")
    }

    /// Returns the address of a node.
    pub fn address(index: usize) -> String {
        format!("10.213.0.{}", index + 11)
    }

    /// Returns the address of a node that is reached through another node.
    pub fn address_behind(index: usize) -> String {
        format!("10.213.{}.2", index + 11)
    }

    /// Listens in the network of the operator.
    pub fn listen(&self, address: &str) -> TcpListener {
        let namespace = self.hub.namespace("net");
        let address = address.to_owned();
        let listening = std::thread::spawn(move || {
            // SAFETY: `setns` touches no memory, and only this thread moves.
            assert_eq!(
                unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) },
                0,
                "{}",
                std::io::Error::last_os_error()
            );
            TcpListener::bind(address).expect("a free port in a network of our own")
        });
        listening.join().expect("a thread")
    }

    /// Makes a command run in the namespaces of the operator.
    pub fn place(&self, command: &mut Command) {
        let namespaces = [
            (self.hub.namespace("net"), libc::CLONE_NEWNET),
            (self.hub.namespace("mnt"), libc::CLONE_NEWNS),
        ];
        let here = std::fs::canonicalize(command.get_current_dir().expect("its folder"))
            .expect("its folder")
            .into_os_string()
            .into_encoded_bytes();
        let here = std::ffi::CString::new(here).expect("a path");
        // SAFETY: `setns` and `chdir` are async-signal-safe and touch no memory of this process.
        unsafe {
            command.pre_exec(move || {
                for (namespace, kind) in &namespaces {
                    if libc::setns(namespace.as_raw_fd(), *kind) == -1 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                // Entering a mount namespace changes the current folder to its root.
                match libc::chdir(here.as_ptr()) {
                    -1 => Err(std::io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
    }

    /// Returns how many processes run in the namespaces of the nodes and the operator.
    pub fn processes(&self) -> usize {
        let ours: Vec<std::path::PathBuf> = std::iter::once(&self.hub)
            .chain(&self.nodes)
            .filter_map(|machine| {
                std::fs::read_link(format!("/proc/{}/ns/net", machine.0.id())).ok()
            })
            .collect();
        let all = std::fs::read_dir("/proc").expect("/proc");
        all.flatten()
            .filter(|entry| {
                let space = std::fs::read_link(entry.path().join("ns/net"));
                space.is_ok_and(|space| ours.contains(&space))
            })
            .count()
    }
}

fn node(folder: &Utf8Path, index: usize, special: &Special) -> Machine {
    let own = folder.join(format!("node-{index}"));
    let bin = own.join("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    for program in PROGRAMS {
        if !special.lacks.contains(&program)
            && let Some(found) = which(program)
        {
            std::os::unix::fs::symlink(found, bin.join(program)).expect("a link");
        }
    }
    let systemctl = bin.join("systemctl");
    std::fs::write(&systemctl, "#!/bin/sh\nexit 3\n").expect("a file");
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    // A machine that meets the requirements of the vendor.
    for (name, text) in [
        ("hosts", special.hosts.clone()),
        ("os-release", "ID=ubuntu\nVERSION_ID=\"22.04\"\n".to_owned()),
        ("machine-id", format!("{index:032x}\n")),
        ("cpuinfo", "processor\t: 0\n".repeat(8)),
        ("meminfo", "MemTotal:       33554432 kB\n".to_owned()),
        ("instances", "512\n".to_owned()),
        ("watches", "524288\n".to_owned()),
    ] {
        std::fs::write(own.join(name), text).expect("a file");
    }
    // No name server is used.
    std::fs::write(own.join("resolv.conf"), "").expect("a file");
    std::fs::write(
        own.join("sshd_config"),
        format!(
            "{}\nPort 22\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/{}.pub\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nUseDNS no\nLogLevel INFO\n\
             SetEnv PATH={bin} {}\n",
            special.sshd, special.lets_in, special.variables
        ),
    )
    .expect("a file");
    let sshd = which("sshd").unwrap_or_else(|| "/usr/sbin/sshd".into());
    let text = format!(
        "echo node-{index} >/proc/sys/kernel/hostname\ncp -a /etc {own}/etc\nmount --bind {own}/etc /etc\nrm -f /etc/os-release\n\
         cp {own}/hosts {own}/resolv.conf {own}/os-release {own}/machine-id /etc/\n\
         mount --bind {own}/cpuinfo /proc/cpuinfo\nmount --bind {own}/meminfo /proc/meminfo\n\
         mount --bind {own}/instances /proc/sys/fs/inotify/max_user_instances\n\
         mount --bind {own}/watches /proc/sys/fs/inotify/max_user_watches\n\
         mount -t tmpfs tmpfs /run\nmkdir /run/sshd\n\
         mount -t tmpfs tmpfs /sys/fs/cgroup\n: >/sys/fs/cgroup/cgroup.controllers\n\
         ip link set lo up\n{}\nexec {} -D -e -f {own}/sshd_config",
        special.before,
        sshd.display()
    );
    let arguments = ["--pid", "--uts", "--fork", "--kill-child=SIGKILL"];
    Machine::start(&text, &arguments, &folder.join(format!("node-{index}.log")))
}

/// Connects a node to the hub, or to the node through which it is reached.
fn connect(hub: &Machine, machines: &[Machine], index: usize, special: &Special) {
    let (hub, own) = (hub.0.id(), machines[index].0.id());
    match special.behind {
        None => {
            let address = Namespaces::address(index);
            run(&format!(
                "nsenter -t {hub} -n ip link add v{index} type veth peer name eth0 netns {own}\n\
                 nsenter -t {hub} -n ip link set v{index} master hub up\n\
                 nsenter -t {own} -n ip addr add {address}/24 dev eth0\nnsenter -t {own} -n ip link set eth0 up\n"
            ));
        }
        Some(before) => {
            let before = machines[before].0.id();
            let net = index + 11;
            run(&format!(
                "nsenter -t {before} -n ip link add b{index} type veth peer name eth0 netns {own}\n\
                 nsenter -t {before} -n ip addr add 10.213.{net}.1/24 dev b{index}\n\
                 nsenter -t {before} -n ip link set b{index} up\n\
                 nsenter -t {own} -n ip addr add 10.213.{net}.2/24 dev eth0\nnsenter -t {own} -n ip link set eth0 up\n"
            ));
        }
    }
}

fn run(text: &str) {
    let output = Command::new("sh")
        .args(["-ec", text])
        .output()
        .expect("a shell");
    assert!(
        output.status.success(),
        "{text}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits until a log reports that its program listens.
fn wait_for(log: &Utf8Path) {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if text.contains("listening on") {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{log}: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Finds a program on PATH or in /usr/sbin.
pub fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

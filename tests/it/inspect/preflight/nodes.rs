//! Tests of `preflight --nodes` with OpenSSH's client and server. The nodes are namespaces of this
//! machine.

use std::time::{Duration, Instant};

use serde_json::Value;
use support::faulty::{FaultyRegistry, quirks};
use support::namespaces::{HUB, HUB_TOO, Special, which};
use support::{Arguments, Namespaces, Run, Sandbox, TlsProxy};
use tokio::net::TcpListener;

/// The registry's address.
const REGISTRY: &str = "registry.lab.example:5000";
/// The registry's host name.
const NAME: &str = "registry.lab.example";

/// The load balancer's name.
const BALANCER: &str = "mke.lab.example";

/// Returns `/etc/hosts` of a node without faults.
fn hosts() -> String {
    format!("127.0.0.1 localhost\n{HUB} {NAME}\n{HUB} {BALANCER}\n")
}

/// Returns a node without faults.
fn fine() -> Special {
    Special {
        hosts: hosts(),
        ..Special::default()
    }
}

/// A registry at one address, and at another address a server with the same name and a certificate
/// of a different CA.
struct Site {
    _registry: FaultyRegistry,
    _impostor: TlsProxy,
    proxy: TlsProxy,
}

impl Site {
    async fn start(namespaces: &Namespaces) -> Self {
        let quirks = quirks!(body_limit: Some(1 << 20));
        let registry = FaultyRegistry::start(quirks, &[], 1).await;
        let on = |address: &str| {
            let listener = namespaces.listen(&format!("{address}:5000"));
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            TlsProxy::start_on(listener, &registry.address, &[NAME], |_| {})
        };
        let (proxy, impostor) = (on(HUB), on(HUB_TOO));
        Self {
            _registry: registry,
            _impostor: impostor,
            proxy,
        }
    }
}

/// Returns a workspace whose environment has these hosts, with an `ssh` on its PATH whose
/// `known_hosts` is `known`.
fn sandbox(namespaces: &Namespaces, ca_pem: &str, hosts: &str, known: &str) -> Sandbox {
    let sandbox = super::sandbox();
    std::fs::write(namespaces.file("known_hosts"), known).unwrap();
    let settings = format!(
        "Host *\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n",
        namespaces.file("known_hosts")
    );
    std::fs::write(namespaces.file("ssh_config"), settings).unwrap();
    // The system's client, without the settings of the user that runs the tests.
    let ssh = format!(
        "#!/bin/sh\nexec {} -F {} \"$@\"\n",
        which("ssh").unwrap().display(),
        namespaces.file("ssh_config")
    );
    sandbox.install_script("ssh", ssh);
    sandbox.write("environments/lab/registry-ca.pem", ca_pem);
    sandbox.write(
        "environments/lab/environment.yaml",
        &format!(
            "release: v4.1.5\nregistry:\n  address: {REGISTRY}\n  project: mke/four\n  ca: registry-ca.pem\n\
             \x20 push-credentials: {{ env: FAULTY }}\naccept: [even-controllers, ssh-agent, telemetry]\nconfig:\n\
             \x20 tracking: {{ enabled: false }}\n  apiServer: {{ externalAddress: {BALANCER} }}\n  hosts:\n{hosts}"
        ),
    );
    sandbox
}

/// Returns an entry of `hosts:`, with `more` keys of `ssh:`.
fn host(address: &str, more: &str) -> String {
    format!("  - {{ role: controller+worker, ssh: {{ address: {address}, user: root{more} }} }}\n")
}

/// Runs a command in the operator's namespace.
#[must_use]
fn run(namespaces: &Namespaces, sandbox: &Sandbox, arguments: impl Arguments) -> Run {
    let mut command = sandbox.command(arguments);
    namespaces.place(&mut command);
    let output = command.output().unwrap();
    sandbox.ended(&output)
}

/// Returns the checks of a node with a finding, as `name verdict fault`.
fn of_node(result: &Value, address: &str) -> Vec<String> {
    let mut nodes = result["nodes"].as_array().unwrap().iter();
    let node = nodes.find(|node| node["address"] == address).unwrap();
    let checks = node["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["verdict"] != "ok" && check["verdict"] != "skipped")
        .map(|check| {
            let part = |key: &str| check[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", part("name"), part("verdict"), part("fault"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    without_namespaces,
    ignore = "not root, or there is no sshd, ssh, ip or unshare"
)]
async fn of_twenty_nodes_the_three_broken_ones_are_named_with_their_reasons_in_ten_seconds() {
    const WITHOUT_NAME: usize = 4;
    const WITH_OTHER_ADDRESS: usize = 9;
    const UNREACHABLE: usize = 14;
    let mut nodes = vec![fine(); 20];
    nodes[WITHOUT_NAME].hosts = format!("127.0.0.1 localhost\n{HUB} {BALANCER}\n");
    nodes[WITH_OTHER_ADDRESS].hosts =
        format!("127.0.0.1 localhost\n{HUB_TOO} {NAME}\n{HUB} {BALANCER}\n");
    // The node's network drops every packet to the registry.
    nodes[UNREACHABLE].before = format!("ip route add blackhole {HUB}/32");
    let namespaces = Namespaces::start(&hosts(), &nodes);
    let site = Site::start(&namespaces).await;
    let key = format!(", keyPath: {}", namespaces.file("user"));
    let addresses: Vec<String> = (0..20).map(Namespaces::address).collect();
    let hosts: String = addresses
        .iter()
        .map(|address| host(address, &key))
        .collect();
    let known: String = addresses
        .iter()
        .map(|address| namespaces.known_host(address, true))
        .collect();
    let sandbox = sandbox(&namespaces, &site.proxy.ca_pem, &hosts, &known);
    let begun = Instant::now();
    let seen = tokio::task::block_in_place(|| run(&namespaces, &sandbox, "preflight lab --nodes"));
    let took = begun.elapsed();
    assert_eq!(seen.code, Some(1), "{}", seen.whole());
    assert!(took < Duration::from_secs(10), "{took:?}");
    let text = seen
        .stdout
        .replace(namespaces.file("").as_str().trim_end_matches('/'), "[KEYS]");
    let (_, of_nodes) = text.split_once("\nnodes\n").unwrap();
    insta::assert_snapshot!(of_nodes);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    without_namespaces,
    ignore = "not root, or there is no sshd, ssh, ip or unshare"
)]
async fn faults_of_connections_and_of_nodes_are_reported_for_each_node() {
    let nodes = [
        fine(),
        Special {
            lets_in: "user-other",
            behind: Some(0),
            ..fine()
        },
        fine(),
        fine(),
        fine(),
        fine(),
        Special {
            variables: "HTTPS_PROXY=http://user:hunter2@proxy.lab.example:3128 no_proxy=localhost"
                .to_owned(),
            ..fine()
        },
        Special {
            before: "mount -t tmpfs -o size=1m tmpfs /var/lib\nmkdir /var/lib/k0s".to_owned(),
            ..fine()
        },
        Special {
            lacks: &["curl", "wget"],
            ..fine()
        },
        Special {
            lacks: &["curl", "wget", "openssl", "getent", "df", "timeout"],
            ..fine()
        },
        Special {
            lacks: &["curl"],
            ..fine()
        },
        Special {
            before: "rm /sys/fs/cgroup/cgroup.controllers\nmkdir /sys/fs/cgroup/memory".to_owned(),
            ..fine()
        },
        Special {
            // The login succeeds, but the node does not run the script.
            sshd: "ForceCommand true".to_owned(),
            ..fine()
        },
    ];
    let namespaces = Namespaces::start(&hosts(), &nodes);
    let site = Site::start(&namespaces).await;
    let key = format!(", keyPath: {}", namespaces.file("user"));
    let other = format!(", keyPath: {}", namespaces.file("user-other"));
    let bastion = |own: &str, port: u16, of_bastion: &str| {
        let address = Namespaces::address(0);
        format!("{own}, port: {port}, bastion: {{ address: {address}, user: root{of_bastion} }}")
    };
    let behind = Namespaces::address_behind(1);
    let at = Namespaces::address;
    let hosts: String = [
        host(&at(0), &key),
        host(&behind, &bastion(&other, 22, &key)),
        host(&at(2), &key),
        host(&at(3), &key),
        host(&at(4), &other),
        host(&at(5), ", keyPath: /nowhere/key"),
        host(&at(6), &key),
        host(&at(7), &key),
        host(&at(8), &key),
        host(&at(9), &key),
        host(&at(10), &key),
        host(&at(11), &key),
        host(&at(12), &key),
        // The bastion refuses this key.
        host("10.213.99.2", &bastion(&key, 22, &other)),
        // Behind the bastion, no server listens at this port.
        host("10.213.12.1", &bastion(&key, 2222, &key)),
    ]
    .concat();
    let mut known: String = (0..nodes.len())
        .filter(|index| *index != 2)
        .map(|index| namespaces.known_host(&at(index), index != 3))
        .collect();
    known.push_str(&namespaces.known_host(&behind, true));
    let sandbox = sandbox(&namespaces, &site.proxy.ca_pem, &hosts, &known);
    let seen = tokio::task::block_in_place(|| {
        run(&namespaces, &sandbox, "preflight lab --nodes --format json")
    });
    // The key that is missing here stops mkectl, too.
    assert_eq!(seen.code, Some(3), "{}", seen.whole());
    seen.does_not_mention("hunter2");
    let result = super::result(&seen.stdout);
    let keys = result["checks"].as_array().unwrap().iter();
    let keys: Vec<&Value> = keys.filter(|check| check["fault"] == "ssh-key").collect();
    assert_eq!(keys.len(), 1, "{}", seen.stdout);
    assert_eq!(
        keys[0]["text"],
        format!(
            "the SSH key `/nowhere/key` of {} cannot be read: No such file or directory (os error 2)",
            at(5)
        )
    );
    for (address, expected) in [
        (at(0), vec![]),
        // The node reaches no address except its bastion.
        (behind, vec!["https problem registry-not-reached"]),
        (at(2), vec!["ssh problem host-key-unknown"]),
        (at(3), vec!["ssh problem host-key-changed"]),
        (at(4), vec!["ssh problem key-refused"]),
        (at(5), vec!["ssh problem key-unusable"]),
        (at(6), vec!["proxy problem proxy-for-balancer"]),
        (at(7), vec!["disk problem disk-full"]),
        (at(8), vec![]),
        (
            at(9),
            vec![
                "name cannot-tell -",
                "balancer cannot-tell -",
                "https cannot-tell -",
                "pull cannot-tell -",
                "disk cannot-tell -",
            ],
        ),
        (at(10), vec![]),
        (at(11), vec!["cgroup warning cgroup-version"]),
        (at(12), vec!["ssh problem no-shell"]),
        ("10.213.99.2".to_owned(), vec!["ssh problem key-refused"]),
        (
            "10.213.12.1".to_owned(),
            vec!["ssh problem host-not-reached"],
        ),
    ] {
        assert_eq!(
            of_node(&result, &address),
            expected,
            "{address}\n{}",
            seen.stdout
        );
    }
    // Each fault has its fix.
    let fix_of = |fault: &str| {
        let checks = result["checks"].as_array().unwrap().iter();
        let found = checks.filter(|check| check["fault"] == fault);
        let commands = found.map(|check| check["command"].as_str().unwrap_or_default().to_owned());
        commands.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        fix_of("host-key-changed"),
        format!("ssh-keygen -R {}", at(3))
    );
    assert_eq!(
        fix_of("host-key-unknown"),
        format!("ssh-keyscan {} >> ~/.ssh/known_hosts", at(2))
    );
    let refused = result["checks"].as_array().unwrap().iter();
    let refused = refused.filter(|check| check["fault"] == "key-refused");
    let refused: Vec<&Value> = refused.collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["nodes"].as_array().unwrap().len(), 2);
    assert!(
        refused[0]["text"]
            .to_string()
            .contains("the bastion 10.213.0.11"),
        "{refused:?}"
    );
}

/// k0sctl#517, k0sctl#435, k0s#1099 and item 21: without preflight, mkectl finds these faults
/// during an installation.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    without_namespaces,
    ignore = "not root, or there is no sshd, ssh, ip or unshare"
)]
async fn machines_that_do_not_meet_the_requirements_of_k0s_are_reported() {
    let with = |before: &str| Special {
        before: before.to_owned(),
        ..fine()
    };
    let nodes = [
        fine(),
        // The machine id of the first node.
        with("printf '%032x\\n' 0 >/etc/machine-id"),
        with("[ ! -d /var/lib/dbus ] || mount -t tmpfs tmpfs /var/lib/dbus\n: >/etc/machine-id"),
        with("echo node-4 >/proc/sys/kernel/hostname"),
        fine(),
        with(
            "mkdir -p /etc/systemd/system/k0sworker.service.d\n\
             printf '[Service]\\nEnvironment=\"HTTPS_PROXY=http://user:hunter2@proxy:3128\" \"NO_PROXY=localhost\"\\n' \
             >/etc/systemd/system/k0sworker.service.d/proxy.conf",
        ),
        with("printf 'ID=debian\\nVERSION_ID=\"12\"\\n' >/etc/os-release"),
        with("echo 128 >/proc/sys/fs/inotify/max_user_instances"),
        with("echo 'op:x:1000:1000::/tmp:/bin/sh' >>/etc/passwd"),
        with(
            "mount -t tmpfs tmpfs /sys/fs\nmkdir /sys/fs/selinux /sys/fs/cgroup\n\
             : >/sys/fs/cgroup/cgroup.controllers\necho 0 >/sys/fs/selinux/enforce",
        ),
    ];
    let namespaces = Namespaces::start(&hosts(), &nodes);
    let site = Site::start(&namespaces).await;
    let key = format!(", keyPath: {}", namespaces.file("user"));
    let addresses: Vec<String> = (0..nodes.len()).map(Namespaces::address).collect();
    let hosts: String = addresses
        .iter()
        .enumerate()
        .map(|(index, address)| {
            let user = if index == 8 { "op" } else { "root" };
            host(address, &key).replace("user: root", &format!("user: {user}"))
        })
        .collect();
    let known: String = addresses
        .iter()
        .map(|address| namespaces.known_host(address, true))
        .collect();
    let sandbox = sandbox(&namespaces, &site.proxy.ca_pem, &hosts, &known);
    let seen = tokio::task::block_in_place(|| {
        run(&namespaces, &sandbox, "preflight lab --nodes --format json")
    });
    assert_eq!(seen.code, Some(1), "{}", seen.whole());
    seen.does_not_mention("hunter2");
    let result = super::result(&seen.stdout);
    let expected = [
        "identity problem same-machine-id",
        "identity problem same-machine-id",
        "identity problem no-machine-id",
        "identity problem same-hostname",
        "identity problem same-hostname",
        "proxy problem proxy-in-units",
        "system warning system-unlisted",
        "limits warning inotify-low",
        "sudo problem sudo-password",
        "packages warning packages-missing",
    ];
    for (address, expected) in addresses.iter().zip(expected) {
        let found = of_node(&result, address);
        assert_eq!(found, [expected], "{address}\n{}", seen.stdout);
    }
    for check in result["checks"].as_array().unwrap() {
        let has_fix = check["fix"].as_str().is_some_and(|fix| !fix.is_empty());
        assert_eq!(check["fault"].is_string(), has_fix, "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(
    without_namespaces,
    ignore = "not root, or there is no sshd, ssh, ip or unshare"
)]
async fn ctrl_c_ends_every_connection() {
    let hangs = Special {
        sshd: "ForceCommand sleep 63".to_owned(),
        ..fine()
    };
    let namespaces = Namespaces::start(&hosts(), &[hangs.clone(), hangs]);
    let site = Site::start(&namespaces).await;
    let key = format!(", keyPath: {}", namespaces.file("user"));
    let nodes: String = (0..2)
        .map(|index| host(&Namespaces::address(index), &key))
        .collect();
    let known: String = (0..2)
        .map(|index| namespaces.known_host(&Namespaces::address(index), true))
        .collect();
    let sandbox = sandbox(&namespaces, &site.proxy.ca_pem, &nodes, &known);
    let before = namespaces.processes();
    let mut command = sandbox.command("preflight lab --nodes");
    namespaces.place(&mut command);
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let until = async |reached: &dyn Fn(usize) -> bool| {
        let begun = Instant::now();
        while !reached(namespaces.processes()) {
            let now = namespaces.processes();
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{now} of {before}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // One process of the command, and for each of two nodes an `ssh`, a session and its command.
    until(&|now| now >= before + 7).await;
    let process = i32::try_from(child.id()).unwrap();
    // SAFETY: the process is our own child, and was not waited for yet.
    unsafe { libc::kill(process, libc::SIGINT) };
    let begun = Instant::now();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output());
    let output = output.await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{stderr}");
    // The connections are closed. The commands on the nodes may still be running.
    until(&|now| now <= before + 4).await;
}

/// Runs the script of the nodes here, with curl and with wget, and with token servers that refuse
/// or accept anonymous clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_requests_a_token_without_credentials() {
    let look = std::fs::read_to_string(
        support::sandbox::repository().join("crates/release/src/preflight/nodes/look.sh"),
    )
    .unwrap();
    for (for_nobody, expected) in [(true, "pull\t404\t"), (false, "pull\ttoken\t")] {
        let quirks = quirks!(token_life: Some(u32::MAX), anonymous_tokens: for_nobody);
        let registry = FaultyRegistry::start(quirks, &[], 1).await;
        let proxy = TlsProxy::start(&registry.address, &["127.0.0.1"], |_| {}).await;
        for lacks in [&["wget", "openssl"], &["curl", "openssl"]] {
            if lacks[0] == "wget" && which("curl").is_none()
                || lacks[0] == "curl" && which("wget").is_none()
            {
                continue;
            }
            let bin = tempfile::tempdir().unwrap();
            for program in support::namespaces::PROGRAMS {
                if !lacks.contains(&program)
                    && let Some(found) = which(program)
                {
                    std::os::unix::fs::symlink(found, bin.path().join(program)).unwrap();
                }
            }
            let script = format!(
                "ca='{}'\nname=\nbalancer=\nregistry={}\nrepository=mke/a\nreference=1\ndata=/var\n{look}",
                proxy.ca_pem, proxy.address
            );
            let lines = tokio::task::block_in_place(|| shell(bin.path(), &script));
            assert!(lines.contains("https\tverified\t401"), "{lacks:?}: {lines}");
            assert!(lines.contains(expected), "{lacks:?}: {lines}");
            // The script ran to its end with these programs.
            assert!(lines.contains("airlock\tend"), "{lacks:?}: {lines}");
        }
    }
}

/// Runs a shell that reads a script from its standard input, as over `ssh`.
#[expect(
    clippy::disallowed_methods,
    reason = "the test runs the shell of a node"
)]
fn shell(path: &std::path::Path, script: &str) -> String {
    use std::io::Write as _;
    let mut child = std::process::Command::new("/bin/sh")
        .arg("-s")
        .env_clear()
        .env("PATH", path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_of_mkectl_are_offered_if_its_help_lists_them() {
    for (release, offered) in [("v4.1.5", false), ("v4.2.0", true)] {
        let mut lab = support::Lab::new(crate::AIRLOCK, crate::FAKE_MKECTL).await;
        let sandbox = lab.variable("FAKE_MKECTL_VERSION", release);
        // This `ssh` reaches no machine.
        sandbox.install_script("ssh", "#!/bin/sh\nexit 255\n");
        let run = sandbox.run("preflight lab --nodes");
        let offer = "$ cargo xtask cluster check lab\n";
        assert_eq!(run.stdout.contains(offer), offered, "{}", run.whole());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ssh_the_other_checks_run_and_the_missing_ssh_is_reported() {
    let registry = FaultyRegistry::start(super::limited(), &[], 1).await;
    let sandbox = super::sandbox();
    super::describe(&sandbox, "lab", &registry.address, None);
    let run = sandbox
        .run("preflight lab --nodes --format json")
        .exits_with(1);
    let result = super::result(&run.stdout);
    assert_eq!(super::of_verdict(&result, "problem"), ["ssh no-ssh"]);
    assert_eq!(result["nodes"].as_array().unwrap().len(), 0);
}

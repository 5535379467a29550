//! Finds out what this machine can test with, so tests which need more are shown as ignored, with
//! the reason.
//!
//! Docker runs `registry:2`, `cargo zigbuild` makes the portable program, skopeo, containerd,
//! podman, helm, kubectl and oras are referees of what was pushed, nginx and haproxy stand before
//! registries, chromium opens reports, openssl signs bundles, and nodes are namespaces, which only
//! root makes. Under `CI` nothing is ignored: there a missing program is a failure.

#![expect(
    clippy::disallowed_methods,
    reason = "what the machine has is found by its environment"
)]

use std::os::unix::net::UnixStream;
use std::path::Path;

fn main() {
    for variable in ["CI", "DOCKER_HOST", "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(without_docker)");
    println!("cargo::rustc-check-cfg=cfg(without_skopeo)");
    println!("cargo::rustc-check-cfg=cfg(without_docker_registry)");
    println!("cargo::rustc-check-cfg=cfg(without_namespaces)");
    println!("cargo::rustc-check-cfg=cfg(without_zigbuild)");
    println!("cargo::rustc-check-cfg=cfg(without_shells)");
    println!("cargo::rustc-check-cfg=cfg(without_mandoc)");
    println!("cargo::rustc-check-cfg=cfg(without_check_jsonschema)");
    println!("cargo::rustc-check-cfg=cfg(without_ssh_keygen)");
    for referee in [
        "containerd",
        "podman",
        "helm",
        "kubectl",
        "oras",
        "nginx",
        "haproxy",
        "chromium",
        "openssl",
    ] {
        println!("cargo::rustc-check-cfg=cfg(without_{referee})");
    }
    if std::env::var_os("CI").is_some() {
        return;
    }
    if !docker_answers() {
        println!("cargo::rustc-cfg=without_docker");
    }
    if !["bash", "zsh", "fish"].into_iter().all(on_path) {
        println!("cargo::rustc-cfg=without_shells");
    }
    if !on_path("mandoc") {
        println!("cargo::rustc-cfg=without_mandoc");
    }
    if !on_path("skopeo") {
        println!("cargo::rustc-cfg=without_skopeo");
    }
    if !on_path("docker-registry") {
        println!("cargo::rustc-cfg=without_docker_registry");
    }
    if !on_path("check-jsonschema") {
        println!("cargo::rustc-cfg=without_check_jsonschema");
    }
    if !on_path("cargo-zigbuild") {
        println!("cargo::rustc-cfg=without_zigbuild");
    }
    if !on_path("ssh-keygen") {
        println!("cargo::rustc-cfg=without_ssh_keygen");
    }
    let mounts = makes_namespaces();
    if !mounts || !["containerd", "ctr"].into_iter().all(on_path) {
        println!("cargo::rustc-cfg=without_containerd");
    }
    for client in ["podman", "helm", "kubectl", "chromium", "openssl"] {
        if !on_path(client) {
            println!("cargo::rustc-cfg=without_{client}");
        }
    }
    if !python_has("oras") {
        println!("cargo::rustc-cfg=without_oras");
    }
    for server in ["nginx", "haproxy"] {
        if !on_path(server) && !Path::new("/usr/sbin").join(server).is_file() {
            println!("cargo::rustc-cfg=without_{server}");
        }
    }
    let needed = ["ssh", "ssh-keygen", "ip", "nsenter", "unshare"];
    let has_sshd = on_path("sshd") || Path::new("/usr/sbin/sshd").is_file();
    if !needed.into_iter().all(on_path) || !has_sshd || !mounts {
        println!("cargo::rustc-cfg=without_namespaces");
    }
}

/// Returns whether this user may make networks and mounts of their own, which root may not
/// everywhere.
fn makes_namespaces() -> bool {
    let tried = std::process::Command::new("unshare")
        .args(["--net", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"])
        .stderr(std::process::Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Returns whether the `python3` on PATH can import a module.
fn python_has(module: &str) -> bool {
    let tried = std::process::Command::new("python3")
        .args(["-c", &format!("import {module}")])
        .stderr(std::process::Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Returns whether Docker listens where testcontainers looks: `DOCKER_HOST`, or the usual sockets.
fn docker_answers() -> bool {
    if let Some(host) = std::env::var_os("DOCKER_HOST") {
        let host = host.to_string_lossy();
        return match host.split_once("://") {
            Some(("unix", path)) => UnixStream::connect(path).is_ok(),
            Some((_, address)) => std::net::TcpStream::connect(address).is_ok(),
            None => false,
        };
    }
    let mut sockets = vec!["/var/run/docker.sock".to_owned()];
    if let Some(folder) = std::env::var_os("XDG_RUNTIME_DIR") {
        sockets.push(format!("{}/docker.sock", folder.to_string_lossy()));
    }
    if let Some(home) = std::env::var_os("HOME") {
        sockets.push(format!(
            "{}/.docker/run/docker.sock",
            home.to_string_lossy()
        ));
    }
    let socket = sockets
        .iter()
        .find(|socket| UnixStream::connect(socket).is_ok());
    look_again(socket.map(Path::new));
    socket.is_some()
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    look_again(found.as_deref());
    found.is_some()
}

/// Looks again when this file changes. What is missing may come at any time, so the next build
/// looks for it again.
fn look_again(found: Option<&Path>) {
    let path = found.unwrap_or(Path::new("/nonexistent"));
    println!("cargo::rerun-if-changed={}", path.display());
}

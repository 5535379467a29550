//! The commands of each release of mkectl, their flags and their output, as far as these are
//! known.
//!
//! The sources are the vendor's pages and a lab's scripts (DOCS-SRC, UPG-412, UPG-415, the pages of
//! single commands for 4.2); for releases without a page of their own, this table is a guess and
//! proves nothing about the real program.

use std::fmt::Write as _;

/// A flag, and whether it takes a value.
type Flag = (&'static str, bool);

/// The flags of every command.
const GLOBAL: &[Flag] = &[
    ("--file", true),
    ("--help", false),
    ("--kubeconfig", true),
    ("--logLevel", true),
];

/// Global flags that are documented for 4.2 and unverified before. This table has them from 4.1.3
/// on.
const PLAIN: &[Flag] = &[("--no-color", false), ("--no-pretty-print", false)];

/// What authenticated registries require (APPLY-421, MKE3-421).
const PULL_CREDENTIALS: &[Flag] = &[
    ("--chart-registry-password", true),
    ("--chart-registry-username", true),
    ("--image-registry-password", true),
    ("--image-registry-username", true),
];

/// The simulated release: the numbers of its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(u64, u64, u64);

impl Release {
    /// Reads a version with its leading `v`; another text is the latest release.
    pub(crate) fn of(version: &str) -> Self {
        let text = version.trim_start_matches('v');
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        match (next(), next(), next()) {
            (Some(major), Some(minor), Some(patch)) => Self(major, minor, patch),
            _ => Self(4, 2, 1),
        }
    }

    /// Returns the commands of this release, by their words.
    pub(crate) fn commands(self) -> Vec<&'static [&'static str]> {
        let mut commands: Vec<&'static [&'static str]> = vec![
            &["version"],
            &["init"],
            &["apply"],
            &["upgrade"],
            &["config", "get"],
        ];
        commands.extend([&["kubeconfig"][..], &["reset"]]);
        // The first release keeps its backups in object storage, by Velero (DOCS-SRC).
        if self < Self(4, 1, 1) {
            commands.extend([&["backup", "create"][..], &["backup", "list"]]);
            commands.extend([&["restore", "create"][..], &["restore", "list"]]);
        }
        if self.has_etcd() {
            commands.extend([&["etcd", "backup"][..], &["etcd", "restore"]]);
        }
        if self >= Self(4, 1, 3) {
            commands.extend([&["backup"][..], &["restore"]]);
        }
        if self >= Self(4, 1, 1) {
            commands.push(&["check", "mke3"]);
        }
        if self >= Self(4, 2, 0) {
            commands.extend([&["check", "hosts"][..], &["check", "ports"]]);
            commands.extend([&["certs", "status"][..], &["certs", "rotate"], &["login"]]);
            commands.push(&["reset-password"]);
        }
        if self >= Self(4, 1, 3) {
            commands.extend([&["airgap", "list-images"][..], &["airgap", "list-charts"]]);
        }
        commands
    }

    /// Returns the flags of a command, with the global ones.
    pub(crate) fn flags(self, command: &[&str]) -> Vec<Flag> {
        let mut flags: Vec<Flag> = match command {
            ["version"] if self >= Self(4, 2, 0) => vec![("--json", false), ("--verbose", false)],
            ["init"] => vec![("--data-dir", true), ("--print-k0sctl-config", false)],
            ["apply"] => self.apply(),
            ["upgrade"] => self.upgrade(),
            ["backup" | "restore", "create"] => vec![("--name", true)],
            ["backup"] if self >= Self(4, 2, 0) => vec![
                ("--disable-pre-backup-cluster-validation", false),
                ("--name", true),
                ("--progress-bars", true),
            ],
            [.., "backup"] => vec![("--name", true)],
            ["etcd", "restore"] => vec![("--name", true)],
            ["restore"] => vec![("--force", false), ("--hosts-path", true), ("--name", true)],
            ["reset"] => vec![
                ("--concurrency", true),
                ("--force", false),
                ("--reset-timeout-minutes", true),
            ],
            ["kubeconfig" | "login"] => vec![
                ("--address", true),
                ("--ca-file", true),
                ("--force-refresh", false),
                ("--password-env-var", true),
            ],
            ["check", "hosts" | "ports"] => vec![
                ("--concurrency", true),
                ("--data-dir", true),
                ("--force", false),
                ("--output", true),
            ],
            ["check", "mke3"] => vec![
                ("--force", false),
                ("--mke3-config-path", true),
                ("--output", true),
            ],
            ["reset-password"] => vec![
                ("--force", false),
                ("--interactive", false),
                ("--password-stdin", false),
                ("--skip-session-revocation", false),
                ("--user", true),
            ],
            ["certs", _] => vec![("--client-ca", false), ("--etcd", false)],
            _ => Vec::new(),
        };
        flags.extend(GLOBAL);
        if self >= Self(4, 1, 3) {
            flags.extend(PLAIN);
        }
        flags
    }

    /// Returns whether `config get` mixes lines of the log into the configuration.
    pub(crate) fn mixes_log_and_config(self) -> bool {
        self < Self(4, 1, 3)
    }

    /// Returns whether backups are below `etcd`.
    pub(crate) fn has_etcd(self) -> bool {
        (Self(4, 1, 1)..Self(4, 1, 3)).contains(&self)
    }

    fn apply(self) -> Vec<Flag> {
        let mut flags = vec![
            ("--admin-password", true),
            ("--bpf-dns-patch", false),
            ("--cni-check-port", true),
            ("--cni-check-timeout", true),
            ("--cni-check-timeout-windows", true),
            ("--timeout-minutes", true),
        ];
        // Its page is complete to `-h` (CLI-420): neither the check of ports nor credentials of
        // registries are on it.
        if self >= Self(4, 2, 0) {
            flags.extend([("--collect-facts-timeout", true), ("--concurrency", true)]);
            flags.extend([("--dry-run", false), ("--force", false)]);
        }
        if self != Self(4, 2, 0) {
            flags.push(("--check-ports", false));
        }
        if self >= Self(4, 2, 1) {
            flags.extend(PULL_CREDENTIALS);
        }
        if self == Self(4, 1, 3) {
            flags.push(("--registry-insecure-skip-tls-verify", false));
        }
        flags
    }

    fn upgrade(self) -> Vec<Flag> {
        let mut flags = vec![
            ("--chart-registry", true),
            ("--config-out", true),
            ("--dry-run", false),
            ("--external-address", true),
            ("--force", false),
            ("--hosts-path", true),
            ("--image-registry", true),
            ("--mke3-admin-password", true),
            ("--mke3-admin-username", true),
            ("--mke3-airgapped", true),
            ("--output", true),
            ("--upgrade-timeout-minutes", true),
        ];
        // The first release is an upgrade of MKE 3 only.
        if self >= Self(4, 1, 1) {
            flags.extend([("--upgrade-version", true), ("--release-matrix", true)]);
            flags.extend([
                ("--chart-registry-ca-file", true),
                ("--image-registry-ca-file", true),
            ]);
        }
        if self >= Self(4, 1, 5) {
            flags.extend([
                ("--gateway-http-node-port", true),
                ("--gateway-https-node-port", true),
                ("--gateway-listener-port", true),
                ("--remove-ingress-nginx", false),
            ]);
        }
        if self >= Self(4, 2, 1) {
            flags.extend(PULL_CREDENTIALS);
        }
        if self == Self(4, 1, 1) || self == Self(4, 1, 2) {
            flags.push(("--etcd-snapshot-path", true));
        }
        if self >= Self(4, 2, 0) {
            flags.push(("--backup-path", true));
        }
        flags
    }

    /// Returns the help of the command that these words lead to: its flags, or the commands below
    /// it.
    pub(crate) fn help(self, words: &[&str], hidden: &[&str]) -> Option<String> {
        let mut text = format!("Usage:\n  mkectl {} [flags]\n\n", words.join(" "));
        let mut below: Vec<&str> = self
            .commands()
            .into_iter()
            .filter(|command| command.len() > words.len() && command.starts_with(words))
            .map(|command| command[words.len()])
            .collect();
        below.dedup();
        let is_command = self.commands().contains(&words);
        if !is_command && below.is_empty() {
            return None;
        }
        if !below.is_empty() {
            text.push_str("Available Commands:\n");
            for name in below {
                let _ = writeln!(text, "  {name:<12} {name} of MKE");
            }
            text.push('\n');
        }
        text.push_str("Flags:\n");
        for (name, takes_value) in self.flags(words) {
            if hidden.contains(&name) {
                continue;
            }
            let short = match name {
                "--file" => "  -f, ",
                "--help" => "  -h, ",
                "--logLevel" => "  -l, ",
                _ => "      ",
            };
            let value = if takes_value { " string" } else { "" };
            let variable = match name {
                "--chart-registry-password" => "   (env MKE_CHART_REGISTRY_PASSWORD)",
                _ => "",
            };
            let _ = writeln!(text, "{short}{name}{value}{variable}");
        }
        Some(text)
    }
}

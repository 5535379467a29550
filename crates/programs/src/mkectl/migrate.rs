//! The upgrade of an MKE 3 cluster without internet, and the check before it (DOCS-SRC, MKE3-421,
//! COMPAT).

use camino::Utf8Path;
use secrecy::SecretString;

use super::{GATEWAY_PORTS, Help, Mkectl, NodePorts};
use crate::Command;

/// What the upgrade of an MKE 3 cluster is given.
#[derive(Debug, Clone, Copy)]
pub struct Migration<'a> {
    /// The file of the machines: a flat list, without roles.
    pub hosts: &'a Utf8Path,
    /// The administrator of MKE 3.
    pub username: &'a str,
    /// The administrator's password.
    pub password: &'a SecretString,
    /// Where clients are to find the cluster.
    pub external_address: &'a str,
    /// Where images are: `host/path`.
    pub image_registry: &'a str,
    /// Where charts are: `oci://host/path`.
    pub chart_registry: &'a str,
    /// The certificate of the registry's authority, where it is a private one: a file, unlike in
    /// `mke4.yaml`.
    pub ca: Option<&'a Utf8Path>,
    /// Where to write the configuration that comes of it.
    pub config_out: &'a Utf8Path,
    /// The node ports of the gateway, which later releases ask for (LB-420).
    pub gateway_node_ports: Option<NodePorts>,
}

impl Migration<'_> {
    /// The flags without which a mkectl cannot do it.
    pub const NEEDED: [&'static str; 4] = [
        "--hosts-path",
        "--image-registry",
        "--chart-registry",
        "--mke3-airgapped",
    ];

    /// The flag of the password.
    const PASSWORD: &'static str = "--mke3-admin-password";
}

impl Mkectl {
    /// Builds `mkectl upgrade` for an MKE 3 cluster. `help` is the answer to [`Mkectl::help`] for
    /// `upgrade`; what it does not list is left out.
    ///
    /// The password is a variable where the help names one for it, and an argument otherwise.
    pub fn migrate(&self, migration: &Migration<'_>, help: &Help) -> Command {
        let ports = (migration.gateway_node_ports)
            .map(|ports| (ports.http.to_string(), ports.https.to_string()));
        let ca = migration.ca.map(Utf8Path::as_str);
        let flags = [
            ("--hosts-path", Some(migration.hosts.as_str())),
            ("--mke3-admin-username", Some(migration.username)),
            ("--external-address", Some(migration.external_address)),
            ("--config-out", Some(migration.config_out.as_str())),
            ("--image-registry", Some(migration.image_registry)),
            ("--chart-registry", Some(migration.chart_registry)),
            ("--image-registry-ca-file", ca),
            ("--chart-registry-ca-file", ca),
            (
                GATEWAY_PORTS[0],
                ports.as_ref().map(|(http, _)| http.as_str()),
            ),
            (
                GATEWAY_PORTS[1],
                ports.as_ref().map(|(_, https)| https.as_str()),
            ),
        ];
        let mut words = vec!["upgrade"];
        for (flag, value) in flags {
            if let Some(value) = value.filter(|_| help.lists(flag)) {
                words.extend([flag, value]);
            }
        }
        // A flag of this kind takes its value after an equals sign only.
        words.extend(Some("--mke3-airgapped=true").filter(|_| help.lists("--mke3-airgapped")));
        words.extend(help.plain());
        let command = self.command(words);
        let password = migration.password.clone();
        match help.variable_of(Migration::PASSWORD) {
            Some(variable) => command.secret(variable, password),
            None if help.lists(Migration::PASSWORD) => {
                command.secret_argument(Migration::PASSWORD, password)
            }
            None => command.masked([password]),
        }
    }

    /// Builds `mkectl check mke3`, which looks at the configuration of an MKE 3 cluster and touches
    /// none. It leaves its report in the folder that it runs in. `help` is the answer to
    /// [`Mkectl::help`] for it.
    pub fn check_mke3(&self, config: &Utf8Path, help: &Help) -> Command {
        let mut words = vec!["check", "mke3", "--mke3-config-path", config.as_str()];
        words.extend(Some("--output=.").filter(|_| help.lists("--output")));
        words.extend(help.plain());
        self.command(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variables;

    #[test]
    fn the_password_is_an_argument_only_where_no_variable_is_named_for_it() {
        let password = SecretString::from("hunter2");
        let migration = Migration {
            hosts: Utf8Path::new("hosts.yaml"),
            username: "admin",
            password: &password,
            external_address: "mke.example.com",
            image_registry: "registry/mke",
            chart_registry: "oci://registry/mke",
            ca: None,
            config_out: Utf8Path::new("out.yaml"),
            gateway_node_ports: None,
        };
        let shown = |help: &str| {
            let mkectl = Mkectl::new("mkectl", Variables::default());
            let command = mkectl.migrate(&migration, &Help::parse(help));
            command.display().to_string()
        };
        assert_eq!(
            shown("--hosts-path string\n--mke3-admin-password string\n--mke3-airgapped\n"),
            "mkectl upgrade --hosts-path hosts.yaml --mke3-airgapped=true --mke3-admin-password=***"
        );
        assert_eq!(
            shown("--mke3-admin-password string   (env MKE3_ADMIN_PASSWORD)\n"),
            "MKE3_ADMIN_PASSWORD=*** mkectl upgrade"
        );
        assert_eq!(shown(""), "mkectl upgrade");
    }
}

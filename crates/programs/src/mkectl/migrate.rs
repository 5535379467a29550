//! The upgrade of an MKE 3 cluster without internet, and the check before it (DOCS-SRC, MKE3-421,
//! COMPAT).

use camino::Utf8Path;
use secrecy::SecretString;

use super::{GATEWAY_PORTS, Help, Mkectl, NodePorts};
use crate::Command;

/// The parameters of an upgrade from MKE 3.
#[derive(Debug, Clone, Copy)]
pub struct Migration<'a> {
    /// Path of the hosts file: a flat list of machines without roles.
    pub hosts: &'a Utf8Path,
    /// Administrator of MKE 3.
    pub username: &'a str,
    /// The administrator's password.
    pub password: &'a SecretString,
    /// Address at which clients reach the cluster.
    pub external_address: &'a str,
    /// Location of images: `host/path`.
    pub image_registry: &'a str,
    /// Location of charts: `oci://host/path`.
    pub chart_registry: &'a str,
    /// Path of the registry's CA certificate, if the CA is private. `mke4.yaml` has the certificate
    /// itself instead.
    pub ca: Option<&'a Utf8Path>,
    /// Path for the resulting configuration.
    pub config_out: &'a Utf8Path,
    /// Node ports of the gateway, which later releases require (LB-420).
    pub gateway_node_ports: Option<NodePorts>,
}

impl Migration<'_> {
    /// Flags that a mkectl must support for a migration.
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
    /// Builds `mkectl upgrade` for an MKE 3 cluster. `help` is the page of [`Mkectl::help`] for
    /// `upgrade`; flags that it does not list are left out.
    ///
    /// The password is a variable if the page names one, and otherwise an argument.
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
        // This flag accepts its value only after an equals sign.
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

    /// Builds `mkectl check mke3`, which reads the configuration of an MKE 3 cluster and changes
    /// nothing. It writes its report to its working directory. `help` is the page of
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
    fn the_password_is_an_argument_only_if_no_variable_is_named() {
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

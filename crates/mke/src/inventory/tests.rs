//! Tests of inventories: the hosts that they become, and their problems.

use camino::Utf8Path;
use environment::Environment;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;

use crate::render::tests::{URLS, release};
use crate::{render, resolve};

const HEAD: &str =
    "release: v4.1.5\nregistry: { address: 'registry.example.com:5000', project: mke }\n";

/// Loads an environment with these files.
fn load(files: &[(&str, &str)]) -> Result<Environment, environment::Error> {
    let folder = TempDir::new().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap();
    for (path, text) in files {
        let path = root.join("environments/prod").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    environment::load(root, "prod")
}

fn rendered(environment: &str, inventory: &str) -> String {
    let loaded = load(&[
        ("environment.yaml", &format!("{HEAD}{environment}")),
        ("hosts.csv", inventory),
        ("hosts.yaml", inventory),
    ]);
    let mut environment = match loaded {
        Ok(environment) => environment,
        Err(error) => return error.to_string(),
    };
    environment
        .accept
        .push(environment::yaml::Node::string("telemetry"));
    match render(&environment, URLS, &release("4.1.5")) {
        Ok(rendered) => {
            let (_, hosts) = rendered.text.split_once("  hosts:\n").unwrap_or_default();
            format!("{}\n---\n{hosts}", rendered.warnings.join("\n"))
        }
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn hosts_of_config_override_the_machines_of_a_csv_inventory() {
    let environment = "\
inventory:
  file: hosts.csv
  defaults: { user: mke, keyPath: ~/.ssh/prod, port: 22 }
config:
  tracking: { enabled: false }
  hosts:
    - ssh: { address: 10.0.0.2, user: admin }
      installFlags: [--debug]
    - role: worker
      ssh: { address: 10.0.0.9, user: mke, keyPath: ~/.ssh/prod }
";
    insta::assert_snapshot!(rendered(environment, "\
# The machines of the hall.
address, role, user, zone, port

10.0.0.1,controller+worker,,a,
10.0.0.2,worker,,b,2222
10.0.0.3,worker,\"root\",,
"), @r#"
    environments/prod/hosts.csv:4:29: zones become labels through k0s's flag `--labels`, which is unverified for MKE; check the nodes' labels after the first installation
    ---
        - role: controller+worker
          ssh:
            address: "10.0.0.1"
            user: mke
            port: 22
            keyPath: ~/.ssh/prod
          installFlags:
            - --labels=topology.kubernetes.io/zone=a
        - role: worker
          ssh:
            address: 10.0.0.2
            user: admin
            port: 2222
            keyPath: ~/.ssh/prod
          installFlags:
            - --debug
            - --labels=topology.kubernetes.io/zone=b
        - role: worker
          ssh:
            address: "10.0.0.3"
            user: root
            port: 22
            keyPath: ~/.ssh/prod
        - role: worker
          ssh:
            address: 10.0.0.9
            user: mke
            keyPath: ~/.ssh/prod
    "#);
}

#[test]
fn a_yaml_inventory_is_a_list_of_mappings() {
    let environment = "inventory: hosts.yaml\nconfig: { tracking: { enabled: false } }\n";
    let table = "- { address: 10.0.0.1, role: controller+worker, user: '1000', keyPath: key, hostname: one, zone: \"a\" }\n";
    insta::assert_snapshot!(rendered(environment, table), @"
    environments/prod/hosts.yaml:1:98: zones become labels through k0s's flag `--labels`, which is unverified for MKE; check the nodes' labels after the first installation
    ---
        - role: controller+worker
          hostname: one
          ssh:
            address: 10.0.0.1
            user: '1000'
            keyPath: key
          installFlags:
            - --labels=topology.kubernetes.io/zone=a
    ");
}

#[test]
fn problems_of_an_inventory_are_reported_in_its_file() {
    let csv = "inventory: hosts.csv\nconfig: { tracking: { enabled: false } }\n";
    insta::assert_snapshot!(rendered(csv, "\
address,role,user,keypath,rack
10.0.0.1,controller+worker,root,key,1
10.0.0.1,manager,root,key,2

# No user.
10.0.0.300,worker,,key,3
"), @r#"
    environments/prod/hosts.csv:1:19: unknown column `keypath` in the inventory; did you mean `keyPath`?
    environments/prod/hosts.csv:1:27: unknown column `rack` in the inventory; the columns are `role`, `address`, `user`, `port`, `keyPath`, `hostname`, `privateAddress`, `privateInterface`, `zone`
    environments/prod/hosts.csv:2:1: 3 hosts have no `keyPath`, so only an SSH agent can provide their keys; write the path of the private key, or write `accept: [ssh-agent]`
    environments/prod/hosts.csv:3:1: `10.0.0.1` is also the address of the host in line 2; list each host once
    environments/prod/hosts.csv:3:10: `manager` is not a role; write `controller+worker` or `worker`
    environments/prod/hosts.csv:6:1: a host has no `ssh.user`; fill in the column `user`, or set it in `inventory.defaults`
    environments/prod/hosts.csv:6:1: `hosts[].ssh.address` is `10.0.0.300`, which is neither a host name nor an IPv4 address; write a host name, or an IPv4 address such as `10.0.0.5`
    "#);
    insta::assert_snapshot!(rendered(csv, "address,role,role\na,b,c,d\n"), @r"
    environments/prod/hosts.csv:1:14: duplicate column `role`; name each column once
    environments/prod/hosts.csv:2:7: the line has 4 values for 3 columns; remove the extra values, or put quotes around a value with a comma
    ");
    insta::assert_snapshot!(rendered(csv, "address,role,port\n10.0.0.1,single,ssh\n"), @r#"
    environments/prod/hosts.csv:2:1: a host has no `ssh.user`; fill in the column `user`, or set it in `inventory.defaults`
    environments/prod/hosts.csv:2:17: `hosts[].ssh.port` is `ssh`, not a port; a port is a number from 1 to 65535
    "#);
    let yaml = "inventory: hosts.yaml\n";
    insta::assert_snapshot!(rendered(yaml, "hosts: []\n"), @r#"
    environments/prod/hosts.yaml:1:1: the inventory is a mapping, not a list; write a line `- { address: 10.0.0.1, role: worker }` for each machine
    "#);
    insta::assert_snapshot!(rendered(yaml, "- 10.0.0.1\n- { address: [10.0.0.2] }\n"), @r#"
    environments/prod/hosts.yaml:1:3: a machine is a single value, not a mapping; write `{ address: 10.0.0.1, ... }`
    environments/prod/hosts.yaml:2:14: `address` is a list; write a single value
    "#);
    insta::assert_snapshot!(rendered("inventory: host.csv\n", ""), @r#"
    environments/prod/environment.yaml:3:12: the file `environments/prod/host.csv` does not exist; the path is relative to `environments/prod`, the folder of this file
    "#);
    insta::assert_snapshot!(rendered("inventory: { path: hosts.csv }\n", ""), @r#"
    environments/prod/environment.yaml:3:14: unknown key `path` in `inventory`; the keys are `file`, `defaults`
    "#);
    insta::assert_snapshot!(rendered("inventory: hosts.txt\n", ""), @r#"
    environments/prod/environment.yaml:3:12: the file `environments/prod/hosts.txt` does not exist; the path is relative to `environments/prod`, the folder of this file
    "#);
}

#[test]
fn references_are_kept_by_render_and_replaced_by_resolve() {
    let environment = load(&[(
        "environment.yaml",
        &format!(
            "{HEAD}{}",
            "\
config:
  tracking: { enabled: false }
  license: { token: { $env: LICENSE } }
  authentication:
    oidc: { enabled: true, clientSecret: { $file: ../../secrets/oidc } }
  certificates: { key: { $file: /run/key.pem } }
  hosts:
    - { role: controller+worker, ssh: { address: 10.0.0.1, user: root, keyPath: key } }
"
        ),
    )])
    .unwrap();
    let rendered = render(&environment, URLS, &release("4.1.5")).unwrap();
    assert_eq!(rendered.warnings, [""; 0]);
    let read = |reference: &environment::Reference| match reference {
        environment::Reference::Variable(name) if name == "LICENSE" => Ok("planted: 1e3".into()),
        environment::Reference::File(path) if path == "secrets/oidc" => Ok("yes\n".into()),
        environment::Reference::File(path) if path == "/run/key.pem" => {
            Ok("-----BEGIN KEY-----\nplanted\n".into())
        }
        _ => Err("is not there".to_owned()),
    };
    let resolved = resolve(&environment, URLS, &release("4.1.5"), &read).unwrap();
    assert!(!rendered.text.contains("planted"));
    assert!(!format!("{resolved:?}").contains("planted"));
    let value = |text: &str| -> serde_yaml::Value { serde_yaml::from_str(text).unwrap() };
    let (committed, whole) = (value(&rendered.text), value(resolved.text.expose_secret()));
    assert_eq!(committed["spec"]["license"]["token"]["$env"], "LICENSE");
    assert_eq!(whole["spec"]["license"]["token"], "planted: 1e3");
    assert_eq!(
        whole["spec"]["authentication"]["oidc"]["clientSecret"],
        "yes"
    );
    assert_eq!(
        whole["spec"]["certificates"]["key"],
        "-----BEGIN KEY-----\nplanted\n"
    );
    assert_eq!(resolved.secrets.len(), 3);

    let nothing = |_: &environment::Reference| -> Result<SecretString, String> {
        Err("is not set".to_owned())
    };
    let problems = resolve(&environment, URLS, &release("4.1.5"), &nothing).unwrap_err();
    insta::assert_snapshot!(problems, @r#"
    environments/prod/environment.yaml:5:21: the variable `LICENSE` is not set
    environments/prod/environment.yaml:7:42: the file `secrets/oidc` is not set
    environments/prod/environment.yaml:8:24: the file `/run/key.pem` is not set
    "#);
}

#[test]
fn a_reference_cannot_become_a_number() {
    insta::assert_snapshot!(rendered("config: { kubelet: { maxPods: { $env: PODS } } }\n", ""), @"environments/prod/environment.yaml:3:31: `kubelet.maxPods` is a reference, which becomes a string; a different type is expected here; write the value itself: it is not a secret");
}

#[test]
fn a_zone_that_is_not_a_label_value_is_refused() {
    let long = "a".repeat(64);
    let inventory = format!(
        "address,role,user,keyPath,zone\n\
         10.0.0.1,controller+worker,root,key,a b/c=d --foo\n\
         10.0.0.2,worker,root,key,-a\n\
         10.0.0.3,worker,root,key,a.\n\
         10.0.0.4,worker,root,key,{long}\n\
         10.0.0.5,worker,root,key,\"a,b=c\"\n\
         10.0.0.6,worker,root,key,{}\n\
         10.0.0.7,worker,root,key,eu-1_a.B\n",
        &long[1..]
    );
    insta::assert_snapshot!(rendered("inventory: hosts.csv\n", &inventory), @"
    environments/prod/hosts.csv:2:37: the zone `a b/c=d --foo` is not a value of a Kubernetes label; write up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends
    environments/prod/hosts.csv:3:26: the zone `-a` is not a value of a Kubernetes label; write up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends
    environments/prod/hosts.csv:4:26: the zone `a.` is not a value of a Kubernetes label; write up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends
    environments/prod/hosts.csv:5:26: the zone `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…` is not a value of a Kubernetes label; write up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends
    environments/prod/hosts.csv:6:1: the zone `a,b=c` is not a value of a Kubernetes label; write up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends
    ");
}

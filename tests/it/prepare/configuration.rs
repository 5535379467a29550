//! `config`: the messages for files that break a rule. Values that an operator writes stay
//! unchanged.

use support::Sandbox;
use support::sandbox::repository;

use crate::AIRLOCK;

/// A valid host.
const HOST: &str = "  hosts:\n    - role: controller+worker\n      \
    ssh: { address: 192.0.2.10, user: ubuntu, port: 22, keyPath: ~/.ssh/mke }\n";

/// The problem, the release, and the keys below `config`; `{H}` represents [`HOST`].
const WRONG: &[(&str, &str, &str)] = &[
    (
        "no controller",
        "v4.1.5",
        "  hosts:\n    - { role: worker, ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n",
    ),
    (
        "an even number of controllers",
        "v4.1.5",
        "  hosts:\n    - { role: controller+worker, ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n    - { role: controller+worker, ssh: { address: 192.0.2.2, user: u, keyPath: k } }\n",
    ),
    (
        "the same address twice",
        "v4.1.5",
        "  hosts:\n    - { role: controller+worker, ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n    - { role: worker, ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n",
    ),
    (
        "the same private address twice",
        "v4.1.5",
        "  hosts:\n    - { role: controller+worker, privateAddress: 10.0.0.1, ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n    - { role: worker, privateAddress: 10.0.0.1, ssh: { address: 192.0.2.2, user: u, keyPath: k } }\n",
    ),
    (
        "a role that is none",
        "v4.1.5",
        "  hosts:\n    - { role: manager, ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n",
    ),
    (
        "no role",
        "v4.1.5",
        "  hosts:\n    - { ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n",
    ),
    (
        "single and another",
        "v4.1.5",
        "  hosts:\n    - { role: single, ssh: { address: 192.0.2.1, user: u, keyPath: k } }\n    - { role: worker, ssh: { address: 192.0.2.2, user: u, keyPath: k } }\n",
    ),
    (
        "no key",
        "v4.1.5",
        "  hosts:\n    - { role: single, ssh: { address: 192.0.2.1, user: u } }\n",
    ),
    (
        "a bastion without a user",
        "v4.1.5",
        "  hosts:\n    - { role: single, ssh: { address: 192.0.2.1, user: u, keyPath: k, bastion: { address: 192.0.2.9, keyPath: k } } }\n",
    ),
    (
        "an address that is none",
        "v4.1.5",
        "  hosts:\n    - { role: single, ssh: { address: 192.0.2.300, user: u, keyPath: k } }\n",
    ),
    (
        "a port that is none",
        "v4.1.5",
        "  hosts:\n    - { role: single, ssh: { address: 192.0.2.1, port: 70000, user: u, keyPath: k } }\n",
    ),
    (
        "a CIDR that is none",
        "v4.1.5",
        "{H}  network: { serviceCIDR: 10.96.0.0 }\n",
    ),
    (
        "a CIDR with an address in it",
        "v4.1.5",
        "{H}  network: { serviceCIDR: 10.96.1.1/16 }\n",
    ),
    (
        "CIDRs that overlap",
        "v4.1.5",
        "{H}  network:\n    serviceCIDR: 10.96.0.0/16\n    providers:\n      - { provider: calico, enabled: true, extraConfig: { cidrV4: 10.0.0.0/8 } }\n",
    ),
    (
        "a host within the cluster's addresses",
        "v4.1.5",
        "{H}  network: { serviceCIDR: 192.0.2.0/24 }\n",
    ),
    (
        "a range of ports that is none",
        "v4.1.5",
        "{H}  network: { nodePortRange: 32768 to 35535 }\n",
    ),
    (
        "a node port outside of its range",
        "v4.1.5",
        "{H}  gatewayMKEIngress: { nodePorts: { http: 30000, https: 33001 } }\n",
    ),
    (
        "a node port that is taken",
        "v4.1.5",
        "{H}  gatewayMKEIngress: { nodePorts: { http: 33000, https: 33000 } }\n",
    ),
    ("no external address", "v4.2.0", "{H}"),
    (
        "an external address with a scheme",
        "v4.2.0",
        "{H}  apiServer: { externalAddress: 'https://mke.example.com' }\n",
    ),
    (
        "a cloud",
        "v4.1.5",
        "{H}  cloudProvider: { enabled: true, provider: aws }\n",
    ),
    (
        "an add-on from the internet",
        "v4.1.0",
        "{H}  addons:\n    - name: metallb\n      chart: { repo: 'https://metallb.github.io/metallb' }\n",
    ),
    (
        "a value that is not of its type",
        "v4.1.5",
        "{H}  kubelet: { maxPods: many, seccompDefault: 'true' }\n",
    ),
    (
        "a number that readers disagree on",
        "v4.1.5",
        "{H}  kubelet: { maxPods: 0110 }\n",
    ),
    (
        "a number out of range",
        "v4.1.5",
        "{H}  kubelet: { podPidsLimit: -2 }\n",
    ),
    (
        "a value that is not one of its values",
        "v4.1.5",
        "{H}  network: { kubeProxy: { mode: iptable } }\n",
    ),
    (
        "a number where a text belongs",
        "v4.1.5",
        "{H}  tracking: { enabled: false, clusterLabel: 1.10 }\n",
    ),
    (
        "a list, not a mapping",
        "v4.1.5",
        "{H}  apiServer: [externalAddress]\n",
    ),
    (
        "another registry",
        "v4.1.5",
        "{H}  registries: { imageRegistry: { URL: registry.mirantis.com/mke } }\n",
    ),
    (
        "a certificate beside the registry's",
        "v4.1.5",
        "{H}  registries: { imageRegistry: { caData: text } }\n",
    ),
    (
        "an air gap that is none",
        "v4.1.5",
        "{H}  airgap: { enabled: false }\n",
    ),
    (
        "a reference where a number belongs",
        "v4.1.5",
        "{H}  kubelet: { maxPods: { $env: PODS } }\n",
    ),
    (
        "a reference with a slip",
        "v4.1.5",
        "{H}  license: { token: { $evn: LICENSE } }\n",
    ),
    (
        "the same key twice",
        "v4.1.5",
        "{H}  etcd: {}\n  etcd: {}\n",
    ),
];

#[test]
fn each_rule_is_reported_with_file_line_and_fix() {
    assert!(WRONG.len() >= 30);
    let mut all = String::new();
    for (name, release, config) in WRONG {
        let sandbox = Sandbox::new(AIRLOCK);
        let config = config.replace("{H}", HOST);
        sandbox.write(
            "environments/lab/environment.yaml",
            &format!("release: {release}\nregistry: {{ address: registry.example.com }}\nconfig:\n{config}"),
        );
        let run = sandbox.run("render lab").exits_with(3);
        assert_eq!(run.stdout, "", "{name}");
        assert!(
            run.stderr
                .contains("--> environments/lab/environment.yaml:"),
            "{name}: {}",
            run.stderr
        );
        let is_cured = run.stderr.contains("= help: ") || *name == "the same key twice";
        assert!(is_cured, "{name}: {}", run.stderr);
        all.push_str(&format!("# {name}\n\n{}\n", run.stderr));
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!("wrong_configurations", all);
    });
}

#[test]
fn a_servers_certificate_is_refused_as_an_authority() {
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(["registry.example.com".to_owned()]).unwrap();
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "environments/lab/ca.pem",
        &server.self_signed(&key).unwrap().pem(),
    );
    sandbox.write(
        "environments/lab/environment.yaml",
        &format!(
            "release: v4.1.5\nregistry: {{ address: registry.example.com, ca: ca.pem }}\nconfig:\n{HOST}"
        ),
    );
    insta::assert_snapshot!(sandbox.run("render lab").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: certificate 1 in `ca.pem` is not a CA certificate
     --> environments/lab/environment.yaml:2:48
      |
    2 | registry: { address: registry.example.com, ca: ca.pem }
      |                                                ^^^^^^
      |
      = help: use the certificate of the CA that signed the registry's certificate

    1 problem
    "#);
}

#[test]
fn a_long_literal_arrives_unchanged() {
    let line = "MIIFejCCA2KgAwIBAgIUGUBk1RMNa2X/dijEzY0OwxnuFHowDQYJKoZIhvcNAQEL";
    let body: String = (0..64).map(|_| format!("{line}\n")).collect();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n");
    assert!(pem.len() > 4096);
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "environments/lab/environment.yaml",
        &format!(
            "release: v4.1.5\nregistry: {{ address: registry.example.com }}\nconfig:\n{HOST}  certificates:\n    ca: |\n      {}\n",
            pem.trim_end().replace('\n', "\n      ")
        ),
    );
    sandbox.run("render lab").success();
    let text = sandbox.read("environments/lab/mke4.yaml");
    let value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(value["spec"]["certificates"]["ca"], pem);
}

#[test]
fn a_hundred_environments_of_a_hundred_hosts_are_checked_in_one_run() {
    let table = repository().join("tests/gallery/inventory-of-100");
    let read = |file: &str| std::fs::read_to_string(table.join(file)).unwrap();
    let sandbox = Sandbox::new(AIRLOCK);
    for number in 0..100 {
        let folder = format!("environments/lab-{number}");
        sandbox.write(
            &format!("{folder}/environment.yaml"),
            &read("environment.yaml"),
        );
        sandbox.write(&format!("{folder}/hosts.csv"), &read("hosts.csv"));
    }
    let run = sandbox.run("render --all").success();
    assert_eq!(run.stdout.lines().count(), 100, "{}", run.stdout);
}

//! Configurations that break a rule, and what is said of them.

use camino::Utf8Path;
use environment::Problem;
use environment::yaml::Node;

use crate::render::tests::{HOSTS, URLS, environment, release};
use crate::{load, render};

/// Renders this `config` for a release, and returns what is said about it: problems first, then warnings.
fn said(config: &str, version: &str) -> String {
    match render(&environment(config), URLS, &release(version)) {
        Ok(rendered) => rendered.warnings.join("\n"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn values_are_checked_by_type_range_and_enumeration() {
    let config = format!(
        "{HOSTS}{}",
        "\
apiServer:
  requestTimeout: 60
  audit: {enabled: 'true', level: metadata, maxAge: -1}
  sans: [1.10]
network:
  serviceCIDR: 10.96.0.0
  nodePortRange: 35535-32768
  kubeProxy: {mode: iptable}
kubelet: [maxPods]
etcd: {storageQuota: much}
cloudProvider: {provider: gcp}
"
    );
    insta::assert_snapshot!(said(&config, "4.1.5"), @r#"
    environments/prod/environment.yaml:6:19: `apiServer.requestTimeout` is `60`, which is read as a number where a text belongs; write it in quotes: `"60"`
    environments/prod/environment.yaml:7:20: `apiServer.audit.enabled` is a text, not a boolean; write `true` without quotes
    environments/prod/environment.yaml:7:35: `apiServer.audit.level` is `metadata`, which is no value of it; did you mean `Metadata`?
    environments/prod/environment.yaml:7:53: `apiServer.audit.maxAge` is `-1`, which is out of range; write a whole number of 0 or more
    environments/prod/environment.yaml:8:9: `apiServer.sans` is `1.10`, which is read as a number where a text belongs; write it in quotes: `"1.10"`
    environments/prod/environment.yaml:10:16: `network.serviceCIDR` is `10.96.0.0`, not a range of addresses; write an address and the length of its prefix, such as `10.96.0.0/16`
    environments/prod/environment.yaml:11:18: `network.nodePortRange` is `35535-32768`, not a range of ports; write the first and the last, such as `32768-35535`
    environments/prod/environment.yaml:12:21: `network.kubeProxy.mode` is `iptable`, which is no value of it; did you mean `iptables`?
    environments/prod/environment.yaml:13:10: `kubelet` is a list where a mapping belongs; write keys below it
    environments/prod/environment.yaml:14:22: `etcd.storageQuota` is `much`, not a number of bytes; write it with its unit, such as `8GB`
    environments/prod/environment.yaml:15:27: `cloudProvider.provider` is `gcp`, which is no value of it; write one of `aws`, `external`
    "#);
}

#[test]
fn unknown_keys_are_mentioned_once_with_the_nearest_known_one() {
    let config = "\
tracking: {enabled: no}
hosts:
  - role: controller+worker
    ssh: {address: 10.0.0.1, user: root, keypath: a, keyPath: a}
    labels: {a: b}
  - role: worker
    ssh: {address: 10.0.0.2, user: root, keypath: a, keyPath: a}
    labels: {a: b}
kubelet: {maxPod: 10, extraArgs: {any: thing}}
aFeatureOfTomorrow: {deep: {down: 1}}
backup: {enabled: true}
network: {controlPlaneLoadBalancing: {enabled: true}}
license: {token: planted-secret}
";
    insta::assert_snapshot!(said(config, "4.1.5"), @r#"
    environments/prod/environment.yaml:1:21: `tracking.enabled` is `no`, which is a boolean for some readers and a text for others; write `false`
    environments/prod/environment.yaml:4:42: `hosts[].ssh.keypath` is unknown to v4.1.5 and passed on as it is; did you mean `keyPath`?
    environments/prod/environment.yaml:5:5: `hosts[].labels` is unknown to v4.1.5 and passed on as it is
    environments/prod/environment.yaml:9:11: `kubelet.maxPod` is unknown to v4.1.5 and passed on as it is; did you mean `maxPods`?
    environments/prod/environment.yaml:10:1: `aFeatureOfTomorrow` is unknown to v4.1.5 and passed on as it is
    environments/prod/environment.yaml:11:10: `backup.enabled` is unknown to v4.1.5 and passed on as it is: v4.1.2 is the last release that knows it; remove it, unless this release documents it
    environments/prod/environment.yaml:12:39: `network.controlPlaneLoadBalancing.enabled` is unknown to v4.1.5 and passed on as it is: v4.2.0 is the first release that knows it; remove it, or install that release
    environments/prod/environment.yaml:13:18: `license.token` is a secret, and files are committed; write `{ $env: NAME }` or `{ $file: path }` in its place
    "#);
    assert!(!said(config, "4.1.5").contains("planted-secret"));
    assert!(said(config, "4.1.0").contains("`hosts[].labels` is unknown to v4.1.0"));
    assert!(!said(config, "4.1.0").contains("`backup"));
    assert!(!said(config, "4.2.1-rc.1").contains("controlPlaneLoadBalancing"));
}

#[test]
fn controllers_are_counted() {
    let hosts = |roles: &[&str]| {
        let mut config = "tracking: {enabled: false}\nhosts:\n".to_owned();
        for (index, role) in roles.iter().enumerate() {
            config.push_str(&format!(
                "  - {{role: {role}, ssh: {{address: 10.0.0.{index}, user: root, keyPath: key}}}}\n"
            ));
        }
        config
    };
    const CONTROLLER: &str = "controller+worker";
    assert_eq!(said(&hosts(&[CONTROLLER; 3]), "4.1.5"), "");
    insta::assert_snapshot!(said(&hosts(&[CONTROLLER, "worker", CONTROLLER]), "4.1.5"), @r#"
    environments/prod/environment.yaml:5:12: this is controller 2, and an even number of them survives no more failures than one less; make their number odd, or write `accept: [even-controllers]`
    "#);
    insta::assert_snapshot!(said(&hosts(&["single", "worker"]), "4.1.5"), @r#"
    environments/prod/environment.yaml:3:12: a `single` host is a cluster by itself, but there are 2 hosts; give it the role `controller+worker`, or remove the others
    "#);

    let mut accepting = environment(&hosts(&[CONTROLLER; 2]));
    accepting.accept = vec![Node::string("even-controllers")];
    assert!(render(&accepting, URLS, &release("4.1.5")).is_ok());
    accepting.accept = vec![Node::string("even-controlers")];
    let problems = render(&accepting, URLS, &release("4.1.5")).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("did you mean `even-controllers`?"),
        "{problems}"
    );
}

#[test]
fn addresses_and_ports_are_checked_across_keys() {
    let config = "\
tracking: {enabled: false}
network:
  serviceCIDR: 192.168.128.0/17
  nodePortRange: 30000-32767
  providers:
    - {provider: calico, enabled: true, extraConfig: {cidrV4: 192.168.0.0/16}}
    - {provider: kuberouter, enabled: false, extraConfig: {cidrV4: 192.168.0.0/16}}
gatewayMKEIngress: {nodePorts: {http: 33000, https: 30001}}
ingressController: {enabled: true, nodePorts: {http: 30001, https: 30002}}
hosts:
  - role: single
    privateAddress: 10.0.0.1
    ssh: {address: 192.168.3.4, user: root, keyPath: key}
";
    insta::assert_snapshot!(said(config, "4.1.5"), @r#"
    environments/prod/environment.yaml:6:63: `network.providers[].extraConfig.cidrV4` overlaps `network.serviceCIDR`, in line 3: 192.168.128.0/17; give each a range of its own
    environments/prod/environment.yaml:8:39: `gatewayMKEIngress.nodePorts.http` is 33000, outside of `network.nodePortRange`: 30000-32767; write a port from 30000 to 32767
    environments/prod/environment.yaml:9:54: `ingressController.nodePorts.http` is 30001, which `gatewayMKEIngress.nodePorts.https` in line 8 has already; give each a port of its own
    environments/prod/environment.yaml:13:20: the host `192.168.3.4` lies in `network.providers[].extraConfig.cidrV4`, which is 192.168.0.0/16: the cluster gives these addresses out itself; give the cluster a range that no machine is in
    "#);
    let defaults = "\
tracking: {enabled: false}
network: {nodePortRange: 30000-32767}
hosts:
  - role: single
    ssh: {address: 192.168.3.4, user: root, keyPath: key}
";
    insta::assert_snapshot!(said(defaults, "4.1.5"), @r#"
    environments/prod/environment.yaml:5:20: the host `192.168.3.4` lies in `network.providers[].extraConfig.cidrV4`, which is 192.168.0.0/16: the cluster gives these addresses out itself by default; give the cluster a range that no machine is in
    environments/prod/environment.yaml:2:26: `network.nodePortRange` does not hold 33000, the default of `gatewayMKEIngress.nodePorts.http`; write `gatewayMKEIngress.nodePorts.http` too, from 30000 to 32767
    environments/prod/environment.yaml:2:26: `network.nodePortRange` does not hold 33001, the default of `gatewayMKEIngress.nodePorts.https`; write `gatewayMKEIngress.nodePorts.https` too, from 30000 to 32767
    "#);
    let overlap = format!("{HOSTS}network: {{serviceCIDR: 192.168.0.0/20}}\n");
    insta::assert_snapshot!(said(&overlap, "4.1.5"), @r#"
    environments/prod/environment.yaml:5:24: `network.serviceCIDR` overlaps `network.providers[].extraConfig.cidrV4`, which is the default: 192.168.0.0/16; give each a range of its own
    "#);
}

#[test]
fn what_needs_the_internet_is_refused_unless_it_is_accepted() {
    let config = format!(
        "{HOSTS}{}",
        "\
cloudProvider: {enabled: true, provider: external}
monitoring: {enableOpscare: true}
addons:
  - name: metallb
    enabled: true
    chart: {repo: 'https://metallb.github.io/metallb'}
  - {name: ours, chart: {repo: 'oci://registry.example.com:5000/mke/charts'}}
  - {name: off, enabled: false, chart: {repo: 'https://example.com'}}
"
    );
    insta::assert_snapshot!(said(&config, "4.1.0"), @r#"
    environments/prod/environment.yaml:5:26: `cloudProvider.enabled` is `true`, but across an air gap there is no cloud to ask; write `false`, or write `accept: [cloud-provider]`
    environments/prod/environment.yaml:6:29: `monitoring.enableOpscare` is `true`, but across an air gap its alerts reach nobody; write `false`, or write `accept: [online-addons]`
    environments/prod/environment.yaml:10:19: an add-on comes from `https://metallb.github.io/metallb`, which is not the registry; take its chart from the registry, or write `enabled: false`, or write `accept: [online-addons]`
    "#);
    let mut accepting = environment(&config);
    accepting.accept = ["cloud-provider", "online-addons"].map(Node::string).into();
    assert!(render(&accepting, URLS, &release("4.1.0")).is_ok());
}

#[test]
fn a_known_release_that_needs_an_external_address_is_refused_without() {
    insta::assert_snapshot!(said(HOSTS, "4.2.0"), @r#"
    environments/prod/environment.yaml:1:1: `config.apiServer.externalAddress` is not set, and v4.2.0 needs it; write the address of the load balancer, or of the only controller
    "#);
    insta::assert_snapshot!(said(HOSTS, "4.3.0"), @r#"
    v4.3.0 is not known to this version of the tool; the names and rules of v4.2.1 are taken for it
    `config.apiServer.externalAddress` is not set, and v4.3.0 needs it; who knows that it need not be writes `facts: { external-address: optional }`
    "#);
}

#[test]
fn a_secret_that_was_written_down_is_not_repeated() {
    let config = "\
tracking: {enabled: false}
license: {token: 20261122}
authentication: {oidc: {enabled: true, clientSecret: planted-secret}, ldap: {bindPW: [planted-secret]}}
certificates: {key: planted-secret}
hosts: []
kubelet: {maxPods: many}
";
    let problems = render(&environment(config), URLS, &release("4.1.5")).unwrap_err();
    insta::assert_snapshot!(problems, @r#"
    environments/prod/environment.yaml:2:18: `license.token` is not what belongs there; write `{ $env: NAME }` or `{ $file: path }` in its place
    environments/prod/environment.yaml:3:86: `authentication.ldap.bindPW` is not what belongs there; write `{ $env: NAME }` or `{ $file: path }` in its place
    environments/prod/environment.yaml:4:21: `certificates.key` is not what belongs there; write `{ $env: NAME }` or `{ $file: path }` in its place
    environments/prod/environment.yaml:6:20: `kubelet.maxPods` is `many`, not a number; write a whole number of 1 or more, without quotes
    "#);
    for problem in &problems.0 {
        assert!(!problem.source.text.contains("planted-secret"));
        assert!(!problem.source.text.contains("20261122"));
        // What is no secret is shown.
        assert!(problem.source.text.contains("maxPods: many"));
    }
    assert!(!problems.to_string().contains("20261122"));
}

// case 7.4, case 7.6b
#[test]
fn a_misspelt_key_is_named_beside_the_problem_that_it_causes() {
    let config = "\
tracking: {enabled: no}
apiServer: {externalAdress: mke.example.com}
hosts:
  - role: controller+worker
    ssh: {adress: 10.0.0.1, user: root, keypath: a}
  - role: worker
    address: 10.0.0.2
    ssh: {user: root, keyPath: a}
etcd: {storageQuota: much}
";
    insta::assert_snapshot!(said(config, "4.1.5"), @r"
    environments/prod/environment.yaml:2:13: unknown key `apiServer.externalAdress`; did you mean `externalAddress`?
    environments/prod/environment.yaml:5:10: a host has no `ssh.address`; write `address: 10.0.0.1`
    environments/prod/environment.yaml:5:11: unknown key `hosts[].ssh.adress`; did you mean `address`?
    environments/prod/environment.yaml:5:41: unknown key `hosts[].ssh.keypath`; did you mean `keyPath`?
    environments/prod/environment.yaml:7:5: unknown key `hosts[].address`; did you mean `ssh.address`?
    environments/prod/environment.yaml:8:10: a host has no `ssh.address`; write `address: 10.0.0.1`
    environments/prod/environment.yaml:9:22: `etcd.storageQuota` is `much`, not a number of bytes; write it with its unit, such as `8GB`
    ");
}

// case 7.4
#[test]
fn a_misspelt_key_is_named_beside_what_is_wrong_elsewhere_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(folder.path()).unwrap();
    let write = |path: &str, text: &str| {
        let path = root.join("environments").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "base.yaml",
        "config:\n  apiServer: { externalAdress: mke.example.com }\n  license: { tokn: abcdefgh }\n",
    );
    write(
        "prod/environment.yaml",
        "inherit: ../base.yaml\nrelease: v4.1.5\ninventory: hosts.csv\nregistry: { adress: registry.example.com }\nconfig:\n  \
         hosts:\n    - { role: worker, ssh: { address: 10.0.0.1, keypath: a } }\n",
    );
    write("prod/hosts.csv", "address,rol\n10.0.0.1,worker\n");
    let Err(environment::Error::Wrong(problems)) = load(root, "prod") else {
        panic!("nothing is wrong");
    };
    insta::assert_snapshot!(problems, @r"
    environments/prod/environment.yaml:4:1: `registry.address` is missing; write the registry's `host:port`
    environments/prod/environment.yaml:4:13: unknown key `adress` in `registry`; did you mean `address`?
    environments/prod/environment.yaml:7:49: unknown key `hosts[].ssh.keypath`; did you mean `keyPath`?
    environments/base.yaml:2:16: unknown key `apiServer.externalAdress`; did you mean `externalAddress`?
    environments/base.yaml:3:14: unknown key `license.tokn`; did you mean `token`?
    environments/prod/hosts.csv:1:9: unknown column `rol` in the inventory; did you mean `role`?
    ");
    let shown = |problem: &Problem| problem.source.text.contains("abcdefgh");
    assert!(!problems.0.iter().any(shown), "a misspelt secret is shown");
}

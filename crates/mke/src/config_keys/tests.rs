//! Tests of the messages about configurations that break a rule.

use camino::Utf8Path;
use environment::Problem;
use environment::yaml::Node;

use crate::render::tests::{HOSTS, URLS, environment, release};
use crate::{load, render};

/// Renders this `config` for a release. Returns its problems, or its warnings if it has none.
fn messages(config: &str, version: &str) -> String {
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
  audit: {enabled: 'true', level: metdata, maxAge: -1}
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
    insta::assert_snapshot!(messages(&config, "4.1.5"), @r#"
    environments/prod/environment.yaml:6:19: `apiServer.requestTimeout` is `60`, which YAML reads as a number, not as a string; write it in quotes: `"60"`
    environments/prod/environment.yaml:7:20: `apiServer.audit.enabled` is a string, not a boolean; write `true` without quotes
    environments/prod/environment.yaml:7:35: `apiServer.audit.level` is `metdata`, which is not one of its values; did you mean `Metadata`?
    environments/prod/environment.yaml:7:52: `apiServer.audit.maxAge` is `-1`, which is out of range; write an integer of 0 or more
    environments/prod/environment.yaml:8:9: `apiServer.sans` is `1.10`, which YAML reads as a number, not as a string; write it in quotes: `"1.10"`
    environments/prod/environment.yaml:10:16: `network.serviceCIDR` is `10.96.0.0`, not a CIDR block; write an address and a prefix length, such as `10.96.0.0/16`
    environments/prod/environment.yaml:11:18: `network.nodePortRange` is `35535-32768`, not a port range; write the first and the last, such as `32768-35535`
    environments/prod/environment.yaml:12:21: `network.kubeProxy.mode` is `iptable`, which is not one of its values; did you mean `iptables`?
    environments/prod/environment.yaml:13:10: `kubelet` is a list, not a mapping; write keys below it
    environments/prod/environment.yaml:14:22: `etcd.storageQuota` is `much`, not a size; write it with its unit, such as `8GB`
    environments/prod/environment.yaml:15:27: `cloudProvider.provider` is `gcp`, which is not one of its values; write one of `aws`, `external`
    "#);
}

#[test]
fn unknown_keys_are_warned_of_once_with_the_nearest_known_key() {
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
    insta::assert_snapshot!(messages(config, "4.1.5"), @r#"
    environments/prod/environment.yaml:1:21: `tracking.enabled` is `no`, which some YAML readers take for a boolean and others for a string; write `false`
    environments/prod/environment.yaml:4:42: `hosts[].ssh.keypath` is unknown to v4.1.5 and passed on unchanged; did you mean `keyPath`?
    environments/prod/environment.yaml:5:5: `hosts[].labels` is unknown to v4.1.5 and passed on unchanged
    environments/prod/environment.yaml:9:11: `kubelet.maxPod` is unknown to v4.1.5 and passed on unchanged; did you mean `maxPods`?
    environments/prod/environment.yaml:10:1: `aFeatureOfTomorrow` is unknown to v4.1.5 and passed on unchanged
    environments/prod/environment.yaml:11:10: `backup.enabled` is unknown to v4.1.5 and passed on unchanged: v4.1.2 is the last release that knows it; remove it, unless this release documents it
    environments/prod/environment.yaml:12:39: `network.controlPlaneLoadBalancing.enabled` is unknown to v4.1.5 and passed on unchanged: v4.2.0 is the first release that knows it; remove it, or install that release
    environments/prod/environment.yaml:13:18: `license.token` is a secret, and files are committed; write `{ $env: NAME }` or `{ $file: path }` in its place
    "#);
    assert!(!messages(config, "4.1.5").contains("planted-secret"));
    assert!(messages(config, "4.1.0").contains("`hosts[].labels` is unknown to v4.1.0"));
    assert!(!messages(config, "4.1.0").contains("`backup"));
    assert!(!messages(config, "4.2.1-rc.1").contains("controlPlaneLoadBalancing"));
}

#[test]
fn an_even_number_of_controllers_is_refused() {
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
    assert_eq!(messages(&hosts(&[CONTROLLER; 3]), "4.1.5"), "");
    insta::assert_snapshot!(messages(&hosts(&[CONTROLLER, "worker", CONTROLLER]), "4.1.5"), @r#"
    environments/prod/environment.yaml:5:12: there are 2 controllers; they tolerate no more failures than 1 would; use an odd number of controllers, or write `accept: [even-controllers]`
    "#);
    insta::assert_snapshot!(messages(&hosts(&["single", "worker"]), "4.1.5"), @r#"
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
    insta::assert_snapshot!(messages(config, "4.1.5"), @r#"
    environments/prod/environment.yaml:6:63: `network.providers[].extraConfig.cidrV4` overlaps `network.serviceCIDR`, in line 3: 192.168.128.0/17; give each a range of its own
    environments/prod/environment.yaml:8:39: `gatewayMKEIngress.nodePorts.http` is 33000, outside of `network.nodePortRange`: 30000-32767; write a port from 30000 to 32767
    environments/prod/environment.yaml:9:54: `ingressController.nodePorts.http` is 30001, which `gatewayMKEIngress.nodePorts.https` in line 8 already uses; give each a port of its own
    environments/prod/environment.yaml:13:20: the host `192.168.3.4` is in `network.providers[].extraConfig.cidrV4`, which is 192.168.0.0/16: the cluster assigns these addresses itself; give the cluster a range that contains no machine
    "#);
    let defaults = "\
tracking: {enabled: false}
network: {nodePortRange: 30000-32767}
hosts:
  - role: controller+worker
    ssh: {address: 192.168.3.4, user: root, keyPath: key}
";
    insta::assert_snapshot!(messages(defaults, "4.1.5"), @"
    environments/prod/environment.yaml:5:20: the host `192.168.3.4` is in `network.providers[].extraConfig.cidrV4`, which is 192.168.0.0/16: the cluster assigns these addresses itself by default; give the cluster a range that contains no machine
    environments/prod/environment.yaml:2:26: `network.nodePortRange` does not contain 33000, the default of `gatewayMKEIngress.nodePorts.http`; write `gatewayMKEIngress.nodePorts.http` too, from 30000 to 32767
    environments/prod/environment.yaml:2:26: `network.nodePortRange` does not contain 33001, the default of `gatewayMKEIngress.nodePorts.https`; write `gatewayMKEIngress.nodePorts.https` too, from 30000 to 32767
    ");
    let overlap = format!("{HOSTS}network: {{serviceCIDR: 192.168.0.0/20}}\n");
    insta::assert_snapshot!(messages(&overlap, "4.1.5"), @r#"
    environments/prod/environment.yaml:5:24: `network.serviceCIDR` overlaps `network.providers[].extraConfig.cidrV4`, which is the default: 192.168.0.0/16; give each a range of its own
    "#);
}

#[test]
fn settings_that_need_the_internet_are_refused_unless_accepted() {
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
    insta::assert_snapshot!(messages(&config, "4.1.0"), @"
    environments/prod/environment.yaml:5:26: `cloudProvider.enabled` is `true`, but an air-gapped site cannot reach a cloud; write `false`, or write `accept: [cloud-provider]`
    environments/prod/environment.yaml:6:29: `monitoring.enableOpscare` is `true`, but its alerts cannot leave an air-gapped site; write `false`, or write `accept: [online-addons]`
    environments/prod/environment.yaml:10:19: an add-on comes from `https://metallb.github.io/metallb`, which is not the registry; take its chart from the registry, or write `enabled: false`, or write `accept: [online-addons]`
    ");
    let mut accepting = environment(&config);
    accepting.accept = ["cloud-provider", "online-addons"].map(Node::string).into();
    assert!(render(&accepting, URLS, &release("4.1.0")).is_ok());
}

#[test]
fn a_missing_external_address_is_refused_if_the_release_requires_it() {
    insta::assert_snapshot!(messages(HOSTS, "4.2.0"), @r#"
    environments/prod/environment.yaml:1:1: `config.apiServer.externalAddress` is not set, but v4.2.0 requires it; write the address of the load balancer, or of the only controller
    "#);
    // The first line names the newest known release.
    let unknown = messages(HOSTS, "4.99.0");
    let (_, of_a_newer) = unknown.split_once('\n').unwrap();
    insta::assert_snapshot!(of_a_newer, @"
    `config.apiServer.externalAddress` is not set, but v4.99.0 requires it; to override this, write `facts: { external-address: optional }`
    ");
}

#[test]
fn problems_do_not_contain_secrets() {
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
    environments/prod/environment.yaml:2:18: `license.token` has an invalid value; write `{ $env: NAME }` or `{ $file: path }` in its place
    environments/prod/environment.yaml:3:86: `authentication.ldap.bindPW` has an invalid value; write `{ $env: NAME }` or `{ $file: path }` in its place
    environments/prod/environment.yaml:4:21: `certificates.key` has an invalid value; write `{ $env: NAME }` or `{ $file: path }` in its place
    environments/prod/environment.yaml:6:20: `kubelet.maxPods` is `many`, not a number; write an integer of 1 or more, without quotes
    "#);
    for problem in &problems.0 {
        assert!(!problem.source.text.contains("planted-secret"));
        assert!(!problem.source.text.contains("20261122"));
        // Other values are not masked.
        assert!(problem.source.text.contains("maxPods: many"));
    }
    assert!(!problems.to_string().contains("20261122"));
}

#[test]
fn a_misspelt_key_is_reported_beside_the_problem_that_it_causes() {
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
    insta::assert_snapshot!(messages(config, "4.1.5"), @r"
    environments/prod/environment.yaml:2:13: warning: unknown key `apiServer.externalAdress`; did you mean `externalAddress`?
    environments/prod/environment.yaml:5:10: a host has no `ssh.address`; write `address: 10.0.0.1`
    environments/prod/environment.yaml:5:11: warning: unknown key `hosts[].ssh.adress`; did you mean `address`?
    environments/prod/environment.yaml:5:41: warning: unknown key `hosts[].ssh.keypath`; did you mean `keyPath`?
    environments/prod/environment.yaml:7:5: warning: unknown key `hosts[].address`; did you mean `ssh.address`?
    environments/prod/environment.yaml:8:10: a host has no `ssh.address`; write `address: 10.0.0.1`
    environments/prod/environment.yaml:9:22: `etcd.storageQuota` is `much`, not a size; write it with its unit, such as `8GB`
    ");
}

#[test]
fn a_misspelt_key_is_reported_beside_the_problems_of_loading() {
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
    environments/prod/environment.yaml:4:13: unknown key `adress` in `registry`; did you mean `address`?
    environments/prod/environment.yaml:7:49: warning: unknown key `hosts[].ssh.keypath`; did you mean `keyPath`?
    environments/base.yaml:2:16: warning: unknown key `apiServer.externalAdress`; did you mean `externalAddress`?
    environments/base.yaml:3:14: warning: unknown key `license.tokn`; did you mean `token`?
    environments/prod/hosts.csv:1:9: unknown column `rol` in the inventory; did you mean `role`?
    ");
    let shown = |problem: &Problem| problem.source.text.contains("abcdefgh");
    assert!(!problems.0.iter().any(shown), "a misspelt secret is shown");
}

/// Returns the messages about a configuration without `accept`.
fn messages_without_accept(config: &str, version: &str) -> String {
    let mut environment = environment(config);
    environment.accept.clear();
    match render(&environment, URLS, &release(version)) {
        Ok(rendered) => rendered.warnings.join("\n"),
        Err(problems) => problems.to_string(),
    }
}

/// Item 7: the secret of an OIDC client is masked.
#[test]
fn the_secret_of_a_client_is_not_shown() {
    let config = format!(
        "{HOSTS}authentication: {{clients: [{{id: a, redirectURIs: [localhost:8080], secret: planted-secret}}]}}\n"
    );
    insta::assert_snapshot!(messages(&config, "4.1.5"), @"
    environments/prod/environment.yaml:5:76: `authentication.clients[].secret` is a secret, and files are committed; write `{ $env: NAME }` or `{ $file: path }` in its place
    ");
    let invalid = config.replace("planted-secret", "[planted-secret]");
    let problems = render(&environment(&invalid), URLS, &release("4.1.5")).unwrap_err();
    assert!(!problems.to_string().contains("planted"), "{problems}");
    assert!(!problems.0[0].source.text.contains("planted"));
}

/// Item 6: `single` is warned of since 4.1.1.
#[test]
fn the_role_single_is_warned_of_from_the_release_that_dropped_it() {
    let config = HOSTS.replace("controller+worker", "single");
    assert_eq!(messages(&config, "4.1.0"), "");
    insta::assert_snapshot!(messages(&config, "4.1.1"), @"
    environments/prod/environment.yaml:3:11: `hosts[].role` is `single`, but the release notes of v4.1.1 say that MKE recognizes only `controller+worker` and `worker`; write `controller+worker`, also for the only node of a cluster
    ");
    assert!(messages(&config, "4.1.1-rc.1").contains("recognizes only"));
}

/// Item 17: keys with contradicting documents are passed on with a warning.
#[test]
fn cautions_are_warned_of() {
    let config = format!(
        "{HOSTS}{}",
        "\
apiServer:
  externalAddress: mke.example.com
  audit: {level: metadata, logPath: /var/log/audit.log, policyFile: /etc/audit_policy.yaml}
backup: {schedule: {path: /backup}}
k8sProviderSpecs: {dataDir: /data}
"
    );
    insta::assert_snapshot!(messages(&config, "4.2.0"), @"environments/prod/environment.yaml:9:29: `k8sProviderSpecs.dataDir` is `/data`, not an absolute path that ends in `/k0s`; write the absolute path of a folder `k0s`, such as `/data/k0s`");
    let config = config.replace("/data}", "/data/k0s}");
    insta::assert_snapshot!(messages(&config, "4.2.0"), @"
    environments/prod/environment.yaml:7:18: `apiServer.audit.level` is `metadata`, which the vendor's page has in its table, while its text has a capital letter; write `None`, `Metadata` or `Request`
    environments/prod/environment.yaml:7:37: `apiServer.audit.logPath` is `/var/log/audit.log`, but MKE rejects each path other than its own, and that differs between releases; remove it
    environments/prod/environment.yaml:7:69: `apiServer.audit.policyFile` is `/etc/audit_policy.yaml`, but MKE does not let it be changed, and the default differs between releases; remove it
    environments/prod/environment.yaml:8:27: `backup.schedule.path` is `/backup`, but the documentation of v4.2.0 says that MKE does not support scheduled backups; remove it, or install v4.2.1
    environments/prod/environment.yaml:9:29: `k8sProviderSpecs.dataDir` is `/data/k0s`, but the vendor's pages spell this key in two ways, `k8sProviderSpecs.dataDir` and `providerSpecs.k0sProviderSpecs.k0sDataDir`; write the one that `mkectl init -d PATH` of this release prints
    ");
    assert!(!messages(&config, "4.2.1").contains("scheduled backups"));
    let others = ["None", "Metadata", "Request"]
        .map(|level| config.replace("level: metadata", &format!("level: {level}")));
    for other in others {
        assert!(
            !messages(&other, "4.2.0").contains("audit.level"),
            "{other}"
        );
    }
    let level = config.replace("level: metadata", "level: RequestResponse");
    assert!(
        messages(&level, "4.2.0").contains("`RequestResponse`, which no page of the vendor lists")
    );
}

/// Item 23: images and charts from elsewhere, and storage in a cloud.
#[test]
fn external_sources_are_refused_at_each_level() {
    let with = |more: &str| format!("{HOSTS}{more}");
    let calico = |values: &str| {
        with(&format!(
            "network:\n  providers:\n    - provider: calico\n      enabled: true\n      extraConfig:\n        values.yaml: |-\n{values}\n"
        ))
    };
    const FIRST: &str = "          kubeletVolumePluginPath: /var/lib/kubelet\n";
    for (config, expected) in [
        (
            calico("          installation: {registry: registry.example.com:5000/mke/}"),
            "the first line of `network.providers[].extraConfig.\"values.yaml\"` is not `kubeletVolumePluginPath: /var/lib/kubelet`",
        ),
        (
            calico(&format!(
                "{FIRST}          installation: {{registry: quay.io/}}"
            )),
            "an image of Calico comes from `quay.io/`, which is not the registry",
        ),
        (
            calico(&format!(
                "{FIRST}          calicoctl: {{image: quay.io/calico/ctl}}"
            )),
            "an image of Calico comes from `quay.io/calico/ctl`",
        ),
        (calico(&format!("{FIRST}          a: [")), "is not YAML"),
        (
            calico(&format!(
                "{FIRST}          tigeraOperator: {{registry: registry.example.com:5000/mke, image: tigera/operator}}"
            )),
            "",
        ),
        (
            with(
                "services:\n  - template: ingress\n    values: |\n      controller: {image: {registry: docker.io}}\n",
            ),
            "a service comes from `docker.io`",
        ),
        (
            with("services:\n  - {template: ingress, name: ingress, namespace: ingress}\n"),
            "",
        ),
        (
            with(
                "k0rdent: {providers: [{name: aws, config: {images: {aws: {repo: registry.mirantis.com/k0rdent}}}}]}\n",
            ),
            "an image of a k0rdent provider comes from `registry.mirantis.com/k0rdent`",
        ),
        (
            with(
                "k0rdent: {providers: [{name: aws, config: {images: {aws: {repo: 'registry.example.com:5000/mke'}}}}]}\n",
            ),
            "",
        ),
        (
            with("backup: {storage_provider: {type: External}}\n"),
            "the only storage of this type is AWS S3",
        ),
    ] {
        let messages = messages(&config, "4.1.1");
        match expected {
            "" => assert_eq!(messages, "", "{config}"),
            expected => assert!(messages.contains(expected), "{config}\n{messages}"),
        }
        let mut accepting = environment(&config);
        accepting.accept.push(Node::string("online-addons"));
        let is_refused = expected.contains("first line") || expected.contains("YAML");
        let accepted = render(&accepting, URLS, &release("4.1.1"));
        assert_eq!(accepted.is_err(), is_refused, "{config}");
    }
    // The path of the first line is the configured one.
    let moved = format!(
        "{}kubelet: {{kubeletRootDir: /data/kubelet}}\n",
        calico(FIRST)
    );
    assert!(messages(&moved, "4.1.1").contains("is not `kubeletVolumePluginPath: /data/kubelet`"));
}

/// Items 22 and 23: requirements outside of bundles are warned of until the operator accepts them.
#[test]
fn requirements_that_no_bundle_contains_are_warned_of() {
    let config = format!(
        "{HOSTS}apiServer: {{externalAddress: mke.example.com}}\ndevicePlugins: {{nvidiaGPU: {{enabled: true}}}}\nfips: {{enabled: true}}\n"
    );
    insta::assert_snapshot!(messages(&config, "4.2.0"), @r#"
    environments/prod/environment.yaml:6:38: `devicePlugins.nvidiaGPU.enabled` is `true`, but no bundle has NVIDIA's drivers: "you must deploy a package registry and mirror the drivers to it", says the vendor; prepare the nodes; when that is done, write `accept: [not-in-bundle]`
    environments/prod/environment.yaml:7:17: `fips.enabled` is `true`, but no bundle has what FIPS needs on each host: the packages of `libcrypto3-mirantis`, the symlink `libcrypto-k0s.so.3` and the FIPS k0s binary; prepare the nodes; when that is done, write `accept: [not-in-bundle]`
    "#);
    let mut accepting = environment(&config);
    accepting.accept.push(Node::string("not-in-bundle"));
    let rendered = render(&accepting, URLS, &release("4.2.0")).unwrap();
    assert_eq!(rendered.warnings, [""; 0]);
    assert_eq!(crate::not_in_bundle(&accepting, None), []);
    let installed = semver::Version::new(4, 1, 5);
    let mut upgrading = environment(&config);
    upgrading.release = semver::Version::new(4, 2, 0);
    assert_eq!(crate::not_in_bundle(&upgrading, Some(&installed)).len(), 3);
    assert_eq!(crate::not_in_bundle(&upgrading, None).len(), 2);
}

/// Item 23: without a licence telemetry cannot be switched off.
#[test]
fn telemetry_without_a_licence_is_warned_of() {
    insta::assert_snapshot!(messages_without_accept(HOSTS, "4.1.5"), @"
    environments/prod/environment.yaml:1:21: `tracking.enabled: false` has no effect without a licence: MKE tries to send telemetry to the vendor; write `license: { token: { $env: NAME } }` below `config`, or `accept: [telemetry]`
    ");
    let licensed = format!("{HOSTS}license: {{token: {{$env: LICENSE}}}}\n");
    assert_eq!(messages_without_accept(&licensed, "4.1.5"), "");
    let empty = format!("{HOSTS}license: {{token: ''}}\n");
    assert!(messages_without_accept(&empty, "4.1.5").contains("without a licence"));
    assert_eq!(messages(HOSTS, "4.1.5"), "");
    let mut rehearsal = environment(HOSTS);
    rehearsal.accept.clear();
    rehearsal.rehearsal = true;
    let rendered = render(&rehearsal, URLS, &release("4.1.5")).unwrap();
    assert_eq!(rendered.warnings, [""; 0]);
}

/// Item 29: a pre-release has the keys and rules of its release.
#[test]
fn a_pre_release_is_rendered_as_its_release() {
    let config =
        format!("{HOSTS}apiServer: {{externalAddress: mke.example.com, alwaysPullImages: true}}\n");
    let rendered = render(&environment(&config), URLS, &release("4.2.0-rc.8")).unwrap();
    assert_eq!(rendered.warnings, [""; 0]);
    assert!(
        rendered.text.contains("  version: v4.2.0-rc.8\n"),
        "{}",
        rendered.text
    );
    let upgrade = release("4.2.1-rc.3").upgrade_from(&semver::Version::new(4, 2, 0));
    assert!(upgrade.is_ok(), "{upgrade:?}");
}

/// Section 6: child clusters are refused with a quotation of the vendor.
#[test]
fn a_child_cluster_is_refused_with_the_statement_of_the_vendor() {
    let config = format!("kind: MkeChildConfig\n{HOSTS}");
    let messages = messages(&config, "4.2.1");
    assert!(
        messages.contains("\"Currently, offline installation is not supported for child clusters\", says the vendor"),
        "{messages}"
    );
    let problems = crate::validate("kind: MkeChildConfig\n").unwrap_err();
    assert!(
        problems[1].contains("not supported for child clusters"),
        "{problems:?}"
    );
}

#[test]
fn values_that_become_arguments_are_words() {
    let hosts = |keys: &str| {
        format!(
            "tracking: {{enabled: false}}\nhosts:\n  - role: controller+worker\n    hostname: one\n    ssh: \
             {{address: 10.0.0.1, user: root, keyPath: key}}\n  - role: worker\n{keys}"
        )
    };
    let refused = "    hostname: -a
    privateInterface: eth0; reboot
    ssh:
      address: -oProxyCommand=a
      user: '-oProxyCommand=touch /tmp/a;'
      keyPath: -oProxyCommand=a
      bastion: { address: 10.0.0.3, user: $(id), keyPath: key }
";
    insta::assert_snapshot!(messages(&hosts(refused), "4.1.5"), @"
    environments/prod/environment.yaml:7:15: `hostname` is `-a`, which is not a name; write a name such as `worker-1`, without spaces, shell characters and a leading `-`
    environments/prod/environment.yaml:8:23: `privateInterface` is `eth0; reboot`, which is not a name; write a name such as `eth1`, without spaces, shell characters and a leading `-`
    environments/prod/environment.yaml:10:16: `hosts[].ssh.address` is `-oProxyCommand=a`, not a host name or IP address; write an IP address or a host name
    environments/prod/environment.yaml:11:13: `ssh.user` is `-oProxyCommand=touch /tmp/a;`, which is not a name; write a name such as `root`, without spaces, shell characters and a leading `-`
    environments/prod/environment.yaml:12:16: `ssh.keyPath` is `-oProxyCommand=a`, which is an option; write the path of the private key
    environments/prod/environment.yaml:13:43: `ssh.bastion.user` is `$(id)`, which is not a name; write a name such as `root`, without spaces, shell characters and a leading `-`
    ");
    let accepted = "    hostname: worker-1
    privateInterface: bond0.100
    ssh:
      address: 10.0.0.2
      user: 'EXAMPLE\\mke-1@example.com'
      keyPath: ~/.ssh/a b.pub
      bastion: { address: 10.0.0.3, user: mke_1, keyPath: $HOME/.ssh/id }
";
    insta::assert_snapshot!(messages(&hosts(accepted), "4.1.5"), @"
    environments/prod/environment.yaml:12:16: `ssh.keyPath` is `~/.ssh/a b.pub`, a public key; write the path without `.pub`
    environments/prod/environment.yaml:13:59: `ssh.bastion.keyPath` is `$HOME/.ssh/id`, but mkectl expands no variables in it; write `~` or the whole path, or `{ $env: NAME }`
    ");
}

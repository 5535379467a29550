//! Tests of rendering environments.

use std::sync::Arc;

use environment::yaml::Source;
use proptest::prelude::*;

use super::*;
use crate::validate;

mod facts;

const PEM: &str =
    "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUE=\n-----END CERTIFICATE-----\n";

pub(crate) const URLS: RegistryUrls<'static> = RegistryUrls {
    image: "registry.example.com:5000/mke",
    chart: "oci://registry.example.com:5000/mke",
    ca_pem: None,
};

const WITH_CA: RegistryUrls<'static> = RegistryUrls {
    ca_pem: Some(PEM),
    ..URLS
};

pub(crate) const HOSTS: &str = "tracking: {enabled: false}\n\
    hosts:\n  - role: controller+worker\n    ssh: {address: 10.0.0.1, user: root, keyPath: ~/.ssh/id}\n";

/// An environment with this text under `config`.
pub(crate) fn environment(config: &str) -> Environment {
    let source = Arc::new(Source {
        path: "environments/prod/environment.yaml".into(),
        text: config.to_owned(),
    });
    let config = match config {
        "" => Node::mapping::<String>([]),
        _ => yaml::parse(Arc::clone(&source)).unwrap(),
    };
    let registry = "registry: { address: 'registry.example.com:5000', project: mke }";
    // The environments have no licence.
    let text = format!("release: v4.1.5\naccept: [telemetry]\n{registry}\n");
    let folder = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(folder.path()).unwrap();
    std::fs::create_dir_all(root.join("environments/prod")).unwrap();
    std::fs::write(root.join(&source.path), text).unwrap();
    Environment {
        directory: "environments/prod".into(),
        merged: config.clone(),
        config,
        files: vec![source],
        ..environment::load(root, "prod").unwrap()
    }
}

pub(crate) fn release(version: &str) -> Release {
    Release::of(&version.parse().unwrap()).unwrap()
}

fn rendered(config: &str) -> String {
    render(&environment(config), URLS, &release("4.1.5"))
        .unwrap()
        .text
}

fn problems(config: &str, urls: RegistryUrls<'_>) -> String {
    render(&environment(config), urls, &release("4.1.5"))
        .unwrap_err()
        .to_string()
}

#[test]
fn a_whole_environment_is_rendered() {
    let config = "\
apiServer:
  externalAddress: mke.prod.example.com
  sans: [mke.prod.example.com, 10.0.0.10]
hosts:
  - role: controller+worker
    ssh: {address: 10.0.0.1, user: root, port: 22, keyPath: ~/.ssh/id}
  - role: worker
    ssh: {address: 10.0.0.2, user: root, port: 22, keyPath: ~/.ssh/id}
registries:
  chartRegistry:
    credentialsSecretName: mke-registry
kubelet:
  extraArgs: {mode: 0755, rate: 1e3}
tracking:
  enabled: no
  clusterLabel: 'on'
";
    let rendered = render(&environment(config), WITH_CA, &release("4.2.1")).unwrap();
    insta::assert_snapshot!(rendered.text, @r#"
    # Written by `render prod`. To change it, change environments/prod/environment.yaml.
    apiVersion: mke.mirantis.com/v1alpha1
    kind: MkeConfig
    metadata:
      name: mke
      namespace: mke
    spec:
      version: v4.2.1
      airgap:
        enabled: true
      registries:
        imageRegistry:
          url: registry.example.com:5000/mke
          caData: |
            -----BEGIN CERTIFICATE-----
            MIIBszCCAVmgAwIBAgIUE=
            -----END CERTIFICATE-----
        chartRegistry:
          url: oci://registry.example.com:5000/mke
          caData: |
            -----BEGIN CERTIFICATE-----
            MIIBszCCAVmgAwIBAgIUE=
            -----END CERTIFICATE-----
          credentialsSecretName: mke-registry
      apiServer:
        externalAddress: mke.prod.example.com
        sans:
          - mke.prod.example.com
          - 10.0.0.10
      hosts:
        - role: controller+worker
          ssh:
            address: 10.0.0.1
            user: root
            port: 22
            keyPath: ~/.ssh/id
        - role: worker
          ssh:
            address: 10.0.0.2
            user: root
            port: 22
            keyPath: ~/.ssh/id
      kubelet:
        extraArgs:
          mode: 0755
          rate: 1e3
      tracking:
        enabled: no
        clusterLabel: 'on'
    "#);
    let validated = validate(&rendered.text).unwrap();
    assert_eq!(validated.image_registry, URLS.image);
    assert_eq!(validated.chart_registry, URLS.chart);
    assert_eq!(validated.hosts.len(), 2);
}

#[test]
fn an_empty_config_renders_with_a_warning() {
    let mut environment = environment("");
    environment.accept.clear();
    let rendered = render(&environment, URLS, &release("4.1.5")).unwrap();
    insta::assert_snapshot!(rendered.text, @r#"
    # Written by `render prod`. To change it, change environments/prod/environment.yaml.
    apiVersion: mke.mirantis.com/v1alpha1
    kind: MkeConfig
    metadata:
      name: mke
      namespace: mke
    spec:
      version: v4.1.5
      airgap:
        enabled: true
      registries:
        imageRegistry:
          url: registry.example.com:5000/mke
        chartRegistry:
          url: oci://registry.example.com:5000/mke
    "#);
    assert_eq!(
        rendered.warnings,
        [
            "`config.hosts` lists no machine; an installation requires at least one",
            "`tracking.enabled` is not `false`, so MKE tries to send telemetry to the vendor; write `tracking: { \
             enabled: false }` below `config`, or `accept: [telemetry]`",
        ]
    );
}

#[test]
fn every_value_reads_back_as_it_was_written() {
    let config = format!(
        "{HOSTS}{}",
        r#"
version: v4.1.5
airgap: {enabled: true, future: on}
registries:
  imageRegistry: {url: registry.example.com:5000/mke, credentialsSecretName: pull, mirror: 'no'}
  extraRegistry: {url: elsewhere}
policy: &policy
  modes: [0755, '0755', 0o17, 1_000, 12:30:45, 2026-01-01, 1.10, "1.10", 1e3, .5, ~, null, '', "~"]
  words: [yes, 'yes', no, on, off, y, n, =, <<, true, "true"]
alias: *policy
? "a key: with colon"
: value
"quoted # key": "a # b"
тест: "\u00e9\t\"\\"
text: |
  first
    second

  last
folded: >-
  one
  line
empty: {map: {}, list: []}
"#
    );
    let read = |text: &str| -> serde_yaml::Value { serde_yaml::from_str(text).unwrap() };
    let mut expected = read(&config);
    expected["registries"] = read(
        "imageRegistry: {url: registry.example.com:5000/mke, credentialsSecretName: pull, mirror: 'no'}\n\
         chartRegistry: {url: 'oci://registry.example.com:5000/mke'}\n\
         extraRegistry: {url: elsewhere}\n",
    );
    assert_eq!(read(&rendered(&config))["spec"], expected);
}

#[test]
fn the_order_and_spelling_of_config_are_kept() {
    let text = rendered(&format!(
        "zebra: 0x1F\n{HOSTS}apple: 1.10\nversion: v4.1.5\nmango: on\n"
    ));
    let tail: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .collect();
    assert_eq!(
        tail,
        [
            "  name: mke",
            "  namespace: mke",
            "  version: v4.1.5",
            "  airgap:",
            "  registries:",
            "  zebra: 0x1F",
            "  tracking:",
            "  hosts:",
            "  apple: 1.10",
            "  mango: on",
        ]
    );
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    let config = format!("{HOSTS}b: 1\na: 2\n");
    assert_eq!(rendered(&config), rendered(&config));
}

#[test]
fn contradictions_of_managed_keys_are_refused_in_place() {
    let config = "\
version: v4.1.4
airgap:
  enabled: yes
registries:
  imageRegistry:
    URL: registry.mirantis.com/mke
    caData: |
      -----BEGIN CERTIFICATE-----
      other
      -----END CERTIFICATE-----
  chartRegistry:
    url: registry.example.com:5000/mke
spec:
  hosts: []
metadata: {name: mke}
hosts:
  - role: controller+worker
    ssh: {address: 10.0.0.1, user: root, keyPath: key}
";
    insta::assert_snapshot!(problems(config, WITH_CA), @r#"
    environments/prod/environment.yaml:1:10: `version` contradicts `release`, which is v4.1.5; remove it: `release` decides what is installed
    environments/prod/environment.yaml:3:12: `airgap.enabled` must be `true`: all images come from the registry; remove it
    environments/prod/environment.yaml:6:10: `registries.imageRegistry.URL` contradicts `registry`, which makes it `registry.example.com:5000/mke`; remove it: `registry` decides where images and charts are
    environments/prod/environment.yaml:8:7: `registries.imageRegistry.caData` contradicts the certificate in `registry.ca`; put the certificate into a file and name that in `registry.ca`
    environments/prod/environment.yaml:12:10: `registries.chartRegistry.url` contradicts `registry`, which makes it `oci://registry.example.com:5000/mke`; remove it: `registry` decides where images and charts are
    environments/prod/environment.yaml:13:1: `spec` does not belong in `config`; `config` contains the keys below `spec`; Airlock writes the keys around them
    environments/prod/environment.yaml:15:1: `metadata` does not belong in `config`; `config` contains the keys below `spec`; Airlock writes the keys around them
    "#);
    let no_ca = format!(
        "{HOSTS}registries: {{imageRegistry: {{caData: x}}, chartRegistry: []}}\nairgap: true\n"
    );
    insta::assert_snapshot!(problems(&no_ca, URLS), @r#"
    environments/prod/environment.yaml:5:38: `registries.imageRegistry.caData` is set from `registry.ca`, which is missing; put the certificate into a file and name that in `registry.ca`
    environments/prod/environment.yaml:5:57: `registries.chartRegistry` is a list, not a mapping; write keys below it
    environments/prod/environment.yaml:6:9: `airgap` is a single value, not a mapping; write keys below it
    "#);
}

#[test]
fn managed_keys_with_the_same_value_are_accepted() {
    let pem = PEM.trim_end().replace('\n', "\n        ");
    let config = format!(
        "{HOSTS}airgap: {{enabled: true}}\nregistries:\n  imageRegistry:\n    URL: {}\n    caData: |-\n        {pem}\n",
        URLS.image
    );
    let with = render(&environment(&config), WITH_CA, &release("4.1.5")).unwrap();
    let without = render(&environment(HOSTS), WITH_CA, &release("4.1.5")).unwrap();
    assert_eq!(with.text, without.text);
    assert_eq!(
        with.warnings,
        [
            "environments/prod/environment.yaml:8:5: `registries.imageRegistry.URL` is left out: MKE reads `url`; remove it: `registry` sets `url`"
        ]
    );
}

#[test]
fn hosts_are_checked_in_place() {
    let config = "\
hosts:
  - role: manager
    ssh: {address: 10.0.0.1, user: root, keyPath: key}
  - ssh: {address: 10.0.0.1, port: ssh, keyPath: key}
  - role: worker
    ssh: 10.0.0.3
  - worker
apiServer:
  externalAddress: https://mke.example.com
";
    insta::assert_snapshot!(problems(config, URLS), @r#"
    environments/prod/environment.yaml:2:11: `manager` is not a role; write `controller+worker` or `worker`
    environments/prod/environment.yaml:4:5: a host has no `role`; write `controller+worker` or `worker`
    environments/prod/environment.yaml:4:10: a host has no `ssh.user`; write `user: root`
    environments/prod/environment.yaml:4:20: `10.0.0.1` is also the address of the host in line 3; list each host once
    environments/prod/environment.yaml:4:36: `hosts[].ssh.port` is `ssh`, not a port; a port is a number from 1 to 65535
    environments/prod/environment.yaml:6:10: a host has no `ssh` mapping; write `ssh: { address: 10.0.0.1, user: root, keyPath: ... }`
    environments/prod/environment.yaml:7:5: a host is a single value, not a mapping; write `role` and `ssh` below it
    environments/prod/environment.yaml:9:20: `apiServer.externalAddress` has a scheme; write a host with an optional port: remove everything up to `://`
    "#);
    assert_eq!(
        problems("hosts: 10.0.0.1\n", URLS),
        "environments/prod/environment.yaml:1:8: `hosts` is a single value, not a list; write each item on its own line after `- `"
    );
    assert_eq!(
        problems(
            "hosts:\n  - {role: worker, ssh: {address: a, user: root, keyPath: key}}\n",
            URLS
        ),
        "environments/prod/environment.yaml:2:5: no host is a controller; give at least one the role `controller+worker`"
    );
}

#[test]
fn features_that_a_release_may_not_support_are_warned_of() {
    let credentials =
        format!("{HOSTS}registries: {{imageRegistry: {{credentialsSecretName: pull}}}}\n");
    let newest = crate::releases().pop().unwrap();
    let unknown = format!(
        "v4.99.0 is unknown to this version of Airlock; the names and rules of v{} are used",
        newest.version()
    );
    for (version, urls, config, expected) in [
        ("4.1.0", URLS, HOSTS, &[][..]),
        (
            "4.1.0",
            WITH_CA,
            HOSTS,
            &[
                "v4.1.0 does not support a registry with a certificate from a private CA; to override this, write `facts: { private-ca: supported }`",
            ],
        ),
        ("4.1.1", WITH_CA, HOSTS, &[]),
        (
            "4.1.5",
            URLS,
            &credentials,
            &[
                "`credentialsSecretName` is set, but v4.1.5 is expected to pull without credentials only; to override this, write `facts: { anonymous-pull: optional }`",
            ],
        ),
        (
            "4.99.0",
            URLS,
            &credentials,
            &[
                &unknown,
                "`config.apiServer.externalAddress` is not set, but v4.99.0 requires it; to override this, write `facts: { external-address: optional }`",
            ],
        ),
    ] {
        let rendered = render(&environment(config), urls, &release(version)).unwrap();
        assert_eq!(rendered.warnings, expected, "{version}");
    }
}

/// Returns values that operators may write below an unknown key.
fn value() -> impl Strategy<Value = serde_yaml::Value> {
    let hard = prop::sample::select(vec![
        "on",
        "1e3",
        "0755",
        "~",
        "1.10",
        "null",
        "",
        "no",
        "=",
        "<<",
        "12:30",
        "- a",
        "a: b",
        "a # b",
        "значение",
        "値",
        "0x1F",
        " padded ",
        "line\nline\n",
        "\t",
        "{$env: A}",
        "2026-01-02",
        "!tag",
        "*alias",
        "&anchor",
        "%",
        "@",
        "`",
    ]);
    let leaf = prop_oneof![
        hard.prop_map(serde_yaml::Value::from),
        "\\PC{0,12}".prop_map(serde_yaml::Value::from),
        any::<bool>().prop_map(serde_yaml::Value::from),
        any::<i32>().prop_map(serde_yaml::Value::from),
        (-1000..1000_i16).prop_map(|number| serde_yaml::Value::from(f64::from(number) / 8.0)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_yaml::Value::from),
            prop::collection::btree_map("[a-zа-я0-9~ :#]{1,6}", inner, 0..4).prop_map(|keys| {
                let pairs = keys.into_iter().map(|(key, value)| (key.into(), value));
                pairs.collect::<serde_yaml::Mapping>().into()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_below_an_unknown_key_stays_equal(value in value()) {
        // JSON, because serde_yaml breaks lines at U+2028, which YAML 1.2 reads as part of the
        // string.
        let written = serde_json::to_string(&value).unwrap();
        let text = rendered(&format!("{HOSTS}passed-on: {written}\n"));
        let read: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        prop_assert_eq!(&read["spec"]["passed-on"], &value, "{}", text);
    }
}

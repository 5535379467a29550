//! `images --as helm`: Helm renders a chart from the mirror with the values that Airlock prints.

use support::bundles::{self, Member};
use support::upstream::Upstream;
use support::{Lab, Sandbox};

use crate::{AIRLOCK, FAKE_MKECTL, referees};

/// Returns a packed chart of these files.
fn pack(files: &[(&str, &str)]) -> Vec<u8> {
    let members = files.iter();
    let members: Vec<Member> = members
        .map(|(path, text)| Member::new(path, text.as_bytes()))
        .collect();
    bundles::gzip(&bundles::tar(&members))
}

fn metadata(name: &str, more: &str) -> String {
    format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n{more}")
}

/// Values in the forms that charts use. `WHOLE` is a placeholder for a digest.
const VALUES: &str = r#"
global:
  imageRegistry: quay.io
  security: { allowInsecureImages: false }
web:
  image: { registry: docker.io, repository: nginx, tag: "", pullPolicy: IfNotPresent }
proxy:
  image: { repository: quay.io/org/proxy, pullPolicy: Always }
pinned: { image: "quay.io/org/proxy:1.9@WHOLE" }
exporter:
  image: { registry: quay.io, repository: org/exporter, tag: v3 }
controller:
  image: { registry: quay.io, image: org/exporter, tag: v3, digest: EXPORTER }
operator: { repository: quay.io/org, image: agent, version: v1 }
sidecars:
- { name: first, image: "quay.io/org/agent:v1" }
- { name: second, image: "quay.io/org/agent:v1", args: [--verbose] }
reloader: quay.io/org/agent:v1
store: { image: { tag: "2" } }
absent: { enabled: false, image: { repository: quay.io/org/absent, tag: v9 } }
"#;

const TEMPLATE: &str = r#"
{{- define "app.image" -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository | default .image }}{{ with .digest }}@{{ . }}{{ else }}:{{ .tag }}{{ end }}
{{- end -}}
{{- if and (ne .Values.web.image.registry "docker.io") (not .Values.global.security.allowInsecureImages) -}}
{{- fail "Original containers have been substituted for unrecognized ones" -}}
{{- end }}
image: {{ .Values.web.image.registry }}/{{ .Values.web.image.repository }}:{{ .Values.web.image.tag | default .Chart.AppVersion }}
image: {{ .Values.proxy.image.repository }}:{{ .Values.proxy.image.tag | default .Chart.AppVersion }}
image: {{ .Values.pinned.image }}
image: {{ include "app.image" .Values.exporter.image }}
image: {{ include "app.image" .Values.controller.image }}
image: {{ .Values.operator.repository }}/{{ .Values.operator.image }}:{{ .Values.operator.version }}
{{- range .Values.sidecars }}
image: {{ .image }} {{ .name }} {{ .args }}
{{- end }}
image: {{ .Values.reloader }}
{{- if .Values.absent.enabled }}
image: {{ .Values.absent.image.repository }}:{{ .Values.absent.image.tag }}
image: quay.io/org/fixed:v1
{{- end }}
"#;

/// Returns a template inside a document that Helm accepts as a Kubernetes object.
fn document(name: &str, template: &str) -> String {
    let head = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\n");
    let template = template.trim_start().replace("\nimage:", "\n---\nimage:");
    head + "---\n" + &template
}

/// Makes a lab with the pushed set `platform`, which has a chart with many images.
async fn lab() -> (Lab, Upstream) {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let upstream = Upstream::start().await;
    let amd64 = &["linux/amd64"];
    let both = &["linux/amd64", "linux/arm64"];
    upstream.image("library/nginx", "1.29", amd64, 100, "1");
    let whole = upstream.image("org/proxy", "1.9", both, 100, "1");
    let exporter = upstream.image("org/exporter", "v3", amd64, 100, "1");
    upstream.image("org/agent", "v1", amd64, 100, "1");
    upstream.image("org/db", "2", amd64, 100, "1");
    upstream.image("org/cache", "5", amd64, 100, "1");
    let inner = pack(&[
        ("db/Chart.yaml", &metadata("db", "")),
        (
            "db/values.yaml",
            "image: { repository: quay.io/org/db, tag: '1' }\n",
        ),
        (
            "db/templates/one.yaml",
            &document(
                "db",
                "image: {{ .Values.image.repository }}:{{ .Values.image.tag }}\n",
            ),
        ),
    ]);
    let dependencies = "appVersion: '1.29'\ndependencies:\n\
         - { name: db, alias: store, version: 1.0.0 }\n- { name: cache, version: 1.0.0 }\n";
    let values = VALUES
        .replace("WHOLE", &whole)
        .replace("EXPORTER", &exporter);
    let text = [
        ("app/Chart.yaml", metadata("app", dependencies)),
        ("app/values.yaml", values),
        ("app/templates/one.yaml", document("app", TEMPLATE)),
        ("app/charts/cache/Chart.yaml", metadata("cache", "")),
        (
            "app/charts/cache/values.yaml",
            "image: { registry: '', repository: org/cache, tag: 5 }\n".to_owned(),
        ),
        (
            "app/charts/cache/templates/one.yaml",
            document(
                "cache",
                "image: {{ .Values.global.imageRegistry | default .Values.image.registry }}/{{ .Values.image.repository }}:{{ .Values.image.tag }}\n",
            ),
        ),
    ];
    let text = text.iter();
    let mut members: Vec<Member> = text
        .map(|(path, text)| Member::new(path, text.as_bytes()))
        .collect();
    members.push(Member::new("app/charts/db-1.0.0.tgz", inner));
    upstream.chart_of(
        "charts/app",
        "1.0.0",
        bundles::gzip(&bundles::tar(&members)),
    );
    let address = &upstream.address;
    lab.write(
        "bundles/platform.set.yaml",
        &format!(
            "images:\n- nginx:1.29\n- {{ reference: 'quay.io/org/proxy:1.9', platforms: [linux/amd64] }}\n\
             - {{ reference: 'quay.io/org/exporter:v3', as: 'tools/exporter:3.0' }}\n- quay.io/org/agent:v1\n- quay.io/org/db:2\n\
             - quay.io/org/cache:5\ncharts: [ghcr.io/charts/app:1.0.0]\n\
             registries: {{ docker.io: {{ mirror: '{address}' }}, quay.io: {{ mirror: '{address}' }}, ghcr.io: {{ mirror: '{address}' }} }}\n"
        ),
    );
    lab.write_environment("sets: [platform]\n");
    lab.run("lock platform").success();
    lab.run("push lab").success();
    (lab, upstream)
}

/// Returns the images that Helm renders.
fn rendered(sandbox: &Sandbox, url: &str, more: &[&str]) -> Vec<String> {
    let arguments = [
        "template",
        "test",
        url,
        "--version",
        "1.0.0",
        "--plain-http",
    ];
    let text = referees::run(sandbox, "helm", &[&arguments, more].concat());
    let lines = text.lines().filter_map(|line| line.strip_prefix("image: "));
    let mut images: Vec<String> = lines.map(str::to_owned).collect();
    images.sort();
    images
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_helm, ignore = "helm is not on PATH")]
async fn helm_renders_only_images_of_the_mirror() {
    let (lab, _upstream) = lab().await;
    let run = lab.run("images lab --as helm --chart app").success();
    insta::assert_snapshot!(run.stdout, @"
    # helm install NAME oci://127.0.0.1:[PORT]/mke/charts/app --version 1.0.0 --values FILE
    # in no lock: absent.image is quay.io/org/absent:v9
    # cannot be set by values: a template names quay.io/org/fixed:v1
    cache:
      image:
        registry: 127.0.0.1:[PORT]
        repository: mke/org/cache
    store:
      image:
        repository: 127.0.0.1:[PORT]/mke/org/db
    web:
      image:
        registry: 127.0.0.1:[PORT]
        repository: mke/library/nginx
    proxy:
      image:
        repository: 127.0.0.1:[PORT]/mke/org/proxy
        tag: '1.9'
    pinned:
      image: 127.0.0.1:[PORT]/mke/org/proxy:1.9@sha256:3a9a5c7245e74360bceba2d6da1a4fdd6c91ec7a7e1ce49dae6a1ebf838ceffa
    exporter:
      image:
        registry: 127.0.0.1:[PORT]
        repository: mke/tools/exporter
        tag: '3.0'
    controller:
      image:
        registry: 127.0.0.1:[PORT]
        image: mke/tools/exporter
        tag: '3.0'
    operator:
      repository: 127.0.0.1:[PORT]/mke/org
      image: agent
    sidecars:
    - name: first
      image: 127.0.0.1:[PORT]/mke/org/agent:v1
    - name: second
      image: 127.0.0.1:[PORT]/mke/org/agent:v1
      args:
      - --verbose
    reloader: 127.0.0.1:[PORT]/mke/org/agent:v1
    global:
      imageRegistry: 127.0.0.1:[PORT]
      security:
        allowInsecureImages: true
    ");
    let address = &lab.registry.address;
    let values = run.stdout.replace("127.0.0.1:[PORT]", address);
    lab.write("values.yaml", &values);
    let url = format!("oci://{address}/mke/charts/app");
    let before = rendered(&lab.sandbox, &url, &[]);
    assert!(
        before.iter().all(|image| !image.contains(address)),
        "{before:?}"
    );
    let file = lab.path("values.yaml");
    let after = rendered(&lab.sandbox, &url, &["--values", file.as_str()]);
    assert_eq!(after.len(), before.len());
    let client = lab.registry.client();
    for image in &after {
        let name = image.split(' ').next().unwrap();
        let name = name.strip_prefix(&format!("{address}/")).expect(image);
        let (repository, reference) = match name.split_once('@') {
            Some((name, digest)) => (name.split(':').next().unwrap(), digest),
            None => name.split_once(':').expect(image),
        };
        let found = client.get_manifest(repository, reference).await;
        assert!(found.is_ok(), "{image}");
    }
    insta::assert_snapshot!(after.join("\n").replace(address, "127.0.0.1:[PORT]"), @"
    127.0.0.1:[PORT]/mke/library/nginx:1.29
    127.0.0.1:[PORT]/mke/org/agent:v1
    127.0.0.1:[PORT]/mke/org/agent:v1
    127.0.0.1:[PORT]/mke/org/agent:v1 first
    127.0.0.1:[PORT]/mke/org/agent:v1 second [--verbose]
    127.0.0.1:[PORT]/mke/org/cache:5
    127.0.0.1:[PORT]/mke/org/db:2
    127.0.0.1:[PORT]/mke/org/proxy:1.9
    127.0.0.1:[PORT]/mke/org/proxy:1.9@sha256:3a9a5c7245e74360bceba2d6da1a4fdd6c91ec7a7e1ce49dae6a1ebf838ceffa
    127.0.0.1:[PORT]/mke/tools/exporter:3.0
    127.0.0.1:[PORT]/mke/tools/exporter@sha256:4160823345b43f451748aa39553e7545e22d8400f5accb1808afb848c0fee93c
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_is_missing_is_named() {
    let (lab, upstream) = lab().await;
    let refused = |arguments: &[&str], code: i32| {
        let arguments = [&["images", "lab"], arguments].concat();
        lab.run(&arguments).exits_with(code).stderr
    };
    insta::assert_snapshot!(refused(&["--as", "helm", "--chart", "other"], 64), @"
    error: `other` names no chart of lab
    hint: name one of: charts/k0rdent-enterprise:1.2.3, dex-http-server-chart:0.3.0, mirrored-chart-dex:v0.23.0, mke-operator-chart:3.17.2, charts/app:1.0.0
    ");
    insta::assert_snapshot!(refused(&["--chart", "app"], 64), @"error: `--chart` is for `--as helm`");
    assert!(refused(&["--as", "helm"], 64).contains("--chart <NAME>"));
    for name in ["charts/app", "charts/app:1.0.0", "app:1.0.0"] {
        lab.run(&["images", "lab", "--as", "helm", "--chart", name])
            .success();
    }
    bundles::forget_store(&lab.sandbox);
    insta::assert_snapshot!(refused(&["--as", "helm", "--chart", "app"], 4), @"
    error: bundles/store lacks the chart charts/app:1.0.0
    hint: on a machine with internet: `cargo xtask fetch lab`; the values are the same there
    ");
    // A chart may have no image.
    let metadata = metadata("app", "");
    let plain = [
        ("app/Chart.yaml", metadata.as_str()),
        ("app/values.yaml", "replicas: 1\n"),
    ];
    upstream.chart_of("charts/app", "1.0.0", pack(&plain));
    lab.run("lock platform --replace").success();
    lab.run("fetch platform").success();
    let run = lab.run("images lab --as helm --chart app");
    let end = "\n# no image of the chart's values is in a lock\n{}\n";
    assert!(run.success().stdout.ends_with(end));
    // An artifact with the media type of a chart may be something else.
    upstream.chart("charts/app", "1.0.0");
    lab.run("lock platform --replace").success();
    lab.run("fetch platform").success();
    let run = lab.run("images lab --as helm --chart app");
    insta::assert_snapshot!(run.exits_with(4).stderr, @"error: charts/app:1.0.0 has no content that Helm reads as a chart");
    // A whole name is not ambiguous because a different one ends with it.
    upstream.chart("charts/other", "1.0.0");
    let set = lab.read("bundles/platform.set.yaml");
    let chart = "ghcr.io/charts/app:1.0.0";
    let both = format!("{chart}, {{ reference: 'ghcr.io/charts/other:1.0.0', as: 'app:1.0.0' }}");
    lab.write("bundles/platform.set.yaml", &set.replace(chart, &both));
    lab.run("lock platform --replace").success();
    lab.run("fetch platform").success();
    insta::assert_snapshot!(refused(&["--as", "helm", "--chart", "app:1.0.0"], 4), @"error: app:1.0.0 has no content that Helm reads as a chart");
}

//! Tests of `images`: the references of an environment, in the forms that other tools read.

use support::upstream::Upstream;
use support::{Lab, Run, Text as _};

use crate::{AIRLOCK, FAKE_MKECTL, referees};

mod helm;

/// Makes a lab with a set: an image of Docker Hub, an image with a different repository, and a
/// chart.
async fn lab() -> (Lab, Upstream) {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let upstream = Upstream::start().await;
    upstream.image("library/nginx", "1.29", &["linux/amd64"], 100, "1");
    upstream.image("org/tool", "v1", &["linux/amd64"], 100, "1");
    upstream.chart("charts/extra", "1.0.0");
    let address = &upstream.address;
    lab.write(
        "bundles/platform.set.yaml",
        &format!(
            "images: [nginx:1.29, {{ reference: 'quay.io/org/tool:v1', as: tools/tool }}]\ncharts: [ghcr.io/charts/extra:1.0.0]\n\
             registries: {{ docker.io: {{ mirror: '{address}' }}, quay.io: {{ mirror: '{address}' }}, ghcr.io: {{ mirror: '{address}' }} }}\n"
        ),
    );
    lab.write_environment("sets: [platform]\n");
    lab.run("lock platform").success();
    (lab, upstream)
}

/// Returns the lines about the set, not those about the release.
fn of_set(run: &Run) -> String {
    let lines = run.stdout.lines().filter(|line| !line.contains("mirantis"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_listed_in_both_registries() {
    let (lab, _upstream) = lab().await;
    let run = lab.run("images lab").success();
    let text = of_set(&run);
    let short: Vec<&str> = text
        .lines()
        .map(|line| line.split("@sha256:").next().unwrap())
        .collect();
    insta::assert_snapshot!(short.join("\n"), @"
    docker.io/library/nginx:1.29 127.0.0.1:[PORT]/mke/library/nginx:1.29
    ghcr.io/charts/extra:1.0.0 127.0.0.1:[PORT]/mke/charts/extra:1.0.0
    quay.io/org/tool:v1 127.0.0.1:[PORT]/mke/tools/tool:v1
    ");
    run.prints("registry.mirantis.com/mke/calico/node:");
    let json = lab.run("images lab --format json").success();
    let json = json.json();
    assert_eq!(
        json["result"]["artifacts"][0]["upstream"],
        "docker.io/library/nginx:1.29"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tool_gets_its_own_form() {
    let (lab, _upstream) = lab().await;
    let kustomize = lab.run("images lab --as kustomize").success().stdout;
    for name in ["docker.io/library/nginx", "library/nginx", "nginx"] {
        let entry = format!("- name: {name}\n  newName: 127.0.0.1:[PORT]/mke/library/nginx\n");
        assert!(kustomize.contains(&entry), "{kustomize}");
    }
    kustomize.has("- name: quay.io/org/tool\n  newName: 127.0.0.1:[PORT]/mke/tools/tool\n");
    kustomize.lacks("charts/extra");
    let hosts = lab.run("images lab --as containerd").success().stdout;
    hosts.has("# /etc/containerd/certs.d/docker.io/hosts.toml\nserver = \"https://registry-1.docker.io\"\n\n\
             [host.\"http://127.0.0.1:[PORT]/v2/mke\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n");
    hosts.has("# A hosts.toml cannot change paths or tags. Change these in the manifests:\n#   quay.io/org/tool:v1 -> 127.0.0.1:[PORT]/mke/tools/tool:v1\n");
    let bom = lab.run("images lab --as cyclonedx").success().stdout;
    let inspected = lab.run("inspect lab --format cyclonedx").success();
    assert_eq!(inspected.stdout, bom);
    let of_set = lab
        .run("inspect platform --format cyclonedx")
        .exits_with(64);
    of_set.reports("`platform` is a set; name an environment that lists it");
    let bom: serde_json::Value = serde_json::from_str(&bom).unwrap();
    assert_eq!(
        (&bom["bomFormat"], &bom["specVersion"]),
        (&"CycloneDX".into(), &"1.6".into())
    );
    let nginx = &bom["components"][0];
    let digest = nginx["hashes"][0]["content"].as_str().unwrap();
    assert_eq!(
        nginx["purl"],
        format!("pkg:oci/nginx@sha256%3A{digest}?repository_url=docker.io/library/nginx&tag=1.29")
    );
    let mirrors = lab.run("images lab --as idms").success().stdout;
    mirrors.has("  - source: docker.io/library/nginx\n    mirrors:\n    - 127.0.0.1:[PORT]/mke/library/nginx\n");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_kubectl, ignore = "kubectl is not on PATH")]
async fn kustomize_puts_the_images_of_the_registry_into_manifests() {
    let (lab, _upstream) = lab().await;
    let images = lab.run("images lab --as kustomize").success().stdout;
    let address = &lab.registry.address;
    let images = images.replace("127.0.0.1:[PORT]", address);
    let kustomization = format!("resources: [pod.yaml]\n{images}");
    lab.write("app/kustomization.yaml", &kustomization);
    let named = [
        ("nginx:1.29", "library/nginx:1.29"),
        ("docker.io/library/nginx:1.29", "library/nginx:1.29"),
        ("quay.io/org/tool:v1", "tools/tool:v1"),
    ];
    let containers = named.iter().zip(1..);
    let containers: String = containers
        .map(|((image, _), number)| format!("  - {{ name: c{number}, image: '{image}' }}\n"))
        .collect();
    lab.write(
        "app/pod.yaml",
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: app }}\nspec:\n  containers:\n{containers}"
        ),
    );
    let folder = lab.path("app");
    let built = referees::run(&lab.sandbox, "kubectl", &["kustomize", folder.as_str()]);
    for (image, place) in named {
        let expected = format!("image: {address}/mke/{place}\n");
        assert!(built.contains(&expected), "{image}: {built}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_whose_tag_changes_are_mapped_or_listed() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let upstream = Upstream::start().await;
    let images = [
        ("org/one", "1"),
        ("org/two", "1"),
        ("org/two", "2"),
        ("hub/org/two", "2"),
    ];
    for (repository, tag) in images {
        let platforms = ["linux/amd64", "linux/arm64"];
        upstream.image(
            repository,
            tag,
            &platforms,
            100,
            &format!("{repository}:{tag}"),
        );
    }
    let three = ["linux/amd64", "linux/arm64", "linux/s390x"];
    let by_digest = upstream.image("org/three", "1", &three, 100, "3");
    upstream.image("hub/org/agent", "1", &["linux/amd64"], 100, "4");
    let address = &upstream.address;
    lab.write(
        "bundles/platform.set.yaml",
        &format!(
            "images:\n- {{ reference: 'quay.io/org/one:1', as: 'org/one:1.0' }}\n- {{ reference: 'quay.io/org/two:1', as: 'old/two' }}\n\
             - quay.io/org/two:2\n- {{ reference: 'quay.io/org/three@{by_digest}', as: 'org/three:3', platforms: [linux/amd64, linux/arm64] }}\n\
             - {{ reference: 'ghcr.io/org/two:2', as: ghcr/two, platforms: [linux/amd64] }}\n- ghcr.io/org/agent:1\n\
             registries: {{ quay.io: {{ mirror: '{address}' }}, ghcr.io: {{ mirror: '{address}/hub' }} }}\n"
        ),
    );
    lab.write_environment("sets: [platform]\n");
    lab.run("lock platform").success();
    let form = |form: &str| lab.run(&["images", "lab", "--as", form]).success().stdout;
    let kustomize = form("kustomize");
    for text in [
        "- name: quay.io/org/one\n  newName: 127.0.0.1:[PORT]/mke/org/one\n  newTag: \"1.0\"\n",
        "- name: quay.io/org/three\n  newName: 127.0.0.1:[PORT]/mke/org/three\n#",
        "# not expressible: quay.io/org/two:1 is 127.0.0.1:[PORT]/mke/old/two:1\n\
         # not expressible: quay.io/org/two:2 is 127.0.0.1:[PORT]/mke/org/two:2\n",
    ] {
        assert!(kustomize.contains(text), "{text}: {kustomize}");
    }
    kustomize.lacks("name: quay.io/org/two");
    let hosts = form("containerd");
    hosts.has(
        "# /etc/containerd/certs.d/quay.io/hosts.toml\n\
             # A hosts.toml cannot change paths or tags. Change these in the manifests:\n\
             #   quay.io/org/one:1 -> 127.0.0.1:[PORT]/mke/org/one:1.0\n\
             #   quay.io/org/two:1 -> 127.0.0.1:[PORT]/mke/old/two:1\nserver",
    );
    // A host whose name would lead to an image of a different host.
    hosts.has(
        "# /etc/containerd/certs.d/ghcr.io/hosts.toml\n\
             # None is possible: ghcr.io/org/two:2 would be 127.0.0.1:[PORT]/mke/org/two:2, which is quay.io/org/two:2.\n\
             # A hosts.toml cannot change paths or tags. Change these in the manifests:\n\
             #   ghcr.io/org/agent:1 -> 127.0.0.1:[PORT]/mke/org/agent:1\n\
             #   ghcr.io/org/two:2 -> 127.0.0.1:[PORT]/mke/ghcr/two:2\n\n",
    );
    form("idms").has("  # only some platforms of ghcr.io/org/two:2 are carried, so its digest differs: 127.0.0.1:[PORT]/mke/ghcr/two:2@sha256:");
    let bom: serde_json::Value = serde_json::from_str(&form("cyclonedx")).unwrap();
    let of = |name: &str| {
        let mut components = bom["components"].as_array().unwrap().iter();
        let found = components.find(|one| one["name"] == name).unwrap();
        (
            found["purl"].as_str().unwrap(),
            found["version"].as_str().unwrap(),
        )
    };
    let (purl, version) = of("quay.io/org/one");
    assert!(
        purl.ends_with("?repository_url=quay.io/org/one&tag=1"),
        "{purl}"
    );
    assert_eq!(version, "1");
    let (purl, version) = of("quay.io/org/three");
    // The purl has the upstream digest. The locked index has only two of the platforms.
    let whole = by_digest.replace(':', "%3A");
    let expected = format!("pkg:oci/three@{whole}?repository_url=quay.io/org/three");
    assert_eq!(purl, expected);
    assert_ne!(version, by_digest);
}

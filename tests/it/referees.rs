//! Referees: programs of other authors, which nodes and operators use, pull pushed artifacts and
//! must get the digests of the lock.
//!
//! containerd, Docker and Podman unpack the layers too. They do not run the images, which contain
//! files and no programs.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bundle::make::{ArtifactRecipe, ContentsRecipe, Recipe};
use bundle::{Artifact, Kind, Lock};
use camino::{Utf8Path, Utf8PathBuf};
use support::{Arguments, Lab, Sandbox, Terminator, TestRegistry, Text as _, bundles, registries};

use crate::{AIRLOCK, FAKE_MKECTL};

/// The number of archives in the bundle: those of the demo and more.
const ARCHIVES: usize = 60;

/// The number of concurrent pulls, which mostly wait.
const CONCURRENT: usize = 4;

/// The sizes of two layers: one needs several requests if a request may have 1 MiB, and one is
/// large enough to be streamed.
const LAYERS: [usize; 2] = [3 << 20, 17 << 20];

/// A registry with a CA of its own, and a pushed bundle.
struct Pushed {
    sandbox: Sandbox,
    registry: TestRegistry,
    lock: Lock,
}

support::used_as!(Pushed, sandbox: Sandbox);

impl Pushed {
    async fn new() -> Self {
        Self::below("mke/four").await
    }

    /// Pushes to a project.
    async fn below(project: &str) -> Self {
        let registry = TestRegistry::tls().await;
        let sandbox = Sandbox::new(AIRLOCK);
        registry.describe(&sandbox, "");
        let path = "environments/lab/environment.yaml";
        sandbox.edit(path, "mke/four", project);
        bundles::make_locked(&sandbox, &sixty());
        sandbox.run("push lab").success();
        let lock = bundles::lock_of(&sandbox);
        assert_eq!(lock.artifacts.len(), ARCHIVES);
        Self {
            sandbox,
            registry,
            lock,
        }
    }

    /// Returns the artifacts of a kind.
    fn of(&self, kind: Kind) -> Vec<&Artifact> {
        let artifacts = self.lock.artifacts.iter();
        artifacts.filter(|one| one.kind == kind).collect()
    }

    /// Returns the reference by which a client pulls an artifact.
    fn name(&self, artifact: &Artifact) -> String {
        let (address, name) = (&self.registry.address, artifact.reference());
        format!("{address}/mke/four/{name}")
    }

    /// Returns the reference of an artifact by its digest in the lock.
    fn by_digest(&self, artifact: &Artifact) -> String {
        let (address, repository) = (&self.registry.address, &artifact.repository);
        format!("{address}/mke/four/{repository}@{}", artifact.digest)
    }

    /// Returns the path of the registry's CA.
    fn ca(&self) -> Utf8PathBuf {
        self.path("environments/lab/registry-ca.pem")
    }

    /// Returns a folder in which Docker's tools look for the CA of a registry.
    fn certificates(&self) -> Utf8PathBuf {
        self.write(
            "certificates/ca.crt",
            self.registry.ca_pem.as_deref().unwrap(),
        );
        self.path("certificates")
    }
}

/// Returns a bundle with the demo's artifacts and more, which differ in kind, platforms and depth
/// of their names.
fn sixty() -> Recipe {
    let mut recipe = bundles::small();
    for number in recipe.artifacts.len()..ARCHIVES {
        recipe.artifacts.push(match number % 6 {
            0 => chart(number),
            1 | 2 => image(number, &["linux/amd64", "linux/arm64"]),
            _ => image(number, &["linux/amd64"]),
        });
    }
    recipe
}

fn image(number: usize, platforms: &[&str]) -> ArtifactRecipe {
    let path = ["a", "a/b", "a/b/c", "a/b/c/d"][number % 4];
    let layers = [
        ("base", 20_000),
        (&*format!("layer-{number}"), 1_000 * number),
    ];
    let repository = format!("{path}/image-{number}");
    bundles::image(&repository, &format!("v1.{number}"), platforms, &layers)
}

/// Returns a chart whose version has a `+`. Its tag has `_` instead.
fn chart(number: usize) -> ArtifactRecipe {
    ArtifactRecipe {
        repository: format!("charts/chart-{number}"),
        tag: format!("1.0.{number}_k0s.0"),
        contents: ContentsRecipe::Chart {
            name: format!("chart-{number}"),
            version: format!("1.0.{number}+k0s.0"),
            description: "A chart".to_owned(),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_skopeo, ignore = "skopeo is not on PATH")]
async fn skopeo_copies_every_artifact_with_its_digests() {
    let pushed = Pushed::new().await;
    let certificates = pushed.certificates();
    each(&pushed.lock.artifacts, |artifact| {
        let trust = ["--src-cert-dir", certificates.as_str()];
        copy(&pushed.sandbox, &pushed.name(artifact), &trust, artifact);
    });
}

/// A set of images for several platforms, from a registry with a token server.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_skopeo, ignore = "skopeo is not on PATH")]
async fn sixty_images_of_a_set_have_the_digests_that_skopeo_copies() {
    let upstream = TestRegistry::with_tokens().await;
    let address = &upstream.address;
    let login = BASE64_STANDARD.encode(format!("{}:{}", registries::USER, registries::PASSWORD));
    let filling = Sandbox::new(AIRLOCK);
    filling.log_in(address, &login);
    upstream.describe(&filling, "");
    let file = "environments/lab/environment.yaml";
    let secret = "config:\n  registries:\n    imageRegistry: { credentialsSecretName: pull }\n    chartRegistry: { credentialsSecretName: pull }\n";
    filling.write(file, &filling.read(file).replace("config:\n", secret));
    let three = ["linux/amd64", "linux/arm64", "linux/s390x"];
    let images =
        (0..ARCHIVES).map(|number| image(number, &three[..2 + usize::from(number % 6 == 0)]));
    let recipe = Recipe {
        matrix: None,
        artifacts: images.collect(),
        ..bundles::tiny()
    };
    bundles::make_locked(&filling, &recipe);
    filling.run("push lab").success();

    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment("release: v4.1.5", "sets: [platform]\nrelease: v4.1.5");
    let of_upstream = bundles::lock_of(&filling);
    let listed = of_upstream.artifacts.iter().map(Artifact::reference);
    let listed: String = (listed.map(|name| format!("- {address}/mke/four/{name}\n"))).collect();
    let set = format!("images:\n{listed}");
    lab.write("bundles/platform.set.yaml", &set);
    let refused = lab.run("lock platform").exits_with(5);
    refused.reports("hint: log in with `skopeo login 127.0.0.1:[PORT]`");
    lab.log_in(address, &login);
    for command in ["lock platform", "fetch platform", "push lab", "verify lab"] {
        lab.run(command).success();
    }
    let lock = lab.path("bundles/platform.lock.yaml");
    let lock = Lock::read(&lock).unwrap();
    assert_eq!(lock.artifacts.len(), ARCHIVES);
    let account = format!("{}:{}", registries::USER, registries::PASSWORD);
    let options = ["--src-tls-verify=false", "--src-creds", &account];
    each(&lock.artifacts, |artifact| {
        let name = artifact.source.as_ref().unwrap().reference.as_str();
        copy(&lab.sandbox, name, &options, artifact);
    });
    let client = lab.registry.client();
    for artifact in &lock.artifacts {
        let repository = format!("mke/{}", artifact.repository);
        let pushed = client.get_manifest(&repository, &artifact.tag).await;
        assert_eq!(pushed.unwrap().digest, artifact.digest);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(
    without_containerd,
    ignore = "containerd is not on PATH, or this user may not mount"
)]
async fn containerd_pulls_every_image_as_nodes_do() {
    let pushed = Pushed::new().await;
    let containerd = Containerd::start(&pushed.sandbox);
    let (address, ca) = (&pushed.registry.address, pushed.ca());
    pushed.write(
        &format!("hosts/{address}/hosts.toml"),
        &format!(
            "server = \"https://{address}\"\n[host.\"https://{address}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"{ca}\"\n"
        ),
    );
    let hosts = pushed.path("hosts");
    let images = pushed.of(Kind::Image);
    each(&images, |artifact| {
        let name = pushed.name(artifact);
        // Images share blobs, so a pull may find a blob locked by another one.
        let pull =
            format!("images pull --snapshotter native --all-platforms --hosts-dir {hosts} {name}");
        containerd.ctr(&pushed.sandbox, pull.as_str());
    });
    let listed = containerd.ctr(&pushed.sandbox, "images ls");
    for artifact in images {
        let name = pushed.name(artifact);
        let row = listed
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let digest = row.and_then(|row| row.split_whitespace().nth(2));
        assert_eq!(digest, Some(artifact.digest.as_ref()), "{name}\n{listed}");
    }
}

/// With the hosts files that `images` prints, nodes pull images by the vendor's names.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(
    without_containerd,
    ignore = "containerd is not on PATH, or this user may not mount"
)]
async fn containerd_pulls_upstream_names_with_the_hosts_files_of_images() {
    let pushed = Pushed::below("four/mke").await;
    let containerd = Containerd::start(&pushed.sandbox);
    let address = &pushed.registry.address;
    let printed = pushed
        .run("images lab --as containerd")
        .success()
        .stdout
        .replace("127.0.0.1:[PORT]", address)
        .replace(
            &format!("/etc/containerd/certs.d/{address}/ca.crt"),
            pushed.ca().as_str(),
        );
    for file in printed.split("# /etc/containerd/certs.d/").skip(1) {
        let (path, text) = file.split_once('\n').unwrap();
        pushed.write(&format!("hosts/{path}"), text);
    }
    let hosts = pushed.path("hosts");
    let images = pushed.of(Kind::Image);
    let name = |artifact: &Artifact| format!("registry.mirantis.com/mke/{}", artifact.reference());
    each(&images, |artifact| {
        let name = name(artifact);
        let pull = format!("images pull --snapshotter native --hosts-dir {hosts} {name}");
        containerd.ctr(&pushed.sandbox, pull.as_str());
    });
    let listed = containerd.ctr(&pushed.sandbox, "images ls");
    for artifact in images {
        let name = name(artifact);
        let mut rows = listed.lines();
        let row = rows.find(|line| line.starts_with(&format!("{name} ")));
        let digest = row.and_then(|row| row.split_whitespace().nth(2));
        assert_eq!(digest, Some(artifact.digest.as_ref()), "{name}\n{listed}");
    }
}

/// Docker's daemon accepts every certificate of a registry on loopback.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn docker_pulls_every_image() {
    let pushed = Pushed::new().await;
    let docker = |arguments: &[&str]| run(&pushed.sandbox, "docker", arguments);
    each(&pushed.of(Kind::Image), |artifact| {
        let name = pushed.name(artifact);
        docker(&["pull", "--quiet", "--platform", "linux/amd64", &name]);
        let format = r#"{{join .RepoDigests "\n"}}"#;
        let digests = docker(&["image", "inspect", "--format", format, &name]);
        docker(&["image", "rm", &name]);
        let expected = pushed.by_digest(artifact);
        assert!(
            digests.lines().any(|digest| digest == expected),
            "{expected}: {digests}"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_podman, ignore = "podman is not on PATH")]
async fn podman_pulls_every_image() {
    let pushed = Pushed::new().await;
    let (certificates, images) = (pushed.certificates(), pushed.of(Kind::Image));
    let names: Vec<String> = images.iter().map(|image| pushed.name(image)).collect();
    let [root, state] = ["podman/root", "podman/run"].map(|path| pushed.path(path));
    let podman = |arguments: &[&str]| {
        let place = ["--root", root.as_str(), "--runroot", state.as_str()];
        let driver = ["--storage-driver", "vfs"];
        let mut all = [&place[..], &driver, arguments].concat();
        all.extend(names.iter().map(String::as_str));
        run(&pushed.sandbox, "podman", &all)
    };
    let platform = ["--quiet", "--os", "linux", "--arch", "amd64"];
    let pull = [
        &["pull", "--cert-dir", certificates.as_str()],
        &platform[..],
    ]
    .concat();
    podman(&pull);
    let digests = podman(&["image", "inspect", "--format", "{{.RepoDigests}}"]);
    assert_eq!(digests.lines().count(), images.len(), "{digests}");
    for (line, image) in digests.lines().zip(images) {
        let expected = pushed.by_digest(image);
        let mut digests = line.trim_matches(['[', ']']).split(' ');
        assert!(
            digests.any(|digest| digest == expected),
            "{expected}: {line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_helm, ignore = "helm is not on PATH")]
async fn helm_shows_pulls_and_renders_every_chart() {
    let pushed = Pushed::new().await;
    let ca = pushed.ca();
    let charts = pushed.of(Kind::Chart);
    assert!(charts.len() > 8, "{}", charts.len());
    each(&charts, |chart| {
        let (address, repository) = (&pushed.registry.address, &chart.repository);
        let url = format!("oci://{address}/mke/four/{repository}");
        let version = chart.tag.replace('_', "+");
        let named = [
            url.as_str(),
            "--version",
            &version,
            "--ca-file",
            ca.as_str(),
        ];
        let helm = |command: &[&str]| run(&pushed.sandbox, "helm", &[command, &named].concat());
        let shown = helm(&["show", "chart"]);
        shown.has(&format!("version: {version}"));
        let folder = pushed.path(&format!("charts/{repository}"));
        std::fs::create_dir_all(&folder).unwrap();
        let pulled = helm(&["pull", "--destination", folder.as_str()]);
        assert!(
            pulled.contains(&format!("Digest: {}", chart.digest)),
            "{url}: {pulled}"
        );
        let file = folder.read_dir_utf8().unwrap().next().unwrap().unwrap();
        let digest = sha256(file.path());
        let is_locked = chart.blobs().any(|(blob, _)| blob.as_ref() == digest);
        assert!(is_locked, "{url}: {digest}");
        let rendered = helm(&["template", "lab"]);
        rendered.has("kind: ConfigMap\n");
    });
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_oras, ignore = "python3 has no module oras")]
async fn oras_pulls_every_artifact_with_its_blobs() {
    let pushed = Pushed::new().await;
    let script = support::sandbox::repository().join("tests/support/oras_pull.py");
    let references = pushed.lock.artifacts.iter();
    let references = references.map(|artifact| format!("mke/four/{}", artifact.reference()));
    let references: Vec<String> = references.collect();
    let ca = pushed.ca();
    let mut arguments = vec![script.as_str(), &pushed.registry.address, ca.as_str()];
    arguments.extend(references.iter().map(String::as_str));
    let pulled = run(&pushed.sandbox, "python3", &arguments);
    assert_eq!(pulled.lines().count(), ARCHIVES, "{pulled}");
    for (line, artifact) in pulled.lines().zip(&pushed.lock.artifacts) {
        let mut words = line.split(' ').skip(1);
        assert_eq!(words.next(), Some(artifact.digest.as_ref()), "{line}");
        let blobs: Vec<&str> = words.collect();
        // The config, and at least one layer.
        assert!(blobs.len() >= 2, "{line}");
        for pulled in blobs {
            let is_locked = artifact.blobs().any(|(blob, _)| blob.as_ref() == pulled);
            assert!(is_locked, "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_skopeo, ignore = "skopeo is not on PATH")]
#[cfg_attr(without_nginx, ignore = "nginx is not installed")]
async fn a_deploy_through_nginx_with_its_defaults_succeeds() {
    let registry = TestRegistry::plain().await;
    let nginx = Terminator::nginx(&registry.address).await;
    deploys_through(&nginx);
    // nginx has refused requests that are too large. Its limit was not changed.
    let log = nginx.log("access.log");
    let refused = log.lines().filter(|line| line.contains("\" 413 "));
    assert!((1..10).contains(&refused.count()), "{log}");
    let parts = log.lines().filter(|line| line.contains("\"PATCH "));
    let taken = parts.filter(|line| line.contains("\" 202 ")).count();
    let least: usize = LAYERS.iter().map(|size| size >> 20).sum();
    assert!(taken >= least, "{taken} parts\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_skopeo, ignore = "skopeo is not on PATH")]
#[cfg_attr(without_haproxy, ignore = "haproxy is not installed")]
async fn a_deploy_through_haproxy_with_its_defaults_succeeds() {
    let registry = TestRegistry::plain().await;
    let haproxy = Terminator::haproxy(&registry.address).await;
    deploys_through(&haproxy);
}

/// Pushes and deploys through a proxy whose address and CA are the only settings. skopeo copies all
/// artifacts through the same proxy.
fn deploys_through(proxy: &Terminator) {
    let mut sandbox = Sandbox::new(AIRLOCK);
    let record = sandbox.home().join("mkectl-calls");
    sandbox.variable("FAKE_MKECTL_RECORD", record.as_str());
    sandbox.install(FAKE_MKECTL, "mkectl");
    TestRegistry::describe_at(&proxy.address, Some(&proxy.ca_pem), &sandbox, "");
    let mut recipe = bundles::small();
    for (number, size) in LAYERS.into_iter().enumerate() {
        let layers = [("base", 900), (&*format!("large-{number}"), size)];
        let repository = format!("large/image-{number}");
        recipe
            .artifacts
            .push(bundles::image(&repository, "v1", &["linux/amd64"], &layers));
    }
    bundles::make_locked(&sandbox, &recipe);
    sandbox.run("push lab").success();
    let deployed = sandbox.run("deploy lab").success();
    assert!(
        sandbox.path("environments/lab/receipt.yaml").exists(),
        "{}",
        deployed.whole()
    );
    sandbox.write("certificates/ca.crt", &proxy.ca_pem);
    let certificates = sandbox.path("certificates");
    for artifact in &bundles::lock_of(&sandbox).artifacts {
        let name = format!("{}/mke/four/{}", proxy.address, artifact.reference());
        let trust = ["--src-cert-dir", certificates.as_str()];
        copy(&sandbox, &name, &trust, artifact);
    }
}

/// Copies an artifact with all its platforms with skopeo, which verifies every digest, and compares
/// the digest of the root manifest with the lock.
fn copy(sandbox: &Sandbox, name: &str, options: &[&str], artifact: &Artifact) {
    let out = sandbox.path(&format!(
        "copies/{}",
        artifact.reference().replace(':', "_")
    ));
    std::fs::create_dir_all(out.parent().unwrap()).unwrap();
    let (from, to) = (format!("docker://{name}"), format!("dir:{out}"));
    let how = ["--insecure-policy", "copy", "--all", "--preserve-digests"];
    run(
        sandbox,
        "skopeo",
        &[&how[..], options, &[&from, &to]].concat(),
    );
    assert_eq!(
        sha256(&out.join("manifest.json")),
        artifact.digest.as_ref(),
        "{name}"
    );
}

/// A containerd with all its files in a sandbox. Dropping this stops it.
struct Containerd {
    socket: Utf8PathBuf,
    process: Child,
}

impl Containerd {
    fn start(sandbox: &Sandbox) -> Self {
        let folder = sandbox.home().join("containerd");
        let socket = folder.join("socket");
        sandbox.write(
            "containerd.toml",
            &format!(
                "version = 2\nroot = \"{folder}/root\"\nstate = \"{folder}/state\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = \"{socket}\"\n"
            ),
        );
        let log = sandbox.path("containerd.log");
        let output = std::fs::File::create(&log).unwrap();
        let process = program(sandbox, "containerd")
            .args(["--config", sandbox.path("containerd.toml").as_str()])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let started = Self { socket, process };
        for _ in 0..200 {
            if started.socket.exists() {
                return started;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}", std::fs::read_to_string(log).unwrap());
    }

    fn ctr(&self, sandbox: &Sandbox, arguments: impl Arguments) -> String {
        let place = ["--address", self.socket.as_str()];
        run(sandbox, "ctr", &[&place, &arguments.words()[..]].concat())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls `work` with each item, with up to [`CONCURRENT`] calls at the same time.
fn each<T: Sync>(all: &[T], work: impl Fn(&T) + Sync) {
    let next = Mutex::new(all.iter());
    std::thread::scope(|scope| {
        for _ in 0..CONCURRENT {
            scope.spawn(|| {
                loop {
                    let Some(one) = next.lock().unwrap().next() else {
                        return;
                    };
                    work(one);
                }
            });
        }
    });
}

/// Returns a command that does not use the settings of the user that runs the tests.
fn program(sandbox: &Sandbox, name: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "another program is the referee")]
    let mut command = Command::new(name);
    command
        .env("HOME", sandbox.home())
        .env_remove("XDG_RUNTIME_DIR");
    command
}

/// Runs a program to its end, and returns its output.
pub(crate) fn run(sandbox: &Sandbox, name: &str, arguments: impl Arguments) -> String {
    let output = program(sandbox, name)
        .args(arguments.words())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {text}");
    text.into_owned()
}

fn sha256(path: &Utf8Path) -> String {
    use sha2::Digest as _;
    let bytes = std::fs::read(path).unwrap();
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

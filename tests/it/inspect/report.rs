//! `report`: an HTML page, measured in a browser.

use bundle::make::{ContentsRecipe, LayerRecipe};
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};
use sha2::Digest as _;
use support::browser::{Browser, Look, Scheme};
use support::{Lab, Sandbox, Text as _, bundles};

use crate::deploy::upgrade::write_script;
use crate::{AIRLOCK, FAKE_MKECTL};

/// The number of environments in the workspace.
const ENVIRONMENTS: usize = 20;

/// The maximum size of a page with all environments, in bytes.
const LARGEST: u64 = 1 << 20;

const ENVIRONMENT: &str = "environments/lab/environment.yaml";

/// Returns a workspace in git with many environments. `lab` runs v4.1.3, was deployed twice, failed
/// once, and names v4.1.5. Of the other environments, some have no difference, and the others have
/// a different one each.
async fn fleet() -> Lab {
    let mut lab = Lab::without_mkectl(AIRLOCK).await;
    lab.init_git();
    let commit = |lab: &Lab, message: &str| {
        lab.git("add environments");
        let message = format!("--message={message}");
        lab.git(&["commit", "--quiet", &message]);
    };
    let cluster = lab.home().join("cluster.yaml");
    lab.variable("FAKE_MKECTL_CLUSTER", cluster.as_str())
        .variable("USER", "jane");
    lab.edit_environment("release:", "record-operator: true\nrelease:");
    // v4.1.3 lacks an artifact of v4.1.5, and has two that differ and one that v4.1.5 lacks.
    let mut older = bundles::small();
    older.artifacts.remove(0);
    older.artifacts[0].tag = "v3.29.1".to_owned();
    if let ContentsRecipe::Image { layers, .. } = &mut older.artifacts[3].contents {
        layers.push(LayerRecipe {
            name: "older".to_owned(),
            size: 10_000,
            same_on_every_platform: true,
        });
    }
    let mut removed = bundles::pause("3.9");
    removed.repository = "ucp/kube-proxy".to_owned();
    older.artifacts.push(removed);
    let file = lab.path("bundles/mke_bundle_v4.1.3_amd64.tar.gz");
    bundles::make(&older, &file);
    lab.lock_as("v4.1.3", &file);
    for release in ["v4.1.3", "v4.1.5"] {
        let path = lab.path(&format!("bundles/{release}-amd64.lock.yaml"));
        let mut lock = bundle::Lock::read(&path).unwrap();
        lock.mkectl.clear();
        lock.forced_release.clear();
        std::fs::write(path, lock.to_yaml()).unwrap();
    }
    let mkectl = lab.bin().join("mkectl");
    lab.edit_environment(
        "release: v4.1.5",
        "accept: [incomplete-lock]\nrelease: v4.1.3",
    );
    lab.edit_environment("accept: [telemetry]\n", "");
    lab.edit_environment("[incomplete-lock]", "[incomplete-lock, telemetry]");
    write_script(&mkectl, "v4.1.3");
    lab.run("deploy lab").success();
    commit(&lab, "lab: deploy v4.1.3");
    write_others(&lab.sandbox);
    lab.edit_environment(
        "  tracking: { enabled: false }",
        "  tracking: { enabled: false }\n  dns: { lameduck: { enabled: true } }",
    );
    lab.variable("FAKE_MKECTL_EXIT", "7");
    lab.run("deploy lab").exits_with(7);
    commit(&lab, "lab: deploy failed");
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("deploy lab").success();
    commit(&lab, "lab: deploy again");
    lab.edit_environment("release: v4.1.3", "release: v4.1.5");
    lab.edit_environment("enabled: true", "enabled: false");
    write_script(&mkectl, "v4.1.5");
    lab
}

/// Writes the other environments, with receipts like that of `lab`.
fn write_others(sandbox: &Sandbox) {
    let text = sandbox.read(ENVIRONMENT);
    let (receipt, config) = (
        sandbox.read("environments/lab/receipt.yaml"),
        sandbox.read("environments/lab/mke4.yaml"),
    );
    for number in 2..=ENVIRONMENTS {
        let name = ["eu-west", "us-east", "ap-south", "plant"][number % 4];
        let folder = format!("environments/{name}-{number:02}");
        let mut text = text.clone();
        match number {
            3 => text = text.replace(&registry_address(&text), "127.0.0.1:1"),
            4 => text = text.replace("release:", "relaese:"),
            6 => text = format!("protected: true\n{text}"),
            8 => text = format!("sets: [platform-of-a-team-with-a-long-name, gpu]\n{text}"),
            _ => {}
        }
        sandbox.write(&format!("{folder}/environment.yaml"), &text);
        if number != 7 {
            sandbox.write(&format!("{folder}/receipt.yaml"), &receipt);
            sandbox.write(&format!("{folder}/mke4.yaml"), &config);
        }
    }
    render(sandbox, &receipt);
    // This environment was changed after its deploy.
    let path = "environments/us-east-05/environment.yaml";
    sandbox.write(path, &text.replace("enabled: false", "enabled: true"));
}

/// Returns the address of the registry that an environment names.
fn registry_address(text: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("address: "));
    line.unwrap().to_owned()
}

/// Renders each other environment, and records the file in its receipt.
fn render(sandbox: &Sandbox, receipt: &str) {
    let applied = receipt
        .lines()
        .find(|line| line.trim().starts_with("config: "))
        .unwrap();
    for entry in sandbox.path("environments").read_dir_utf8().unwrap() {
        let name = entry.unwrap().file_name().to_owned();
        let path = format!("environments/{name}/receipt.yaml");
        if name == "lab" || !sandbox.path(&path).exists() {
            continue;
        }
        // One of the environments is invalid, so its file stays.
        let _ = sandbox.run(&["render", &name]);
        let config = std::fs::read(sandbox.path(&format!("environments/{name}/mke4.yaml")));
        let digest = hex::encode(sha2::Sha256::digest(config.unwrap()));
        sandbox.write(
            &path,
            &receipt.replace(applied, &format!("  config: {digest}")),
        );
    }
}

/// Returns the folder in which the pages and their screenshots are kept for a reader.
fn gallery() -> Utf8PathBuf {
    let folder = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes the page of `lab` and the page of all environments, and returns their paths.
fn pages(lab: &Lab) -> [Utf8PathBuf; 2] {
    lab.run("report lab --out lab.html").success();
    lab.run("report --all --out all.html").success();
    ["lab.html", "all.html"].map(|name| {
        let to = gallery().join(name);
        std::fs::copy(lab.path(name), &to).unwrap();
        to
    })
}

/// The widths of a desktop and of a phone, in pixels.
const WIDTHS: [u32; 2] = [1280, 390];

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_chromium, ignore = "chromium is not on PATH")]
async fn a_browser_finds_nothing_wrong_with_the_pages() {
    let lab = fleet().await;
    let browser = Browser::new();
    for page in pages(&lab) {
        let size = std::fs::metadata(&page).unwrap().len();
        assert!(size < LARGEST, "{page} has {size} bytes");
        let desk = Look {
            width: WIDTHS[0],
            scheme: Scheme::Light,
        };
        assert_eq!(browser.console(&page, desk), "", "{page}");
        let looks = WIDTHS.iter().flat_map(|width| {
            [Scheme::Light, Scheme::Dark].map(|scheme| Look {
                width: *width,
                scheme,
            })
        });
        for look in looks {
            let found = browser.measure(&page, look);
            assert_sound(&found, look);
            if (look.scheme == Scheme::Light) == (look.width == WIDTHS[0]) {
                let to = page.with_extension(format!("{}.png", look.width));
                browser.picture(&page, look, 2400, &to);
            }
        }
        browser.print(&page, &page.with_extension("pdf"));
    }
}

/// Checks what `measure.js` has found.
fn assert_sound(found: &Value, look: Look) {
    let nothing = [
        "errors",
        "resources",
        "overlaps",
        "outside",
        "contrast",
        "unreachable",
        "links",
    ];
    for kind in nothing {
        let all = found[kind].as_array().unwrap();
        let first = &all[..all.len().min(5)];
        assert!(
            first.is_empty(),
            "{look:?}: {} {kind}: {first:?}",
            all.len()
        );
    }
    let number = |key: &str| found[key].as_f64().unwrap();
    assert_eq!(number("width"), f64::from(look.width));
    assert_eq!(found["dark"], look.scheme == Scheme::Dark);
    assert!(number("scrollWidth") <= number("clientWidth"), "{look:?}");
    assert!(number("texts") > 100.0 && number("reachable") > 1.0);
    assert!(number("least") >= 4.5);
    // The page has one title, and no level of headings is skipped.
    let levels = found["headings"].as_array().unwrap().iter();
    let levels: Vec<u64> = levels.map(|level| level.as_u64().unwrap()).collect();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
    assert_eq!(levels[0], 1);
    assert!(
        levels.windows(2).all(|pair| pair[1] <= pair[0] + 1),
        "{levels:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_the_deployed_release_the_changes_and_the_timeline() {
    let lab = fleet().await;
    let run = lab.run("report lab --format json").success();
    let page = run.json();
    let section = &page["result"]["environments"][0];
    assert_eq!(section["status"]["release"], "v4.1.5");
    assert_eq!(section["applied"]["release"], "v4.1.3");
    assert_eq!(section["plan"]["mkectl"]["from"], "v4.1.3");
    assert_eq!(section["is-assumed"], false);
    let change = &section["change"];
    let names = |kind: &str| -> Vec<&str> {
        let rows = change[kind].as_array().unwrap().iter();
        rows.map(|row| row["repository"].as_str().unwrap())
            .collect()
    };
    assert_eq!(names("added"), ["calico/apiserver"]);
    assert_eq!(names("removed"), ["ucp/kube-proxy"]);
    assert_eq!(names("changed"), ["calico/node", "envoyproxy/envoy"]);
    let deploys = section["timeline"].as_array().unwrap().iter();
    let failures: Vec<&Value> = deploys.map(|deploy| &deploy["failed-at"]).collect();
    assert_eq!(failures, [&json!(null), &json!("apply"), &json!(null)]);

    let html = lab.run("report lab").success().stdout;
    let receipt = lab.read("environments/lab/receipt.yaml");
    let lock = receipt
        .lines()
        .find_map(|line| line.trim().strip_prefix("lock: "));
    for text in [
        "v4.1.3 → v4.1.5",
        "<dd>11 of 14</dd>",
        "1 added, 2 changed, 1 removed, 11 unchanged",
        "v3.29.1 → v3.30.2",
        "<span class=\"add\">+      enabled: false\n",
        "<span>--upgrade-version</span> <span>v4.1.5</span>",
        "failed at apply",
        "`mkectl apply` exited with code 7",
        "by jane",
        lock.unwrap(),
    ] {
        assert!(html.contains(text), "{text}: {html}");
    }
    // `diff` of the two releases has the same number of bytes to send.
    let diff = lab.run("diff v4.1.3 v4.1.5").success().stdout;
    assert!(
        diff.contains("386.13 kB") && html.contains("386.13 kB"),
        "{diff}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_reports_a_registry_that_does_not_answer() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.edit_environment(&lab.registry.address, "127.0.0.1:1");
    let html = lab.run("report lab").success().stdout;
    html.has("<dt>Registry serves</dt><dd>no answer</dd>");
    html.has("The registry did not answer when this report was written.");
    html.lacks("Images and charts to push");
    // The registry of a deployed cluster cannot be changed, so the plan is refused.
    html.has("No plan could be computed: ");

    lab.edit_environment("release:", "relaese:");
    let html = lab.run("report --all").success().stdout;
    html.has("No plan can be computed while the files are invalid.");
    lab.run("report nowhere").exits_with(3);
    lab.run("report").exits_with(64);
    lab.run("report lab --all").exits_with(64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_has_no_secret_no_script_and_no_external_reference() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let secret = "pl4nted<&\"'s3cret";
    lab.variable("LAB_REGISTRY_PASSWORD", secret);
    lab.edit_environment(
        "config:\n",
        &format!(
            "config:\n  license: {{ token: {} }}\n",
            json!(format!("license-{secret}"))
        ),
    );
    lab.run("deploy lab").success();
    let receipt = lab.read("environments/lab/receipt.yaml");
    let version = receipt
        .lines()
        .find(|line| line.contains("version: v4.1.5"))
        .unwrap();
    let hostile = format!("    version: <script>alert(1)</script> {secret}");
    lab.write(
        "environments/lab/receipt.yaml",
        &receipt.replace(version, &hostile),
    );
    lab.edit_environment("port: 22", "port: 2222");
    let html = lab.run("report lab").success().stdout;
    html.has("&lt;script&gt;alert(1)").has("2222");
    for text in [
        "<script", "pl4nted", "s3cret", "src=", "http:", "https:", "url(",
    ] {
        assert!(!html.contains(text), "{text}: {html}");
    }
    // The name of a set is escaped, too.
    lab.edit_environment("release: v4.1.5", "sets: ['<script>']\nrelease: v4.1.5");
    let html = lab.run("report lab").success().stdout;
    html.lacks("<script");
    html.has("&lt;script&gt;");
}

//! `support`: writes an archive that names the fault and has no secrets.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use camino::Utf8Path;
use flate2::read::GzDecoder;
use futures_util::StreamExt as _;
use serde_json::Value;
use support::{Lab, Sandbox};

use crate::inspect::preflight;
use crate::{AIRLOCK, FAKE_MKECTL};

/// The number of runs with planted secrets.
const RUNS: usize = 50;

/// Returns the texts of an archive by name.
fn unpack(path: &Utf8Path) -> BTreeMap<String, String> {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        entries.insert(name, text);
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_exactly_the_documented_files() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let before = lab.state();
    let run = lab.run("support lab --out lab.tar.gz").success();
    let changes = lab.changes_since(&before);
    // `preflight` records the profile of the registry.
    assert!(changes[0].starts_with("bundles/registries/"), "{changes:?}");
    assert_eq!(changes[1..], ["lab.tar.gz"]);
    let entries = unpack(&lab.path("lab.tar.gz"));
    let names: Vec<String> = entries.keys().map(|name| lab.redact(name)).collect();
    assert_eq!(
        names,
        [
            "support/environment.txt",
            "support/logs/[TIME]-apply.log",
            "support/mke4.yaml",
            "support/plan.txt",
            "support/preflight.json",
            "support/profile.json",
            "support/receipt.yaml",
            "support/versions.json",
        ],
        "{}",
        run.whole()
    );
    assert!(
        entries["support/plan.txt"].contains("Nothing to do"),
        "{}",
        entries["support/plan.txt"]
    );
    let versions: Value = serde_json::from_str(&entries["support/versions.json"]).unwrap();
    assert_eq!(versions["environment"], "lab");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(lab.path("lab.tar.gz"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // An archive is not replaced.
    lab.run("support lab --out lab.tar.gz").exits_with(3);

    // An environment that is not valid has its problems in the archive.
    lab.edit_environment("release:", "relaese:");
    let run = lab.run("support lab --format json").success();
    let last = run.json();
    assert_eq!(
        last["result"]["entries"],
        serde_json::json!(["problems.json", "versions.json"])
    );
    run.prints("lab is not valid, see problems.json in the archive");
    let logs = lab.path("environments/lab/logs");
    let mut written = logs
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path());
    let written = written
        .find(|path| path.as_str().ends_with(".tar.gz"))
        .unwrap();
    assert!(unpack(&written)["support/problems.json"].contains("relaese"));
    lab.run("support nowhere").exits_with(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_files_are_named_and_everything_else_is_in_the_archive() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let unreadable = b"version: \xff\xfe\n";
    let archive = |name: &str| {
        let run = lab.run(&["support", "lab", "--out", name]).success();
        (run, unpack(&lab.path(name)))
    };
    let receipt = lab.path("environments/lab/receipt.yaml");
    std::fs::write(receipt, unreadable).unwrap();
    let log = "environments/lab/logs/2999-01-01T00-00-00Z-apply.log";
    std::fs::create_dir(lab.path(log)).unwrap();
    let (run, entries) = archive("receipt.tar.gz");
    run.reports("-apply.log is left out: ");
    assert!(entries["support/unread.txt"].contains("receipt.yaml"));
    let has_logs = |entries: &BTreeMap<String, String>| {
        (entries.keys()).any(|name| name.starts_with("support/logs/"))
    };
    assert!(has_logs(&entries) && entries.contains_key("support/mke4.yaml"));

    // Without a readable configuration its secrets are unknown, so they cannot be masked in the
    // logs.
    let config = lab.path("environments/lab/mke4.yaml");
    std::fs::write(config, unreadable).unwrap();
    let (_, entries) = archive("config.tar.gz");
    assert!(entries["support/unread.txt"].contains("the logs are left out"));
    assert!(!has_logs(&entries));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_may_have_the_administrators_password_is_left_out() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_PASSWORD", "unknown");
    lab.run("deploy lab").success();
    let run = lab.run("support lab --out lab.tar.gz").success();
    run.reports("-apply.log is left out: it may have the administrator's password");
    let entries = unpack(&lab.path("lab.tar.gz"));
    assert!(
        !entries.keys().any(|name| name.contains("logs/")),
        "{entries:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_in_the_archives_of_fifty_runs() {
    let lab = Arc::new(Lab::new(AIRLOCK, FAKE_MKECTL).await);
    let text = lab.read("environments/lab/environment.yaml");
    let found: Vec<String> = futures_util::stream::iter(0..RUNS)
        .map(|run| {
            let (lab, text) = (Arc::clone(&lab), text.clone());
            tokio::task::spawn_blocking(move || plant(&lab.sandbox, run, &text))
        })
        .buffer_unordered(4)
        .flat_map(|found| futures_util::stream::iter(found.unwrap()))
        .collect()
        .await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Returns a text in percent-encoding.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Plants secrets in every source of an archive, writes the archive, and returns the secrets that
/// it contains.
fn plant(sandbox: &Sandbox, run: usize, text: &str) -> Vec<String> {
    // YAML, JSON, URLs and shells encode these characters in different ways.
    let odd = ["", "\"", "'", "\\", "%", "&", "ä", "$", "<", "+/="][run % 10];
    let secret = |place: &str| format!("{place}{odd}-7f3a{run:02}-91c4{odd}");
    let [password, literal, referenced, admin, proxy, other] =
        ["pass", "license", "value", "admin", "proxy", "other"].map(secret);
    let name = format!("run-{run}");
    let folder = format!("environments/{name}");
    let quoted = serde_json::to_string(&literal).unwrap();
    let config = format!(
        "config:\n  license: {{ token: {quoted} }}\n  foo: {{ password: {{ $env: PLANTED_VALUE }} }}\n"
    );
    sandbox.write(
        &format!("{folder}/environment.yaml"),
        &format!("# {literal}\n{}", text.replace("config:\n", &config)),
    );
    sandbox.write(&format!("{folder}/admin-password"), &format!("{admin}\n"));
    let pair = format!("planted:{password}");
    let planted = [password, literal, referenced, admin, proxy, other];
    let forms = |secret: &str| {
        let hexadecimal = hex::encode(secret);
        let escaped = encoded(secret);
        let json = serde_json::to_string(secret).unwrap();
        let json = json[1..json.len() - 1].to_owned();
        [
            secret.to_owned(),
            BASE64_STANDARD.encode(secret),
            hexadecimal,
            escaped,
            json,
        ]
    };
    let mut log = format!("Authorization: Basic {}\n", BASE64_STANDARD.encode(&pair));
    for secret in &planted {
        for form in forms(secret) {
            log.push_str(&format!(
                "time=12:00 msg=\"logged in with {form} at once\"\n"
            ));
        }
    }
    sandbox.write(
        &format!("{folder}/logs/2026-01-02T03-04-05Z-apply.log"),
        &log,
    );
    sandbox.write(
        &format!("{folder}/mke4.yaml"),
        &format!("spec:\n  license: {{ token: {quoted} }}\n"),
    );
    let archive = format!("{name}.tar.gz");
    let output = sandbox
        .command(&["support", &name, "--out", &archive])
        .env("LAB_REGISTRY_USERNAME", "planted")
        .env("LAB_REGISTRY_PASSWORD", &planted[0])
        .env("PLANTED_VALUE", &planted[2])
        .env(
            "UNUSED_PROXY",
            format!(
                "http://user:{}@proxy.example.com:3128",
                encoded(&planted[4])
            ),
        )
        .env("SOME_TOKEN", &planted[5])
        .output()
        .unwrap();
    if !output.status.success() {
        return vec![format!(
            "{run}: {}",
            String::from_utf8_lossy(&output.stderr)
        )];
    }
    let entries = unpack(&sandbox.path(&archive));
    let log = &entries["support/logs/2026-01-02T03-04-05Z-apply.log"];
    assert_eq!(log.matches("logged in with ***").count(), 30, "{log}");
    let all: String = entries
        .into_iter()
        .map(|(name, text)| name + &text)
        .collect();
    let forms = planted
        .iter()
        .flat_map(|secret| forms(secret))
        .chain([BASE64_STANDARD.encode(&pair)]);
    forms
        .filter(|form| all.contains(form.as_str()))
        .map(|form| format!("{run}: {form} in {all}"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_the_masker_cannot_reach_stops_the_archive() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    // The secret is in the name of an entry. Names are not masked.
    lab.variable("SOME_TOKEN", "preflight.json");
    lab.run("support lab --out lab.tar.gz")
        .exits_with(8)
        .reports("a secret would be in *** of the archive; nothing was written");
    assert!(!lab.path("lab.tar.gz").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fault_of_ten_registries_is_named() {
    let sandbox = Arc::new(preflight::sandbox());
    let mut cases = preflight::cases();
    cases.retain(|case| case.expected.2 == "problem");
    cases.truncate(10);
    assert_eq!(cases.len(), 10);
    let unnamed: Vec<String> = futures_util::stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| {
            let sandbox = Arc::clone(&sandbox);
            async move {
                let _registry = preflight::start(&sandbox, number, &case).await;
                let (check, fault, verdict) = case.expected;
                let archive = format!("case-{number}.tar.gz");
                let path = sandbox.path(&archive);
                let run = tokio::task::spawn_blocking(move || {
                    let name = format!("case-{number}");
                    sandbox.run(&["support", &name, "--out", &archive])
                });
                let run = run.await.unwrap().success();
                let preflight = &unpack(&path)["support/preflight.json"];
                let result: Value = serde_json::from_str(preflight).unwrap();
                let found = preflight::of_verdict(&result, verdict);
                (found != [format!("{check} {fault}")])
                    .then(|| format!("{}: {found:?}\n{}", case.name, run.whole()))
            }
        })
        .buffer_unordered(4)
        .filter_map(|unnamed| async { unnamed })
        .collect()
        .await;
    assert!(unnamed.is_empty(), "{}", unnamed.join("\n"));
}

#[test]
fn a_rehearsal_whose_registry_cannot_start_has_an_archive_with_the_reason() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let path = "environments/demo/environment.yaml";
    let text = sandbox.read(path);
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("address: 127."));
    let address = format!("  address: {}", taken.local_addr().unwrap());
    sandbox.write(path, &text.replace(line.unwrap(), &address));
    let began = std::time::Instant::now();
    let run = sandbox.run("support demo --out demo.tar.gz").success();
    run.prints("rehearsal.json");
    // The address is in use by a server that does not respond.
    run.prints("plan.txt");
    assert!(began.elapsed() < Duration::from_secs(60));
}

//! Tests of `preflight`: it names each fault of a registry with its fix, runs all other checks, and
//! leaves nothing in the registry.

mod nodes;
mod profile;

use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::Value;
use support::faulty::{
    Fault, FaultyRegistry, Kind, Mounts, PASSWORD, Quirks, Rule, USER, always, first, quirks,
};
use support::{Sandbox, TestRegistry, TlsProxy, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

/// Requests that change a registry.
const WRITES: &[Kind] = &[Kind::OpenUpload, Kind::Mount, Kind::PutManifest];

/// A registry with one fault, and the finding that `preflight` has to report.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    quirks: Quirks,
    rules: Vec<Rule>,
    transport: Transport,
    /// The check, its fault and its verdict, in this order.
    pub(crate) expected: (&'static str, &'static str, &'static str),
}

/// How the environment reaches the registry.
#[derive(Clone, Copy, PartialEq)]
enum Transport {
    /// Plain HTTP.
    Plain,
    /// Plain HTTP, although the environment names a CA.
    PlainWithCa,
    /// TLS with the right CA.
    Tls,
    /// TLS with a CA that did not sign the certificate.
    OtherCa,
    /// TLS with an expired certificate.
    Expired,
    /// TLS with a certificate for a different name.
    OtherName,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_named_with_its_fix_and_nothing_stays() {
    let sandbox = Arc::new(sandbox());
    let problems: Vec<String> = futures_util::stream::iter(cases().into_iter().enumerate())
        .map(|(number, case)| {
            let sandbox = Arc::clone(&sandbox);
            async move { play(&sandbox, number, &case).await.err() }
        })
        .buffer_unordered(4)
        .filter_map(|problem| async { problem })
        .collect()
        .await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_faults_passes_and_is_left_empty() {
    let quirks = quirks!(token_life: Some(u32::MAX), open_for_reading: true);
    let registry = FaultyRegistry::start(quirks, &[], 1).await;
    let sandbox = sandbox();
    describe(&sandbox, "lab", &registry.address, None);
    let run = sandbox.run("preflight lab").success();
    assert!(
        run.stdout
            .ends_with("lab: preflight passed: v4.1.5 is ready to install\n"),
        "{}",
        run.stdout
    );
    assert!(registry.is_empty());
    assert!(registry.count_of(Kind::PutManifest) >= 4);
    assert!(registry.count_of(Kind::DeleteManifest) >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_registry_problems_are_reported_together() {
    let sandbox = Sandbox::new(AIRLOCK);
    let free = format!("127.0.0.1:{}", support::sandbox::free_port());
    describe(&sandbox, "lab", &free, None);
    let run = sandbox.run("preflight lab --format json");
    assert_eq!(run.code, Some(3), "{}", run.stdout);
    assert_eq!(
        of_verdict(&result(&run.stdout), "problem"),
        [
            "lock not-locked",
            "credentials credentials-missing",
            "connection not-reached"
        ]
    );
    let run = sandbox.run("preflight lab");
    // The lines of the disk check differ between machines, so the snapshot has the lines before and
    // after them.
    let lines: Vec<&str> = run.stdout.lines().collect();
    let disk = lines.iter().position(|line| line.contains(" disk "));
    let after = lines
        .iter()
        .position(|line| line.contains(" bundle, mkectl "));
    let (before, after) = (
        &lines[..disk.unwrap()],
        &lines[after.unwrap()..lines.len() - 1],
    );
    insta::assert_snapshot!([before, after].concat().join("\n"), @"
    workspace
      ok       configuration     can be rendered for v4.1.5
      PROBLEM  lock              release v4.1.5 is not locked: `bundles/v4.1.5-amd64.lock.yaml` does not exist
                                 fix: with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
      skipped  bundle, mkectl    not checked: the lock cannot be used
      skipped  packages          not checked without --nodes: with SELinux, MKE installs container-selinux from a repository, and no bundle has it
      PROBLEM  credentials       no credentials for registry 127.0.0.1:[PORT]: the variables FAULTY_USERNAME and FAULTY_PASSWORD are not set
                                 fix: set the variables that `push-credentials` names; without `push-credentials`, log in with Docker, Podman or Skopeo, which write the file

    registry
      ok       name              the registry is an IP address; nothing to resolve
      PROBLEM  connection        GET http://127.0.0.1:[PORT]/v2/: connection refused
                                 fix: start the registry, open the port in the firewall, or correct registry.address
                                 $ curl -v http://127.0.0.1:[PORT]/v2/
      skipped  certificate       plain HTTP on loopback; other nodes need HTTPS
      skipped  api and 16 more   not tried, because of a problem above
    ");
    assert!(lines[lines.len() - 1].starts_with("lab: 3 problems, "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_different_mkectl_is_reported() {
    let registry = FaultyRegistry::start(limited(), &[], 1).await;
    let mut sandbox = sandbox();
    describe(&sandbox, "lab", &registry.address, None);
    sandbox.variable("FAKE_MKECTL_VERSION", "v4.1.4");
    for seen in ["mkectl v4.1.4", "no `mkectl` in any folder of PATH"] {
        let run = sandbox.run("preflight lab").exits_with(6);
        let row = run.stdout.lines().find(|line| line.contains(" mkectl "));
        let row = row.unwrap();
        assert!(row.contains("PROBLEM") && row.contains(seen), "{row}");
        run.prints("$ cargo xtask fetch lab");
        let _ = std::fs::remove_file(sandbox.bin().join("mkectl"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_url_does_not_shift_the_columns() {
    let shut = quirks!(..limited(); token_life: Some(u32::MAX));
    let registry = FaultyRegistry::start(shut, &[], 1).await;
    let mut sandbox = sandbox();
    describe(&sandbox, "lab", &registry.address, None);
    sandbox.variable("COLUMNS", "80");
    let run = sandbox.run("preflight lab").exits_with(5);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let row = lines
        .iter()
        .position(|line| line.starts_with("  PROBLEM  pull  "));
    let row = row.unwrap();
    assert!(
        lines[row].contains(" nodes cannot pull without credentials: "),
        "{}",
        run.stdout
    );
    let fix = lines[row..]
        .iter()
        .find(|line| line.contains("fix: "))
        .unwrap();
    assert_eq!(
        fix.find("fix: "),
        lines[row].find("nodes"),
        "{}",
        run.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_bundle_is_distinguished_from_a_missing_one() {
    let registry = FaultyRegistry::start(limited(), &[], 1).await;
    let sandbox = sandbox();
    describe(&sandbox, "lab", &registry.address, None);
    let bundle = sandbox.path(&format!("bundles/{}", bundles::FILE));
    let bytes = std::fs::read(&bundle).unwrap();
    std::fs::write(&bundle, &bytes[..bytes.len() / 2]).unwrap();
    let run = sandbox.run("preflight lab --format json");
    assert_eq!(run.code, Some(4), "{}", run.stdout);
    assert_eq!(
        of_verdict(&result(&run.stdout), "problem"),
        ["bundle bundle-differs"]
    );
    std::fs::remove_file(&bundle).unwrap();
    let run = sandbox.run("preflight lab --format json");
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    assert_eq!(
        of_verdict(&result(&run.stdout), "problem"),
        ["bundle bundle-missing"]
    );
}

/// Items 21, 22 and 24.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_no_bundle_has_and_the_disk_space_of_each_stage_are_named() {
    let registry = FaultyRegistry::start(limited(), &[], 1).await;
    let sandbox = sandbox();
    describe(&sandbox, "lab", &registry.address, None);
    let path = "environments/lab/environment.yaml";
    let text = sandbox.read(path).replace(
        "config:\n",
        "config:\n  devicePlugins: { nvidiaGPU: { enabled: true } }\n  fips: { enabled: true }\n",
    );
    sandbox.write(path, &text);
    let run = sandbox.run("preflight lab").success();
    for expected in [
        "no bundle has NVIDIA's drivers",
        "the symlink `libcrypto-k0s.so.3` and the FIPS k0s binary",
        "accept: [not-in-bundle]",
        "no bundle has it",
        "in the registry; registries do not report their free space",
        "other OCI artifacts are accepted",
    ] {
        assert!(run.stdout.contains(expected), "{expected}\n{}", run.stdout);
    }
    sandbox.write(
        path,
        &text.replace("[telemetry]", "[telemetry, not-in-bundle]"),
    );
    sandbox
        .run("preflight lab --format json")
        .success()
        .does_not_print("NVIDIA");
    // Without a lock, the disk space is an estimate.
    sandbox.write(
        path,
        &text.replace("release: v4.1.5", "release: v4.2.1-rc.3"),
    );
    let run = sandbox.run("preflight lab");
    run.prints("plan for about 22 GB");
}

/// Before the monitoring CRDs are upgraded by hand, kubectl and helm must be on this machine.
#[tokio::test(flavor = "multi_thread")]
async fn tools_for_the_monitoring_crds_are_looked_for_before_an_upgrade_to_4_2() {
    let lab = support::Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.edit_environment("release: v4.1.5", "release: v4.2.0");
    let of_tools = || {
        let run = lab.run("preflight lab --format json");
        let result = result(&run.stdout);
        let checks = result["checks"].as_array().unwrap().clone();
        let found = checks.into_iter().find(|check| check["name"] == "tools");
        found.unwrap_or_else(|| panic!("{}", run.whole()))
    };
    let missing = of_tools();
    assert_eq!(missing["fault"], "tool-missing", "{missing}");
    assert!(
        missing["text"].to_string().contains("kubectl and helm"),
        "{missing}"
    );
    for tool in ["kubectl", "helm"] {
        std::fs::write(lab.bin().join(tool), "").unwrap();
    }
    assert_eq!(of_tools()["verdict"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_address_is_a_problem_and_skips_the_rest() {
    let sandbox = sandbox();
    describe(&sandbox, "lab", "registry.invalid:5000", None);
    let run = sandbox.run("preflight lab --format json");
    assert_eq!(run.code, Some(5), "{}", run.stdout);
    let result = result(&run.stdout);
    assert_eq!(of_verdict(&result, "problem"), ["name name-not-resolved"]);
    // Skipped are the disk space, every check of the registry except its name, and the packages of
    // nodes.
    assert_eq!(of_verdict(&result, "skipped").len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_removes_the_probe_even_if_it_is_sent_twice_as_by_timeout() {
    let stalls = first(1, &[Kind::HeadManifest], Fault::Stall { after: 0 });
    let registry = FaultyRegistry::start(limited(), &[stalls], 1).await;
    let sandbox = sandbox();
    describe(&sandbox, "lab", &registry.address, None);
    let mut command = sandbox.command("preflight lab");
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while registry.played() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(!registry.is_empty());
    let process = i32::try_from(child.id()).unwrap();
    // `timeout` sends one signal to the program and one to its group. The kernel may merge equal
    // signals, so these differ.
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the process is our own child, and was not waited for yet.
        unsafe { libc::kill(process, signal) };
    }
    let output = tokio::task::spawn_blocking(|| child.wait_with_output());
    let output = output.await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(registry.is_empty(), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_registry_has_no_problem() {
    let registry = TestRegistry::embedded().await;
    let sandbox = sandbox();
    registry.describe(&sandbox, "");
    let run = sandbox.run("preflight lab --format json");
    assert_eq!(run.code, Some(0), "{}", run.stdout);
}

#[test]
fn a_rehearsal_has_no_warning() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let run = sandbox.run("preflight demo --nodes --format json");
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    let result = result(&run.stdout);
    assert_eq!(of_verdict(&result, "warning"), Vec::<String>::new());
    assert_eq!(result["nodes"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn registry_2_passes_and_registry_2_with_credentials_refuses_nodes() {
    let registry = TestRegistry::tls().await;
    let mut sandbox = sandbox();
    registry.describe(&sandbox, "");
    let run = sandbox.run("preflight lab --format json");
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    let result_of = result(&run.stdout);
    assert_eq!(of_verdict(&result_of, "warning"), Vec::<String>::new());

    let registry = TestRegistry::with_credentials().await;
    registry.describe(&sandbox, "  push-credentials: { env: LAB }\n");
    sandbox
        .variable("LAB_USERNAME", support::registries::USER)
        .variable("LAB_PASSWORD", support::registries::PASSWORD);
    let run = sandbox.run("preflight lab --format json");
    assert_eq!(run.code, Some(5), "{}", run.stdout);
    let result = result(&run.stdout);
    assert_eq!(of_verdict(&result, "problem"), ["pull not-anonymous"]);
    assert_eq!(of_verdict(&result, "warning"), Vec::<String>::new());
}

/// Starts the registry of a case and describes it as the environment `case-NUMBER`.
pub(crate) async fn start(
    sandbox: &Sandbox,
    number: usize,
    case: &Case,
) -> (FaultyRegistry, TlsProxy) {
    let registry = FaultyRegistry::start(case.quirks.clone(), &case.rules, 1).await;
    let names: &[&str] = match case.transport {
        Transport::OtherName => &["other.example.com"],
        _ => &["127.0.0.1"],
    };
    let proxy = TlsProxy::start(&registry.address, names, |certificate| {
        if case.transport == Transport::Expired {
            certificate.not_before = rcgen::date_time_ymd(2020, 1, 1);
            certificate.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
    })
    .await;
    let other = support::Certificates::local();
    let (address, ca) = match case.transport {
        Transport::Plain => (&registry.address, None),
        Transport::PlainWithCa => (&registry.address, Some(&other.ca_pem)),
        Transport::OtherCa => (&proxy.address, Some(&other.ca_pem)),
        Transport::Tls | Transport::Expired | Transport::OtherName => {
            (&proxy.address, Some(&proxy.ca_pem))
        }
    };
    let environment = format!("case-{number}");
    describe(sandbox, &environment, address, ca.map(String::as_str));
    (registry, proxy)
}

/// Plays one case, and returns the first deviation from its expected finding.
async fn play(sandbox: &Arc<Sandbox>, number: usize, case: &Case) -> Result<(), String> {
    let (registry, _proxy) = start(sandbox, number, case).await;
    let environment = format!("case-{number}");
    let run = {
        let sandbox = Arc::clone(sandbox);
        let arguments = [
            "preflight".to_owned(),
            environment,
            "--format=json".to_owned(),
        ];
        let run = move || sandbox.run(&arguments.each_ref().map(String::as_str));
        let begun = std::time::Instant::now();
        let run = tokio::task::spawn_blocking(run).await.unwrap();
        if begun.elapsed().as_secs() >= 60 {
            return Err(format!("{}: it took {:?}", case.name, begun.elapsed()));
        }
        run
    };
    let deviation = |problem: &str| {
        Err(format!(
            "{}: {problem}\n{}{}",
            case.name, run.stdout, run.stderr
        ))
    };
    let result = result(&run.stdout);
    let (check, fault, verdict) = case.expected;
    let expected = format!("{check} {fault}");
    let problems = of_verdict(&result, "problem");
    match verdict {
        "problem" if problems != [expected.as_str()] => return deviation("a different problem"),
        "warning" if !problems.is_empty() => return deviation("a problem"),
        "warning" if !of_verdict(&result, "warning").contains(&expected) => {
            return deviation("the warning is missing");
        }
        _ => {}
    }
    let code = if verdict == "problem" { 5 } else { 0 };
    if run.code != Some(code) {
        return deviation("a different exit code");
    }
    for check in result["checks"].as_array().unwrap() {
        let is_fixed = check["fix"].as_str().is_some_and(|fix| !fix.is_empty());
        if check["fault"].is_string() != is_fixed || check["fix"] != check["cure"] {
            return deviation("a fault without a fix, or a fix that differs from its alias");
        }
    }
    if !case.rules.is_empty() && registry.played() == 0 {
        return deviation("no fault was played");
    }
    if fault == "no-delete" {
        let text = result["checks"].as_array().unwrap().last().unwrap()["text"].to_string();
        let tags = registry.tags();
        let is_unnamed = |(repository, _): &(String, String)| !text.contains(repository);
        let is_counted = text.contains(&format!(
            "did not delete {} tags of the probe in ",
            tags.len()
        ));
        if !is_counted || tags.iter().any(is_unnamed) {
            return deviation("the remaining tags are not named");
        }
    } else if !registry.is_empty() {
        return deviation("the registry is not empty");
    }
    Ok(())
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, expected| Case {
        name,
        quirks: limited(),
        rules: Vec::new(),
        transport: Transport::Plain,
        expected,
    };
    let ruled = |name, kinds: &[Kind], fault, expected| Case {
        rules: vec![always(kinds, fault)],
        ..case(name, expected)
    };
    let quirky = |name, quirks, expected| Case {
        quirks,
        ..case(name, expected)
    };
    let over_tls = |name, transport, expected| Case {
        transport,
        ..case(name, expected)
    };
    let answer = |status, code| Fault::Answer { status, code };
    let closed = || quirks!(..limited(); token_life: Some(u32::MAX));
    vec![
        Case {
            rules: vec![Rule {
                deeper_than: 4,
                ..always(WRITES, answer(404, "NAME_UNKNOWN"))
            }],
            ..case("deep path refused", ("path", "deep-path", "problem"))
        },
        quirky(
            "anonymous pull refused",
            closed(),
            ("pull", "not-anonymous", "problem"),
        ),
        over_tls(
            "wrong CA",
            Transport::OtherCa,
            ("certificate", "other-authority", "problem"),
        ),
        over_tls(
            "expired",
            Transport::Expired,
            ("certificate", "expired", "problem"),
        ),
        over_tls(
            "wrong name",
            Transport::OtherName,
            ("certificate", "wrong-name", "problem"),
        ),
        over_tls(
            "413 over a size",
            Transport::Tls,
            ("body-limit", "body-limit", "warning"),
        ),
        Case {
            quirks: Quirks::default(),
            ..ruled(
                "no chunks",
                &[Kind::SendPart],
                answer(405, "UNSUPPORTED"),
                ("chunks", "no-chunks", "warning"),
            )
        },
        ruled(
            "no chunks, and 413 over a size",
            &[Kind::SendPart],
            answer(405, "UNSUPPORTED"),
            ("body-limit", "body-limit", "problem"),
        ),
        quirky(
            "no mount",
            quirks!(..limited(); mounts: Mounts::Refused(405)),
            ("mount", "no-mount", "warning"),
        ),
        quirky(
            "a mount that opens an upload",
            quirks!(..limited(); mounts: Mounts::Ignored),
            ("mount", "no-mount", "warning"),
        ),
        ruled(
            "no delete",
            &[Kind::DeleteManifest, Kind::DeleteBlob],
            answer(405, "UNSUPPORTED"),
            ("delete", "no-delete", "warning"),
        ),
        quirky(
            "index refused",
            quirks!(..limited(); refuses: &["application/vnd.oci.image.index.v1+json"]),
            ("index", "manifest-refused", "problem"),
        ),
        quirky(
            "Helm media type refused",
            quirks!(..limited(); refuses: &["application/vnd.cncf.helm.config.v1+json"]),
            ("chart", "manifest-refused", "problem"),
        ),
        quirky(
            "other artifacts refused",
            quirks!(..limited(); refuses: &["application/vnd.airlock.probe.config.v1+json"]),
            ("artifact", "manifest-refused", "problem"),
        ),
        ruled(
            "read-only",
            WRITES,
            answer(405, "UNSUPPORTED"),
            ("path", "read-only", "problem"),
        ),
        ruled(
            "quota",
            &[Kind::EndUpload],
            Fault::Denied {
                status: 403,
                message: "adding 1 KiB of storage resource, which will exceed the configured upper limit of 1 KiB",
            },
            ("upload", "quota", "problem"),
        ),
        quirky(
            "slow",
            quirks!(..limited(); rate: Some(10_000)),
            ("body-limit", "slow", "warning"),
        ),
        over_tls(
            "HTTP only",
            Transport::PlainWithCa,
            ("certificate", "plain-http", "problem"),
        ),
        ruled(
            "redirect to another host",
            &[Kind::Ping],
            Fault::Redirect {
                location: "https://login.example.com/",
            },
            ("api", "redirected", "problem"),
        ),
        ruled(
            "login page",
            &[Kind::Ping],
            Fault::Page,
            ("api", "login-page", "problem"),
        ),
        ruled(
            "403 on HEAD",
            &[Kind::HeadManifest],
            answer(403, "DENIED"),
            ("head", "head-refused", "problem"),
        ),
        Case {
            quirks: closed(),
            ..ruled(
                "token service down",
                &[Kind::Token],
                answer(503, "UNAVAILABLE"),
                ("login", "token-service", "problem"),
            )
        },
        Case {
            quirks: closed(),
            ..ruled(
                "password refused",
                &[Kind::Token],
                answer(401, "UNAUTHORIZED"),
                ("login", "login-refused", "problem"),
            )
        },
        quirky(
            "clock off by an hour",
            quirks!(..limited(); clock_ahead: Some(3600)),
            ("clock", "clock-off", "problem"),
        ),
        ruled(
            "no project",
            WRITES,
            answer(404, "NAME_UNKNOWN"),
            ("path", "no-project", "problem"),
        ),
        ruled(
            "may not push",
            WRITES,
            answer(403, "DENIED"),
            ("path", "not-allowed", "problem"),
        ),
    ]
}

/// Returns a registry that limits the size of requests. Preflight searches for the limit, and a low
/// limit is found quickly.
fn limited() -> Quirks {
    quirks!(body_limit: Some(1 << 20))
}

/// Makes a workspace with a locked bundle and credentials.
pub(crate) fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new(AIRLOCK);
    let mut recipe = bundles::tiny();
    // Larger than the limit of the registries.
    let large = bundles::image("large", "1", &["linux/amd64"], &[("large", 1_500_000)]);
    recipe.artifacts.push(large);
    bundles::make_locked(&sandbox, &recipe);
    sandbox.install(FAKE_MKECTL, "mkectl");
    sandbox
        .variable("FAULTY_USERNAME", USER)
        .variable("FAULTY_PASSWORD", PASSWORD);
    sandbox
}

/// Writes an environment for a registry.
fn describe(sandbox: &Sandbox, name: &str, address: &str, ca_pem: Option<&str>) {
    let text = TestRegistry::description(
        address,
        ca_pem.is_some(),
        "  push-credentials: { env: FAULTY }\n",
    );
    if let Some(ca_pem) = ca_pem {
        sandbox.write(&format!("environments/{name}/registry-ca.pem"), ca_pem);
    }
    sandbox.write(&format!("environments/{name}/environment.yaml"), &text);
}

/// Returns the result, which is one of the lines of standard output.
fn result(stdout: &str) -> Value {
    let line = stdout.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{stdout}"));
    value["result"].clone()
}

/// Returns the checks of a verdict, each with its fault.
pub(crate) fn of_verdict(result: &Value, verdict: &str) -> Vec<String> {
    let checks = result["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["verdict"] == verdict)
        .map(|check| {
            let name = check["name"].as_str().unwrap_or_default();
            let fault = check["fault"].as_str().unwrap_or_default();
            format!("{name} {fault}").trim_end().to_owned()
        })
        .collect()
}

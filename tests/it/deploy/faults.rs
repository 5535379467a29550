//! Pushes to registries with faults. One rule holds for every fault, every profile of a registry
//! and every random combination of both: if a push reports an artifact as pushed, the registry has
//! all of it. Otherwise the error names what failed.
//!
//! The tests compare with the content of the registry, not with its responses.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use registry::{Artifact, Credentials, Endpoint, PushReport, Registry, Settings};
use secrecy::SecretString;
use support::bundles;
use support::faulty::{
    Fault, FaultyRegistry, Kind, Mounts, PASSWORD, Parts, Quirks, Rule, UPLOADS, USER, When,
    always, first, profiles, quirks,
};

use crate::deploy::push::{Content, root};

mod cases;

use cases::{Case, End, cases};

/// The number of pushes after which a profile must have every artifact. Each push continues where
/// the earlier ones stopped.
const MOST_PUSHES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_survived_or_named() {
    let content = &content();
    let cases = cases();
    let problems: Vec<String> = futures_util::stream::iter(&cases)
        .map(|case| async move { play(case, content).await.err() })
        .buffer_unordered(16)
        .filter_map(|problem| async { problem })
        .collect()
        .await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_profile_ends_complete_or_says_what_is_missing() {
    let content = &content();
    let profiles = profiles();
    let runs = profiles
        .iter()
        .flat_map(|profile| (1..=3).map(move |seed| (profile, seed)));
    let problems: Vec<String> = futures_util::stream::iter(runs)
        .map(|(profile, seed)| async move {
            let quirks = Quirks {
                // A registry that accepts manifests without their blobs shows which blobs a push
                // left out. Most registries refuse such manifests.
                checks_manifests: seed > 1,
                ..profile.quirks.clone()
            };
            let registry = FaultyRegistry::start(quirks, &profile.rules, seed).await;
            let name = format!("{} (seed {seed})", profile.name);
            let mut complete = false;
            for _ in 0..MOST_PUSHES {
                let report = push(&registry, content, settings()).await;
                if let Err(problem) = judge(&registry, content, &report) {
                    return Some(format!("{name}: {problem}"));
                }
                complete = report.artifacts.iter().all(Result::is_ok);
                if complete {
                    break;
                }
            }
            // A permanent refusal fails every push.
            let refuses = profile.rules.iter().any(|rule| rule.deeper_than > 0);
            (complete == refuses).then(|| format!("{name}: complete is {complete}"))
        })
        .buffer_unordered(16)
        .filter_map(|problem| async { problem })
        .collect()
        .await;
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_manifest_makes_a_push_read_blobs_that_are_reported_present() {
    let content = &content();
    for unchecked in [false, true] {
        let quirks = quirks!(remembers_lost_blobs: true, checks_manifests: !unchecked);
        let registry = FaultyRegistry::start(quirks, &[], 1).await;
        let report = push(&registry, content, settings()).await;
        judge(&registry, content, &report).unwrap();
        let failed = report.artifacts.iter().find(|outcome| outcome.is_err());
        assert!(failed.is_none(), "{failed:?}");
        // A push reads a blob before it sends it again, and sends it again at most once.
        let most = registry.completions().into_values().max();
        assert_eq!(most, Some(2));
        assert!(registry.count_of(Kind::GetBlob) > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_sessions_that_a_push_abandons_are_closed() {
    let content = &content();
    let quirks = quirks!(keeps_cut_sessions: true);
    for fault in [
        Fault::Reset { after: 1_000 },
        Fault::Answer {
            status: 502,
            code: "UNKNOWN",
        },
        Fault::Answer {
            status: 400,
            code: "DIGEST_INVALID",
        },
    ] {
        let rules = [first(1, UPLOADS, fault)];
        let registry = FaultyRegistry::start(quirks.clone(), &rules, 1).await;
        let report = push(&registry, content, settings()).await;
        judge(&registry, content, &report).unwrap();
        let failed = report.artifacts.iter().find(|outcome| outcome.is_err());
        assert!(failed.is_none(), "{fault:?}: {failed:?}");
        assert_eq!(registry.open_sessions(), 0, "{fault:?}");
    }
}

// The blob is sent whole, then in parts of 900 and 256 KiB.
#[tokio::test(flavor = "multi_thread")]
async fn upload_sessions_of_requests_that_were_too_large_are_closed() {
    let content = &content();
    for (body_limit, is_complete) in [(1_000_000, true), (600_000, true), (100_000, false)] {
        let quirks = quirks!(keeps_cut_sessions: true, body_limit: Some(body_limit));
        let registry = FaultyRegistry::start(quirks, &[], 1).await;
        let report = push(&registry, content, settings()).await;
        judge(&registry, content, &report).unwrap();
        let all = report.artifacts.iter().all(Result::is_ok);
        assert_eq!(all, is_complete, "{body_limit}: {:?}", report.artifacts);
        assert!(registry.too_large() > 0, "{body_limit}");
        assert_eq!(registry.open_sessions(), 0, "{body_limit}");
    }
}

#[test]
fn with_random_faults_only_existing_artifacts_are_reported() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let content = content();
    let config = Config {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    // A fixed seed: every run draws the same faults.
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let drawn = (quirks(), prop::collection::vec(rule(), 1..5), any::<u64>());
    let outcome = runner.run(&drawn, |(quirks, rules, seed)| {
        runtime.block_on(async {
            let registry = FaultyRegistry::start(quirks.clone(), &rules, seed).await;
            let report = push(&registry, &content, settings()).await;
            judge(&registry, &content, &report).map_err(TestCaseError::fail)?;
            finishes(&registry, &content, &quirks)
                .await
                .map_err(TestCaseError::fail)
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Plays one case, and returns the first deviation from its expected end.
async fn play(case: &Case, content: &Content) -> Result<(), String> {
    let name = &case.name;
    let registry = FaultyRegistry::start(case.quirks.clone(), &case.rules, 1).await;
    let report = push(&registry, content, case.settings.clone()).await;
    let told = |problem: String| format!("{name}: {problem}");
    judge(&registry, content, &report).map_err(told)?;
    if !case.rules.is_empty() && registry.played() == 0 {
        return Err(told("the fault was never played".to_owned()));
    }
    let errors: Vec<String> = report
        .artifacts
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .map(ToString::to_string)
        .collect();
    match case.end {
        End::Complete if !errors.is_empty() => return Err(told(format!("{errors:#?}"))),
        End::Named(_) if errors.is_empty() => return Err(told("nothing failed".to_owned())),
        End::Named(text) => {
            // If either of two errors may come first, ` or ` separates their texts.
            let named = |error: &String| text.split(" or ").any(|text| error.contains(text));
            if !errors.iter().all(named) {
                return Err(told(format!("{text:?} is not in {errors:#?}")));
            }
        }
        End::Complete => {}
    }
    if let Some((kind, at_least)) = case.seen
        && registry.count_of(kind) < at_least
    {
        return Err(told(format!(
            "{kind:?} was requested {} times",
            registry.count_of(kind)
        )));
    }
    finishes(&registry, content, &case.quirks)
        .await
        .map_err(told)
}

/// Checks that the next push, without faults, pushes every artifact, unless the registry's limits
/// make that impossible.
async fn finishes(
    registry: &FaultyRegistry,
    content: &Content,
    quirks: &Quirks,
) -> Result<(), String> {
    // The largest blob exceeds every limit, so it has to be sent in parts.
    let takes_parts = matches!(quirks.parts, Parts::Taken | Parts::Created);
    let possible = quirks.body_limit.is_none() || takes_parts;
    registry.calm();
    let report = push(registry, content, settings()).await;
    judge(registry, content, &report)?;
    let failed = report
        .artifacts
        .iter()
        .find_map(|outcome| outcome.as_ref().err());
    match failed {
        Some(error) if possible => Err(format!("the next push fails: {error}")),
        None if !possible => Err("a blob above the limit was sent".to_owned()),
        _ => Ok(()),
    }
}

/// Compares what a push reports with what the registry holds.
fn judge(registry: &FaultyRegistry, content: &Content, report: &PushReport) -> Result<(), String> {
    let artifacts = content.artifacts();
    let mut ended = None;
    for (artifact, outcome) in artifacts.iter().zip(&report.artifacts) {
        let name = artifact.name();
        let wanted = root(artifact).digest.to_string();
        let found = registry.tag(&artifact.repository, &artifact.tag);
        match (outcome, &found) {
            (Ok(_), Some(found)) if *found == wanted => {}
            (Ok(_), found) => return Err(format!("{name} is reported, and is {found:?}")),
            // A push may fail because only the response was lost.
            (Err(_), Some(found)) if *found != wanted => return Err(format!("{name} is {found}")),
            _ => {}
        }
        if let Err(error) = outcome {
            let text = error.to_string();
            let is_about = |other: &&Artifact| text.contains(&other.repository);
            // If a push ends early, the remaining artifacts share the error that ended it. That
            // error names another artifact that failed.
            let mut is_end = || {
                let mut failed = (artifacts.iter().zip(&report.artifacts))
                    .filter(|(_, outcome)| outcome.is_err())
                    .map(|(artifact, _)| artifact);
                Arc::ptr_eq(ended.get_or_insert(error), error) && failed.any(|one| is_about(&one))
            };
            if !is_about(&artifact) && !is_end() {
                return Err(format!("{name}: {text:?} does not name its artifact"));
            }
        }
        if found.is_none() {
            continue;
        }
        for manifest in &artifact.manifests {
            let digest = &manifest.digest;
            let expected = (
                manifest.media_type.to_string(),
                content.bytes(digest).into(),
            );
            let held = registry.manifest(&artifact.repository, digest.as_ref());
            if held != Some(expected) {
                return Err(format!("{name} is tagged without {digest}"));
            }
            for blob in &manifest.blobs {
                let held = registry.blob(&artifact.repository, blob.digest.as_ref());
                if held != Some(content.bytes(&blob.digest).into()) {
                    return Err(format!("{name} is tagged without {}", blob.digest));
                }
            }
        }
    }
    let known = |tag: &(String, String)| {
        artifacts
            .iter()
            .any(|artifact| (&artifact.repository, &artifact.tag) == (&tag.0, &tag.1))
    };
    match registry.tags().into_iter().find(|tag| !known(tag)) {
        Some((repository, tag)) => {
            Err(format!("{repository}:{tag} is not an artifact of the push"))
        }
        None => Ok(()),
    }
}

/// Returns an image for two platforms, an image with a blob above every limit, an image with a deep
/// repository name, an image and a chart. The images share a layer.
fn content() -> Content {
    let base = ("base", 40_000);
    let mut recipe = bundles::tiny();
    recipe.artifacts[0] = bundles::image(
        "calico/node",
        "v3.30.2",
        &["linux/amd64", "linux/arm64"],
        &[base, ("node", 200_000)],
    );
    recipe.artifacts[1] = bundles::image("pause", "3.10", &["linux/amd64"], &[base, ("p", 700)]);
    recipe.artifacts.extend([
        bundles::image(
            "calico/cni",
            "v3.30.2",
            &["linux/amd64"],
            &[base, ("large", 1_500_000)],
        ),
        bundles::image(
            "k0rdent/deep/down",
            "v1",
            &["linux/amd64"],
            &[base, ("deep", 90_000)],
        ),
    ]);
    Content::of(&recipe)
}

/// Returns settings with short pauses and timeouts, and with a resume threshold that a test can
/// reach.
fn settings() -> Settings {
    Settings {
        attempts: 4,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        longest_wait: Duration::from_secs(2),
        answer_timeout: Duration::from_millis(1500),
        stall_timeout: Duration::from_millis(1500),
        finish_timeout: Duration::from_millis(3000),
        resume_from: 64 * 1024,
        ..Settings::default()
    }
}

/// Pushes everything with a new client, which has no recorded state of earlier pushes.
async fn push(registry: &FaultyRegistry, content: &Content, settings: Settings) -> PushReport {
    let endpoint = Endpoint::new(&registry.address, None).unwrap();
    let credentials = Credentials::Basic {
        username: USER.to_owned(),
        password: SecretString::from(PASSWORD),
    };
    let client = Registry::with_settings(endpoint, credentials, settings).unwrap();
    client
        .push_all(&content.artifacts(), &content.store, &())
        .await
}

/// Draws the quirks of a registry.
fn quirks() -> impl Strategy<Value = Quirks> {
    let mounts = prop_oneof![
        Just(Mounts::Granted),
        Just(Mounts::Ignored),
        Just(Mounts::Refused(403)),
        Just(Mounts::Refused(404)),
    ];
    let parts = prop_oneof![
        Just(Parts::Taken),
        Just(Parts::Created),
        Just(Parts::OneOnly),
        Just(Parts::LastOnly),
    ];
    let flags = any::<(bool, bool)>();
    let limit = prop::option::of(prop_oneof![Just(1 << 20), Just(300_000)]);
    let life = prop::option::of(3_u32..30);
    let unknown = prop_oneof![Just(404), Just(403)];
    (mounts, parts, flags, limit, life, unknown).prop_map(
        |(mounts, parts, (keeps, checks), body_limit, token_life, unknown)| Quirks {
            mounts,
            parts,
            keeps_cut_sessions: keeps,
            // A registry that accepts manifests without their blobs shows which blobs a push left
            // out.
            checks_manifests: checks,
            body_limit,
            token_life,
            unknown,
            ..Quirks::default()
        },
    )
}

/// Draws a fault and the requests that it affects.
fn rule() -> impl Strategy<Value = Rule> {
    let kinds = prop::sample::subsequence(
        vec![
            Kind::HeadManifest,
            Kind::PutManifest,
            Kind::HeadBlob,
            Kind::OpenUpload,
            Kind::Mount,
            Kind::SendPart,
            Kind::EndUpload,
            Kind::AskUpload,
        ],
        1..4,
    );
    let fault = prop_oneof![
        prop::sample::select(vec![400, 401, 403, 404, 408, 413, 416, 500, 502, 503]).prop_map(
            |status| Fault::Answer {
                status,
                code: "UNKNOWN",
            }
        ),
        Just(Fault::TooManyRequests { retry_after: None }),
        Just(Fault::TooManyRequests {
            retry_after: Some(0)
        }),
        (0_u64..100_000).prop_map(|after| Fault::Reset { after }),
        Just(Fault::LoseAnswer),
        Just(Fault::LoseSession),
        Just(Fault::WrongDigest),
        Just(Fault::NoDigest),
        Just(Fault::NoLocation),
        (-3_i64..=3).prop_map(|by| Fault::RangeOff { by }),
    ];
    let when = prop_oneof![
        Just(When::Always),
        (1_u32..4).prop_map(When::First),
        (2_u32..5).prop_map(When::Each),
        (0.05..0.5).prop_map(When::Chance),
    ];
    (kinds, fault, when).prop_map(|(kinds, fault, when)| Rule::new(&kinds, fault, when))
}

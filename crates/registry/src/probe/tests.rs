//! Tests of the probe that need a registry with a second host. The command's own tests cover the
//! rest.

use std::io::Read as _;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;

use super::*;
use crate::fake::{Blobs, Fake, index};
use crate::{Artifact, BlobSource as _};

const TAG: &str = "0123456789abcdef";

#[tokio::test]
async fn the_host_that_serves_blobs_is_reported_even_if_it_fails() {
    let storage = Fake::start(|_| "a blob".into_response()).await;
    let gone = crate::fake::free_address().await;
    for (host, verdict) in [
        (storage.address.to_string(), Verdict::Warning),
        (gone, Verdict::Problem),
    ] {
        let location = format!("http://{host}/bucket/1");
        let fake = Fake::over_registry(move |seen| {
            let there = [("location", location.clone())];
            let answer = || (StatusCode::TEMPORARY_REDIRECT, there).into_response();
            (seen.is("GET", "/blobs/sha256:")).then(answer)
        })
        .await;
        let found = tried(&fake).await;
        let storage = of(&found, Aspect::Storage);
        assert_eq!(storage.verdict, verdict, "{storage:?}");
        assert_eq!(storage.fault, Some(Fault::ServedElsewhere));
        assert!(storage.text.contains(&host), "{storage:?}");
        // Charts are pulled with a CA that is not that host's.
        let found = tried_beside(&fake, Pull::Anonymously, true).await;
        let storage = of(&found, Aspect::Storage);
        assert_eq!(storage.verdict, Verdict::Problem, "{storage:?}");
        let fault = match verdict {
            Verdict::Warning => Fault::RedirectedWithCa,
            _ => Fault::ServedElsewhere,
        };
        assert_eq!(storage.fault, Some(fault));
    }
}

#[tokio::test]
async fn a_registry_that_serves_its_blobs_itself_is_reported() {
    let fake = Fake::over_registry(|_| None).await;
    let found = tried(&fake).await;
    assert_eq!(of(&found, Aspect::Storage).verdict, Verdict::Ok);
    assert_eq!(of(&found, Aspect::Pull).verdict, Verdict::Ok, "{found:?}");
}

#[tokio::test]
async fn pulls_use_the_credentials_of_the_nodes_secret() {
    for (lets_in, fault) in [("puller", None), ("nobody", Some(Fault::PullRefused))] {
        let fake = Fake::over_registry(move |seen| {
            if !seen.is("GET", "/manifests/") {
                return None;
            }
            let given = seen.sent("authorization").unwrap_or_default();
            let may = ["pusher", lets_in].map(|user| format!("Basic {}", encoded(user)));
            let challenge = [("www-authenticate", "Basic realm=\"probe\"")];
            let answer = || (StatusCode::UNAUTHORIZED, challenge).into_response();
            (!may.contains(&given.to_owned())).then(answer)
        })
        .await;
        let found = tried_with(&fake, Pull::WithSecret(Some(basic("puller")))).await;
        assert_eq!(of(&found, Aspect::Pull).fault, fault, "{found:?}");
        // Without its credentials the push credentials are used.
        let found = tried_with(&fake, Pull::WithSecret(None)).await;
        let pull = of(&found, Aspect::Pull);
        assert!(
            pull.fault.is_none() && pull.text.contains("not known here"),
            "{pull:?}"
        );
    }
}

fn encoded(user: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:secret"))
}

fn basic(user: &str) -> Credentials {
    Credentials::Basic {
        username: user.to_owned(),
        password: secrecy::SecretString::from("secret"),
    }
}

async fn tried(fake: &Fake) -> Vec<Finding> {
    tried_with(fake, Pull::Anonymously).await
}

async fn tried_with(fake: &Fake, pull: Pull) -> Vec<Finding> {
    tried_beside(fake, pull, false).await
}

async fn tried_beside(fake: &Fake, pull: Pull, has_ca_data: bool) -> Vec<Finding> {
    let blobs = Blobs::new();
    let sample = index(&blobs, "probe", TAG);
    let bytes = bytes_of(&blobs, &sample);
    let endpoint = fake.endpoint();
    let probe = Probe {
        endpoint: &endpoint,
        credentials: basic("pusher"),
        project: "mke",
        tag: TAG,
        index: &sample.manifests,
        chart: &[],
        artifact: &[],
        bytes: &bytes,
        largest_blob: None,
        most_in_a_request: 64 * 1024,
        pull,
        accounts: crate::Accounts::default(),
        has_ca_data,
        stop: Stop::default(),
        now: &|| 0,
    };
    super::probe(&probe).await.unwrap().findings
}

fn bytes_of(blobs: &Blobs, sample: &Artifact) -> HashMap<String, Bytes> {
    let manifests = sample.manifests.iter();
    let digests = manifests.flat_map(|manifest| {
        let blobs = manifest.blobs.iter().map(|blob| &blob.digest);
        blobs.chain([&manifest.digest])
    });
    let read = |digest| {
        let mut bytes = Vec::new();
        let mut file = blobs.open(digest).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        (digest.to_string(), Bytes::from(bytes))
    };
    digests.map(read).collect()
}

fn of(found: &[Finding], aspect: Aspect) -> &Finding {
    let mut found = found.iter();
    found.find(|finding| finding.aspect == aspect).unwrap()
}

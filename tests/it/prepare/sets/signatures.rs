//! Signatures and attestations of a set's images: by the tags of cosign, by the referrers API, and
//! by the tag that stands for it.

use std::collections::BTreeSet;

use support::upstream::index_of;
use support::{Lab, TestRegistry};

use super::*;
use crate::FAKE_MKECTL;

/// A lab whose set has one image, with a signature under a tag of cosign.
struct Signed {
    lab: Lab,
    upstream: Upstream,
    /// The digest of the image.
    image: String,
}

support::used_as!(Signed, lab: Lab);

impl Signed {
    async fn new() -> Self {
        let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
        let upstream = Upstream::start().await;
        let image = upstream.image("a/app", "1", &["linux/amd64"], 500, "1");
        upstream.tag("a/app", "1-slim", &image);
        let signature = upstream.signature("a/app", &image, "cosign");
        upstream.tag("a/app", &format!("{}.sig", tag(&image)), digest(&signature));
        lab.write_environment("sets: [platform]\n");
        let signed = Self {
            lab,
            upstream,
            image,
        };
        signed.write("signatures: true\n");
        signed
    }

    fn write(&self, more: &str) {
        let address = &self.upstream.address;
        self.lab.write(
            "bundles/platform.set.yaml",
            &format!("{more}images:\n- {address}/a/app:1\n- {{ reference: '{address}/a/app:1-slim', as: 'a/app:slim' }}\n"),
        );
    }

    fn lock(&self) -> Lock {
        Lock::read(&self.path("bundles/platform.lock.yaml")).unwrap()
    }

    /// Returns the tags of the lock, with the image's own digest as `D`.
    fn tags(&self) -> Vec<String> {
        let lock = self.lock();
        let tags = lock.artifacts.iter();
        tags.map(|one| one.tag.replace(&tag(&self.image), "D"))
            .collect()
    }

    /// Checks that a registry serves everything under the tags of the lock.
    async fn is_served(&self, registry: &TestRegistry) {
        let client = registry.client();
        for artifact in self.lock().artifacts {
            let found = client.get_manifest("mke/a/app", &artifact.tag).await;
            assert_eq!(found.unwrap().digest, artifact.digest);
            for manifest in &artifact.manifests {
                let asked = manifest.digest.as_ref();
                client.get_manifest("mke/a/app", asked).await.unwrap();
            }
        }
    }
}

/// Returns the tag that is derived from a digest.
fn tag(digest: &str) -> String {
    digest.replace(':', "-")
}

/// Returns the digest in a descriptor.
fn digest(descriptor: &str) -> &str {
    let at = descriptor.find("sha256:").unwrap();
    &descriptor[at..at + 71]
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_carried_on_request_and_move_only_on_request() {
    let signed = Signed::new().await;
    let (lab, upstream) = (&signed.lab, &signed.upstream);
    lab.run("lock platform").success();
    assert_eq!(signed.tags(), ["1", "D.sig", "slim"].map(str::to_owned));
    lab.run("deploy lab").success();
    signed.is_served(&lab.registry).await;
    lab.run("verify lab").success();
    let pruned = lab.run("prune lab").success();
    pruned.does_not_print("a/app");

    // A later attestation, under the tag that stands for the referrers API.
    let attestation = upstream.signature("a/app", &signed.image, "later");
    upstream.index("a/app", &tag(&signed.image), &[&attestation]);
    let before = lab.read("bundles/platform.lock.yaml");
    lab.run("lock platform").success();
    assert_eq!(lab.read("bundles/platform.lock.yaml"), before);
    lab.run("lock platform --update a/app:1").success();
    assert_eq!(
        signed.tags(),
        ["1", "D", "D.sig", "slim"].map(str::to_owned)
    );
    lab.run("deploy lab").success();
    signed.is_served(&lab.registry).await;
    // Nodes do not pull them.
    let printed = lab.run("images lab --as containerd").success();
    printed.does_not_print(".sig");

    // Without the request, the lock is of something else.
    signed.write("");
    let run = lab.run("fetch platform").exits_with(3);
    run.reports("was changed after it was locked");
    lab.run("lock platform").success();
    assert_eq!(signed.tags(), ["1", "slim"].map(str::to_owned));
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_in_other_repositories_have_the_signatures() {
    let signed = Signed::new().await;
    let lab = &signed.lab;
    let address = &signed.upstream.address;
    let lock = |aliases: &str| {
        let image = format!("{{ reference: '{address}/a/app:1', aliases: {aliases} }}");
        let set = format!("signatures: true\nimages:\n- {image}\n");
        lab.write("bundles/platform.set.yaml", &set);
        lab.run("lock platform").success();
        let artifacts = signed.lock().artifacts;
        let references = artifacts.iter().map(bundle::Artifact::reference);
        references
            .map(|one| one.replace(&tag(&signed.image), "D"))
            .collect::<BTreeSet<_>>()
    };
    let places = "a/app:1 a/app:D.sig a/app:second b/other:2 b/other:D.sig";
    let expected = |places: &str| places.split(' ').map(str::to_owned).collect();
    assert_eq!(lock("['b/other:2', 'a/app:second']"), expected(places));
    let before = lab.read("bundles/platform.lock.yaml");
    lab.run("lock platform").success();
    assert_eq!(lab.read("bundles/platform.lock.yaml"), before);
    lab.run("fetch platform").success();
    lab.run("deploy lab").success();
    lab.run("verify lab --full").success();
    let client = lab.registry.client();
    for artifact in signed.lock().artifacts {
        let repository = format!("mke/{}", artifact.repository);
        let served = client.get_manifest(&repository, &artifact.tag).await;
        assert_eq!(served.unwrap().digest, artifact.digest);
    }
    // Without the alias, its signatures are gone as well.
    assert_eq!(lock("[]"), expected("a/app:1 a/app:D.sig"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_referrers_api_lists_is_an_index_with_the_same_bytes_each_time() {
    let signed = Signed::new().await;
    let (lab, upstream) = (&signed.lab, &signed.upstream);
    let [one, two, later] =
        ["one", "two", "later"].map(|seed| upstream.signature("a/app", &signed.image, seed));
    let path = format!("/v2/a/app/referrers/{}", signed.image);
    let listed = |all: &[&str]| {
        let (index, path) = (index_of(all), path.clone());
        upstream.instead(move |asked| {
            let is_api = asked.path.contains("/referrers/");
            is_api.then(|| match asked.path == path {
                true => index.clone().into_response(),
                false => index_of(&[]).into_response(),
            })
        });
    };
    listed(&[&one, &two]);
    lab.run("lock platform").success();
    assert_eq!(
        signed.tags(),
        ["1", "D", "D.sig", "slim"].map(str::to_owned)
    );
    let text = lab.read("bundles/platform.lock.yaml");
    let path = lab.path("bundles/platform.lock.yaml");
    std::fs::remove_file(&path).unwrap();
    listed(&[&two, &one]);
    lab.run("lock platform").success();
    assert_eq!(lab.read("bundles/platform.lock.yaml"), text);
    // The index is made again, of what was locked.
    listed(&[&later, &two, &one]);
    std::fs::remove_dir_all(lab.path("bundles/store")).unwrap();
    lab.run("fetch platform").success();
    let store = Store::open(&lab.path("bundles/store")).unwrap();
    for (digest, size) in signed.lock().artifacts.iter().flat_map(|one| one.blobs()) {
        store.verify_blob(digest, size).unwrap();
    }
    listed(&[&later, &two]);
    std::fs::remove_dir_all(lab.path("bundles/store")).unwrap();
    let run = lab.run("fetch platform").exits_with(4);
    run.reports("do not give the index that was locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referrers_api_with_pages_is_read_to_its_end() {
    let signed = Signed::new().await;
    let (lab, upstream) = (&signed.lab, &signed.upstream);
    let all = ["one", "two", "three"].map(|seed| upstream.signature("a/app", &signed.image, seed));
    let path = format!("/v2/a/app/referrers/{}", signed.image);
    let (pages, own) = (all.clone(), path.clone());
    upstream.instead(move |asked| {
        if asked.path != own {
            let is_api = asked.path.contains("/referrers/");
            return is_api.then(|| index_of(&[]).into_response());
        }
        let page = asked
            .query
            .strip_prefix("last=")
            .map_or(0, |last| last.parse().unwrap());
        let index = index_of(&[&pages[page]]);
        Some(match page + 1 < pages.len() {
            true => {
                let link = format!("<{own}?last={}>; rel=\"next\"", page + 1);
                ([("link", link)], index).into_response()
            }
            false => index.into_response(),
        })
    });
    lab.run("lock platform").success();
    let lock = signed.lock();
    let found = lock
        .artifacts
        .iter()
        .find(|one| one.tag == tag(&signed.image));
    let found: Vec<&str> = (found.unwrap().manifests.iter())
        .map(|one| one.digest.as_ref())
        .collect();
    for signature in &all {
        assert!(found.contains(&digest(signature)), "{found:?}");
    }
    let store = lab.path("bundles/store");
    std::fs::remove_dir_all(&store).unwrap();
    lab.run("fetch platform").success();

    // A page elsewhere is not asked for.
    let other = format!("http://{}{path}?last=1", Upstream::start().await.address);
    upstream.instead(move |asked| {
        let link = [("link", format!("<{other}>; rel=\"next\""))];
        let is_api = asked.path.contains("/referrers/");
        is_api.then(|| (link, index_of(&[])).into_response())
    });
    let run = lab.run("lock platform --replace").exits_with(5);
    let expected = "continues its referrers at a different place";
    run.reports(expected);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn distribution_serves_signatures_and_the_tag_for_referrers() {
    let signed = Signed::new().await;
    let (lab, upstream) = (&signed.lab, &signed.upstream);
    let registry = TestRegistry::plain().await;
    lab.edit_environment(&lab.registry.address, &registry.address);
    let attestation = upstream.signature("a/app", &signed.image, "attestation");
    upstream.index("a/app", &tag(&signed.image), &[&attestation]);
    lab.run("lock platform").success();
    lab.run("push lab").success();
    signed.is_served(&registry).await;

    // The registry can be an upstream itself, although it lacks the referrers API.
    let first = signed.lock();
    let set = lab.read("bundles/platform.set.yaml");
    let moved = set.replace(
        &format!("{}/a/app:1-slim", upstream.address),
        &format!("{}/mke/a/app:slim", registry.address),
    );
    let moved = moved.replace(
        &format!("- {}/a/app:1\n", upstream.address),
        &format!(
            "- {{ reference: '{}/mke/a/app:1', as: 'a/app' }}\n",
            registry.address
        ),
    );
    lab.write("bundles/platform.set.yaml", &moved);
    lab.run("lock platform").success();
    let digests = |lock: &Lock| -> Vec<_> {
        let all = lock.artifacts.iter();
        all.map(|one| (one.reference(), one.digest.clone()))
            .collect()
    };
    assert_eq!(digests(&signed.lock()), digests(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_whose_tag_is_that_of_its_signatures_is_named() {
    let signed = Signed::new().await;
    let (lab, upstream) = (&signed.lab, &signed.upstream);
    let attestation = upstream.signature("a/app", &signed.image, "attestation");
    upstream.index("a/app", &tag(&signed.image), &[&attestation]);
    let by_digest = format!("{}/a/app@{}", upstream.address, signed.image);
    let set = format!("images:\n- {{ reference: '{by_digest}', signatures: true }}\n");
    lab.write("bundles/platform.set.yaml", &set);
    let run = lab.run("lock platform").exits_with(4);
    run.reports("its tag is that of its signatures");
    let set = set.replace("signatures", "as: 'a/app:1', signatures");
    lab.write("bundles/platform.set.yaml", &set);
    lab.run("lock platform").success();
    assert_eq!(signed.tags(), ["1", "D", "D.sig"].map(str::to_owned));
}

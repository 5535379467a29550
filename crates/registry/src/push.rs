//! Many artifacts as one transfer, or one of them, and the proof at the end that they are there.
//!
//! Blobs first, then the manifests that refer to them, then the indexes that list those, the tag last: at no instant does
//! a registry serve something that is incomplete. Nothing here speaks HTTP.

use std::sync::Arc;

use oci_spec::image::Digest;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::body::read_whole;
use crate::drive::Drive;
use crate::manifest::LARGEST_MANIFEST;
use crate::{Artifact, Blob, BlobSource, Error, Event, Manifest, Observer, Place, Registry};

/// The proof that a registry holds an artifact, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What the tag points at, by the registry's own answer at the end of this push.
    pub digest: Digest,
    /// What the tag pointed at before, if that was something else.
    pub replaced: Option<Digest>,
    /// Blobs that were sent.
    pub uploaded: Tally,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted: Tally,
    /// Blobs that the repository held already; all of them if the tag was right from the start.
    pub present: Tally,
    /// How many manifests and indexes were sent.
    pub manifests: u64,
}

/// A number of blobs, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub blobs: u64,
    /// Their sizes' sum in bytes.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, size: u64) {
        self.blobs += 1;
        self.bytes += size;
    }
}

/// What came of a push of many artifacts.
#[derive(Debug)]
pub struct PushReport {
    /// What came of each artifact, in the order in which they were given. One reason may have stopped several of them.
    pub artifacts: Vec<Result<Pushed, Arc<Error>>>,
    /// Blobs that were sent, each repository's counted by itself.
    pub uploaded: Tally,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted: Tally,
    /// Blobs that their repositories held already.
    pub present: Tally,
    /// How many manifests and indexes were sent.
    pub manifests: u64,
    /// Whether it ended early because [`Stop`](crate::Stop) was requested. The artifacts that were not done then have [`Error::Stopped`].
    pub stopped: bool,
}

/// What becomes of the blobs of a push that begins before they are all there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// The source can open this blob or manifest now.
    Blob(Digest),
    /// Everything can be opened, and everything that was announced is right and complete: tags may be set.
    Whole,
}

impl Registry {
    /// Makes the registry hold an artifact: whatever is missing is sent, and the tag's own answer is the proof at the end.
    ///
    /// If the tag points at the artifact already, one request finds it out and nothing else is done. A tag that points at
    /// something else is moved, which [`Pushed::replaced`] tells. Pushes may run side by side; a blob that two of them want in one
    /// repository is sent once. When a push fails, or its future is dropped, the tag has not moved; the next push sends what is still missing.
    ///
    /// # Errors
    ///
    /// The first error after which the artifact cannot be completed. See [`Error`].
    pub async fn push(
        &self,
        artifact: &Artifact,
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<Pushed, Error> {
        let report = self
            .push_all(std::slice::from_ref(artifact), blobs, observer)
            .await;
        let outcome = report.artifacts.into_iter().next();
        match outcome {
            Some(Ok(pushed)) => Ok(pushed),
            Some(Err(error)) => Err(Arc::into_inner(error)
                .unwrap_or_else(|| unreachable!("a single artifact shares its error with nobody"))),
            None => unreachable!("each artifact is reported"),
        }
    }

    /// Makes the registry hold many artifacts, as one transfer.
    ///
    /// Each tag is asked for first; what points at its artifact is done. Of the others, each blob is sent once to the registry and
    /// mounted from there into the other repositories that need it. The largest are sent first, with room kept for small ones.
    /// An artifact is tagged as soon as everything that it refers to is there. One that fails stops no other one, and its
    /// tag has not moved; but a registry that cannot be reached, or refuses the credentials, stops them all.
    ///
    /// Once [`Settings::stop`](crate::Settings) is requested, nothing new is begun. Small uploads and manifests that are under way are finished,
    /// a large upload ends where it is, and the session that it leaves is remembered for the next run.
    pub async fn push_all(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> PushReport {
        Drive::new(self, artifacts, blobs, None, observer)
            .run()
            .await
    }

    /// Makes the registry hold many artifacts like [`Registry::push_all`], while their blobs are still arriving.
    ///
    /// Tags are asked for at once; what is right already needs no arrival. A blob is sent when it has arrived, the largest first
    /// of those that are there. Manifests, and with them tags, are put only after [`Arrival::Whole`], so that nothing can
    /// be pulled of what may still turn out to be wrong. What arrives twice, or is needed by nobody, changes nothing.
    ///
    /// If `arrivals` closes before [`Arrival::Whole`], the push ends at once, and every artifact that is not done has [`Error::SourceEnded`].
    /// After a [`Stop`](crate::Stop) it ends as calmly as without.
    pub async fn push_as_they_come(
        &self,
        artifacts: &[Artifact],
        blobs: &dyn BlobSource,
        arrivals: UnboundedReceiver<Arrival>,
        observer: &dyn Observer,
    ) -> PushReport {
        Drive::new(self, artifacts, blobs, Some(arrivals), observer)
            .run()
            .await
    }

    /// Says that a repository of this registry is believed to hold a blob, so that a push asks to mount it from there before it sends it.
    ///
    /// It need not be true, and the account need not be allowed to read there: after a few refusals nobody asks any more.
    pub fn offer(&self, repository: &str, digest: &Digest) {
        self.inner.known.offer(repository, digest);
    }

    /// Puts the manifests of an artifact whose blobs are there, the tag last, and asks for the tag.
    pub(crate) async fn finish(
        &self,
        artifact: &Artifact,
        blobs: &dyn BlobSource,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let Artifact {
            repository,
            tag,
            manifests,
        } = artifact;
        let root = artifact.root()?;
        for manifest in manifests {
            let is_root = manifest.digest == root.digest;
            let reference = if is_root {
                tag.as_str()
            } else {
                manifest.digest.as_ref()
            };
            let bytes = read_manifest(blobs, manifest)?;
            self.put_manifest(repository, reference, manifest, bytes, observer)
                .await?;
            observer.event(Event::ManifestPut {
                repository,
                digest: &manifest.digest,
                size: manifest.size,
            });
        }
        self.confirm(repository, tag, &root.digest, observer)
            .await?;
        observer.event(Event::Tagged {
            repository,
            tag,
            digest: &root.digest,
        });
        Ok(())
    }

    /// Asks the registry what the tag points at now.
    async fn confirm(
        &self,
        repository: &str,
        tag: &str,
        digest: &Digest,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let found = self.tag_digest(repository, tag, observer).await?;
        if found.as_ref() == Some(digest) {
            return Ok(());
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        let url = self.endpoint().url(&path);
        Err(Error::DigestMismatch {
            at: Box::new(Place::new("HEAD", &url, repository)),
            expected: digest.clone(),
            found: found.map_or_else(|| "nothing".to_owned(), |found| found.to_string()),
        })
    }
}

pub(crate) fn read_manifest(
    source: &dyn BlobSource,
    manifest: &Manifest,
) -> Result<bytes::Bytes, Error> {
    let blob = Blob {
        digest: manifest.digest.clone(),
        size: manifest.size,
    };
    read_whole(source, &blob, LARGEST_MANIFEST as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::http::StatusCode;
    use axum::response::IntoResponse;

    use super::*;
    use crate::fake::{Blobs, Fake, hasty, image, index};
    use crate::{Credentials, Settings};

    const REPOSITORY: &str = "mke/calico/node";

    /// Remembers how many uploads there were, and how many at once.
    #[derive(Default)]
    struct Uploads {
        now: AtomicUsize,
        most: AtomicUsize,
        done: AtomicUsize,
        already: AtomicBool,
    }

    impl Observer for Uploads {
        fn event(&self, event: Event<'_>) {
            match event {
                Event::BlobStarted { .. } => {
                    let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                    self.most.fetch_max(now, Ordering::SeqCst);
                }
                Event::BlobUploaded { .. } => {
                    self.now.fetch_sub(1, Ordering::SeqCst);
                    self.done.fetch_add(1, Ordering::SeqCst);
                }
                Event::ArtifactPresent { .. } => self.already.store(true, Ordering::SeqCst),
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn an_index_arrives_whole_in_order_and_untouched() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let artifact = index(&blobs, REPOSITORY, "v1");
        let registry = fake.registry();
        let pushed = registry.push(&artifact, &blobs, &()).await.unwrap();

        // Two configurations are one blob here, and the first layer is shared.
        let sizes: Vec<u64> = artifact.blobs_by_size().iter().map(|b| b.size).collect();
        assert_eq!(pushed.uploaded.blobs, 4);
        assert_eq!(pushed.uploaded.bytes, sizes.iter().sum::<u64>());
        assert_eq!((pushed.present, pushed.mounted), Default::default());
        assert_eq!((pushed.manifests, pushed.replaced), (3, None));
        assert_eq!(pushed.digest, artifact.manifests[2].digest);

        let puts: Vec<String> = fake
            .requests()
            .into_iter()
            .filter_map(|request| request.strip_prefix("PUT ").map(str::to_owned))
            .collect();
        let manifest = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
        assert!(puts[..4].iter().all(|put| put.contains("/blobs/uploads/")));
        assert_eq!(puts[4], manifest(artifact.manifests[0].digest.as_ref()));
        assert_eq!(puts[5], manifest(artifact.manifests[1].digest.as_ref()));
        assert_eq!(puts[6], manifest("v1"));
        assert_eq!(puts.len(), 7);
        assert_eq!(
            fake.requests().last().unwrap(),
            &format!("HEAD {}", manifest("v1"))
        );

        for wanted in &artifact.manifests {
            let digest = wanted.digest.as_ref();
            let fetched = registry.get_manifest(REPOSITORY, digest).await.unwrap();
            assert_eq!(fetched.digest, wanted.digest);
            assert_eq!(fetched.media_type.as_ref(), Some(&wanted.media_type));
        }
    }

    #[tokio::test]
    async fn a_push_of_what_is_there_costs_one_request() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let artifact = index(&blobs, REPOSITORY, "v1");
        fake.registry().push(&artifact, &blobs, &()).await.unwrap();
        let before = fake.requests().len();

        let seen = Uploads::default();
        let pushed = fake
            .registry()
            .push(&artifact, &blobs, &seen)
            .await
            .unwrap();
        assert_eq!(fake.requests().len() - before, 1);
        assert_eq!(pushed.uploaded, Tally::default());
        assert_eq!(pushed.present.blobs, 4);
        assert_eq!(pushed.manifests, 0);
        assert!(seen.already.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn blobs_that_are_there_are_not_sent_again() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let first = image(&blobs, REPOSITORY, "v1", &[b"base", b"one"]);
        let second = image(&blobs, REPOSITORY, "v2", &[b"base", b"two"]);
        let registry = fake.registry();
        registry.push(&first, &blobs, &()).await.unwrap();
        let heads = fake.count("HEAD", "/blobs/");
        let pushed = registry.push(&second, &blobs, &()).await.unwrap();
        // The configuration and the base layer are known from the first push, without a request.
        assert_eq!((pushed.present.blobs, pushed.uploaded.blobs), (2, 1));
        assert_eq!(fake.count("HEAD", "/blobs/") - heads, 1);
        assert_eq!(fake.count("PUT", "/blobs/uploads/"), 4);

        let third = image(&blobs, REPOSITORY, "v3", &[b"base", b"two"]);
        let pushed = fake.registry().push(&third, &blobs, &()).await.unwrap();
        assert_eq!((pushed.present.blobs, pushed.uploaded.blobs), (3, 0));
        assert_eq!(fake.count("PUT", "/blobs/uploads/"), 4);
    }

    #[tokio::test]
    async fn a_tag_that_moves_is_told() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let first = image(&blobs, REPOSITORY, "v1", &[b"one"]);
        let second = image(&blobs, REPOSITORY, "v1", &[b"two"]);
        let registry = fake.registry();
        registry.push(&first, &blobs, &()).await.unwrap();
        let pushed = registry.push(&second, &blobs, &()).await.unwrap();
        assert_eq!(pushed.replaced, Some(first.manifests[0].digest.clone()));
        let found = registry.head_manifest(REPOSITORY, "v1").await.unwrap();
        assert_eq!(
            found.unwrap().digest,
            Some(second.manifests[0].digest.clone())
        );
    }

    #[tokio::test]
    async fn pushes_side_by_side_send_each_blob_once_and_keep_to_the_limit() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let settings = Settings {
            uploads_at_once: 2,
            ..hasty()
        };
        let registry =
            Registry::with_settings(fake.endpoint(), Credentials::Anonymous, settings).unwrap();
        let seen = Uploads::default();
        let artifacts: Vec<Artifact> = (0..6)
            .map(|number| {
                let own = format!("layer {number}");
                let tag = format!("v{number}");
                image(&blobs, REPOSITORY, &tag, &[b"shared", own.as_bytes()])
            })
            .collect();
        let pushes = artifacts
            .iter()
            .map(|artifact| registry.push(artifact, &blobs, &seen));
        let pushed = futures_util::future::try_join_all(pushes).await.unwrap();
        // One configuration, one shared layer, one layer of each.
        assert_eq!(fake.count("PUT", "/blobs/uploads/"), 8);
        assert_eq!(pushed.iter().map(|p| p.uploaded.blobs).sum::<u64>(), 8);
        assert_eq!(pushed.iter().map(|p| p.present.blobs).sum::<u64>(), 10);
        assert_eq!(seen.most.load(Ordering::SeqCst), 2);
        assert_eq!(seen.done.load(Ordering::SeqCst), 8);
    }

    #[tokio::test]
    async fn a_push_that_fails_leaves_the_tag_alone() {
        let broken = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&broken);
        let fake = Fake::over_registry(move |seen| {
            (cut.load(Ordering::SeqCst) && seen.is("PUT", "/blobs/uploads/"))
                .then(|| StatusCode::BAD_REQUEST.into_response())
        })
        .await;
        let blobs = Blobs::new();
        let first = image(&blobs, REPOSITORY, "v1", &[b"one"]);
        let second = image(&blobs, REPOSITORY, "v1", &[b"two"]);
        let registry = fake.registry();
        registry.push(&first, &blobs, &()).await.unwrap();
        broken.store(true, Ordering::SeqCst);
        let error = registry.push(&second, &blobs, &()).await.unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
        assert_eq!(fake.count("PUT", "/manifests/"), 1);
        broken.store(false, Ordering::SeqCst);
        let pushed = registry.push(&second, &blobs, &()).await.unwrap();
        assert_eq!(pushed.replaced, Some(first.manifests[0].digest.clone()));
    }

    #[tokio::test]
    async fn success_needs_the_tags_own_answer() {
        let put = AtomicBool::new(false);
        let fake = Fake::over_registry(move |seen| {
            if seen.is("PUT", "/manifests/v1") {
                put.store(true, Ordering::SeqCst);
            }
            (put.load(Ordering::SeqCst) && seen.is("HEAD", "/manifests/v1")).then(|| {
                let other = format!("sha256:{}", "0".repeat(64));
                [("docker-content-digest", other)].into_response()
            })
        })
        .await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"one"]);
        let error = fake
            .registry()
            .push(&artifact, &blobs, &())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
        assert!(error.to_string().contains(&"0".repeat(64)), "{error}");
    }

    #[tokio::test]
    async fn forbidden_questions_do_not_stop_a_push_that_is_allowed() {
        let put = AtomicBool::new(false);
        let fake = Fake::over_registry(move |seen| {
            if seen.is("PUT", "/manifests/") {
                put.store(true, Ordering::SeqCst);
            }
            (!put.load(Ordering::SeqCst) && seen.method == "HEAD")
                .then(|| StatusCode::FORBIDDEN.into_response())
        })
        .await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"one"]);
        let pushed = fake.registry().push(&artifact, &blobs, &()).await.unwrap();
        assert_eq!(pushed.uploaded.blobs, 2);
    }

    #[tokio::test]
    async fn what_is_not_its_digest_never_arrives() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[&[1; 2_000_000]]);
        let layer = artifact.manifests[0].blobs[1].digest.clone();
        blobs.put_as(&layer, &[2; 2_000_000]);
        let error = fake
            .registry()
            .push(&artifact, &blobs, &())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::SourceContent { .. }), "{error:?}");
        assert_eq!(blobs.opened(&layer), 1);

        let manifest = artifact.manifests[0].clone();
        blobs.put_as(&layer, &[1; 2_000_000]);
        blobs.put_as(&manifest.digest, &vec![b' '; manifest.size as usize]);
        let error = fake
            .registry()
            .push(&artifact, &blobs, &())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::SourceContent { .. }), "{error:?}");
        assert_eq!(fake.count("PUT", "/manifests/"), 0);
    }

    #[tokio::test]
    async fn a_push_and_a_pull_can_be_given_to_other_tasks() {
        let fake = Fake::over_registry(|_| None).await;
        let registry = fake.registry();
        let pushed = tokio::spawn(async move {
            let blobs = Blobs::new();
            let artifact = index(&blobs, REPOSITORY, "v1");
            registry.push(&artifact, &blobs, &()).await.unwrap()
        });
        let digest = pushed.await.unwrap().digest;
        let node = crate::node::Node::new(fake.endpoint()).unwrap();
        let pulled = tokio::spawn(async move { node.pull(REPOSITORY, "v1").await.unwrap() });
        assert_eq!(pulled.await.unwrap().digest, digest);
    }

    #[tokio::test]
    async fn a_registry_that_is_shown_nonsense_is_not_asked() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        for (repository, tag) in [("a/../b", "v1"), (REPOSITORY, "../v1"), ("A", "v1")] {
            let artifact = image(&blobs, repository, tag, &[]);
            let result = fake.registry().push(&artifact, &blobs, &()).await;
            assert!(
                matches!(result, Err(Error::Name { .. })),
                "{repository}:{tag}"
            );
        }
        assert!(fake.requests().is_empty());
    }
}

//! The calls of a sink while a bundle is read, and the effects of its failures.

use super::*;

/// A sink that records all calls.
#[derive(Default)]
struct Recorder {
    offered: Vec<String>,
    kept: std::sync::Arc<Mutex<Vec<Vec<u8>>>>,
    artifacts: Vec<String>,
    finished: bool,
}

struct KeepingSink(std::sync::Arc<Mutex<Vec<Vec<u8>>>>, Vec<u8>);

impl Sink for Recorder {
    fn blob(&mut self, digest: &Digest, _: u64) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        self.offered.push(digest.to_string());
        Ok(Some(Box::new(KeepingSink(self.kept.clone(), Vec::new()))))
    }

    fn artifact(&mut self, artifact: &Artifact) -> Result<(), StoreError> {
        self.artifacts.push(artifact.reference());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.finished = true;
        Ok(())
    }
}

impl BlobSink for KeepingSink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.1.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.lock().unwrap().push(self.1);
        Ok(())
    }
}

#[test]
fn keeps_only_correct_blobs() {
    let bundle = changed_archive(|files| {
        let blob = files
            .iter_mut()
            .find(|file| file.path.starts_with("blobs/"))
            .unwrap();
        blob.bytes[0] ^= 1;
    });
    let mut recorder = Recorder::default();
    read(bundle.as_slice(), &mut recorder, None, &Silent).unwrap_err();
    assert_eq!(recorder.artifacts, ["calico/node:v1.0"]);
    assert!(!recorder.finished);
    let kept: HashSet<String> = (recorder.kept.lock().unwrap().iter())
        .map(|bytes| digest_of(bytes).to_string())
        .collect();
    let offered: HashSet<String> = recorder.offered.into_iter().collect();
    let dropped: Vec<&String> = offered.difference(&kept).collect();
    assert_eq!(dropped.len(), 1);
    assert!(kept.is_subset(&offered));
}

#[test]
fn with_a_lock_only_its_blobs_are_offered() {
    let stray = hex_of(b"stray");
    let bundle = changed_archive(|files| {
        files.push(file(&format!("blobs/sha256/{stray}"), "stray"));
    });
    let lock = lock(&bundle);
    let stray = format!("sha256:{stray}");
    let mut all = Recorder::default();
    read(bundle.as_slice(), &mut all, None, &Silent).unwrap();
    assert!(all.offered.contains(&stray));
    let mut locked = Recorder::default();
    read(bundle.as_slice(), &mut locked, Some(&lock), &Silent).unwrap();
    assert!(!locked.offered.contains(&stray));
    assert!(locked.finished);
}

#[test]
fn a_store_has_every_blob_of_a_bundle_that_was_read() {
    let bundle = make(&small_recipe());
    let lock = lock(&bundle);
    let folder = testing::Folder::new();
    let mut store = Store::open(&folder.join("store")).unwrap();
    assert_eq!(store.missing(&lock).len(), lock.blobs().len() + 1);
    read(bundle.as_slice(), &mut store, Some(&lock), &Silent).unwrap();
    assert_eq!(store.missing(&lock), []);
    for (digest, size) in lock.blobs() {
        let digest = crate::sha256_digest(&digest).unwrap();
        store.verify_blob(&digest, size).unwrap();
    }
    let listed: Vec<String> = store
        .listed()
        .unwrap()
        .into_iter()
        .map(|listed| listed.reference)
        .collect();
    assert_eq!(
        listed,
        ["calico/node:v1.0", "charts/dex:0.3.0", "pause:v1.0"]
    );
    // No temporary file remains, and no path of an archive was created.
    let strays: Vec<String> = folder
        .files()
        .into_iter()
        .filter(|path| !path.starts_with("store/blobs/sha256/"))
        .collect();
    assert_eq!(
        strays,
        [
            "store/incoming/lock",
            "store/index.json",
            "store/index.lock",
            "store/oci-layout"
        ]
    );
}

/// Returns an uncompressed bundle of `images` images with one layer of `size` bytes each.
fn layers(images: usize, size: usize) -> Vec<u8> {
    let mut recipe = small_recipe();
    let image = recipe.artifacts[1].clone();
    recipe.artifacts = (0..images)
        .map(|number| {
            let mut image = image.clone();
            image.repository = format!("image{number}");
            let ContentsRecipe::Image { layers, .. } = &mut image.contents else {
                panic!("not an image");
            };
            layers.truncate(1);
            layers[0].name = image.repository.clone();
            layers[0].size = size;
            image
        })
        .collect();
    make(&recipe)
}

#[test]
fn blobs_of_many_pieces_are_stored_completely() {
    let bundle = layers(3, 1_500_001);
    let lock = lock(&bundle);
    let folder = testing::Folder::new();
    let mut store = Store::open(&folder.join("store")).unwrap();
    read(bundle.as_slice(), &mut store, Some(&lock), &Silent).unwrap();
    for (digest, size) in lock.blobs() {
        let digest = crate::sha256_digest(&digest).unwrap();
        store.verify_blob(&digest, size).unwrap();
    }
}

/// Behaviour of a sink.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    FailsToWrite,
    FailsToCommit,
    Panics,
    /// Commits with a delay, like a store on a slow disk.
    IsSlow,
}

/// A sink that applies `manner` to blobs of more than 1000 bytes, but not to the first `after`
/// blobs.
struct Troubled {
    manner: Manner,
    after: usize,
    offered: usize,
    /// Whether a blob was offered again before it was committed.
    offered_twice: bool,
    in_flight: std::sync::Arc<Mutex<HashSet<Digest>>>,
    /// Number of committed blobs.
    committed: std::sync::Arc<Mutex<usize>>,
    /// Reported artifacts, with the number of blobs committed before.
    reported: Vec<(String, usize)>,
}

struct TroubledBlob {
    manner: Option<Manner>,
    digest: Digest,
    in_flight: std::sync::Arc<Mutex<HashSet<Digest>>>,
    committed: std::sync::Arc<Mutex<usize>>,
}

impl Troubled {
    fn new(manner: Manner, after: usize) -> Self {
        Self {
            manner,
            after,
            offered: 0,
            offered_twice: false,
            in_flight: std::sync::Arc::default(),
            committed: std::sync::Arc::default(),
            reported: Vec::new(),
        }
    }
}

impl Sink for Troubled {
    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        self.offered += 1;
        let is_troubled = size > 1000 && self.offered > self.after;
        let is_new = self.in_flight.lock().unwrap().insert(digest.clone());
        self.offered_twice |= !is_new;
        Ok(Some(Box::new(TroubledBlob {
            manner: is_troubled.then_some(self.manner),
            digest: digest.clone(),
            in_flight: self.in_flight.clone(),
            committed: self.committed.clone(),
        })))
    }

    fn artifact(&mut self, artifact: &Artifact) -> Result<(), StoreError> {
        let committed = *self.committed.lock().unwrap();
        self.reported.push((artifact.reference(), committed));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl TroubledBlob {
    fn fail(&self, manner: Manner) -> Result<(), StoreError> {
        if self.manner != Some(manner) {
            return Ok(());
        }
        Err(StoreError::Full {
            path: "store".into(),
            size: 0,
            source: io::ErrorKind::StorageFull.into(),
        })
    }
}

impl BlobSink for TroubledBlob {
    fn write(&mut self, _: &[u8]) -> Result<(), StoreError> {
        assert!(self.manner != Some(Manner::Panics), "a sink that panics");
        self.fail(Manner::FailsToWrite)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.fail(Manner::FailsToCommit)?;
        if self.manner == Some(Manner::IsSlow) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        self.in_flight.lock().unwrap().remove(&self.digest);
        *self.committed.lock().unwrap() += 1;
        Ok(())
    }
}

/// Counts the bytes read.
struct Counted<'a>(&'a [u8], &'a std::sync::atomic::AtomicUsize);

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1
            .fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        Ok(count)
    }
}

#[test]
fn a_failing_sink_stops_the_reading_and_the_error_names_the_archive() {
    // A failure is noticed after a bounded number of pieces. Each archive has its layer first, then
    // config and manifest.
    let bundle = layers(4, 12 << 20);
    for manner in [Manner::FailsToWrite, Manner::FailsToCommit] {
        let mut sink = Troubled::new(manner, 3);
        let taken = std::sync::atomic::AtomicUsize::new(0);
        let error = read(Counted(&bundle, &taken), &mut sink, None, &Silent).unwrap_err();
        assert_eq!(
            chain(&error),
            "cannot store what was read, in the archive `bundles/images/image1@v1.0.tar`: \
             no space left in `store` for a blob of 0 bytes: no storage space"
        );
        let reported: Vec<&str> = sink
            .reported
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(reported, ["image0:v1.0"]);
        let taken = taken.into_inner();
        assert!(
            taken < bundle.len() / 4 * 3 + (6 << 20),
            "{taken} bytes were read"
        );
    }
}

#[test]
fn an_artifact_is_reported_after_its_blobs_are_committed() {
    let mut sink = Troubled::new(Manner::IsSlow, 0);
    let bundle = layers(3, 5000);
    let contents = read(bundle.as_slice(), &mut sink, None, &Silent).unwrap();
    let mut least = 0;
    let names: Vec<String> = (sink.reported.iter().zip(&contents.artifacts))
        .map(|((name, committed), artifact)| {
            // Layer, config and manifest.
            least += 1 + artifact.manifests[0].blobs.len();
            assert!(*committed >= least, "{committed} of {least}");
            name.clone()
        })
        .collect();
    assert_eq!(names, ["image0:v1.0", "image1:v1.0", "image2:v1.0"]);
}

#[test]
fn an_uncommitted_blob_is_not_offered_again() {
    // All images have the same layer, and its commit is slow.
    let mut recipe = small_recipe();
    let image = recipe.artifacts[1].clone();
    recipe.artifacts = ["one", "two", "three"]
        .map(|name| {
            let mut image = image.clone();
            image.repository = name.to_owned();
            let ContentsRecipe::Image { layers, .. } = &mut image.contents else {
                panic!("not an image");
            };
            layers[0].size = 5000;
            image
        })
        .into();
    let bundle = make(&recipe);
    let mut sink = Troubled::new(Manner::IsSlow, 0);
    read(bundle.as_slice(), &mut sink, None, &Silent).unwrap();
    assert!(!sink.offered_twice);
}

#[test]
#[should_panic(expected = "a scoped thread panicked")]
fn a_panicking_sink_blocks_no_thread() {
    let bundle = layers(4, 3 << 20);
    let mut sink = Troubled::new(Manner::Panics, 3);
    let _ = read(bundle.as_slice(), &mut sink, None, &Silent);
}

#[test]
fn the_first_error_is_reported_although_the_walk_is_ahead() {
    // The last blob of the first archive is corrupt, and the tar is cut directly after it.
    let mut files = untar(&gunzip(&make(&small_recipe())));
    files.truncate(2);
    let mut inner = untar(&files[1].bytes);
    let blob = inner
        .iter()
        .position(|file| file.path.starts_with("blobs/"))
        .unwrap();
    let mut blob = inner.remove(blob);
    blob.bytes[0] ^= 1;
    inner.push(blob);
    files[1].bytes = tar(&inner);
    let mut whole = tar(&files);
    // Each tar ends with two blocks.
    whole.truncate(whole.len() - 4 * 512);
    let text = chain(&inspect(&gzip(&whole)).unwrap_err());
    assert!(
        text.contains("is corrupt: its content has digest"),
        "{text}"
    );
}

/// A sink whose first blob waits until `enough` blobs were offered, so until a later archive is
/// read.
struct Waiting {
    offered: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    enough: usize,
}

impl Sink for Waiting {
    fn blob(&mut self, _: &Digest, _: u64) -> Result<Option<Box<dyn BlobSink>>, StoreError> {
        use std::sync::atomic::Ordering;
        let number = self.offered.fetch_add(1, Ordering::SeqCst);
        Ok((number == 0).then(|| -> Box<dyn BlobSink> {
            Box::new(Self {
                offered: self.offered.clone(),
                enough: self.enough,
            })
        }))
    }

    fn artifact(&mut self, _: &Artifact) -> Result<(), StoreError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl BlobSink for Waiting {
    fn write(&mut self, _: &[u8]) -> Result<(), StoreError> {
        let began = std::time::Instant::now();
        while self.offered.load(std::sync::atomic::Ordering::SeqCst) < self.enough {
            assert!(
                began.elapsed().as_secs() < 30,
                "the end of an archive waits for its blobs"
            );
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn the_end_of_an_archive_does_not_wait_for_its_blobs() {
    // Each archive has a layer, a config and a manifest.
    let bundle = layers(5, 500);
    let offered = std::sync::Arc::default();
    let mut sink = Waiting { offered, enough: 7 };
    read(bundle.as_slice(), &mut sink, None, &Silent).unwrap();
}

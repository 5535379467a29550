//! Limits of reading: its memory must not grow with the bundle, and its time must not be that of an
//! unoptimised hash.
//!
//! This is a separate test program, because its allocator counts the memory of the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bundle::make::{self, ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};
use bundle::{Inspection, Silent, Store};
use camino::Utf8Path;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

/// The system's allocator, with a counter of the memory in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed unchanged to the system's allocator. In addition, only two atomic
// numbers change.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by the test that measures.
static MEASURED: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    MEASURED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Size of the only layer in bytes: far more than the memory that reading may use.
const LAYER: usize = 96 << 20;

#[test]
fn reading_takes_little_memory_and_time() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let path = folder.join("bundle.tar.gz");
    let recipe = Recipe {
        directory: "bundles".to_owned(),
        level: 0,
        matrix: None,
        artifacts: vec![ArtifactRecipe {
            repository: "large".to_owned(),
            tag: "v1".to_owned(),
            contents: ContentsRecipe::Image {
                platforms: vec!["linux/amd64".to_owned()],
                layers: vec![LayerRecipe {
                    name: "large".to_owned(),
                    size: LAYER,
                    same_on_every_platform: true,
                }],
            },
        }],
    };
    let mut output = BufWriter::new(File::create(&path).unwrap());
    make::write(&recipe, &mut output).unwrap();
    output.flush().unwrap();
    drop(output);

    let mut store = Store::open(&folder.join("store")).unwrap();
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    bundle::read(File::open(&path).unwrap(), &mut store, None, &Silent).unwrap();
    let elapsed = start.elapsed();
    let taken = PEAK.load(Ordering::Relaxed) - before;

    // A dozen buffers of 256 KiB that circulate between the threads, and the data of the artifacts.
    assert!(taken < 4 << 20, "reading took {taken} bytes");
    // Hashing twice and inflating takes a third of a second; without optimisation of these crates
    // it takes over ten.
    assert!(elapsed < Duration::from_secs(8), "reading took {elapsed:?}");
}

/// Appends a file to a tar.
fn append(tar: &mut Builder<impl Write>, path: &str, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
        .expect("memory takes every file");
}

#[test]
fn documents_with_long_strings_take_little_memory() {
    let _alone = alone();
    let word = "a".repeat(3 << 20);
    let digest = format!("sha256:{}", "0".repeat(64));
    let config = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
    let mut archive = Builder::new(Vec::new());
    for number in 0..6 {
        for document in [
            // A platform, two types, a descriptor, and strings that the parser's errors would
            // quote.
            format!(r#"{{"os":"linux","architecture":"{word}{number}"}}"#),
            format!(
                r#"{{"schemaVersion":2,"artifactType":"{word}{number}","config":{config},"layers":[]}}"#
            ),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{word}{number}","config":{config},"layers":[]}}"#
            ),
            format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{word}{number}","digest":"{digest}","size":1}}]}}"#
            ),
            format!(r#"{{"schemaVersion":2,"config":"{word}{number}","layers":[]}}"#),
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{word}{number}","size":1}},"layers":[]}}"#
            ),
        ] {
            let hex = hex::encode(Sha256::digest(&document));
            let path = format!("blobs/sha256/{hex}");
            append(&mut archive, &path, document.as_bytes());
        }
    }
    let archive = archive.into_inner().unwrap();
    let mut bundle = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    append(&mut bundle, "bundles/images/pause@v1.tar", &archive);
    drop(archive);
    let bundle = bundle.into_inner().unwrap().finish().unwrap();

    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let read = bundle::read(bundle.as_slice(), &mut Inspection, None, &Silent);
    let taken = PEAK.load(Ordering::Relaxed) - before;
    assert!(read.is_err(), "it is no whole archive");
    // The largest document, and the parser's copies of it. The bundle has a hundred megabytes.
    assert!(taken < 32 << 20, "reading took {taken} bytes");
}

//! Bundles for tests in the vendor's format, intact and damaged, and their locks.

use std::io::{Read as _, Write as _};

use bundle::make::{ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe, demo, write};
use bundle::{Lock, Silent, Store};
use camino::Utf8Path;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use semver::Version;
use sha2::{Digest as _, Sha256};

use crate::Sandbox;

/// The bundle's file name for v4.1.5.
pub const FILE: &str = "mke_bundle_v4.1.5_amd64.tar.gz";

/// The lock of v4.1.5 in a workspace.
pub const LOCK: &str = "bundles/v4.1.5-amd64.lock.yaml";

/// Returns the recipe of a small bundle with each kind of content: images of one and of several
/// platforms that share layers, nested names, charts, a release matrix.
pub fn small() -> Recipe {
    demo(&Version::new(4, 1, 5))
}

/// Returns the recipe of a bundle of a few kilobytes: an image for two platforms and one for a
/// single platform that share a layer, and a chart.
pub fn tiny() -> Recipe {
    Recipe {
        matrix: Some("[]\n".to_owned()),
        ..of(vec![
            image(
                "calico/node",
                "v3.30.2",
                &["linux/amd64", "linux/arm64"],
                &[("base", 900), ("node", 1_500)],
            ),
            pause("3.10"),
            dex(),
        ])
    }
}

/// Returns the recipe of an image for a single platform, whose first layer [`tiny`] shares with
/// another image.
pub fn pause(tag: &str) -> ArtifactRecipe {
    let layers = [("base", 900), ("pause", 700)];
    image("pause", tag, &["linux/amd64"], &layers)
}

/// Returns the recipe of a chart.
pub fn dex() -> ArtifactRecipe {
    ArtifactRecipe {
        repository: "charts/dex".to_owned(),
        tag: "0.23.0".to_owned(),
        contents: ContentsRecipe::Chart {
            name: "dex".to_owned(),
            version: "0.23.0".to_owned(),
            description: "OpenID Connect".to_owned(),
        },
    }
}

/// Returns the recipe of a bundle of these artifacts, uncompressed and without a matrix.
pub fn of(artifacts: Vec<ArtifactRecipe>) -> Recipe {
    Recipe {
        directory: "bundles".to_owned(),
        level: 0,
        matrix: None,
        artifacts,
    }
}

/// Returns the recipe of an image with these layers, each with its name and size. The first layer
/// is the same on every platform.
pub fn image(
    repository: &str,
    tag: &str,
    platforms: &[&str],
    layers: &[(&str, usize)],
) -> ArtifactRecipe {
    ArtifactRecipe {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        contents: ContentsRecipe::Image {
            platforms: platforms.iter().map(|&name| name.to_owned()).collect(),
            layers: layers
                .iter()
                .enumerate()
                .map(|(place, (name, size))| LayerRecipe {
                    name: (*name).to_owned(),
                    size: *size,
                    same_on_every_platform: place == 0,
                })
                .collect(),
        },
    }
}

/// Writes a bundle to `path`.
pub fn make(recipe: &Recipe, path: &Utf8Path) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = std::fs::File::create(path).expect("a file");
    write(recipe, &mut file).expect("a bundle");
}

/// Returns the bytes of a bundle.
pub fn bytes(recipe: &Recipe) -> Vec<u8> {
    let mut bundle = Vec::new();
    write(recipe, &mut bundle).expect("a bundle");
    bundle
}

/// Reads a bundle into a store in `folder`, and returns both lock and store.
pub fn ingest(recipe: &Recipe, folder: &Utf8Path) -> (Lock, Store) {
    let mut store = Store::open(folder).expect("a store");
    let contents =
        bundle::read(bytes(recipe).as_slice(), &mut store, None, &Silent).expect("a bundle");
    let url = format!("https://packages.example.com/{FILE}");
    let lock = Lock::from_contents(
        &Version::new(4, 1, 5),
        "amd64",
        FILE,
        &url,
        Vec::new(),
        contents,
    );
    (lock, store)
}

/// Writes a bundle to a workspace and locks it; the store stays empty.
pub fn make_locked(sandbox: &Sandbox, recipe: &Recipe) {
    put_locked(sandbox, &bytes(recipe));
}

/// Writes the bytes of a bundle to a workspace and locks it; the store stays empty.
pub fn put_locked(sandbox: &Sandbox, bundle: &[u8]) {
    let file = sandbox.path(&format!("bundles/{FILE}"));
    std::fs::write(&file, bundle).expect("a file");
    sandbox
        .run(&format!("lock v4.1.5 --bundle {file}"))
        .success();
    forget_store(sandbox);
}

/// Locks a bundle that `fetch` has to download from `url`: neither file nor store has it.
pub fn lock_at(sandbox: &Sandbox, bundle: &[u8], url: &str) {
    put_locked(sandbox, bundle);
    std::fs::remove_file(sandbox.path(&format!("bundles/{FILE}"))).expect("the bundle");
    let mut lock = lock_of(sandbox);
    lock.bundle.url = url.to_owned();
    lock.mkectl.clear();
    sandbox.write(LOCK, &lock.to_yaml());
}

/// Locks a release whose bundle is made from a recipe, and reads the bundle into the store.
pub fn lock_release(sandbox: &Sandbox, release: &str, recipe: &Recipe) {
    let bundle = sandbox.path("bundles/b.tar.gz");
    make(recipe, &bundle);
    let file = bundle.as_str();
    sandbox
        .run(&["lock", release, "--force-release", "--bundle", file])
        .success();
}

/// Locks the archive of a release's mkectl with this content, and writes the archive to the
/// workspace.
pub fn lock_mkectl(sandbox: &Sandbox, release: &str, program: &[u8]) {
    let archive = pack(&[Member::new("mkectl", program)]);
    let folder = sandbox.path(&format!("bundles/mkectl/{release}/linux-x86_64"));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("mkectl.tar.gz"), &archive).expect("a file");
    let path = format!("bundles/{release}-amd64.lock.yaml");
    let mut lock = Lock::read(&sandbox.path(&path)).expect("a lock");
    lock.mkectl.retain(|one| one.platform == "linux-x86_64");
    for locked in &mut lock.mkectl {
        locked.sha256 = sha256(&archive);
    }
    sandbox.write(&path, &lock.to_yaml());
}

/// Removes the downloads of mkectl from the lock, so `fetch` sends no request to the vendor.
pub fn forget_mkectl(sandbox: &Sandbox) {
    let mut lock = lock_of(sandbox);
    lock.mkectl.clear();
    sandbox.write(LOCK, &lock.to_yaml());
}

/// Reads the lock of v4.1.5 in a workspace.
pub fn lock_of(sandbox: &Sandbox) -> Lock {
    Lock::read(&sandbox.path(LOCK)).expect("a lock")
}

/// Removes a workspace's store.
pub fn forget_store(sandbox: &Sandbox) {
    match std::fs::remove_dir_all(sandbox.path("bundles/store")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("the store: {error}"),
        _ => {}
    }
}

/// A file in a tar.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its path.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Member {
    /// Returns a file.
    pub fn new(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.to_owned(),
            bytes: bytes.into(),
        }
    }
}

/// Returns the files of a tar in their order.
pub fn untar(tar: &[u8]) -> Vec<Member> {
    tar::Archive::new(tar)
        .entries()
        .expect("a tar")
        .map(|entry| {
            let mut entry = entry.expect("a tar");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a tar");
            let path = String::from_utf8(entry.path_bytes().into_owned()).expect("a path in UTF-8");
            Member { path, bytes }
        })
        .collect()
}

/// Returns a tar of these files.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(member.bytes.len() as u64);
        builder
            .append_data(&mut header, &member.path, member.bytes.as_slice())
            .expect("a tar");
    }
    builder.into_inner().expect("a tar")
}

/// Returns the files of a bundle in their order.
pub fn unpack(bundle: &[u8]) -> Vec<Member> {
    let mut tar = Vec::new();
    MultiGzDecoder::new(bundle)
        .read_to_end(&mut tar)
        .expect("gzip");
    untar(&tar)
}

/// Returns a bundle of these files without compression, so a test finds their bytes in it.
pub fn pack(members: &[Member]) -> Vec<u8> {
    gzip(&tar(members))
}

/// Returns `bytes` as gzip, without compression.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

/// Returns the SHA-256 of bytes in hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

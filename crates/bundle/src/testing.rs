//! Shared by the tests of several modules: small bundles, and helpers to take them apart and change
//! them.

use std::error::Error;
use std::io::{Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, EntryType, Header};

pub(crate) mod server;

use crate::make::{self, ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};
use crate::{Inspection, Lock, LockedMkectl, Silent};

/// A member of a tar.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) kind: EntryType,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn file(path: &str, bytes: impl Into<Vec<u8>>) -> File {
    File {
        path: path.to_owned(),
        kind: EntryType::Regular,
        bytes: bytes.into(),
    }
}

/// Returns a recipe of two images with a layer in common, one of them for two platforms; a chart;
/// and a matrix.
pub(crate) fn small_recipe() -> Recipe {
    let layer = |name: &str, same| LayerRecipe {
        name: name.to_owned(),
        size: 700,
        same_on_every_platform: same,
    };
    let image = |repository: &str, platforms: &[&str], own: &str| ArtifactRecipe {
        repository: repository.to_owned(),
        tag: "v1.0".to_owned(),
        contents: ContentsRecipe::Image {
            platforms: platforms.iter().map(|&name| name.to_owned()).collect(),
            layers: vec![layer("base", true), layer(own, false)],
        },
    };
    Recipe {
        directory: "bundles".to_owned(),
        level: 0,
        matrix: Some("[]\n".to_owned()),
        artifacts: vec![
            image("calico/node", &["linux/amd64", "linux/arm64/v8"], "node"),
            image("pause", &["linux/amd64"], "pause"),
            ArtifactRecipe {
                repository: "charts/dex".to_owned(),
                tag: "0.3.0".to_owned(),
                contents: ContentsRecipe::Chart {
                    name: "dex".to_owned(),
                    version: "0.3.0".to_owned(),
                    description: "OpenID Connect".to_owned(),
                },
            },
        ],
    }
}

pub(crate) fn make(recipe: &Recipe) -> Vec<u8> {
    let mut bundle = Vec::new();
    make::write(recipe, &mut bundle).unwrap();
    bundle
}

/// Returns the lock of a complete bundle.
pub(crate) fn lock(bundle: &[u8]) -> Lock {
    let contents = crate::read(bundle, &mut Inspection, None, &Silent).unwrap();
    let mkectl = LockedMkectl {
        trusted_on_first_use: false,
        platform: "linux-x86_64".to_owned(),
        url: "https://downloads.example.com/mkectl_linux_x86_64.tar.gz".to_owned(),
        sha256: "ab".repeat(32),
    };
    Lock::from_contents(
        &semver::Version::new(4, 1, 5),
        "amd64",
        "mke_bundle_v4.1.5_amd64.tar.gz",
        "https://packages.example.com/caas/mke_bundle_v4.1.5_amd64.tar.gz",
        vec![mkectl],
        contents,
    )
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

pub(crate) fn untar(bytes: &[u8]) -> Vec<File> {
    let mut archive = Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            File {
                path: String::from_utf8(entry.path_bytes().to_vec()).unwrap(),
                kind: entry.header().entry_type(),
                bytes,
            }
        })
        .collect()
}

pub(crate) fn tar(files: &[File]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for file in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(file.kind);
        header.set_mode(0o644);
        header.set_size(file.bytes.len() as u64);
        builder
            .append_data(&mut header, &file.path, file.bytes.as_slice())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

/// Returns an error and its causes in one line, as operators see it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A folder that is removed at the end of the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).unwrap()
    }

    pub(crate) fn join(&self, name: &str) -> Utf8PathBuf {
        self.path().join(name)
    }

    /// Returns the paths of all files below the folder, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir_utf8().unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path().to_owned());
                } else {
                    let path = entry.path().strip_prefix(self.path()).unwrap();
                    found.push(path.to_string());
                }
            }
        }
        found.sort();
        found
    }
}

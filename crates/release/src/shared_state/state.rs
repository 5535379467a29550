//! The state itself, and the artifact that carries it: a manifest with one blob.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use oci_spec::image::{Digest, ImageManifest, MediaType};
use serde::{Deserialize, Serialize};

use crate::sha256;

/// The media type of the state, and the type of the artifact that carries it.
const MEDIA_TYPE: &str = "application/vnd.airlock.state.v1+json";

/// The largest state that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// What the artifact holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// Whether the deploy ended.
    pub phase: Phase,
    /// A random name of the deploy, which its receipt repeats.
    pub run: String,
    /// The release that it deploys, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock's file.
    pub lock: String,
    /// SHA-256 of the last receipt; none before the first one and after a reset.
    pub receipt: Option<String>,
    /// When this was written, in UTC.
    pub time: String,
}

/// How far a deploy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// mkectl is about to run, or runs.
    Began,
    /// The receipt is written.
    Ended,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Began => "began",
            Self::Ended => "ended",
        })
    }
}

/// What is wrong with a shared state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// Its manifest or its blob cannot be parsed, in the words of the parser.
    #[error("{0}")]
    Unreadable(String),
    /// It is an artifact of another kind.
    #[error("its media type is `{}`, not `{MEDIA_TYPE}`", .0.escape_debug())]
    MediaType(String),
    /// It is larger than a state can be.
    #[error("it is too large")]
    TooLarge,
    /// The registry has its manifest alone.
    #[error("its blob is missing")]
    BlobMissing,
    /// The value of this key is wrong.
    #[error("`{0}` is not valid")]
    Key(&'static str),
}

/// A state as it is sent: a manifest with one blob.
pub(super) struct Written {
    pub(super) manifest: registry::Manifest,
    manifest_bytes: Vec<u8>,
    blob_bytes: Vec<u8>,
}

impl Written {
    pub(super) fn of(state: &State) -> io::Result<Self> {
        let blob_bytes = serde_json::to_vec(state)?;
        let blob = digest_of(&blob_bytes)?;
        let descriptor = serde_json::json!({
            "mediaType": MEDIA_TYPE,
            "digest": blob.as_ref(),
            "size": blob_bytes.len(),
        });
        // The configuration as well as the layer, since some registries refuse a manifest without
        // one of them.
        let manifest_bytes = serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest.as_ref(),
            "artifactType": MEDIA_TYPE,
            "config": descriptor,
            "layers": [descriptor],
        }))?;
        Ok(Self {
            manifest: registry::Manifest {
                digest: digest_of(&manifest_bytes)?,
                media_type: MediaType::ImageManifest,
                size: manifest_bytes.len() as u64,
                blobs: vec![registry::Blob {
                    digest: blob,
                    size: blob_bytes.len() as u64,
                }],
            },
            manifest_bytes,
            blob_bytes,
        })
    }

    pub(super) fn blob(&self) -> registry::Blob {
        self.manifest.blobs[0].clone()
    }
}

impl registry::BlobSource for Written {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        let bytes = match *digest == self.manifest.digest {
            true => &self.manifest_bytes,
            false => &self.blob_bytes,
        };
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    }
}

fn digest_of(bytes: &[u8]) -> io::Result<Digest> {
    let digest = format!("sha256:{}", sha256(bytes));
    digest.parse().map_err(io::Error::other)
}

/// Returns the blob of a manifest that carries a state, and its size in bytes.
pub(super) fn state_blob(manifest: &[u8]) -> Result<(Digest, u64), StateFault> {
    let manifest = ImageManifest::from_reader(manifest)
        .map_err(|error| StateFault::Unreadable(error.to_string()))?;
    let config = manifest.config();
    match config.media_type().as_ref() {
        MEDIA_TYPE if config.size() > LARGEST => Err(StateFault::TooLarge),
        MEDIA_TYPE => Ok((config.digest().clone(), config.size())),
        other => Err(StateFault::MediaType(other.to_owned())),
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<State, StateFault> {
    let state: State =
        serde_json::from_slice(bytes).map_err(|error| StateFault::Unreadable(error.to_string()))?;
    let is_hash = |text: &String| {
        text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let release = state.release.strip_prefix('v').map(semver::Version::parse);
    let wrong = [
        ("release", matches!(release, Some(Ok(_)))),
        ("run", is_hash(&state.run)),
        ("lock", is_hash(&state.lock)),
        ("receipt", state.receipt.as_ref().is_none_or(is_hash)),
        ("time", state.time.parse::<jiff::Timestamp>().is_ok()),
    ];
    match wrong.iter().find(|(_, is_right)| !is_right) {
        Some((key, _)) => Err(StateFault::Key(key)),
        None => Ok(state),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::shared_state) fn state(phase: Phase, run: char) -> State {
        State {
            phase,
            run: run.to_string().repeat(64),
            release: "v4.2.0".to_owned(),
            lock: "1".repeat(64),
            receipt: Some("2".repeat(64)),
            time: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    #[test]
    fn what_is_sent_is_read_back_and_names_no_operator() {
        let sent = state(Phase::Ended, 'a');
        let written = Written::of(&sent).unwrap();
        assert_eq!(
            state_blob(&written.manifest_bytes),
            Ok((written.blob().digest, written.blob().size))
        );
        assert_eq!(parse(&written.blob_bytes), Ok(sent));
        let keys: serde_json::Value = serde_json::from_slice(&written.blob_bytes).unwrap();
        let keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["lock", "phase", "receipt", "release", "run", "time"]);
    }

    #[test]
    fn what_others_put_there_is_not_believed() {
        let right = serde_json::to_value(state(Phase::Ended, 'a')).unwrap();
        for (key, value) in [
            ("release", "4.2.0"),
            ("release", "v4\u{1b}[31m"),
            ("run", "A"),
            ("lock", ""),
            ("receipt", "x"),
            ("time", "yesterday"),
            ("phase", "lost"),
            ("operator", "me"),
        ] {
            let mut wrong = right.clone();
            wrong[key] = value.into();
            assert!(
                parse(wrong.to_string().as_bytes()).is_err(),
                "{key} {value}"
            );
        }
        assert!(state_blob(b"{}").is_err());
    }
}

//! The shared state as JSON, and its artifact: a manifest with one blob.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use oci_spec::image::{Digest, ImageManifest, MediaType};
use serde::{Deserialize, Serialize};

use crate::sha256;

/// Media type of the blob, and artifact type of the manifest.
const MEDIA_TYPE: &str = "application/vnd.airlock.state.v1+json";

/// Maximum size of a state in bytes. Larger ones are not read.
const LARGEST: u64 = 64 << 10;

/// The shared state of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// Whether the deploy ended.
    pub phase: Phase,
    /// Random name of the deploy, 64 hexadecimal digits. Its receipt has the same name.
    pub run: String,
    /// The release of the deploy, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock's file.
    pub lock: String,
    /// SHA-256 of the receipt's file; `None` before the first deploy and after a reset.
    pub receipt: Option<String>,
    /// Time when the state was written, in UTC.
    pub time: String,
}

/// The phase of a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// mkectl starts or runs.
    Began,
    /// The receipt was written.
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

/// A fault of a shared state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// The manifest or the blob cannot be parsed: message of the parser.
    #[error("{0}")]
    Unreadable(String),
    /// The artifact has this media type instead.
    #[error("its media type is `{}`, not `{MEDIA_TYPE}`", .0.escape_debug())]
    MediaType(String),
    /// The blob is larger than 64 KiB.
    #[error("it is too large")]
    TooLarge,
    /// The registry has the manifest, but not the blob.
    #[error("its blob is missing")]
    BlobMissing,
    /// The value of this key is wrong.
    #[error("`{0}` is not valid")]
    Key(&'static str),
}

/// The artifact of a state: a manifest with one blob.
pub(super) struct StateArtifact {
    pub(super) manifest: registry::Manifest,
    manifest_bytes: Vec<u8>,
    blob_bytes: Vec<u8>,
}

impl StateArtifact {
    pub(super) fn of(state: &State) -> io::Result<Self> {
        let blob_bytes = serde_json::to_vec(state)?;
        let blob = digest_of(&blob_bytes)?;
        let descriptor = serde_json::json!({
            "mediaType": MEDIA_TYPE,
            "digest": blob.as_ref(),
            "size": blob_bytes.len(),
        });
        // The blob is both configuration and layer: some registries refuse a manifest without one
        // of them.
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

impl registry::BlobSource for StateArtifact {
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

/// Returns the digest and the size in bytes of the blob, from the manifest of a state.
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
    fn a_sent_state_is_read_back_and_names_no_operator() {
        let sent = state(Phase::Ended, 'a');
        let written = StateArtifact::of(&sent).unwrap();
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
    fn an_invalid_state_is_refused() {
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

//! The content of the registry by repository, and the history of its uploads.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use sha2::Digest as _;

use super::fault::{Faults, Kind};
use super::target::Target;
use super::{Mounts, Parts, Quirks};

/// The number of first bytes of a session that are kept to identify the blob later.
const HEAD: usize = 4096;

/// An upload session, and its result.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// The repository of the session.
    pub repository: String,
    /// The number of received bytes, also of those that were discarded.
    pub received: u64,
    /// The digest of the blob, if the upload was completed.
    pub completed: Option<String>,
    head: Vec<u8>,
}

impl Transfer {
    /// Returns whether the received bytes are the beginning of this blob.
    pub fn is_of(&self, blob: &[u8]) -> bool {
        !self.head.is_empty() && blob.starts_with(&self.head)
    }
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) faults: Faults,
    pub(super) asked: BTreeMap<Kind, usize>,
    pub(super) received: u64,
    pub(super) too_large: usize,
    pub(super) refused_writes: usize,
    pub(super) wrong_passwords: usize,
    pub(super) transfers: Vec<Transfer>,
    pub(super) tokens: Tokens,
    blobs: BTreeMap<(String, String), usize>,
    bytes: BTreeMap<String, Bytes>,
    manifests: BTreeMap<(String, String), (String, Bytes)>,
    sessions: BTreeMap<String, Session>,
    /// The blobs of repositories whose bytes are lost: see [`Quirks::remembers_lost_blobs`].
    lost: BTreeSet<(String, String)>,
}

/// The valid tokens, with the number of requests for which each is still valid.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: u32,
    left: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Session {
    repository: String,
    held: Vec<u8>,
    /// Whether the session has received a part.
    begun: bool,
    transfer: usize,
}

impl Tokens {
    pub(super) fn issue(&mut self, life: u32) -> String {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.left.insert(token.clone(), life);
        token
    }

    /// Returns whether the token of a request is valid, and counts the request.
    pub(super) fn accept(&mut self, headers: &HeaderMap) -> bool {
        let shown = text(headers, "authorization");
        let token = shown.strip_prefix("Bearer ").unwrap_or_default();
        match self.left.get_mut(token) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

impl Content {
    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        let key = (repository.to_owned(), digest.to_owned());
        self.blobs.get(&key).filter(|_| !self.lost.contains(&key))?;
        self.bytes.get(digest).cloned()
    }

    pub(super) fn blobs(&self) -> BTreeSet<(String, String)> {
        self.blobs.keys().cloned().collect()
    }

    /// Returns the number of completed uploads for each blob of a repository.
    pub(super) fn completions(&self) -> &BTreeMap<(String, String), usize> {
        &self.blobs
    }

    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Bytes)> {
        let key = (repository.to_owned(), reference.to_owned());
        self.manifests.get(&key).cloned()
    }

    pub(super) fn tags(&self) -> Vec<(String, String)> {
        let keys = self.manifests.keys();
        keys.filter(|(_, reference)| !reference.contains(':'))
            .cloned()
            .collect()
    }

    /// Answers a request for a manifest.
    pub(super) fn read_manifest(
        &self,
        quirks: &Quirks,
        repository: &str,
        reference: &str,
    ) -> Response {
        match self.manifest(repository, reference) {
            None => refusal(quirks.unknown, "MANIFEST_UNKNOWN"),
            Some((media_type, bytes)) => {
                let headers = [
                    ("docker-content-digest", sha256(&bytes)),
                    ("content-type", media_type),
                ];
                (headers, bytes).into_response()
            }
        }
    }

    pub(super) fn put_manifest(
        &mut self,
        quirks: &Quirks,
        repository: &str,
        reference: &str,
        media_type: &str,
        bytes: &Bytes,
    ) -> Response {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else {
            return refusal(400, "MANIFEST_INVALID");
        };
        if quirks.requires_media_type && value["mediaType"].as_str() != Some(media_type) {
            return refusal(400, "MANIFEST_INVALID");
        }
        let config = value["config"]["mediaType"].as_str().unwrap_or_default();
        if quirks.refuses.contains(&media_type) || quirks.refuses.contains(&config) {
            return refusal(415, "MANIFEST_INVALID");
        }
        let digest_of = |part: &serde_json::Value| part["digest"].as_str().unwrap_or("").to_owned();
        let parts = |name: &str| value[name].as_array().cloned().unwrap_or_default();
        let key = |reference: String| (repository.to_owned(), reference);
        // distribution does not require a layer that has URLs.
        let is_here = |layer: &serde_json::Value| layer.get("urls").is_none();
        let blobs = parts("layers")
            .into_iter()
            .filter(is_here)
            .chain(value.get("config").cloned());
        let known = blobs
            .map(|part| digest_of(&part))
            .all(|digest| self.blobs.contains_key(&key(digest)))
            && parts("manifests")
                .iter()
                .map(digest_of)
                .all(|digest| self.manifests.contains_key(&key(digest)));
        if quirks.checks_manifests && !known {
            return refusal(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let holds_lost = parts("layers")
            .into_iter()
            .chain(value.get("config").cloned())
            .any(|part| self.lost.contains(&key(digest_of(&part))));
        if holds_lost {
            return refusal(400, "MANIFEST_INVALID");
        }
        let digest = sha256(bytes);
        if !quirks.redeploys && self.manifests.contains_key(&key(reference.to_owned())) {
            return refusal(400, "MANIFEST_INVALID");
        }
        for reference in [reference, &digest] {
            let entry = (media_type.to_owned(), bytes.clone());
            self.manifests.insert(key(reference.to_owned()), entry);
        }
        (status(quirks.taken.1), [("docker-content-digest", digest)]).into_response()
    }

    /// Removes a tag, or a manifest with all tags that point at it.
    pub(super) fn delete_manifest(&mut self, repository: &str, reference: &str) -> Response {
        let before = self.manifests.len();
        self.manifests.retain(|(holder, name), (_, bytes)| {
            holder != repository || (name != reference && sha256(bytes) != reference)
        });
        match self.manifests.len() < before {
            true => StatusCode::ACCEPTED.into_response(),
            false => refusal(404, "MANIFEST_UNKNOWN"),
        }
    }

    pub(super) fn delete_blob(&mut self, repository: &str, digest: &str) -> Response {
        let key = (repository.to_owned(), digest.to_owned());
        match self.blobs.remove(&key) {
            Some(_) => StatusCode::ACCEPTED.into_response(),
            None => refusal(404, "BLOB_UNKNOWN"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.blobs.is_empty() && self.sessions.is_empty()
    }

    pub(super) fn read_blob(&self, quirks: &Quirks, repository: &str, digest: &str) -> Response {
        match self.blob(repository, digest) {
            None => refusal(quirks.unknown, "BLOB_UNKNOWN"),
            Some(bytes) => ([("docker-content-digest", digest.to_owned())], bytes).into_response(),
        }
    }

    /// Answers `HEAD` of a blob, also for a blob whose bytes are lost.
    pub(super) fn head_blob(&self, quirks: &Quirks, repository: &str, digest: &str) -> Response {
        let key = (repository.to_owned(), digest.to_owned());
        match self.bytes.get(digest).filter(|_| self.lost.contains(&key)) {
            Some(bytes) => {
                let headers = [("content-length", bytes.len().to_string())];
                (headers, bytes.clone()).into_response()
            }
            None => self.read_blob(quirks, repository, digest),
        }
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn mount(
        &mut self,
        quirks: &Quirks,
        repository: &str,
        digest: &str,
        from: &str,
    ) -> Response {
        match quirks.mounts {
            Mounts::Refused(status) => return refusal(status, "UNSUPPORTED"),
            Mounts::Granted if self.blob(from, digest).is_some() => {
                let key = (repository.to_owned(), digest.to_owned());
                self.blobs.entry(key).or_insert(0);
                let headers = [("docker-content-digest", digest.to_owned())];
                return (StatusCode::CREATED, headers).into_response();
            }
            Mounts::Granted | Mounts::Ignored => {}
        }
        self.open(quirks, repository)
    }

    pub(super) fn open(&mut self, quirks: &Quirks, repository: &str) -> Response {
        let id = format!("session-{}", self.transfers.len());
        let session = Session {
            repository: repository.to_owned(),
            held: Vec::new(),
            begun: false,
            transfer: self.transfers.len(),
        };
        self.transfers.push(Transfer {
            repository: repository.to_owned(),
            received: 0,
            completed: None,
            head: Vec::new(),
        });
        self.sessions.insert(id.clone(), session);
        self.session_response(quirks, StatusCode::ACCEPTED, &id)
    }

    /// Answers a request for the status of a session.
    pub(super) fn ask(&mut self, quirks: &Quirks, target: &Target) -> Response {
        self.misplaced(quirks, target).unwrap_or_else(|| {
            self.session_response(quirks, StatusCode::NO_CONTENT, &target.subject)
        })
    }

    /// Returns the refusal of a request for an unknown session, or at an outdated `Location`, which
    /// contains the number of bytes that the session had.
    pub(super) fn misplaced(&mut self, quirks: &Quirks, target: &Target) -> Option<Response> {
        let Some(session) = self.sessions.get(&target.subject) else {
            return Some(refusal(404, "BLOB_UPLOAD_UNKNOWN"));
        };
        let is_newest = target.parameter("_state") == session.held.len().to_string();
        if is_newest || !quirks.checks_place {
            return None;
        }
        if !quirks.keeps_cut_sessions {
            self.lose(&target.subject);
            return Some(refusal(404, "BLOB_UPLOAD_INVALID"));
        }
        (target.kind != Kind::AskUpload).then(|| refusal(416, "RANGE_INVALID"))
    }

    /// Puts a blob into a repository.
    pub(super) fn hold(&mut self, repository: &str, bytes: &[u8]) {
        let digest = sha256(bytes);
        self.bytes.insert(digest.clone(), bytes.to_vec().into());
        let key = (repository.to_owned(), digest);
        self.blobs.entry(key).or_insert(0);
    }

    /// Damages the bytes of the open sessions.
    pub(super) fn spoil_sessions(&mut self) {
        for session in self.sessions.values_mut() {
            session.held.iter_mut().for_each(|byte| *byte ^= 1);
        }
    }

    /// Returns the refusal of a request with bytes for a session, before any byte is read.
    pub(super) fn refuse(
        &mut self,
        quirks: &Quirks,
        target: &Target,
        headers: &HeaderMap,
    ) -> Option<Response> {
        if !quirks.streams && headers.contains_key("transfer-encoding") {
            return Some(StatusCode::LENGTH_REQUIRED.into_response());
        }
        if let Some(misplaced) = self.misplaced(quirks, target) {
            return Some(misplaced);
        }
        let session = self.sessions.get_mut(&target.subject)?;
        let range = text(headers, "content-range");
        if let Some((from, to)) = range.split_once('-') {
            let held = session.held.len();
            let length = text(headers, "content-length").parse::<usize>();
            let is_end =
                length.is_ok_and(|length| to == (held + length).saturating_sub(1).to_string());
            if from != held.to_string() || !is_end {
                return Some(refusal(416, "BLOB_UPLOAD_INVALID"));
            }
        }
        let again = std::mem::replace(&mut session.begun, true) && target.kind == Kind::SendPart;
        match quirks.parts {
            Parts::OneOnly if again => return Some(refusal(400, "UNSUPPORTED")),
            Parts::LastOnly if again => session.held.clear(),
            _ => {}
        }
        None
    }

    /// Removes the last bytes of a session.
    pub(super) fn take_back(&mut self, id: &str, bytes: u64) {
        if let Some(session) = self.sessions.get_mut(id) {
            let kept = session.held.len().saturating_sub(bytes as usize);
            session.held.truncate(kept);
            session.begun = kept > 0;
        }
    }

    /// Adds bytes to a session, or only counts them.
    pub(super) fn take(&mut self, id: &str, bytes: &[u8], keep: bool) {
        self.received += bytes.len() as u64;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let transfer = &mut self.transfers[session.transfer];
        if transfer.received == session.held.len() as u64 {
            let room = HEAD.saturating_sub(transfer.head.len()).min(bytes.len());
            transfer.head.extend_from_slice(&bytes[..room]);
        }
        transfer.received += bytes.len() as u64;
        if keep {
            session.held.extend_from_slice(bytes);
        }
    }

    /// Removes a session.
    pub(super) fn lose(&mut self, id: &str) {
        self.sessions.remove(id);
    }

    /// Answers a part that was received completely.
    pub(super) fn part(&self, quirks: &Quirks, id: &str) -> Response {
        if !self.sessions.contains_key(id) {
            return refusal(404, "BLOB_UPLOAD_UNKNOWN");
        }
        let status = match quirks.parts {
            Parts::Created => StatusCode::CREATED,
            _ => StatusCode::ACCEPTED,
        };
        self.session_response(quirks, status, id)
    }

    /// Ends an upload.
    pub(super) fn end(&mut self, quirks: &Quirks, id: &str, digest: &str) -> Response {
        let Some(session) = self.sessions.remove(id) else {
            return refusal(404, "BLOB_UPLOAD_UNKNOWN");
        };
        if sha256(&session.held) != digest {
            return refusal(400, "DIGEST_INVALID");
        }
        self.transfers[session.transfer].completed = Some(digest.to_owned());
        self.bytes.insert(digest.to_owned(), session.held.into());
        let key = (session.repository, digest.to_owned());
        let is_second = digest.ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']);
        if quirks.remembers_lost_blobs && is_second && !self.blobs.contains_key(&key) {
            self.lost.insert(key.clone());
        } else {
            self.lost.remove(&key);
        }
        *self.blobs.entry(key).or_insert(0) += 1;
        let headers = [("docker-content-digest", digest.to_owned())];
        (status(quirks.taken.0), headers).into_response()
    }

    /// Returns the size of the largest session, in bytes.
    pub(super) fn most_held(&self) -> u64 {
        let held = self.sessions.values().map(|session| session.held.len());
        held.max().unwrap_or_default() as u64
    }

    fn session_response(&self, quirks: &Quirks, status: StatusCode, id: &str) -> Response {
        let session = &self.sessions[id];
        let (repository, length) = (&session.repository, session.held.len());
        let headers = [
            (
                "location",
                format!("/v2/{repository}/blobs/uploads/{id}?_state={length}"),
            ),
            ("range", format!("0-{}", length.saturating_sub(1))),
            ("oci-chunk-min-length", quirks.minimum_part.to_string()),
        ];
        (status, headers).into_response()
    }
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

/// Returns an error response in the form of the OCI specification.
pub fn refusal(code: u16, name: &str) -> Response {
    let (status, code) = (status(code), name);
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"so it is"}}]}}"#);
    (status, body).into_response()
}

/// Returns a denial with a message of the registry.
pub(super) fn denial(code: u16, message: &str) -> Response {
    let status = status(code);
    let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{message}"}}]}}"#);
    (status, body).into_response()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

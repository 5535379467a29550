//! A registry for tests that keeps blobs by repository, as distribution does: what one repository has is missing in another one
//! until it is mounted. It forgets nothing that it was asked, and its quirks can be chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::digest::sha256;
use crate::fake::{Fake, Seen};

/// How the registry behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quirks {
    /// Whether it mounts.
    pub(crate) mounts: bool,
    /// Whether a session survives a request that was cut, with what came of it, and the use of a place that is not the newest:
    /// a question is answered, anything else refused. So does distribution 3. Distribution 2 gives the session up for either.
    pub(crate) keeps_cut_sessions: bool,
    /// Whether it accepts a body without a length.
    pub(crate) streams: bool,
    /// The most that one request may carry, in bytes.
    pub(crate) limit: usize,
    /// The minimum size of each part, in bytes.
    pub(crate) least: usize,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            mounts: true,
            keeps_cut_sessions: false,
            streams: true,
            limit: usize::MAX,
            least: 0,
        }
    }
}

/// A running registry.
pub(crate) struct Distribution {
    fake: Fake,
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    blobs: BTreeSet<(String, String)>,
    bytes: BTreeMap<String, Bytes>,
    manifests: BTreeMap<(String, String), (String, Bytes)>,
    sessions: BTreeMap<String, Vec<u8>>,
    opened: usize,
}

impl Deref for Distribution {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl Distribution {
    /// Starts an empty registry without quirks.
    pub(crate) async fn start() -> Self {
        Self::with(Quirks::default(), |_| None).await
    }

    /// Starts an empty registry, from which `intercept` may take requests away by answering them itself.
    pub(crate) async fn with(
        quirks: Quirks,
        intercept: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        let content = Arc::new(Mutex::new(Content::default()));
        let kept = Arc::clone(&content);
        let cut = Arc::clone(&content);
        let fake = Fake::start_with_cuts(
            move |seen| match intercept(seen) {
                Some(answer) => answer,
                None => kept.lock().unwrap().answer(quirks, seen),
            },
            move |seen| cut.lock().unwrap().cut(quirks, seen),
        )
        .await;
        Self { fake, content }
    }

    /// Puts a blob into a repository, as an earlier run would have.
    pub(crate) fn hold(&self, repository: &str, bytes: &[u8]) {
        let mut content = self.content.lock().unwrap();
        let digest = sha256(bytes);
        content.bytes.insert(digest.clone(), bytes.to_vec().into());
        content.blobs.insert((repository.to_owned(), digest));
    }

    /// Takes a blob out of a repository, as a garbage collection would.
    pub(crate) fn lose(&self, repository: &str, digest: &str) {
        let key = (repository.to_owned(), digest.to_owned());
        assert!(self.content.lock().unwrap().blobs.remove(&key));
    }

    /// Reports what a tag points at.
    pub(crate) fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        let content = self.content.lock().unwrap();
        let found = content
            .manifests
            .get(&(repository.to_owned(), tag.to_owned()));
        found.map(|(_, bytes)| sha256(bytes))
    }

    /// Spoils what the open sessions hold.
    pub(crate) fn spoil_sessions(&self) {
        for held in self.content.lock().unwrap().sessions.values_mut() {
            held.iter_mut().for_each(|byte| *byte ^= 1);
        }
    }

    /// Returns how many sessions are open.
    pub(crate) fn sessions(&self) -> usize {
        self.content.lock().unwrap().sessions.len()
    }

    /// Counts the requests that asked for a mount.
    pub(crate) fn mounts(&self) -> usize {
        let asked = self.seen(|seen| seen.method == "POST" && seen.query.contains("mount="));
        asked.into_iter().filter(|asked| *asked).count()
    }
}

impl Content {
    fn answer(&mut self, quirks: Quirks, seen: &Seen) -> Response {
        let path = seen.path.strip_prefix("/v2/").unwrap_or_default();
        if path.is_empty() {
            return StatusCode::OK.into_response();
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            return self.manifest(seen, repository, reference);
        }
        let Some((repository, rest)) = path.split_once("/blobs/") else {
            return StatusCode::NOT_FOUND.into_response();
        };
        match rest.strip_prefix("uploads/") {
            Some("") => self.open(quirks, seen, repository),
            Some(_) if !quirks.streams && seen.header("transfer-encoding").is_some() => {
                StatusCode::LENGTH_REQUIRED.into_response()
            }
            Some(_) if seen.body.len() > quirks.limit => {
                StatusCode::PAYLOAD_TOO_LARGE.into_response()
            }
            Some(session) => self.upload(quirks, seen, repository, session),
            None => {
                let key = (repository.to_owned(), rest.to_owned());
                match self.blobs.contains(&key) {
                    true => self.bytes[rest].clone().into_response(),
                    false => StatusCode::NOT_FOUND.into_response(),
                }
            }
        }
    }

    fn manifest(&mut self, seen: &Seen, repository: &str, reference: &str) -> Response {
        let key = |reference: &str| (repository.to_owned(), reference.to_owned());
        if seen.method == "PUT" {
            let text: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
            let digest_of =
                |part: &serde_json::Value| part["digest"].as_str().unwrap_or("").to_owned();
            let parts = |name: &str| text[name].as_array().cloned().unwrap_or_default();
            let blobs = parts("layers")
                .into_iter()
                .chain(text.get("config").cloned());
            let known = blobs
                .map(|part| digest_of(&part))
                .all(|digest| self.blobs.contains(&key(&digest)))
                && parts("manifests")
                    .iter()
                    .map(digest_of)
                    .all(|digest| self.manifests.contains_key(&key(&digest)));
            if !known {
                return refusal(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
            }
            let digest = sha256(&seen.body);
            let media_type = seen.header("content-type").unwrap_or_default().to_owned();
            for reference in [reference, &digest] {
                let entry = (media_type.clone(), seen.body.clone());
                self.manifests.insert(key(reference), entry);
            }
            return (StatusCode::CREATED, [("docker-content-digest", digest)]).into_response();
        }
        match self.manifests.get(&key(reference)) {
            None => StatusCode::NOT_FOUND.into_response(),
            Some((media_type, bytes)) => {
                let headers = [
                    ("docker-content-digest", sha256(bytes)),
                    ("content-type", media_type.clone()),
                ];
                (headers, bytes.clone()).into_response()
            }
        }
    }

    fn open(&mut self, quirks: Quirks, seen: &Seen, repository: &str) -> Response {
        if let (Some(digest), Some(from)) = (seen.parameter("mount"), seen.parameter("from"))
            && quirks.mounts
            && self.blobs.contains(&(from, digest.clone()))
        {
            self.blobs.insert((repository.to_owned(), digest.clone()));
            return (StatusCode::CREATED, [("docker-content-digest", digest)]).into_response();
        }
        self.opened += 1;
        let session = self.opened.to_string();
        self.sessions.insert(session.clone(), Vec::new());
        self.going_on(quirks, StatusCode::ACCEPTED, repository, &session)
    }

    fn cut(&mut self, quirks: Quirks, seen: &Seen) {
        let Some((_, session)) = seen.path.split_once("/blobs/uploads/") else {
            return;
        };
        match self.sessions.get_mut(session) {
            Some(held) if quirks.keeps_cut_sessions => held.extend_from_slice(&seen.body),
            _ => {
                self.sessions.remove(session);
            }
        }
    }

    fn upload(&mut self, quirks: Quirks, seen: &Seen, repository: &str, session: &str) -> Response {
        let Some(held) = self.sessions.get_mut(session) else {
            return refusal(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        };
        // Upload resumed at wrong offset: the place says how much the session held when it was named.
        if seen.parameter("_state") != Some(held.len().to_string()) {
            if !quirks.keeps_cut_sessions {
                self.sessions.remove(session);
                return refusal(StatusCode::NOT_FOUND, "BLOB_UPLOAD_INVALID");
            }
            if seen.method != "GET" {
                return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID");
            }
        }
        match seen.method.as_str() {
            "PUT" => {
                held.extend_from_slice(&seen.body);
                let bytes = self.sessions.remove(session).unwrap_or_default();
                let digest = seen.parameter("digest").unwrap();
                if sha256(&bytes) != digest {
                    return refusal(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
                }
                self.bytes.insert(digest.clone(), bytes.into());
                self.blobs.insert((repository.to_owned(), digest.clone()));
                (StatusCode::CREATED, [("docker-content-digest", digest)]).into_response()
            }
            "PATCH" => {
                let end = held.len() + seen.body.len();
                let expected = || format!("{}-{}", held.len(), end - 1);
                if seen
                    .header("content-range")
                    .is_some_and(|range| range != expected())
                {
                    return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                }
                held.extend_from_slice(&seen.body);
                self.going_on(quirks, StatusCode::ACCEPTED, repository, session)
            }
            "GET" => self.going_on(quirks, StatusCode::NO_CONTENT, repository, session),
            "DELETE" => {
                self.sessions.remove(session);
                StatusCode::NO_CONTENT.into_response()
            }
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    }

    fn going_on(
        &self,
        quirks: Quirks,
        status: StatusCode,
        repository: &str,
        session: &str,
    ) -> Response {
        let length = self.sessions[session].len();
        let headers = [
            (
                "location",
                format!("/v2/{repository}/blobs/uploads/{session}?_state={length}"),
            ),
            ("range", format!("0-{}", length.saturating_sub(1))),
            ("oci-chunk-min-length", quirks.least.to_string()),
        ];
        (status, headers).into_response()
    }
}

/// Returns an error as the specification writes it.
pub(crate) fn refusal(status: StatusCode, code: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"so it is"}}]}}"#);
    (status, body).into_response()
}

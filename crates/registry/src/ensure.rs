//! Ensures that a repository has a blob, with as few requests as the registry allows: it exists, is
//! mounted, or is sent.
//!
//! If the registry supports it, one request looks the blob up and opens an upload if it is missing:
//! a mount from the repository to itself. 201 means that the blob exists, 202 that it does not.
//! This is tried once, with a blob that the registry has just confirmed. Otherwise `HEAD` comes
//! first. If the registry accepts a small blob in the request that opens a session, the blob is
//! sent without a lookup.

use std::time::Duration;

use oci_spec::image::Digest;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::parts::UploadSession;
use crate::transport::{Access, Request, TAKEN};
use crate::upload::SINGLE;
use crate::{Artifact, Blob, BlobSource, Error, Event, Observer, Registry};

/// How long a registry may take to take a session back.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a blob came to be in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Present,
    Mounted,
    Uploaded,
}

/// What an upload needs besides its blob.
#[derive(Clone, Copy)]
pub(crate) struct Supply<'a> {
    pub(crate) source: &'a dyn BlobSource,
    pub(crate) observer: &'a dyn Observer,
    /// Whether so much is to come that it pays to find out how this registry is asked best.
    pub(crate) find_out: bool,
}

/// The answer to a request for a mount.
enum Asked {
    /// The repository holds the blob now.
    Held,
    /// It does not; the blob may be sent to this session.
    Session(UploadSession),
    /// It does not, and nothing was opened.
    Refused,
}

impl Registry {
    /// Makes the repository hold a blob, as the only one who works on it.
    pub(crate) async fn ensure_blob(
        &self,
        repository: &str,
        blob: &Blob,
        supply: Supply<'_>,
    ) -> Result<Outcome, Error> {
        let Blob { digest, size } = blob;
        let (digest, size) = (digest, *size);
        let recorded = &self.inner.recorded;
        let turn = recorded.turn(repository, digest);
        let _only_one = turn.lock().await;
        if supply.find_out {
            recorded.try_single_post();
        }
        let outcome = if recorded.holds(repository, digest) {
            Outcome::Present
        } else {
            self.bring(repository, blob, supply).await?
        };
        recorded.note(repository, digest);
        if supply.find_out && outcome == Outcome::Present {
            // An earlier push has left it. What is sent without a question may then be there
            // already.
            recorded.forgo_single_posts();
        }
        supply.observer.event(match outcome {
            Outcome::Present => Event::BlobPresent {
                repository,
                digest,
                size,
            },
            Outcome::Mounted => Event::BlobMounted {
                repository,
                digest,
                size,
            },
            Outcome::Uploaded => Event::BlobUploaded {
                repository,
                digest,
                size,
            },
        });
        if outcome == Outcome::Uploaded && supply.find_out && recorded.may_try_self_mounts() {
            self.try_self_mount(repository, digest, supply.observer)
                .await;
        }
        Ok(outcome)
    }

    /// Brings what a registry contradicted itself about: each blob is read, and sent if it is not
    /// served. Returns how many were sent.
    pub(crate) async fn bring_surely(
        &self,
        artifact: &Artifact,
        supply: Supply<'_>,
    ) -> Result<usize, Error> {
        let Supply {
            source, observer, ..
        } = supply;
        let repository = &artifact.repository;
        let recorded = &self.inner.recorded;
        recorded.self_mounts_lied();
        let mut sent = 0;
        for blob in artifact.blobs_by_size() {
            let turn = recorded.turn(repository, &blob.digest);
            let _only_one = turn.lock().await;
            let is_there = match self.serves(repository, blob, observer).await {
                Ok(is_there) => is_there,
                // The host that serves the bytes may be out of reach from here.
                Err(_) => self.holds(repository, blob, observer).await?,
            };
            if !is_there {
                recorded.forget(repository, &blob.digest);
                self.upload(repository, blob, source, None, observer)
                    .await?;
                sent += 1;
            }
            recorded.note(repository, &blob.digest);
        }
        Ok(sent)
    }

    async fn bring(
        &self,
        repository: &str,
        blob: &Blob,
        supply: Supply<'_>,
    ) -> Result<Outcome, Error> {
        let Supply {
            source, observer, ..
        } = supply;
        let recorded = &self.inner.recorded;
        let mut session = None;
        let mut asked = false;
        let confirmed = recorded.mountable_from(repository, &blob.digest);
        let candidate = match confirmed {
            Some(_) => None,
            None => recorded.mount_candidate(repository, &blob.digest),
        };
        let offered = candidate.as_ref().map(|candidate| candidate.from.clone());
        if let Some(from) = confirmed.or(offered) {
            // What refuses a mount may be the other repository.
            session = self.first_write(repository, observer).await?;
            match self
                .mount(repository, &blob.digest, &from, observer)
                .await?
            {
                Asked::Held => {
                    recorded.mount_answered(true);
                    if let Some(session) = session {
                        self.abandon(repository, session.url, observer).await;
                    }
                    return Ok(Outcome::Mounted);
                }
                Asked::Session(opened) => {
                    if let Some(session) = session.replace(opened) {
                        self.abandon(repository, session.url, observer).await;
                    }
                }
                Asked::Refused => {}
            }
            match candidate {
                Some(candidate) => recorded.candidate_refused(&candidate),
                None => recorded.mount_answered(false),
            }
        } else if recorded.takes_single_posts()
            && blob.size <= SINGLE
            && !recorded.is_held(&blob.digest)
            && !recorded.is_expected(repository, &blob.digest)
        {
            // It is sent by as many requests as it would be asked about. What another repository
            // holds, this one may hold too.
            asked = true;
        } else if recorded.self_mounts_answer() {
            match self
                .mount(repository, &blob.digest, repository, observer)
                .await?
            {
                Asked::Held => return Ok(Outcome::Present),
                Asked::Session(opened) => {
                    session = Some(opened);
                    asked = true;
                }
                Asked::Refused => {}
            }
        }
        // A refused mount says nothing of this repository, which may hold the blob from an earlier
        // run.
        if !asked && self.holds(repository, blob, observer).await? {
            if let Some(session) = session {
                self.abandon(repository, session.url, observer).await;
            }
            return Ok(Outcome::Present);
        }
        self.upload(repository, blob, source, session, observer)
            .await?;
        Ok(Outcome::Uploaded)
    }

    /// Asks the registry to take a blob over from another repository, or from the same one to learn
    /// if it exists.
    ///
    /// `from` is always named, since some registries reject a mount without it.
    async fn mount(
        &self,
        repository: &str,
        digest: &Digest,
        from: &str,
        observer: &dyn Observer,
    ) -> Result<Asked, Error> {
        let transport = self.transport();
        let mut url = transport
            .endpoint()
            .url(&format!("/v2/{repository}/blobs/uploads/"));
        url.query_pairs_mut()
            .append_pair("mount", digest.as_ref())
            .append_pair("from", from);
        let call = Request::new(Method::POST, url, repository)
            .access(Access::Push)
            .and_pull_from(from)
            .expect_status(&[StatusCode::CREATED, StatusCode::ACCEPTED]);
        let answer = match transport.send(&call, observer).await {
            Ok(answer) => answer,
            // The account may not read there, or the registry does not know mounts. A plain upload
            // says more if it fails as well.
            Err(
                Error::Unauthorized { .. }
                | Error::Forbidden { .. }
                | Error::NotFound { .. }
                | Error::Rejected { .. },
            ) => return Ok(Asked::Refused),
            Err(error) => return Err(error),
        };
        if answer.status() == StatusCode::CREATED {
            let confirmed = crate::blob::answered_digest(answer.headers());
            return Ok(match confirmed {
                Some(found) if found != digest.as_ref() => Asked::Refused,
                _ => Asked::Held,
            });
        }
        match UploadSession::by(self, &answer) {
            Ok(opened) => Ok(Asked::Session(opened)),
            Err(_) => Ok(Asked::Refused),
        }
    }

    /// Finds out whether self-mounts report an existing blob, with one that exists.
    async fn try_self_mount(&self, repository: &str, digest: &Digest, observer: &dyn Observer) {
        match self.mount(repository, digest, repository, observer).await {
            Ok(Asked::Held) => self.inner.recorded.self_mounts_are_good(),
            Ok(Asked::Session(session)) => {
                self.abandon(repository, session.url, observer).await;
            }
            // Blobs are asked about one by one then, which works everywhere.
            Ok(Asked::Refused) | Err(_) => {}
        }
    }

    /// Opens an upload session before anything else is written, if it is not known yet whether this
    /// account may write: a registry that takes nothing says it to one small request. What may
    /// pass, or is about this repository, is met again by what follows.
    ///
    /// # Errors
    ///
    /// The account may not write.
    pub(crate) async fn first_write(
        &self,
        repository: &str,
        observer: &dyn Observer,
    ) -> Result<Option<UploadSession>, Error> {
        if self.transport().knows_of_writes() {
            return Ok(None);
        }
        match self.open_session(repository, observer).await {
            Ok(session) => Ok(Some(session)),
            Err(failure) if self.transport().write_refusal().is_some() => Err(failure.error),
            Err(_) => Ok(None),
        }
    }

    /// Gives a session back that is not needed. A registry that does not accept it expires the
    /// session.
    pub(crate) async fn abandon(&self, repository: &str, session: Url, observer: &dyn Observer) {
        let call = Request::new(Method::DELETE, session, repository)
            .access(Access::Push)
            .expect_status(&TAKEN);
        let giving_back = self.transport().exchange(&call, observer);
        let _ = tokio::time::timeout(PATIENCE, giving_back).await;
    }
}

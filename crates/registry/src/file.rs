//! Reads files of web servers by URL: charts of classic Helm repositories, and others. Attempts,
//! accounts and certificates are the same as for blobs.

use bytes::Bytes;
use reqwest::Method;
use tracing::Instrument as _;
use url::Url;

use crate::blob::content_length;
use crate::pull::BlobTarget;
use crate::retry::{Attempts, Failure};
use crate::transport::Request;
use crate::violation::Violation;
use crate::{Blob, Error, Observer, Registry};

impl Registry {
    /// Downloads the rest of a file into `target`, as [`Registry::pull_blob`] does.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] if the server sent different content twice; otherwise the error of
    /// the request.
    pub async fn pull_file(
        &self,
        url: &Url,
        blob: &Blob,
        target: &mut dyn BlobTarget,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let request = request(Method::GET, url);
        let pulled = self.pull(&request, blob, target, observer).await;
        pulled.map_err(not_a_page)
    }

    /// Reads a file of at most `limit` bytes into memory.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the file is larger; otherwise the error of the request.
    pub async fn get_file(&self, url: &Url, limit: usize) -> Result<Bytes, Error> {
        let transport = self.transport();
        let mut attempts = Attempts::new(transport.settings(), &());
        loop {
            let reading = async {
                let response = transport.exchange(&request(Method::GET, url), &()).await?;
                response.body(limit, transport.settings()).await
            };
            match reading.instrument(attempts.span()).await {
                Ok(bytes) => return Ok(bytes),
                // An incomplete body is read again.
                Err(Failure { error, again }) => {
                    let error = not_a_page(error);
                    attempts.pause(Failure { error, again }).await?;
                }
            }
        }
    }

    /// Returns the size of a file in bytes, if the server declares it.
    ///
    /// # Errors
    ///
    /// The error of the request.
    pub async fn file_size(&self, url: &Url) -> Result<Option<u64>, Error> {
        let (head, get) = (request(Method::HEAD, url), request(Method::GET, url));
        let response = self.transport().head_or_get(&head, &get, &()).await;
        let response = response.map_err(not_a_page)?;
        Ok(content_length(response.headers()))
    }
}

/// Returns a request for a file. Its path takes the place of a repository, so redirects are
/// followed.
fn request(method: Method, url: &Url) -> Request<'_> {
    Request::new(method, url.clone(), url.path())
}

/// Replaces [`Error::NotARegistry`], because the server of a file need not be one.
fn not_a_page(error: Error) -> Error {
    match error {
        Error::NotARegistry { at, .. } => Error::Protocol {
            at,
            violation: Violation::Page,
        },
        error => error,
    }
}

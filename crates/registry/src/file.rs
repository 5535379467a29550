//! Files of web servers, by URL: charts of classic Helm repositories, and others. A file is read as
//! a blob is, with the same patience, accounts and certificates.

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
    /// Reads a file into `target`, from where the target ends, as [`Registry::pull_blob`] reads a
    /// blob.
    ///
    /// # Errors
    ///
    /// [`Error::DigestMismatch`] if the server served something else twice; otherwise why the file
    /// could not be read.
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

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// The file is larger, or why it could not be read.
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
                // A body that was cut is read again.
                Err(Failure { error, again }) => {
                    let error = not_a_page(error);
                    attempts.pause(Failure { error, again }).await?;
                }
            }
        }
    }

    /// Returns the size of a file in bytes, if the server says it.
    ///
    /// # Errors
    ///
    /// Why the server could not be asked.
    pub async fn file_size(&self, url: &Url) -> Result<Option<u64>, Error> {
        let (head, get) = (request(Method::HEAD, url), request(Method::GET, url));
        let response = self.transport().head_or_get(&head, &get, &()).await;
        let response = response.map_err(not_a_page)?;
        Ok(content_length(response.headers()))
    }
}

/// Returns a request for a file, whose redirects are followed as those of a repository.
fn request(method: Method, url: &Url) -> Request<'_> {
    Request::new(method, url.clone(), url.path())
}

/// Names a page of HTML for what it is: it was not asked of a registry.
fn not_a_page(error: Error) -> Error {
    match error {
        Error::NotARegistry { at, .. } => Error::Protocol {
            at,
            violation: Violation::Page,
        },
        error => error,
    }
}

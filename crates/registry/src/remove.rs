//! Removes manifests and tags, and lists tags. Only callers with a reviewed list use this.

use oci_spec::image::Digest;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::artifact::{check_repository, check_tag};
use crate::digest::check_digest;
use crate::transport::{Access, Request};
use crate::violation::Violation;
use crate::{Error, Registry};

/// Maximum size of a page of a list of tags in bytes.
const LARGEST_PAGE: usize = 8 << 20;

/// Maximum number of pages of a list of tags. Registries return at least a hundred tags per page.
const MAX_PAGES: usize = 1_000;

/// A page of a list of tags. Unknown fields are ignored.
#[derive(Deserialize)]
struct Page {
    /// `null` after the last tag was removed.
    tags: Option<Vec<String>>,
}

/// The outcome of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It existed and was removed.
    Gone,
    /// It did not exist.
    NotThere,
    /// The registry does not support the removal.
    Unsupported,
}

impl Registry {
    /// Returns all tags of a repository. The list is empty if the repository does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Protocol`] if the list is not valid or incomplete; otherwise the error of the
    /// request.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, Error> {
        check_repository(repository)?;
        let mut tags = Vec::new();
        let mut url = self.endpoint().url(&format!("/v2/{repository}/tags/list"));
        for number in 0..MAX_PAGES {
            // An incomplete list must not pass for a complete one, so a missing page is an error.
            let expected: &[StatusCode] = match number {
                0 => &[StatusCode::OK, StatusCode::NOT_FOUND],
                _ => &[StatusCode::OK],
            };
            let request = Request::new(Method::GET, url.clone(), repository)
                .access(Access::Pull)
                .expect_status(expected);
            let transport = self.transport();
            let response = transport.send(&request, &()).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(tags);
            }
            let place = response.place().clone();
            let next = next_page(response.headers())
                .map(|next| self.endpoint().resolve(response.url(), &next));
            let body = response.body(LARGEST_PAGE, transport.settings()).await?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|error| Error::protocol(&place, Violation::Tags(error)))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                None => return Ok(tags),
                Some(Some(next)) if self.endpoint().owns(&next) => url = next,
                Some(_) => {
                    let violation = Violation::NextPage { list: "tags" };
                    return Err(Error::protocol(&place, violation));
                }
            }
        }
        let place = crate::RequestInfo::new("GET", &url, repository);
        let violation = Violation::Pages {
            list: "tags",
            pages: MAX_PAGES,
        };
        Err(Error::protocol(&place, violation))
    }

    /// Removes a manifest, and with it every tag that points at it.
    ///
    /// # Errors
    ///
    /// The error of the request. The manifest may still exist.
    pub async fn remove_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Removed, Error> {
        check_repository(repository)?;
        check_digest(digest)?;
        self.remove(repository, digest.as_ref()).await
    }

    /// Removes a tag and keeps its manifest. Many registries support the removal of manifests only.
    ///
    /// # Errors
    ///
    /// The error of the request. The tag may still exist.
    pub async fn remove_tag(&self, repository: &str, tag: &str) -> Result<Removed, Error> {
        check_repository(repository)?;
        check_tag(tag)?;
        self.remove(repository, tag).await
    }

    async fn remove(&self, repository: &str, reference: &str) -> Result<Removed, Error> {
        let url = self.endpoint().manifest_url(repository, reference);
        match self.transport().send(&removal(url, repository), &()).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => Ok(Removed::NotThere),
            Ok(_) => Ok(Removed::Gone),
            Err(Error::Rejected { response, .. }) if is_unsupported(&response) => {
                Ok(Removed::Unsupported)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the request that removes what `url` names. 404 is an expected status.
pub(crate) fn removal(url: Url, repository: &str) -> Request<'_> {
    Request::new(Method::DELETE, url, repository)
        .access(Access::Delete)
        .expect_status(&[
            StatusCode::ACCEPTED,
            StatusCode::OK,
            StatusCode::NO_CONTENT,
            StatusCode::NOT_FOUND,
        ])
}

/// Returns whether the response says that this kind of removal is not supported: 405, or the
/// specification's code for it.
fn is_unsupported(response: &crate::ErrorResponse) -> bool {
    response.status == 405 || response.code.as_deref() == Some("UNSUPPORTED")
}

/// Returns the target of `Link: </v2/...?last=x>; rel="next"`, the next page of a list.
pub(crate) fn next_page(headers: &HeaderMap) -> Option<String> {
    for value in headers.get_all(LINK) {
        let mut rest = value.to_str().unwrap_or_default();
        while let Some((_, link)) = rest.split_once('<')
            && let Some((target, after)) = link.split_once('>')
        {
            let mut is_quoted = false;
            let end = after.find(|sign| {
                is_quoted ^= sign == '"';
                sign == ',' && !is_quoted
            });
            let (parameters, others) = after.split_at(end.unwrap_or(after.len()));
            if parameters.split(';').any(is_relation_next) {
                return Some(target.to_owned());
            }
            rest = others;
        }
    }
    None
}

fn is_relation_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, relations)| {
        let mut relations = relations.trim().trim_matches(['"', '\'']).split(' ');
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode as Status;
    use axum::response::IntoResponse;

    use super::*;
    use crate::fake::{Blobs, Fake, image};

    const REPOSITORY: &str = "mke/calico/node";

    #[tokio::test]
    async fn pages_are_followed_to_the_last_one_and_never_to_another_host() {
        let fake = Fake::start(|seen| {
            if seen.query.contains("last=b") {
                return axum::Json(serde_json::json!({"name": REPOSITORY, "tags": ["c"]}))
                    .into_response();
            }
            let link = format!("</v2/{REPOSITORY}/tags/list?last=b>; rel=\"next\"");
            (
                [("link", link)],
                axum::Json(serde_json::json!({"name": REPOSITORY, "tags": ["a", "b"]})),
            )
                .into_response()
        })
        .await;
        let tags = fake.registry().tags(REPOSITORY).await.unwrap();
        assert_eq!(tags, ["a", "b", "c"]);
        let fake = Fake::start(|_| {
            let link = "<http://elsewhere.example.com/v2/>; rel=\"next\"";
            let page = axum::Json(serde_json::json!({"name": REPOSITORY, "tags": ["a"]}));
            ([("link", link)], page).into_response()
        })
        .await;
        let error = fake.registry().tags(REPOSITORY).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }

    fn page(tags: &[&str]) -> axum::Json<serde_json::Value> {
        axum::Json(serde_json::json!({"name": REPOSITORY, "tags": tags}))
    }

    #[tokio::test]
    async fn the_next_page_is_found_wherever_it_is_named() {
        for links in [
            vec!["</v2/x?last=0>; rel=\"prev\", </v2/x?last=b>; rel=\"next\""],
            vec![
                "</v2/x?last=0>; rel=\"prev\"",
                "</v2/x?last=b>; rel=\"next\"",
            ],
            vec!["</v2/x?last=b&of=1,2>; title=\"a, b\"; rel=next"],
            // An absolute URL of a registry that does not know its own port.
            vec!["<http://127.0.0.1/v2/x?last=b>; rel=\"next\""],
        ] {
            let named = links.clone();
            let fake = Fake::start(move |seen| {
                if seen.query.contains("last=b") {
                    return page(&["c"]).into_response();
                }
                let mut response = page(&["a", "b"]).into_response();
                for link in &named {
                    response.headers_mut().append("link", link.parse().unwrap());
                }
                response
            })
            .await;
            let tags = fake.registry().tags(REPOSITORY).await.unwrap();
            assert_eq!(tags, ["a", "b", "c"], "{links:?}");
        }
    }

    #[tokio::test]
    async fn an_incomplete_list_of_tags_is_an_error() {
        let fake = Fake::start(|seen| {
            if seen.query.contains("last=b") {
                return Status::NOT_FOUND.into_response();
            }
            let link = "</v2/x?last=b>; rel=\"next\"";
            ([("link", link)], page(&["a", "b"])).into_response()
        })
        .await;
        let error = fake.registry().tags(REPOSITORY).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        // A repository that does not exist has no tags.
        let fake = Fake::start(|_| Status::NOT_FOUND.into_response()).await;
        let tags = fake.registry().tags(REPOSITORY).await.unwrap();
        assert!(tags.is_empty());
    }

    #[tokio::test]
    async fn removing_a_manifest_removes_its_tags() {
        let fake = Fake::over_registry(|_| None).await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[b"layer"]);
        let registry = fake.registry();
        registry.push(&artifact, &blobs, &()).await.unwrap();
        assert_eq!(registry.tags(REPOSITORY).await.unwrap(), ["v1"]);
        let digest = &artifact.manifests[0].digest;
        let removing = registry.remove_manifest(REPOSITORY, digest);
        assert_eq!(removing.await.unwrap(), Removed::Gone);
        let found = registry.head_manifest(REPOSITORY, "v1").await.unwrap();
        assert_eq!(found, None);
        let again = registry.remove_manifest(REPOSITORY, digest);
        assert_eq!(again.await.unwrap(), Removed::NotThere);
    }

    #[tokio::test]
    async fn an_unsupported_removal_is_distinguished_from_a_failed_one() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        for (status, body, expected) in [
            (Status::METHOD_NOT_ALLOWED, "", Some(Removed::Unsupported)),
            (
                Status::BAD_REQUEST,
                r#"{"errors":[{"code":"UNSUPPORTED","message":"no"}]}"#,
                Some(Removed::Unsupported),
            ),
            (Status::FORBIDDEN, "", None),
        ] {
            let fake = Fake::start(move |_| (status, body).into_response()).await;
            let registry = fake.registry();
            let removed = registry.remove_manifest(REPOSITORY, &digest).await;
            assert_eq!(removed.ok(), expected, "{status}");
        }
    }
}

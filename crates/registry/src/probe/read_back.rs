//! Looks at a probe as those do who pull it: by `HEAD`, where its blobs are served from, and read whole as a node reads it.

use oci_spec::image::Digest;
use reqwest::Method;
use url::Url;

use super::finding::{Aspect, Fault, said};
use super::send::Sending;
use super::{Pull, client};
use crate::node::Node;
use crate::transport::{Access, Call};
use crate::{Credentials, Error};

impl Sending<'_> {
    /// Looks a tag up as container runtimes do before they pull.
    pub(super) async fn head(&mut self, tags: &[(String, Digest)]) {
        let Some((tag, digest)) = tags.first() else {
            return;
        };
        let aspect = Aspect::Head;
        match self
            .registry
            .head_manifest_only(&self.repository, tag)
            .await
        {
            Ok(Some(found)) => match found.digest {
                Some(found) if found != *digest => {
                    let text = format!("{tag} is {found} where {digest} was pushed");
                    self.findings.wrong(aspect, Fault::NotServed, text);
                }
                _ => self.findings.fine(aspect, "tags are looked up by HEAD"),
            },
            Ok(None) => {
                let text = format!("{tag} was taken, and is not there");
                self.findings.wrong(aspect, Fault::NotServed, text);
            }
            Err(error) => self
                .findings
                .wrong(aspect, Fault::HeadRefused, said(&error)),
        }
    }

    /// Looks where a blob is served from: registries over object storage send their callers there.
    pub(super) async fn storage(&mut self) {
        let Some(blob) = self.all_blobs().into_iter().next() else {
            return;
        };
        let endpoint = self.registry.endpoint();
        let url = endpoint.url(&format!("/v2/{}/blobs/{}", self.repository, blob.digest));
        let call = Call::new(Method::GET, url, &self.repository).access(Access::Pull);
        let aspect = Aspect::Storage;
        match self.registry.transport().send(&call, &()).await {
            Ok(answer) if endpoint.owns(answer.url()) => self
                .findings
                .fine(aspect, "blobs are served by the registry itself"),
            Ok(answer) => {
                let origin = answer.url().origin().ascii_serialization();
                let text = format!("blobs are served by {origin}");
                self.findings.warn(aspect, Fault::ServedElsewhere, text);
            }
            Err(error) => {
                let at = error.place().and_then(|place| Url::parse(&place.url).ok());
                let fault = match at.is_some_and(|at| !endpoint.owns(&at)) {
                    true => Fault::ServedElsewhere,
                    false => Fault::NotServed,
                };
                self.findings.wrong(aspect, fault, said(&error));
            }
        }
    }

    /// Reads everything back, as a node does where nodes have no secret.
    pub(super) async fn pull(&mut self, tags: &[(String, Digest)]) {
        if tags.is_empty() {
            return;
        }
        let aspect = Aspect::Pull;
        if let Pull::WithSecret(credentials) = &self.probe.pull {
            return self.pull_with_secret(credentials.as_ref(), tags).await;
        }
        for (tag, digest) in tags {
            let pulled = match Node::new(self.probe.endpoint.clone()) {
                Ok(node) => node.pull(&self.repository, tag).await,
                Err(error) => Err(error),
            };
            match pulled {
                Ok(pulled) if pulled.digest != *digest => {
                    let text = format!("{tag} is {} where {digest} was pushed", pulled.digest);
                    self.findings.wrong(aspect, Fault::NotServed, text);
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    let fault = match &error {
                        Error::Unauthorized { .. } => Fault::NotAnonymous,
                        // It is there for whoever pushed it.
                        Error::NodePull { .. } if self.is_there(tag).await => Fault::NotAnonymous,
                        _ => Fault::NotServed,
                    };
                    self.findings.wrong(aspect, fault, said(&error));
                    return;
                }
            }
        }
        let text = "images and charts are served without credentials, and are what was pushed";
        self.findings.fine(aspect, text);
    }

    /// Reads the manifests back with what nodes have, or with what stands in for it.
    async fn pull_with_secret(
        &mut self,
        credentials: Option<&Credentials>,
        tags: &[(String, Digest)],
    ) {
        let aspect = Aspect::Pull;
        let nodes = match credentials.map(|known| client(self.probe, known.clone())) {
            Some(Ok(nodes)) => nodes,
            Some(Err(error)) => return self.findings.failed(aspect, &error),
            None => self.registry.clone(),
        };
        for (tag, digest) in tags {
            match nodes.get_manifest(&self.repository, tag).await {
                Ok(found) if found.digest != *digest => {
                    let text = format!("{tag} is {} where {digest} was pushed", found.digest);
                    return self.findings.wrong(aspect, Fault::NotServed, text);
                }
                Ok(_) => {}
                Err(error) => {
                    let fault = match (&error, credentials) {
                        (Error::Unauthorized { .. } | Error::Forbidden { .. }, Some(_)) => {
                            Fault::PullRefused
                        }
                        _ => Fault::NotServed,
                    };
                    return self.findings.wrong(aspect, fault, said(&error));
                }
            }
        }
        let text = match credentials {
            Some(_) => {
                "images and charts are served with the pull credentials, and are what was pushed"
            }
            None => {
                "the push credentials can read it; what is in the nodes' secret is not known here"
            }
        };
        self.findings.fine(aspect, text);
    }

    async fn is_there(&self, tag: &str) -> bool {
        let there = self.registry.get_manifest(&self.repository, tag).await;
        there.is_ok()
    }
}

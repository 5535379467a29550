//! Reads the probe as nodes do: by `HEAD`, with redirects of blobs, and completely.

use oci_spec::image::Digest;
use reqwest::Method;
use url::Url;

use super::finding::{Aspect, Fault};
use super::send::ProbeRun;
use super::{Pull, client};
use crate::transport::{Access, Request};
use crate::{Credentials, Error, Registry};

impl ProbeRun<'_> {
    /// Looks a tag up by `HEAD`, as container runtimes do before they pull.
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
                let text = format!("{tag} was accepted, but is not served");
                self.findings.wrong(aspect, Fault::NotServed, text);
            }
            Err(error) => self
                .findings
                .wrong(aspect, Fault::HeadRefused, requests::chain(&error)),
        }
    }

    /// Tests which host serves blobs. Registries with object storage redirect to it.
    pub(super) async fn storage(&mut self) {
        let Some(blob) = self.all_blobs().into_iter().next() else {
            return;
        };
        let endpoint = self.registry.endpoint();
        let url = endpoint.url(&format!("/v2/{}/blobs/{}", self.repository, blob.digest));
        let request = Request::new(Method::GET, url, &self.repository).access(Access::Pull);
        let aspect = Aspect::Storage;
        match self.registry.transport().send(&request, &()).await {
            Ok(response) if endpoint.owns(response.url()) => self
                .findings
                .fine(aspect, "blobs are served by the registry itself"),
            Ok(response) => {
                let origin = response.url().origin().ascii_serialization();
                let text = format!("blobs are served by {origin}");
                match self.probe.has_ca_data {
                    // The chart client of the cluster trusts caData alone (k0rdent/kcm#1841).
                    true => self.findings.wrong(aspect, Fault::RedirectedWithCa, text),
                    false => self.findings.warn(aspect, Fault::ServedElsewhere, text),
                }
            }
            Err(error) => {
                let at = error.place().and_then(|place| Url::parse(&place.url).ok());
                let fault = match at.is_some_and(|at| !endpoint.owns(&at)) {
                    true => Fault::ServedElsewhere,
                    false => Fault::NotServed,
                };
                self.findings.wrong(aspect, fault, requests::chain(&error));
            }
        }
    }

    /// Reads everything with the credentials of nodes, or with those that replace an unknown
    /// secret.
    pub(super) async fn pull(&mut self, tags: &[(String, Digest)]) {
        if tags.is_empty() {
            return;
        }
        let aspect = Aspect::Pull;
        let nodes = match &self.probe.pull {
            Pull::Anonymously => client(self.probe, Credentials::Anonymous),
            Pull::WithSecret(Some(known)) => client(self.probe, known.clone()),
            Pull::WithSecret(None) => Ok(self.registry.clone()),
        };
        let nodes = match nodes {
            Ok(nodes) => nodes,
            Err(error) => return self.findings.failed(aspect, &error),
        };
        for (tag, digest) in tags {
            match nodes.get_manifest(&self.repository, tag).await {
                Ok(found) if found.digest != *digest => {
                    let text = format!("{tag} is {} where {digest} was pushed", found.digest);
                    return self.findings.wrong(aspect, Fault::NotServed, text);
                }
                Ok(_) => {}
                Err(error) => return self.not_pulled(tag, &error).await,
            }
            if let Err(error) = self.read(&nodes, digest).await {
                return self.not_pulled(tag, &error).await;
            }
        }
        let text = match &self.probe.pull {
            Pull::Anonymously => {
                "images, charts and other artifacts are served without credentials, and are what was pushed"
            }
            Pull::WithSecret(Some(_)) => {
                "images, charts and other artifacts are served with the pull credentials, and are what was pushed"
            }
            Pull::WithSecret(None) => {
                "the push credentials can read it; what is in the nodes' secret is not known here"
            }
        };
        self.findings.fine(aspect, text);
    }

    /// Reads the artifact with this root digest: each manifest and each blob. Every byte is
    /// compared with its digest.
    async fn read(&self, nodes: &Registry, root: &Digest) -> Result<(), Error> {
        let artifacts = [self.probe.index, self.probe.chart, self.probe.artifact];
        let manifests_of_root = (artifacts.into_iter())
            .find(|manifests| manifests.last().is_some_and(|last| last.digest == *root));
        for manifest in manifests_of_root.unwrap_or_default() {
            nodes
                .get_manifest(&self.repository, manifest.digest.as_ref())
                .await?;
            for blob in &manifest.blobs {
                let reader = nodes.get_blob(&self.repository, &blob.digest, blob.size);
                let mut reader = reader.await?;
                while reader.next().await?.is_some() {}
            }
        }
        Ok(())
    }

    /// Reports why nodes cannot pull.
    async fn not_pulled(&mut self, tag: &str, error: &Error) {
        let is_refusal = match error {
            Error::Unauthorized { .. } | Error::Forbidden { .. } => true,
            // Some registries respond 404 to callers without credentials.
            Error::NotFound { .. } => {
                let there = self.registry.get_manifest(&self.repository, tag).await;
                matches!(self.probe.pull, Pull::Anonymously) && there.is_ok()
            }
            _ => false,
        };
        let fault = match (is_refusal, &self.probe.pull) {
            (true, Pull::Anonymously) => Fault::NotAnonymous,
            (true, Pull::WithSecret(Some(_))) => Fault::PullRefused,
            _ => Fault::NotServed,
        };
        let why = requests::chain(error);
        let text = match fault {
            Fault::NotAnonymous => format!("nodes cannot pull without credentials: {why}"),
            _ => why,
        };
        self.findings.wrong(Aspect::Pull, fault, text);
    }
}

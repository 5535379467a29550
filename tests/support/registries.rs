//! Registries to push to: the embedded one, and `registry:2` by testcontainers, plain, with TLS,
//! with credentials.

use std::time::Duration;

use oci_spec::image::Digest;
use registry::embedded::Embedded;
use secrecy::SecretString;
use servers::{Certificates, Server};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, CopyTargetOptions, GenericImage, ImageExt};

use crate::{Sandbox, tokens};

/// The user that the registry with credentials knows.
pub const USER: &str = "courier";
/// That user's password.
pub const PASSWORD: &str = "correct-horse";
/// The line of that user for htpasswd, which requires bcrypt.
const HTPASSWD: &str = include_str!("htpasswd");

/// Debian's package asks for credentials in its configuration; with this one every `registry:2` is
/// alike.
const CONFIG: &str = "\
version: 0.1
log: { level: info }
storage:
  delete: { enabled: true }
  filesystem: { rootdirectory: /var/lib/registry }
http: { addr: ':5000' }
";

/// A cluster that nothing is said against.
const CLUSTER: &str = "\
config:
  apiServer: { externalAddress: mke.lab.example.com }
  hosts:
    - role: controller+worker
      ssh: { address: 192.0.2.10, user: ubuntu, port: 22, keyPath: ~/.ssh/lab }
  tracking: { enabled: false }
accept: [telemetry]
";

/// The media types of the manifests that tests copy.
const MANIFESTS: &str =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// A registry that lives as long as this value.
pub struct TestRegistry {
    /// Its address, `127.0.0.1:port`.
    pub address: String,
    /// The CA that signed its certificate, if it has one.
    pub ca_pem: Option<String>,
    /// Whether it requires [`USER`] and [`PASSWORD`].
    pub wants_credentials: bool,
    /// Where it sends clients for tokens, if it does.
    _tokens: Option<Server>,
    _running: Running,
}

enum Running {
    Embedded(#[expect(dead_code, reason = "it serves until it is dropped")] Embedded),
    Container(
        #[expect(dead_code, reason = "it serves until it is dropped")]
        Box<ContainerAsync<GenericImage>>,
    ),
}

impl TestRegistry {
    /// Starts the embedded registry, its content in memory.
    pub async fn embedded() -> Self {
        let embedded = Embedded::start(([127, 0, 0, 1], 0).into(), None)
            .await
            .expect("the embedded registry");
        Self {
            address: embedded.address().to_string(),
            ca_pem: None,
            wants_credentials: false,
            _tokens: None,
            _running: Running::Embedded(embedded),
        }
    }

    /// Starts `registry:2` over plain HTTP, without credentials.
    pub async fn plain() -> Self {
        Self::container(image(), None, false).await
    }

    /// Starts `registry:2` over plain HTTP, which removes nothing, its default.
    pub async fn without_delete() -> Self {
        let image = image().with_env_var("REGISTRY_STORAGE_DELETE_ENABLED", "false");
        Self::container(image, None, false).await
    }

    /// Starts `registry:2` over HTTPS, with a certificate of a CA made for it.
    pub async fn tls() -> Self {
        let certificates = Certificates::local();
        let image = with_tls(image(), &certificates);
        Self::container(image, Some(certificates.ca_pem), false).await
    }

    /// Starts `registry:2` over HTTPS, for [`USER`] only.
    pub async fn with_credentials() -> Self {
        let certificates = Certificates::local();
        let image = with_tls(image(), &certificates)
            .with_copy_to("/auth/htpasswd", HTPASSWD.as_bytes().to_vec())
            .with_env_var("REGISTRY_AUTH", "htpasswd")
            .with_env_var("REGISTRY_AUTH_HTPASSWD_REALM", "test")
            .with_env_var("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd");
        Self::container(image, Some(certificates.ca_pem), true).await
    }

    /// Starts `registry:2` over plain HTTP, for those with a token, which a server of its own gives
    /// [`USER`].
    pub async fn with_tokens() -> Self {
        let certificates = Certificates::local();
        let ca = certificates.ca_pem.clone().into_bytes();
        let tokens = tokens::start(certificates).await;
        let image = image()
            .with_copy_to("/auth/ca.pem", ca)
            .with_env_var("REGISTRY_AUTH", "token")
            .with_env_var("REGISTRY_AUTH_TOKEN_REALM", tokens.url("token"))
            .with_env_var("REGISTRY_AUTH_TOKEN_SERVICE", tokens::SERVICE)
            .with_env_var("REGISTRY_AUTH_TOKEN_ISSUER", tokens::ISSUER)
            .with_env_var("REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE", "/auth/ca.pem");
        Self {
            _tokens: Some(tokens),
            ..Self::container(image, None, true).await
        }
    }

    /// Returns a client with the credentials that may push.
    pub fn client(&self) -> registry::Registry {
        let credentials = if self.wants_credentials {
            registry::Credentials::Basic {
                username: USER.to_owned(),
                password: SecretString::from(PASSWORD),
            }
        } else {
            registry::Credentials::Anonymous
        };
        registry::Registry::new(self.endpoint(), credentials).expect("a client")
    }

    /// Returns where it is.
    pub fn endpoint(&self) -> registry::Endpoint {
        registry::Endpoint::new(&self.address, self.ca_pem.as_deref()).expect("an endpoint")
    }

    /// Returns a client without credentials.
    pub fn stranger(&self) -> registry::Registry {
        registry::Registry::new(self.endpoint(), registry::Credentials::Anonymous)
            .expect("a client")
    }

    /// Writes the environment `lab` of release v4.1.5 with this registry, its CA beside it, and
    /// with `more` lines of `registry:`.
    pub fn describe(&self, sandbox: &Sandbox, more: &str) {
        Self::describe_at(&self.address, self.ca_pem.as_deref(), sandbox, more);
    }

    /// Writes the same environment for a registry that is not of this kind.
    pub fn describe_at(address: &str, ca_pem: Option<&str>, sandbox: &Sandbox, more: &str) {
        if let Some(ca_pem) = ca_pem {
            sandbox.write("environments/lab/registry-ca.pem", ca_pem);
        }
        sandbox.write(
            "environments/lab/environment.yaml",
            &Self::description(address, ca_pem.is_some(), more),
        );
    }

    /// Returns the text of such an environment, its CA in `registry-ca.pem` beside it if it has
    /// one.
    pub fn description(address: &str, has_ca: bool, more: &str) -> String {
        let ca = if has_ca {
            "  ca: registry-ca.pem\n"
        } else {
            ""
        };
        format!(
            "release: v4.1.5\nregistry:\n  address: {address}\n  project: mke/four\n{ca}{more}{CLUSTER}"
        )
    }

    /// Reads a manifest or blob over plain HTTP, as JSON. `path` is
    /// `REPOSITORY/manifests/REFERENCE` or `REPOSITORY/blobs/DIGEST`.
    pub async fn get_json(&self, path: &str) -> serde_json::Value {
        let request = http().get(format!("http://{}/v2/{path}", self.address));
        let response = request.send().await.expect("a response");
        let response = response.error_for_status().expect("the content is present");
        response.json().await.expect("JSON")
    }

    /// Deletes a manifest over plain HTTP, and with it the tags that point to it.
    pub async fn delete_manifest(&self, repository: &str, digest: &Digest) {
        delete(&self.address, &format!("{repository}/manifests/{digest}")).await;
    }

    /// Deletes a blob over plain HTTP.
    pub async fn delete_blob(&self, repository: &str, digest: &Digest) {
        delete(&self.address, &format!("{repository}/blobs/{digest}")).await;
    }

    /// Puts a manifest under a tag over plain HTTP, possibly in a different repository, and without
    /// the manifests and blobs that it names. `from` is a repository and a tag or digest, `to` a
    /// repository and a tag.
    pub async fn copy_manifest(&self, from: (&str, &str), to: (&str, &str)) {
        let url = |(repository, reference): (&str, &str)| {
            format!(
                "http://{}/v2/{repository}/manifests/{reference}",
                self.address
            )
        };
        let manifest = http().get(url(from)).header("accept", MANIFESTS);
        let manifest = manifest.send().await.expect("a response");
        let manifest = manifest.error_for_status().expect("a manifest");
        let media_type = manifest.headers()["content-type"].clone();
        let bytes = manifest.bytes().await.expect("a manifest");
        let put = http().put(url(to)).header("content-type", media_type);
        let response = put.body(bytes).send().await.expect("a response");
        response
            .error_for_status()
            .expect("the manifest is accepted");
    }

    async fn container(
        image: testcontainers::ContainerRequest<GenericImage>,
        ca_pem: Option<String>,
        wants_credentials: bool,
    ) -> Self {
        let container = image.with_startup_timeout(Duration::from_secs(60)).start().await.unwrap_or_else(|error| {
            panic!("registry:2 cannot be started: {error}\nwhere it cannot be pulled, tests/support/registry-image.sh makes it")
        });
        let port = container
            .get_host_port_ipv4(5000)
            .await
            .expect("the port of registry:2");
        Self {
            address: format!("127.0.0.1:{port}"),
            ca_pem,
            wants_credentials,
            _tokens: None,
            _running: Running::Container(Box::new(container)),
        }
    }
}

/// Deletes a manifest or blob from the registry at `address` over plain HTTP. `path` is
/// `REPOSITORY/manifests/DIGEST` or `REPOSITORY/blobs/DIGEST`.
pub async fn delete(address: &str, path: &str) {
    let request = http().delete(format!("http://{address}/v2/{path}"));
    let response = request.send().await.expect("a response");
    response
        .error_for_status()
        .expect("the deletion is accepted");
}

/// Returns an HTTP client for requests that the product's client does not send.
pub fn http() -> reqwest::Client {
    registry::install_crypto_provider();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
}

fn image() -> testcontainers::ContainerRequest<GenericImage> {
    GenericImage::new("registry", "2")
        .with_exposed_port(5000.tcp())
        .with_wait_for(WaitFor::message_on_stderr("listening on"))
        .with_copy_to(
            "/etc/docker/registry/config.yml",
            CONFIG.as_bytes().to_vec(),
        )
}

fn with_tls(
    image: testcontainers::ContainerRequest<GenericImage>,
    certificates: &Certificates,
) -> testcontainers::ContainerRequest<GenericImage> {
    image
        .with_copy_to("/certs/tls.crt", certificates.leaf.pem().into_bytes())
        .with_copy_to(
            CopyTargetOptions::new("/certs/tls.key").with_mode(0o600),
            certificates.key.serialize_pem().into_bytes(),
        )
        .with_env_var("REGISTRY_HTTP_TLS_CERTIFICATE", "/certs/tls.crt")
        .with_env_var("REGISTRY_HTTP_TLS_KEY", "/certs/tls.key")
}

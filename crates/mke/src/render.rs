//! Renders the `mke4.yaml` of an environment: the managed keys, then the unchanged `config`.

use std::sync::Arc;

use environment::yaml::{self, Mapping, Node};
use environment::{Environment, Problem, Problems, Reference};
use secrecy::SecretString;

use crate::notes::Notes;
use crate::{
    Certainty, RegistryUrls, Release, Support, airgap, config_keys, hosts, inventory, managed_keys,
    network,
};

/// A rendered `mke4.yaml` and its warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The file's text.
    pub text: String,
    /// The warnings about the release and the environment, a fragment each.
    pub warnings: Vec<String>,
}

/// A rendered `mke4.yaml` with the values of its references. Only `mkectl` may read it.
#[derive(Debug)]
pub struct Resolved {
    /// The file's text.
    pub text: SecretString,
    /// The secret values in the text.
    pub secrets: Vec<SecretString>,
}

/// Which of the two registries has a pull secret (`credentialsSecretName`: CHILDREG, APPLY-421).
/// Without one, the cluster pulls anonymously.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullSecrets {
    /// Whether the image registry has one.
    pub images: bool,
    /// Whether the chart registry has one.
    pub charts: bool,
}

impl PullSecrets {
    /// Returns which registries of an environment have a pull secret.
    pub fn of(environment: &Environment) -> Self {
        let has = |registry: &str| {
            let path = ["registries", registry, "credentialsSecretName"];
            path.iter()
                .try_fold(&environment.config, |node, key| node.as_mapping()?.get(key))
                .and_then(Node::text)
                .is_some_and(|name| !name.is_empty())
        };
        Self {
            images: has("imageRegistry"),
            charts: has("chartRegistry"),
        }
    }

    /// Returns whether at least one registry has a pull secret.
    pub fn any(self) -> bool {
        self.images || self.charts
    }

    /// Returns whether both registries have a pull secret.
    pub fn all(self) -> bool {
        self.images && self.charts
    }
}

/// Returns the `mke4.yaml` of an environment.
///
/// `config` contains the keys of `MkeConfig.spec`, which keep their order and spelling. The managed
/// keys `version`, `airgap` and `registries` come first. The result depends on the arguments only.
///
/// # Errors
///
/// All problems of `config`: contradictions of managed keys, and known keys with values that are
/// not valid.
pub fn render(
    environment: &Environment,
    registry: RegistryUrls<'_>,
    release: &Release,
) -> Result<Rendered, Problems> {
    let (document, warnings) = document(environment, registry, release)?;
    Ok(Rendered {
        text: text(environment, &document),
        warnings,
    })
}

/// Returns the `mke4.yaml` of an environment with the values of its references.
///
/// `read` returns the value of a reference, or an error as a lower-case fragment.
///
/// # Errors
///
/// The errors of [`render`], and all references without a value.
pub fn resolve(
    environment: &Environment,
    registry: RegistryUrls<'_>,
    release: &Release,
    read: &dyn Fn(&Reference) -> Result<SecretString, String>,
) -> Result<Resolved, Problems> {
    // The checks run before the references are resolved, so messages cannot contain the values.
    let (document, _) = document(environment, registry, release)?;
    let (document, secrets) = environment::resolve_references(document, read)?;
    Ok(Resolved {
        text: text(environment, &document).into(),
        secrets,
    })
}

/// Returns the document of an environment with its references, and the warnings.
fn document(
    environment: &Environment,
    registry: RegistryUrls<'_>,
    release: &Release,
) -> Result<(Node, Vec<String>), Problems> {
    let release = &release.clone().with_facts(environment.facts);
    let mut notes = Notes::new(environment);
    notes.warnings.extend(release.warnings());
    let empty = Mapping::new();
    let config = environment.config.as_mapping().unwrap_or(&empty);
    let config = &inventory::with_hosts(environment, config, &mut notes);
    refuse_document_keys(config, &mut notes);
    let machines = config.get("hosts").and_then(Node::as_sequence);
    let machines = machines.unwrap_or_default();
    hosts::check(machines, &mut notes);
    check_external_address(environment, config, release, &mut notes);
    check_registry(config, registry, release, &environment.facts, &mut notes);
    airgap::check(environment, config, &mut notes);
    network::check(config, machines, release, &mut notes);
    config_keys::check(config, release, &mut notes);

    let version = format!("v{}", release.version());
    let mut spec = Mapping::new();
    let sections = [
        managed_keys::version(config, &version, &mut notes),
        managed_keys::airgap(config, &mut notes),
        managed_keys::registries(config, registry, &mut notes),
    ];
    for (name, section) in managed_keys::SECTIONS.into_iter().zip(sections) {
        spec.insert(Node::string(name), section);
    }
    for (key, value) in config.iter() {
        if !managed_keys::SECTIONS.contains(&key.text().unwrap_or_default()) {
            spec.insert(key.clone(), value.clone());
        }
    }

    let Notes {
        mut problems,
        warnings,
        near_misses,
        secrets,
        ..
    } = notes;
    if !problems.is_empty() {
        problems.extend(near_misses);
        sort_and_dedup(&mut problems, environment);
        secrets.mask(&mut problems);
        return Err(Problems(problems));
    }
    let document = Node::mapping([
        ("apiVersion", Node::string("mke.mirantis.com/v1alpha1")),
        ("kind", Node::string("MkeConfig")),
        (
            "metadata",
            Node::mapping([
                ("name", Node::string("mke")),
                // The installation fails in any other namespace.
                ("namespace", Node::string("mke")),
            ]),
        ),
        ("spec", managed_keys::mapping(spec)),
    ]);
    Ok((document, warnings))
}

fn text(environment: &Environment, document: &Node) -> String {
    format!("{}\n{}", header(environment), yaml::emit(document))
}

/// Sorts problems by file and place. Of several problems at the same place, the first stays: the
/// specific rules run before the check of types.
fn sort_and_dedup(problems: &mut Vec<Problem>, environment: &Environment) {
    let file = |problem: &Problem| {
        let mut files = environment.files.iter();
        files.position(|file| file.path == problem.source.path)
    };
    problems.sort_by_key(|problem| (file(problem), problem.span.start));
    problems.dedup_by(|later, first| {
        later.span == first.span && later.source.path == first.source.path
    });
}

/// Returns a comment that names the file to edit instead of the rendered one.
fn header(environment: &Environment) -> String {
    let name = &environment.name;
    let file = match environment.files.first() {
        Some(file) => file.path.to_string(),
        None => format!("environments/{name}/environment.yaml"),
    };
    format!("# Written by `render {name}`. To change it, change {file}.")
}

/// The vendor's statement about child clusters (DOCS-SRC, configuration/MKE 4k child
/// clusters/airgap-options.md), which holds up to 4.2.1.
pub(crate) const CHILD_CLUSTERS: &str =
    "\"Currently, offline installation is not supported for child clusters\", says the vendor";

fn refuse_document_keys(config: &Mapping, notes: &mut Notes) {
    if let Some(kind) = config
        .get("kind")
        .filter(|kind| kind.text() == Some("MkeChildConfig"))
    {
        let problem = Problem::at(
            kind,
            format!("`MkeChildConfig` is refused: {CHILD_CLUSTERS}"),
        );
        notes.problems.push(
            problem.with_help("describe the management cluster; child clusters are made in it"),
        );
    }
    for name in managed_keys::DOCUMENT_KEYS {
        if let Some((key, _)) = config.pair(name) {
            notes.problems.push(
                Problem::at(key, format!("`{name}` does not belong in `config`")).with_help(
                    "`config` contains the keys below `spec`; Airlock writes the keys around them",
                ),
            );
        }
    }
}

fn check_external_address(
    environment: &Environment,
    config: &Mapping,
    release: &Release,
    notes: &mut Notes,
) {
    let address = config
        .get("apiServer")
        .and_then(|server| server.get("externalAddress"))
        .filter(|address| !address.is_null());
    match address {
        Some(address) if address.text().is_some_and(|text| text.contains("://")) => {
            notes.problems.push(
                Problem::at(address, "`apiServer.externalAddress` has a scheme")
                    .with_help("write a host with an optional port: remove everything up to `://`"),
            );
        }
        None if release.external_address_required() => {
            let rule = format!(
                "`config.apiServer.externalAddress` is not set, but v{} requires it",
                release.version()
            );
            let is_documented = release.is_known()
                && release.row().external_address_required.certainty == Certainty::Documented
                || environment.facts.external_address.is_some();
            let override_hint = match is_documented {
                true => "",
                false => "; to override this, write `facts: { external-address: optional }`",
            };
            match environment.files.first() {
                // For an unknown release the rule is assumed, so it is only a warning.
                Some(file) if release.is_known() => notes.problems.push(Problem {
                    source: Arc::clone(file),
                    span: config
                        .pair("apiServer")
                        .filter(|(key, _)| key.source.path == file.path)
                        .map_or(0..0, |(key, _)| key.span.clone()),
                    rule,
                    help: Some(format!(
                        "write the address of the load balancer, or of the only controller{override_hint}"
                    )),
                    is_warning: false,
                }),
                _ => notes.warnings.push(format!("{rule}{override_hint}")),
            }
        }
        _ => {}
    }
}

fn check_registry(
    config: &Mapping,
    registry: RegistryUrls<'_>,
    release: &Release,
    facts: &environment::Facts,
    notes: &mut Notes,
) {
    let version = release.version();
    if registry.ca_pem.is_some() {
        match release.private_ca() {
            Support::Yes => {}
            Support::No => {
                let fact = &release.row().private_ca;
                let is_certain = fact.certainty == Certainty::Documented
                    || facts.private_ca.is_some();
                let override_hint = match is_certain {
                    true => "",
                    false => "; to override this, write `facts: { private-ca: supported }`",
                };
                notes.warnings.push(format!(
                    "v{version} does not support a registry with a certificate from a private CA{override_hint}"
                ));
            }
            Support::Unverified => notes.warnings.push(format!(
                "it is unverified whether v{version} honours `caData`; its documentation first asked for a publicly \
                 trusted certificate. If you know the answer, write `facts: {{ private-ca: supported }}`, or `unsupported`"
            )),
        }
    }
    let names_credentials = config
        .get("registries")
        .and_then(Node::as_mapping)
        .is_some_and(|registries| {
            registries
                .iter()
                .any(|(_, registry)| registry.get("credentialsSecretName").is_some())
        });
    if names_credentials && release.anonymous_pull_required() {
        let is_documented = release.is_known()
            && matches!(
                release.anonymous_pull_certainty(),
                Certainty::Documented | Certainty::Observed
            );
        let override_hint = match is_documented || facts.anonymous_pull.is_some() {
            true => "",
            false => "; to override this, write `facts: { anonymous-pull: optional }`",
        };
        notes.warnings.push(format!(
            "`credentialsSecretName` is set, but v{version} is expected to pull without credentials only{override_hint}"
        ));
    }
}

#[cfg(test)]
pub(crate) mod tests;

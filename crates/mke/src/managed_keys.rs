//! The managed keys of `mke4.yaml`, merged with the keys that the operator may add beside them.
//!
//! The operator may omit the managed keys or set them to the same values. A different value is a
//! contradiction, and the problem names both places.

use environment::Problem;
use environment::yaml::{Mapping, Node, Style, Value};

use crate::notes::Notes;

/// The registries that the nodes of a cluster pull from, as in `mke4.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryUrls<'a> {
    /// The registry of images: host, port and path, without scheme and trailing slash.
    pub image: &'a str,
    /// The registry of charts: the same with a leading `oci://`.
    pub chart: &'a str,
    /// The certificate of the private CA that signed the registry's certificate, in PEM.
    pub ca_pem: Option<&'a str>,
}

/// The managed sections of the spec. All other sections are passed on unchanged.
pub(crate) const SECTIONS: [&str; 3] = ["version", "airgap", "registries"];

/// The keys of the document around `spec`. Operators may paste them into `config` by mistake.
pub(crate) const DOCUMENT_KEYS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Returns `spec.version`.
pub(crate) fn version(config: &Mapping, release: &str, notes: &mut Notes) -> Node {
    if let Some(node) = config.get("version")
        && node.text() != Some(release)
    {
        notes.problems.push(
            Problem::at(
                node,
                format!("`version` contradicts `release`, which is {release}"),
            )
            .with_help("remove it: `release` decides what is installed"),
        );
    }
    Node::string(release)
}

/// Returns `spec.airgap`.
pub(crate) fn airgap(config: &Mapping, notes: &mut Notes) -> Node {
    let mut section = Mapping::new();
    section.insert(Node::string("enabled"), Node::boolean(true));
    for (key, value) in pairs(subsection(config, "airgap", "airgap", notes)) {
        if key.text() != Some("enabled") {
            section.insert(key.clone(), value.clone());
        } else if !is_true(value) {
            notes.problems.push(
                Problem::at(
                    value,
                    "`airgap.enabled` must be `true`: all images come from the registry",
                )
                .with_help("remove it"),
            );
        }
    }
    mapping(section)
}

/// Returns `spec.registries`.
pub(crate) fn registries(config: &Mapping, urls: RegistryUrls<'_>, notes: &mut Notes) -> Node {
    let given = subsection(config, "registries", "registries", notes);
    let mut section = Mapping::new();
    for (name, url) in [("imageRegistry", urls.image), ("chartRegistry", urls.chart)] {
        let path = format!("registries.{name}");
        let given = given.and_then(|given| subsection(given, name, &path, notes));
        let registry = registry(given, &path, url, urls.ca_pem, notes);
        section.insert(Node::string(name), registry);
    }
    for (key, value) in pairs(given) {
        if section.get(key.text().unwrap_or_default()).is_none() {
            section.insert(key.clone(), value.clone());
        }
    }
    mapping(section)
}

/// Returns one of the two registries: the managed URL and CA, then the operator's other keys, such
/// as `credentialsSecretName`.
fn registry(
    given: Option<&Mapping>,
    path: &str,
    url: &str,
    ca_pem: Option<&str>,
    notes: &mut Notes,
) -> Node {
    let mut section = Mapping::new();
    section.insert(Node::string("url"), Node::string(url));
    if let Some(pem) = ca_pem {
        section.insert(Node::string("caData"), Node::literal(pem));
    }
    for (key, value) in pairs(given) {
        match key.text().unwrap_or_default() {
            // The vendor's tables of settings have `URL`; its examples and its program have `url`.
            name @ ("url" | "URL") => {
                if value.text() != Some(url) {
                    notes.problems.push(
                        Problem::at(
                            value,
                            format!(
                                "`{path}.{name}` contradicts `registry`, which makes it `{url}`"
                            ),
                        )
                        .with_help("remove it: `registry` decides where images and charts are"),
                    );
                } else if name == "URL" {
                    notes.warn(
                        Problem::at(key, format!("`{path}.URL` is left out: MKE reads `url`"))
                            .with_help("remove it: `registry` sets `url`"),
                    );
                }
            }
            "caData" if !is_same_pem(value.text(), ca_pem) => {
                let rule = match ca_pem {
                    Some(_) => {
                        format!("`{path}.caData` contradicts the certificate in `registry.ca`")
                    }
                    None => format!("`{path}.caData` is set from `registry.ca`, which is missing"),
                };
                notes.problems.push(
                    Problem::at(value, rule).with_help(
                        "put the certificate into a file and name that in `registry.ca`",
                    ),
                );
            }
            "caData" => {}
            _ => {
                section.insert(key.clone(), value.clone());
            }
        }
    }
    mapping(section)
}

/// Returns the mapping under a key, if it exists. Any other value is a problem.
fn subsection<'a>(
    parent: &'a Mapping,
    key: &str,
    path: &str,
    notes: &mut Notes,
) -> Option<&'a Mapping> {
    let node = parent.get(key)?;
    let section = node.as_mapping();
    if section.is_none() && !node.is_null() {
        notes.problems.push(Problem::at(
            node,
            format!("`{path}` is {}, not a mapping", node.kind()),
        ));
    }
    section
}

fn pairs(mapping: Option<&Mapping>) -> impl Iterator<Item = (&Node, &Node)> {
    mapping.into_iter().flat_map(Mapping::iter)
}

/// Makes a node of a mapping. Its keys keep their spelling.
pub(crate) fn mapping(pairs: Mapping) -> Node {
    Node {
        value: Value::Mapping(pairs),
        ..Node::sequence([])
    }
}

fn is_true(node: &Node) -> bool {
    node.as_scalar()
        .is_some_and(|scalar| scalar.style == Style::Plain && scalar.text == "true")
}

/// Returns whether two certificates are equal, ignoring white space around lines and empty lines.
fn is_same_pem(left: Option<&str>, right: Option<&str>) -> bool {
    let lines = |text: Option<&str>| -> Option<Vec<String>> {
        let lines = text?.lines().map(|line| line.trim().to_owned());
        Some(lines.filter(|line| !line.is_empty()).collect())
    };
    lines(left) == lines(right)
}

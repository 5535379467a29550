//! Charts of classic Helm repositories: finds one in `index.yaml`, and makes the OCI artifact that
//! `helm push` would make.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::chart::below_base;
use crate::describe::sorted;
use crate::wrap::{Wrapped, json, wrap_as_helm};

/// Maximum size of an index or a packed chart, in bytes.
pub const LARGEST_CHART_FILE: u64 = 64 << 20;

/// Maximum number of bytes inflated to look at the files of a chart.
const LARGEST_INFLATED: u64 = 256 << 20;

/// Maximum size of a `Chart.yaml`, in bytes.
const LARGEST_METADATA: u64 = 1 << 20;

/// The `index.yaml` of a repository.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an index of charts")]
pub struct HelmIndex {
    #[serde(default)]
    entries: BTreeMap<String, Option<Vec<Option<Indexed>>>>,
}

/// A version of a chart in an index.
#[derive(Debug, Deserialize)]
pub struct Indexed {
    version: Option<String>,
    urls: Option<Vec<String>>,
    digest: Option<String>,
}

/// Reason why a chart of a classic repository cannot be mirrored.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// The index cannot be parsed.
    #[error("its index.yaml cannot be parsed: {0}")]
    Index(String),
    /// The index does not list the chart.
    #[error("its index.yaml has no chart `{name}`")]
    NoChart {
        /// Name of the chart, shortened.
        name: String,
    },
    /// The index does not list this version of the chart.
    #[error("its index.yaml has no version `{version}` of {name}, but: {}", known.join(", "))]
    NoVersion {
        /// Name of the chart.
        name: String,
        /// Requested version.
        version: String,
        /// First versions that the index lists.
        known: Vec<String>,
    },
    /// The chart has no `Chart.yaml`.
    #[error("the chart has no Chart.yaml")]
    NoMetadata,
    /// The chart has a file that Helm refuses or reads differently than other programs.
    #[error("the chart has `{path}`{rule}")]
    File {
        /// Path of the file.
        path: String,
        /// The rule that it breaks, as the end of the sentence.
        rule: &'static str,
    },
    /// The chart is not a `tar.gz`, or is too large.
    #[error("the chart cannot be unpacked")]
    Packed(#[source] std::io::Error),
    /// The `Chart.yaml` cannot be parsed.
    #[error("its Chart.yaml cannot be parsed: {0}")]
    Metadata(String),
}

/// A chart as an OCI artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedChart {
    /// Name in `Chart.yaml`.
    pub name: String,
    /// Version in `Chart.yaml`.
    pub version: String,
    /// The documents that `helm push` would make.
    pub wrapped: Wrapped,
}

impl HelmIndex {
    /// Parses an `index.yaml`.
    ///
    /// # Errors
    /// [`HelmError::Index`] if the text is not an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, HelmError> {
        crate::foreign::parse(bytes).map_err(|error| HelmError::Index(reason(&error)))
    }

    /// Returns a version of a chart.
    ///
    /// # Errors
    /// [`HelmError::NoChart`] or [`HelmError::NoVersion`] if the index does not list it.
    pub fn find(&self, name: &str, version: &str) -> Result<&Indexed, HelmError> {
        let Some(Some(versions)) = self.entries.get(name) else {
            return Err(HelmError::NoChart {
                name: redaction::line(name, 100),
            });
        };
        let has = |one: &&Indexed| one.version.as_deref() == Some(version);
        let mut all = versions.iter().flatten();
        all.find(has).ok_or_else(|| {
            let known = versions.iter().flatten();
            let known = known.filter_map(|one| one.version.as_deref()).take(5);
            HelmError::NoVersion {
                name: name.to_owned(),
                version: version.to_owned(),
                known: known.map(|one| redaction::line(one, 50)).collect(),
            }
        })
    }
}

impl Indexed {
    /// Returns the URL of the packed chart, absolute or relative to the repository. If there are
    /// several, it is the first, which Helm uses, too.
    pub fn url(&self) -> Option<&str> {
        self.urls.as_ref()?.first().map(String::as_str)
    }

    /// Returns the digest of the packed chart, `sha256:<hex>`, if the index gives one.
    pub fn digest(&self) -> Option<String> {
        let digest = self.digest.as_deref()?.trim();
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        (!hex.is_empty()).then(|| format!("sha256:{}", hex.to_ascii_lowercase()))
    }
}

/// Returns the documents that `helm push` makes of a packed chart, but without the time of the
/// push.
///
/// # Errors
/// [`HelmError`] if `packed` is not a chart.
pub fn wrap_chart(packed: &[u8]) -> Result<WrappedChart, HelmError> {
    let text = metadata(packed)?;
    let chart = crate::foreign::parse(&text);
    let mut chart: Metadata = chart.map_err(|error| HelmError::Metadata(reason(&error)))?;
    chart.clean();
    let mut annotations = chart.own_annotations();
    for (key, value) in chart.annotations.iter().flatten() {
        if ![TITLE, VERSION].contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let config = json(&chart);
    Ok(WrappedChart {
        name: chart.name,
        version: chart.version,
        wrapped: wrap_as_helm(config, packed, annotations),
    })
}

/// Returns the `Chart.yaml` of a packed chart. Refuses every chart that Helm refuses, before it is
/// mirrored.
fn metadata(packed: &[u8]) -> Result<Vec<u8>, HelmError> {
    let inflated = MultiGzDecoder::new(packed).take(LARGEST_INFLATED);
    let mut archive = tar::Archive::new(inflated);
    let (mut text, mut has_values) = (None, false);
    for entry in archive.entries().map_err(HelmError::Packed)? {
        let entry = entry.map_err(HelmError::Packed)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() || path.ends_with('/') {
            continue;
        }
        let invalid = |rule| HelmError::File {
            path: redaction::line(&path, 100),
            rule,
        };
        let Some((_, below)) = below_base(&path) else {
            return Err(invalid(", a path that Helm refuses"));
        };
        // Only files at the top count: subcharts have their own.
        let is_twice = match below.as_str() {
            "Chart.yaml" => text.is_some(),
            "values.yaml" => std::mem::replace(&mut has_values, true),
            _ => continue,
        };
        if is_twice {
            return Err(invalid(" twice"));
        }
        if !kind.is_file() {
            return Err(invalid(", which is a link"));
        }
        if below == "Chart.yaml" {
            if entry.size() > LARGEST_METADATA {
                return Err(invalid(", which has more than 1 MiB"));
            }
            let mut bytes = Vec::new();
            let mut entry = entry;
            entry.read_to_end(&mut bytes).map_err(HelmError::Packed)?;
            let bare = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            text = Some(bare.to_vec());
        }
    }
    text.ok_or(HelmError::NoMetadata)
}

const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";

/// The fields of `Chart.yaml`, in the order in which Helm writes them.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "is_empty")]
    home: Option<String>,
    #[serde(default, skip_serializing_if = "has_none")]
    sources: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(default, skip_serializing_if = "is_empty")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "has_none")]
    keywords: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "has_none")]
    maintainers: Option<Vec<Maintainer>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    icon: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty")]
    api_version: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty")]
    condition: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty")]
    tags: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "scalar")]
    app_version: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    deprecated: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    kube_version: Option<String>,
    #[serde(default, skip_serializing_if = "has_none")]
    dependencies: Option<Vec<Dependency>>,
    #[serde(default, rename = "type", skip_serializing_if = "is_empty")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Maintainer {
    #[serde(default, skip_serializing_if = "is_empty")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty")]
    url: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Dependency {
    name: String,
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "scalar")]
    version: Option<String>,
    #[serde(default)]
    repository: String,
    #[serde(default, skip_serializing_if = "is_empty")]
    condition: Option<String>,
    #[serde(default, skip_serializing_if = "has_none")]
    tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_false")]
    enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "has_none")]
    import_values: Option<Vec<serde_json::Value>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    alias: Option<String>,
}

impl Metadata {
    /// Corrects the fields that Helm corrects when it reads a chart.
    fn clean(&mut self) {
        if is_empty(&self.api_version) {
            self.api_version = Some("v1".to_owned());
        }
        if let Some(description) = &mut self.description {
            let one_line = description.chars().filter_map(|one| match one {
                one if one.is_whitespace() => Some(' '),
                one => (!one.is_control()).then_some(one),
            });
            *description = one_line.collect();
        }
        self.annotations
            .take_if(|annotations| annotations.is_empty());
        for dependency in self.dependencies.iter_mut().flatten() {
            let values = dependency.import_values.iter_mut().flatten();
            values.for_each(|value| *value = sorted(value.take()));
        }
    }

    /// Returns the manifest's annotations made of the chart's own fields.
    fn own_annotations(&self) -> BTreeMap<String, String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let maintainers = self.maintainers.iter().flatten();
        let authors: Vec<String> = maintainers
            .map(|one| match is_empty(&one.email) {
                true => text(&one.name),
                false => format!("{} ({})", text(&one.name), text(&one.email)),
            })
            .collect();
        let source = self.sources.as_ref().and_then(|all| all.first().cloned());
        let named = [
            ("description", text(&self.description)),
            ("title", self.name.clone()),
            ("version", self.version.clone()),
            ("url", text(&self.home)),
            ("source", source.unwrap_or_default()),
            ("authors", authors.join(", ")),
        ];
        named
            .into_iter()
            .filter(|(_, text)| !text.trim().is_empty())
            .map(|(key, text)| (format!("org.opencontainers.image.{key}"), text))
            .collect()
    }
}

/// Deserializes a string that may be written as a number, and formats it like Helm: `1.10` becomes
/// `1.1`.
fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_yaml::Value::deserialize(deserializer)? {
        serde_yaml::Value::Null => None,
        serde_yaml::Value::String(text) => Some(text),
        serde_yaml::Value::Bool(value) => Some(value.to_string()),
        serde_yaml::Value::Number(number) if number.is_f64() => {
            // Go's format `g` with the shortest digits of 32 bits.
            let value = number.as_f64().unwrap_or_default() as f32;
            let scientific = format!("{value:e}");
            let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
            let exponent: i32 = exponent.parse().unwrap_or_default();
            Some(match exponent {
                -4..6 => value.to_string(),
                _ => format!("{digits}e{exponent:+03}"),
            })
        }
        serde_yaml::Value::Number(number) => Some(number.to_string()),
        _ => return Err(D::Error::custom("expected a text")),
    })
}

/// Returns the parser's error, shortened because it may quote a long string.
fn reason(error: &serde_yaml::Error) -> String {
    redaction::line(&error.to_string(), 200)
}

fn is_empty(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

fn has_none<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

fn is_false(value: &Option<bool>) -> bool {
    *value != Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::pack;

    const CHART: &[u8] = b"apiVersion: v2\nname: a\nversion: 1.0.0\n";

    // Expectations are the output of `helm show chart` 4.1.4.
    #[test]
    fn numbers_become_strings_like_in_helm() {
        for (written, expected) in [
            ("1.10", "1.1"),
            ("'1.10'", "1.10"),
            ("1.0", "1"),
            ("1.29.0", "1.29.0"),
            ("42", "42"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("0x10", "16"),
            ("true", "true"),
            ("123456.5", "123456.5"),
            ("1234567.5", "1.2345675e+06"),
            ("12345678.5", "1.2345678e+07"),
            ("0.00001", "1e-05"),
            ("2026-01-01", "2026-01-01"),
        ] {
            let text = format!("name: a\nversion: 1.0.0\nappVersion: {written}\n");
            let chart: Metadata = crate::foreign::parse(text.as_bytes()).unwrap();
            assert_eq!(chart.app_version.as_deref(), Some(expected), "{written}");
        }
    }

    // Each case was tried with `helm show chart` 4.1.4.
    #[test]
    fn charts_that_helm_refuses_or_reads_differently_are_refused() {
        let chart = ("a/Chart.yaml", CHART);
        for (files, expected) in [
            (vec![chart, chart], "the chart has `a/Chart.yaml` twice"),
            (vec![chart, ("b/Chart.yaml", CHART)], "`b/Chart.yaml` twice"),
            (
                vec![chart, ("a/x/../Chart.yaml", CHART)],
                "`a/x/../Chart.yaml` twice",
            ),
            (vec![chart, ("a\\Chart.yaml", CHART)], "Chart.yaml` twice"),
            (
                vec![
                    chart,
                    ("a/values.yaml", b"x: 1"),
                    ("a/./values.yaml", b"x: 2"),
                ],
                "`a/./values.yaml` twice",
            ),
            (
                vec![chart, ("a/../../etc/x", b"")],
                "`a/../../etc/x`, a path that Helm refuses",
            ),
            (vec![chart, ("a//etc/x", b"")], "refuses"),
            (vec![chart, ("README", b"")], "refuses"),
            (vec![chart, ("a/c:/x", b"")], "refuses"),
            (vec![("./a/Chart.yaml", CHART)], "has no Chart.yaml"),
            (vec![("/a/Chart.yaml", CHART)], "has no Chart.yaml"),
            (vec![("a/chart.yaml", CHART)], "has no Chart.yaml"),
        ] {
            let error = wrap_chart(&pack(&files)).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{files:?}: {error}");
        }
        for files in [
            vec![
                chart,
                ("a/charts/b/Chart.yaml", CHART),
                ("a/charts/b/values.yaml", b""),
            ],
            vec![("a/x/../Chart.yaml", CHART)],
            vec![("a\\Chart.yaml", CHART)],
            vec![("a/Chart.yaml", b"\xef\xbb\xbfname: a\nversion: 1.0.0\n")],
        ] {
            assert_eq!(wrap_chart(&pack(&files)).unwrap().name, "a", "{files:?}");
        }
    }
}

//! Computes values that make a chart use the images of a mirror.
//!
//! The chart's own values show where it reads images from. Helm has no rule for that, but charts
//! have conventions. A value is changed only if the image that it names is in the mirror, so a
//! wrong guess is harmless. Images that are not in the mirror are reported.

use std::collections::BTreeSet;
use std::io::Read;

use serde_yaml::{Mapping, Value};

use super::tree::{self, Chart, merge};
use crate::name::Name;
use crate::set::Reference;

/// Keys that may have a tag, the usual one first.
const TAGS: [&str; 2] = ["tag", "imageTag"];

/// Keys that may have a digest, with the prefix that their value lacks.
const DIGESTS: [(&str, &str); 2] = [("digest", ""), ("sha", "sha256:")];

/// The place of an image in the mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePlace {
    /// Registry, `host[:port]`.
    pub registry: String,
    /// Repository in the registry.
    pub repository: String,
    /// Tag, if it differs from the requested one.
    pub tag: Option<String>,
    /// Digest, if it differs from the requested one.
    pub digest: Option<String>,
}

/// Values that make a chart use a mirror.
#[derive(Debug, Default)]
pub struct ChartValues {
    /// The values as YAML; empty if none are needed.
    pub text: String,
    /// Values that name an image which the mirror lacks: path of the value, and image. If the value
    /// has no tag, the image has the chart's `appVersion`.
    pub missing: BTreeSet<(String, String)>,
    /// Images that templates name in plain text. No value changes them.
    pub fixed: BTreeSet<String>,
    /// Whether a part of the chart was skipped, because a bound was reached or it could not be
    /// read.
    pub is_cut: bool,
}

/// Returns the values that make a packed chart use the images of a mirror; `None` if it is not a
/// chart.
///
/// `place` returns the place of an image in the mirror. Its arguments are the reference, without a
/// tag if the chart sets none, and the chart's `appVersion`, which many charts use as the default
/// tag.
pub fn chart_values(
    chart: impl Read,
    place: &dyn Fn(&Reference, &str) -> Option<ImagePlace>,
) -> Option<ChartValues> {
    let (chart, is_cut) = tree::read(chart);
    let chart = chart?;
    let mut walk = Walk {
        place,
        globals: Mapping::new(),
        registry: String::new(),
        found: ChartValues {
            is_cut,
            ..ChartValues::default()
        },
    };
    let mut values = walk.chart(&chart, &Mapping::new(), &Mapping::new(), "");
    if !walk.globals.is_empty() {
        values.insert("global".into(), Value::Mapping(walk.globals));
    }
    let mut found = walk.found;
    if !values.is_empty() {
        found.text = serde_yaml::to_string(&values).expect("values came from YAML");
    }
    Some(found)
}

struct Walk<'a> {
    place: &'a dyn Fn(&Reference, &str) -> Option<ImagePlace>,
    /// Values to set under `global`.
    globals: Mapping,
    /// The mirror's registry, once an image was found in it.
    registry: String,
    found: ChartValues,
}

/// Settings for all values of one chart.
struct Context<'a> {
    app_version: &'a str,
    /// The global registry, which replaces that of each image in charts of Bitnami; may be empty.
    registry: &'a str,
}

impl Walk<'_> {
    /// Returns the values to set for a chart. `over` are its values in the parent chart.
    fn chart(&mut self, chart: &Chart, over: &Mapping, globals: &Mapping, path: &str) -> Mapping {
        let mut values = chart.values.clone();
        merge(&mut values, over);
        let mut own = mapping(values.remove("global"));
        merge(&mut own, globals);
        let globals = own;
        let context = Context {
            app_version: &chart.app_version,
            registry: text(&globals, "imageRegistry").unwrap_or_default(),
        };
        let mut set = Mapping::new();
        for (key, inner) in &chart.charts {
            let over = mapping(values.remove(key.as_str()));
            let inner = self.chart(inner, &over, &globals, &join(path, key));
            if !inner.is_empty() {
                set.insert(key.as_str().into(), Value::Mapping(inner));
            }
        }
        let own = self.mapping(&values, "", path, &context);
        let global_set = self.mapping(&globals, "", "global", &context);
        let is_changed = !own.is_empty() || !global_set.is_empty();
        if is_changed && !context.registry.is_empty() {
            let registry = Value::from(self.registry.as_str());
            self.globals.insert("imageRegistry".into(), registry);
        }
        // Charts of Bitnami refuse every image name but their own, whatever its content.
        let security = mapping(globals.get("security").cloned());
        if is_changed && security.contains_key("allowInsecureImages") {
            let allowed = Mapping::from_iter([("allowInsecureImages".into(), true.into())]);
            self.globals.insert("security".into(), allowed.into());
        }
        merge(&mut set, &own);
        merge(&mut self.globals, &global_set);
        self.found.fixed.extend(chart.fixed.iter().cloned());
        set
    }

    /// Returns the values to set in a mapping, which is the value of `key`.
    fn mapping(
        &mut self,
        values: &Mapping,
        key: &str,
        path: &str,
        context: &Context<'_>,
    ) -> Mapping {
        // Not every image of a chart uses the global registry.
        let registries = [context.registry, ""].into_iter();
        let mut images: Vec<Image<'_>> = registries
            .filter_map(|registry| Image::of(values, key, registry))
            .collect();
        let mut known = images.iter();
        let known =
            known.position(|one| (self.place)(&one.reference, context.app_version).is_some());
        let image = (!images.is_empty()).then(|| images.swap_remove(known.unwrap_or(0)));
        let mut set = match &image {
            Some(image) => match self.place(&image.reference, context) {
                Some(place) => image.set(&place),
                None => {
                    if image.is_certain {
                        self.record_missing(path, &image.reference, context);
                    }
                    Mapping::new()
                }
            },
            None => Mapping::new(),
        };
        for (key, value) in values {
            let Some(key) = key.as_str() else { continue };
            let is_done = |image: &Image<'_>| [image.name_key, "repository"].contains(&key);
            if image.as_ref().is_some_and(is_done) {
                continue;
            }
            if let Some(value) = self.value(value, key, &join(path, key), context) {
                set.insert(key.into(), value);
            }
        }
        set
    }

    fn value(
        &mut self,
        value: &Value,
        key: &str,
        path: &str,
        context: &Context<'_>,
    ) -> Option<Value> {
        match value {
            Value::Mapping(values) => {
                let set = self.mapping(values, key, path, context);
                (!set.is_empty()).then_some(set.into())
            }
            Value::Sequence(items) => {
                let numbered = items.iter().enumerate();
                let set = numbered.map(|(number, item)| {
                    self.value(item, key, &format!("{path}[{number}]"), context)
                });
                let set: Vec<Option<Value>> = set.collect();
                // Helm replaces lists completely.
                set.iter().any(Option::is_some).then(|| {
                    let items = items.iter().zip(set);
                    items.map(|(item, set)| overlay(item, set)).collect()
                })
            }
            Value::String(text) => self.string(text, key, path, context).map(Value::String),
            _ => None,
        }
    }

    /// Returns the new value of a string that is a reference. Without a tag it counts as a
    /// reference only if its key is one of images.
    fn string(
        &mut self,
        text: &str,
        key: &str,
        path: &str,
        context: &Context<'_>,
    ) -> Option<String> {
        let is_complete = has_tag_or_digest(text);
        let is_image = is_image_key(key);
        if !is_complete && !is_image && !key.ends_with("epository") {
            return None;
        }
        let mut reference = Reference::parse(text).ok()?;
        if !is_complete {
            reference.tag = None;
        }
        let place = self.place(&reference, context);
        let place = place.filter(|place| is_complete || place.tag.is_none());
        if place.is_none() && is_image && (is_complete || text.contains('/')) {
            self.record_missing(path, &reference, context);
        }
        let place = place?;
        let name = format!("{}/{}", place.registry, place.repository);
        Some(name + &suffix(&reference, &place))
    }

    fn place(&mut self, reference: &Reference, context: &Context<'_>) -> Option<ImagePlace> {
        let place = (self.place)(reference, context.app_version)?;
        self.registry.clone_from(&place.registry);
        Some(place)
    }

    fn record_missing(&mut self, path: &str, reference: &Reference, context: &Context<'_>) {
        let mut image = reference.to_string();
        let has_none = reference.tag.is_none() && reference.digest.is_none();
        if has_none && Name::new("a", context.app_version).is_ok() {
            image = format!("{image}:{}", context.app_version);
        }
        self.found.missing.insert((path.to_owned(), image));
    }
}

/// An image whose reference is split into keys: a repository, and possibly a registry, a tag and a
/// digest.
struct Image<'a> {
    values: &'a Mapping,
    /// Key of its name.
    name_key: &'static str,
    /// Whether `repository` has only the folder, and `image` the name.
    has_folder: bool,
    /// Complete reference. It has no tag if none is set.
    reference: Reference,
    /// Whether the name contains the tag or the digest.
    name_is_complete: bool,
    /// Whether it is certainly an image, and not something else in a repository.
    is_certain: bool,
}

impl<'a> Image<'a> {
    /// Returns the image that the values of `key` name. `registry` is the global registry, or
    /// empty.
    fn of(values: &'a Mapping, key: &str, registry: &str) -> Option<Self> {
        let has = |key: &str| values.contains_key(key);
        let has_tag =
            TAGS.into_iter().any(has) || DIGESTS.into_iter().any(|(digest, _)| has(digest));
        let repository = text(values, "repository").filter(|text| !text.contains("://"));
        let (name_key, name) = match (repository, text(values, "image"), text(values, "name")) {
            (Some(folder), Some(image), _) if !image.contains(['/', ':']) => {
                ("image", format!("{folder}/{image}"))
            }
            (Some(repository), ..) => ("repository", repository.to_owned()),
            (None, Some(image), _) if has_tag || has("registry") => ("image", image.to_owned()),
            (None, None, Some(name)) if is_image_key(key) && has_tag => ("name", name.to_owned()),
            _ => return None,
        };
        let has_folder = name_key == "image" && repository.is_some();
        let registry = match (has("registry"), registry) {
            (false, _) => None,
            (true, "") => text(values, "registry"),
            (true, registry) => Some(registry),
        };
        let whole = registry.map_or_else(|| name.clone(), |registry| format!("{registry}/{name}"));
        let mut reference = Reference::parse(&whole).ok()?;
        let name_is_complete = has_tag_or_digest(&name);
        if !name_is_complete {
            let keys = TAGS.into_iter().chain(has_folder.then_some("version"));
            reference.tag = keys.filter_map(|key| scalar(values.get(key)?)).next();
            reference.digest = DIGESTS.into_iter().find_map(|(key, before)| {
                let digest = text(values, key)?;
                let before = if digest.contains(':') { "" } else { before };
                Some(format!("{before}{digest}"))
            });
        }
        Some(Self {
            values,
            name_key,
            has_folder,
            reference,
            name_is_complete,
            is_certain: has_tag || is_image_key(key) || has("pullPolicy"),
        })
    }

    /// Returns the values to set, for the keys that the chart has.
    fn set(&self, place: &ImagePlace) -> Mapping {
        let ImagePlace {
            registry,
            repository,
            tag,
            digest,
        } = place;
        let mut set = Mapping::new();
        let mut put = |key: &str, value: &str| set.insert(key.into(), value.into());
        let whole = format!("{registry}/{repository}");
        match whole.rsplit_once('/') {
            Some((folder, name)) if self.has_folder => {
                put("repository", folder);
                put("image", name);
            }
            _ if self.values.contains_key("registry") => {
                put("registry", registry);
                put(self.name_key, repository);
            }
            _ => {
                put(self.name_key, &whole);
            }
        }
        if self.name_is_complete {
            let name = set.get_mut(self.name_key);
            if let Some(Value::String(name)) = name {
                name.push_str(&suffix(&self.reference, place));
            }
            return set;
        }
        if let Some(tag) = tag {
            let keys = TAGS.into_iter().chain(self.has_folder.then_some("version"));
            let known = keys.into_iter().find(|key| self.values.contains_key(*key));
            put(known.unwrap_or(TAGS[0]), tag);
        }
        let known = DIGESTS.into_iter();
        let known = known.filter(|(key, _)| text(self.values, key).is_some());
        if let (Some(digest), Some((key, before))) = (digest, known.into_iter().next()) {
            put(key, digest.strip_prefix(before).unwrap_or(digest));
        }
        set
    }
}

/// Returns tag and digest of an image in the mirror, as a suffix of its name.
fn suffix(reference: &Reference, place: &ImagePlace) -> String {
    let part = |before: &str, new: &Option<String>, old: &Option<String>| {
        let part = new.as_ref().or(old.as_ref());
        part.map_or_else(String::new, |part| format!("{before}{part}"))
    };
    let tag = part(":", &place.tag, &reference.tag);
    tag + &part("@", &place.digest, &reference.digest)
}

/// Returns a value with the changes in `set`.
fn overlay(value: &Value, set: Option<Value>) -> Value {
    match (value, set) {
        (value, None) => value.clone(),
        (Value::Mapping(below), Some(Value::Mapping(over))) => {
            let mut merged = below.clone();
            merge(&mut merged, &over);
            merged.into()
        }
        (_, Some(set)) => set,
    }
}

/// Returns whether a reference has a tag or a digest.
fn has_tag_or_digest(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    name.contains([':', '@'])
}

fn is_image_key(key: &str) -> bool {
    key == "image" || key.ends_with("Image")
}

fn mapping(value: Option<Value>) -> Mapping {
    match value {
        Some(Value::Mapping(mapping)) => mapping,
        _ => Mapping::new(),
    }
}

fn text<'a>(values: &'a Mapping, key: &str) -> Option<&'a str> {
    values.get(key)?.as_str().filter(|text| !text.is_empty())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pack;
    use super::*;

    /// A mirror that has all images of `quay.io/org` except for `absent`. Its digests differ, and
    /// its tags have the suffix `-m`.
    fn mirror(asked: &Reference, version: &str) -> Option<ImagePlace> {
        let name = asked.repository.strip_prefix("org/")?;
        let known = asked.host == "quay.io" && name != "absent";
        let tag = asked.tag.as_deref().unwrap_or(version);
        known.then(|| ImagePlace {
            registry: "mirror:5000".to_owned(),
            repository: format!("mke/{name}"),
            tag: Some(format!("{tag}-m")),
            digest: asked
                .digest
                .as_ref()
                .map(|_| format!("sha256:{}", "1".repeat(64))),
        })
    }

    fn values(files: &[(&str, &str)]) -> Option<ChartValues> {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, text)| (*path, text.as_bytes()))
            .collect();
        chart_values(pack(&files).as_slice(), &mirror)
    }

    #[test]
    fn a_chart_that_has_a_file_twice_has_no_values() {
        let metadata = "{ name: a, appVersion: 2.0 }";
        let image = "image: quay.io/org/b:v1";
        for twice in [
            "a/values.yaml",
            "b/values.yaml",
            "a/x/../values.yaml",
            "a/./Chart.yaml",
        ] {
            let files = [
                ("a/Chart.yaml", metadata),
                ("a/values.yaml", image),
                (twice, metadata),
            ];
            assert!(values(&files).is_none(), "{twice}");
        }
        assert!(values(&[("a/Chart.yaml", metadata), ("b/values.yaml", image)]).is_some());
    }

    #[test]
    fn conventions_of_charts_are_recognised_and_nothing_else_changes() {
        let old = "0".repeat(64);
        let text = format!(
            "defaults: &defaults {{ registry: quay.io, tag: 1 }}\n\
             merged: {{ <<: *defaults, repository: org/merged }}\n\
             hex: {{ repository: quay.io/org/hex, tag: v1, sha: {old} }}\n\
             elastic: {{ image: quay.io/org/elastic, imageTag: 8.5.1 }}\n\
             named: {{ image: {{ name: quay.io/org/named, tag: v1 }} }}\n\
             whole: {{ image: 'quay.io/org/whole:v1@sha256:{old}' }}\n\
             toolImage: quay.io/org/tool:v2\n\
             gone: {{ image: quay.io/org/absent:v1 }}\n\
             own: {{ image: {{ repository: quay.io/org/absent, tag: '' }} }}\n\
             urls: {{ repository: 'https://quay.io/org/charts' }}\n\
             notes: see quay.io/org/notes:v1\n\
             port: 'localhost:8080'\n"
        );
        let found = values(&[
            ("a/Chart.yaml", "{ name: a, appVersion: 2.0 }"),
            ("a/values.yaml", &text),
        ]);
        let found = found.unwrap();
        insta::assert_snapshot!(found.text, @r"
        merged:
          registry: mirror:5000
          repository: mke/merged
          tag: 1-m
        hex:
          repository: mirror:5000/mke/hex
          tag: v1-m
          sha: '1111111111111111111111111111111111111111111111111111111111111111'
        elastic:
          image: mirror:5000/mke/elastic
          imageTag: 8.5.1-m
        named:
          image:
            name: mirror:5000/mke/named
            tag: v1-m
        whole:
          image: mirror:5000/mke/whole:v1-m@sha256:1111111111111111111111111111111111111111111111111111111111111111
        toolImage: mirror:5000/mke/tool:v2-m
        ");
        let missing: Vec<_> = found.missing.into_iter().collect();
        let absent = [
            ("gone.image", "quay.io/org/absent:v1"),
            ("own.image", "quay.io/org/absent:2.0"),
        ];
        let absent = absent.map(|(path, image)| (path.to_owned(), image.to_owned()));
        assert_eq!(missing, absent);
        assert!(!found.is_cut);
    }

    #[test]
    fn parent_values_take_precedence_and_null_removes() {
        let found = values(&[
            (
                "a/Chart.yaml",
                "{ name: a, dependencies: [{ name: b, alias: one }, { name: b, alias: two }] }",
            ),
            (
                "a/values.yaml",
                "one: { image: { tag: v9 } }\ntwo: { image: null }\n",
            ),
            ("a/charts/b/Chart.yaml", "{ name: b }"),
            (
                "a/charts/b/values.yaml",
                "image: { repository: quay.io/org/b, tag: v1 }\n",
            ),
        ]);
        assert_eq!(
            found.unwrap().text,
            "one:\n  image:\n    repository: mirror:5000/mke/b\n    tag: v9-m\n"
        );
    }

    #[test]
    fn other_files_have_no_values_and_damaged_charts_are_reported_as_cut() {
        assert!(chart_values(&b"no gzip"[..], &mirror).is_none());
        assert!(values(&[("a/values.yaml", "image: quay.io/org/a:v1\n")]).is_none());
        let cut = values(&[("a/Chart.yaml", "name: a\n"), ("a/values.yaml", "a: [\n")]);
        let cut = cut.unwrap();
        assert!(cut.is_cut && cut.text.is_empty(), "{cut:?}");
    }
}

//! Values that make a chart name the images of a mirror.
//!
//! The chart's own values show where it reads images from: Helm has no rule for that, but charts
//! have habits. A value is changed only if the image that it names is in the mirror, so a guess
//! does no harm. What is found and is not in the mirror is reported.

use std::collections::BTreeSet;
use std::io::Read;

use serde_yaml::{Mapping, Value};

use super::tree::{self, Chart, merge};
use crate::name::Name;
use crate::set::Reference;

/// The keys that may have a tag, the habitual one first.
const TAGS: [&str; 2] = ["tag", "imageTag"];

/// The keys that may have a digest, and what it begins with there.
const DIGESTS: [(&str, &str); 2] = [("digest", ""), ("sha", "sha256:")];

/// Where the mirror has an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePlace {
    /// The registry, `host[:port]`.
    pub registry: String,
    /// The repository in it.
    pub repository: String,
    /// The tag, if it is not the one that was asked for.
    pub tag: Option<String>,
    /// The digest, if it is not the one that was asked for.
    pub digest: Option<String>,
}

/// What a chart's values become.
#[derive(Debug, Default)]
pub struct ChartValues {
    /// The values to set, as YAML; empty if none are.
    pub text: String,
    /// The values that name an image which the mirror lacks: their path, and the image. If no tag
    /// is set, its tag is the version of what the chart installs.
    pub missing: BTreeSet<(String, String)>,
    /// The images that templates name in plain text: no value changes them.
    pub fixed: BTreeSet<String>,
    /// Whether something was left out because a bound was reached or it could not be read.
    pub is_cut: bool,
}

/// Returns the values that make a packed chart name the images of a mirror; none if it is not a
/// chart.
///
/// `place` returns where an image is. It gets the reference, which has no tag if the chart sets
/// none, and the version of what the chart installs, which many charts use as the tag then.
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
    /// What is set for all charts in each other.
    globals: Mapping,
    /// The registry of the mirror, once an image of it was found.
    registry: String,
    found: ChartValues,
}

/// What is the same for all values of one chart.
struct Of<'a> {
    app_version: &'a str,
    /// The registry that replaces the one of each image, as the charts of Bitnami do.
    registry: &'a str,
}

impl Walk<'_> {
    /// Returns what to set for a chart, whose values are changed by those of the chart around it.
    fn chart(&mut self, chart: &Chart, over: &Mapping, globals: &Mapping, path: &str) -> Mapping {
        let mut values = chart.values.clone();
        merge(&mut values, over);
        let mut own = mapping(values.remove("global"));
        merge(&mut own, globals);
        let globals = own;
        let of = Of {
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
        let own = self.mapping(&values, "", path, &of);
        let of_all = self.mapping(&globals, "", "global", &of);
        let is_changed = !own.is_empty() || !of_all.is_empty();
        if is_changed && !of.registry.is_empty() {
            let registry = Value::from(self.registry.as_str());
            self.globals.insert("imageRegistry".into(), registry);
        }
        // The charts of Bitnami refuse each name that is not their own, whatever its content is.
        let security = mapping(globals.get("security").cloned());
        if is_changed && security.contains_key("allowInsecureImages") {
            let allowed = Mapping::from_iter([("allowInsecureImages".into(), true.into())]);
            self.globals.insert("security".into(), allowed.into());
        }
        merge(&mut set, &own);
        merge(&mut self.globals, &of_all);
        self.found.fixed.extend(chart.fixed.iter().cloned());
        set
    }

    /// Returns what to set in a mapping, which is the value of `key`.
    fn mapping(&mut self, values: &Mapping, key: &str, path: &str, of: &Of<'_>) -> Mapping {
        // Not every image of a chart heeds the registry for all.
        let registries = [of.registry, ""].into_iter();
        let mut images: Vec<Image<'_>> = registries
            .filter_map(|registry| Image::of(values, key, registry))
            .collect();
        let mut known = images.iter();
        let known = known.position(|one| (self.place)(&one.reference, of.app_version).is_some());
        let image = (!images.is_empty()).then(|| images.swap_remove(known.unwrap_or(0)));
        let mut set = match &image {
            Some(image) => match self.place(&image.reference, of) {
                Some(place) => image.set(&place),
                None => {
                    if image.is_certain {
                        self.is_missing(path, &image.reference, of);
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
            if let Some(value) = self.value(value, key, &join(path, key), of) {
                set.insert(key.into(), value);
            }
        }
        set
    }

    fn value(&mut self, value: &Value, key: &str, path: &str, of: &Of<'_>) -> Option<Value> {
        match value {
            Value::Mapping(values) => {
                let set = self.mapping(values, key, path, of);
                (!set.is_empty()).then_some(set.into())
            }
            Value::Sequence(items) => {
                let numbered = items.iter().enumerate();
                let set = numbered
                    .map(|(number, item)| self.value(item, key, &format!("{path}[{number}]"), of));
                let set: Vec<Option<Value>> = set.collect();
                // Helm replaces a list as a whole.
                set.iter().any(Option::is_some).then(|| {
                    let items = items.iter().zip(set);
                    items.map(|(item, set)| put_over(item, set)).collect()
                })
            }
            Value::String(text) => self.string(text, key, path, of).map(Value::String),
            _ => None,
        }
    }

    /// Returns what a text becomes that is a reference. One without a tag is one only under the
    /// name of an image.
    fn string(&mut self, text: &str, key: &str, path: &str, of: &Of<'_>) -> Option<String> {
        let is_whole = is_whole(text);
        let is_image = is_image(key);
        if !is_whole && !is_image && !key.ends_with("epository") {
            return None;
        }
        let mut reference = Reference::parse(text).ok()?;
        if !is_whole {
            reference.tag = None;
        }
        let place = self.place(&reference, of);
        let place = place.filter(|place| is_whole || place.tag.is_none());
        if place.is_none() && is_image && (is_whole || text.contains('/')) {
            self.is_missing(path, &reference, of);
        }
        let place = place?;
        let name = format!("{}/{}", place.registry, place.repository);
        Some(name + &suffix(&reference, &place))
    }

    fn place(&mut self, reference: &Reference, of: &Of<'_>) -> Option<ImagePlace> {
        let place = (self.place)(reference, of.app_version)?;
        self.registry.clone_from(&place.registry);
        Some(place)
    }

    fn is_missing(&mut self, path: &str, reference: &Reference, of: &Of<'_>) {
        let mut image = reference.to_string();
        let has_none = reference.tag.is_none() && reference.digest.is_none();
        if has_none && Name::new("a", of.app_version).is_ok() {
            image = format!("{image}:{}", of.app_version);
        }
        self.found.missing.insert((path.to_owned(), image));
    }
}

/// An image whose reference is in parts: a repository, and perhaps a registry, a tag and a digest
/// beside it.
struct Image<'a> {
    values: &'a Mapping,
    /// The key of its name.
    name_key: &'static str,
    /// Whether `repository` has only the path before the name.
    has_folder: bool,
    /// The whole reference. It has no tag if none is set.
    reference: Reference,
    /// Whether the tag or the digest is part of the name.
    is_whole: bool,
    /// Whether it is an image for certain, and not something else that is in a repository.
    is_certain: bool,
}

impl<'a> Image<'a> {
    /// Returns the image that these values of a key name, with a registry for all images if that is
    /// not empty.
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
            (None, None, Some(name)) if is_image(key) && has_tag => ("name", name.to_owned()),
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
        let is_whole = is_whole(&name);
        if !is_whole {
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
            is_whole,
            is_certain: has_tag || is_image(key) || has("pullPolicy"),
        })
    }

    /// Returns what to set, with the keys that the chart has.
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
        if self.is_whole {
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

/// Returns tag and digest of an image in its place, as they follow its name.
fn suffix(reference: &Reference, place: &ImagePlace) -> String {
    let part = |before: &str, new: &Option<String>, old: &Option<String>| {
        let part = new.as_ref().or(old.as_ref());
        part.map_or_else(String::new, |part| format!("{before}{part}"))
    };
    let tag = part(":", &place.tag, &reference.tag);
    tag + &part("@", &place.digest, &reference.digest)
}

/// Returns a value with what is set in it.
fn put_over(value: &Value, set: Option<Value>) -> Value {
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

/// Returns whether a text has a tag or a digest.
fn is_whole(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    name.contains([':', '@'])
}

fn is_image(key: &str) -> bool {
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

    /// A mirror that has everything of `quay.io/org` but `absent`, with a different digest, and its
    /// tags with `-m`.
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
    fn habits_of_charts_are_known_and_nothing_else_changes() {
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
    fn values_of_the_chart_around_come_first_and_a_null_removes() {
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
    fn what_is_not_a_chart_has_no_values_and_what_is_cut_says_so() {
        assert!(chart_values(&b"no gzip"[..], &mirror).is_none());
        assert!(values(&[("a/values.yaml", "image: quay.io/org/a:v1\n")]).is_none());
        let cut = values(&[("a/Chart.yaml", "name: a\n"), ("a/values.yaml", "a: [\n")]);
        let cut = cut.unwrap();
        assert!(cut.is_cut && cut.text.is_empty(), "{cut:?}");
    }
}

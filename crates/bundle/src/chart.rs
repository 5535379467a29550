//! Finds the images that a Helm chart names in plain text. A cluster may need them in addition to
//! those in the lock.
//!
//! A chart is a program: only Helm, with all values, knows its result. Therefore only literal text
//! is read: images in `values.yaml`, and `image:` in templates without placeholders. Everything
//! else is counted as unknown. Nothing is unpacked, and size and depth are bounded.

use std::collections::BTreeSet;
use std::io::Read;

use serde_yaml::Value;

mod files;
mod tree;
mod values;

pub(crate) use files::below_base;
use files::{Kind, each_file};
pub use values::{ChartValues, ImagePlace, chart_values};

/// Images that a chart names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChartImages {
    /// References with a tag, as written: `registry.mirantis.com/mke/calico/node:v3.30.2`,
    /// `pause:3.10`.
    pub references: BTreeSet<String>,
    /// Number of images whose name or tag Helm composes.
    pub unknown: usize,
    /// Whether a part of the chart was skipped, because a bound was reached or it could not be
    /// read.
    pub is_cut: bool,
}

/// Returns the images that a packed chart (`tar.gz`) and its subcharts name.
///
/// It does not fail. [`ChartImages::is_cut`] is set if a part could not be read.
pub fn chart_images(chart: impl Read) -> ChartImages {
    let mut found = ChartImages::default();
    let is_cut = each_file(chart, &mut |_, kind, bytes| match kind {
        Kind::Values => values(&bytes, &mut found),
        Kind::Template => template(&String::from_utf8_lossy(&bytes), &mut found),
        Kind::Metadata => {}
    });
    found.is_cut |= is_cut;
    found
}

fn values(bytes: &[u8], found: &mut ChartImages) {
    match crate::foreign::parse::<Value>(bytes) {
        Ok(value) => walk(&value, found),
        Err(_) => found.is_cut = true,
    }
}

/// Finds images in values: `image: name:tag`, or `repository` with `tag` and possibly `registry`.
fn walk(value: &Value, found: &mut ChartImages) {
    match value {
        Value::Sequence(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Mapping(mapping) => {
            image(value, found);
            for (key, value) in mapping {
                let is_image = key
                    .as_str()
                    .is_some_and(|key| key == "image" || key.ends_with("Image"));
                match value.as_str() {
                    // `image` handles a name with its tag in a different key.
                    Some(_) if key.as_str() == Some("image") && mapping.contains_key("tag") => {}
                    Some(text) if is_image && !text.is_empty() => reference(text, found),
                    _ => walk(value, found),
                }
            }
        }
        _ => {}
    }
}

fn image(value: &Value, found: &mut ChartImages) {
    let text = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let Some(repository) =
        text("repository").or_else(|| text("image").filter(|_| value.get("tag").is_some()))
    else {
        return;
    };
    // URLs of charts have the same key.
    if repository.contains("://") {
        return;
    }
    let registry = text("registry").map_or_else(String::new, |registry| format!("{registry}/"));
    match text("tag") {
        Some(tag) => reference(&format!("{registry}{repository}:{tag}"), found),
        // The tag is the chart's own version, or YAML has parsed it as a number.
        None if value.get("tag").is_some() || value.get("pullPolicy").is_some() => {
            found.unknown += 1
        }
        None => {}
    }
}

/// Finds images in a template whose value has no placeholder.
fn template(text: &str, found: &mut ChartImages) {
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("- ").unwrap_or(line).trim_start();
        let Some(value) = line.strip_prefix("image:") else {
            continue;
        };
        let value = value.split(" #").next().unwrap_or_default().trim();
        let value = value.trim_matches(['"', '\'']);
        if !value.is_empty() {
            reference(value, found);
        }
    }
}

/// Records a reference if it is complete, or counts it as unknown.
fn reference(text: &str, found: &mut ChartImages) {
    let (name, tag) = match text.split_once('@') {
        Some((name, _)) => (name, name.rsplit_once(':')),
        None => (text, text.rsplit_once(':')),
    };
    let is_plain = |text: &str| {
        text.chars()
            .all(|one| one.is_ascii_alphanumeric() || "._-/:".contains(one))
    };
    match tag {
        Some((repository, tag))
            if is_plain(name)
                && !repository.is_empty()
                && !tag.is_empty()
                && !tag.contains('/') =>
        {
            found.references.insert(name.to_owned());
        }
        _ => found.unknown += 1,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::files::LARGEST_CHART;
    use super::*;

    pub(crate) fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // Some paths are refused by the `tar` crate when writing.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn references(found: &ChartImages) -> Vec<&str> {
        found.references.iter().map(String::as_str).collect()
    }

    #[test]
    fn literal_images_are_found_and_composed_images_are_counted() {
        let values = "\
image: { repository: mke/one, tag: v1, registry: registry.mirantis.com }
two: { image: 'two:2.0' }
three: { image: three, tag: v3 }
sidecarImage: registry.mirantis.com/mke/four:v4@sha256:00
numbered: { repository: five, tag: 1.10 }
own: { repository: six, tag: '', pullPolicy: Always }
chart: { repository: 'https://charts.example.com', tag: v9 }
list: [{ image: 'host:5000/seven:v7' }]
templated: { image: '{{ .Values.global.registry }}/eight:v8' }
";
        let template = "\
      containers:
        - image: \"nine:v9\"   # as it is
        - name: x
          image: {{ .Values.image }}
          imagePullPolicy: Always
        - image: registry.mirantis.com/mke/ten:v10
";
        let chart = pack(&[
            ("dex/values.yaml", values.as_bytes()),
            ("dex/templates/deployment.yaml", template.as_bytes()),
            ("dex/crds/image.yaml", b"image: crd:v1\n"),
            ("dex/README.md", b"image: readme:v1\n"),
        ]);
        let found = chart_images(chart.as_slice());
        assert_eq!(
            references(&found),
            [
                "host:5000/seven:v7",
                "nine:v9",
                "registry.mirantis.com/mke/four:v4",
                "registry.mirantis.com/mke/one:v1",
                "registry.mirantis.com/mke/ten:v10",
                "three:v3",
                "two:2.0",
            ]
        );
        assert_eq!((found.unknown, found.is_cut), (4, false));
    }

    #[test]
    fn subcharts_are_read_down_to_a_bound() {
        let mut chart = pack(&[("e/values.yaml", b"image: deepest:v1\n")]);
        for name in ["d", "c", "b"] {
            let values = format!("image: {name}:v1\n");
            chart = pack(&[
                (&format!("{name}/values.yaml"), values.as_bytes()),
                (&format!("{name}/charts/x.tgz"), &chart),
                (
                    &format!("{name}/charts/y/values.yaml"),
                    b"image: beside:v1\n",
                ),
            ]);
        }
        let found = chart_images(chart.as_slice());
        assert_eq!(references(&found), ["b:v1", "beside:v1", "c:v1", "d:v1"]);
        assert!(found.is_cut);
    }

    #[test]
    fn damaged_or_too_large_charts_are_reported_as_cut() {
        for bytes in [&b"no gzip"[..], &pack(&[("a/values.yaml", b"a: [\n")])] {
            let found = chart_images(bytes);
            assert!(found.is_cut && found.references.is_empty(), "{found:?}");
        }
        let whole = pack(&[("a/values.yaml", b"image: one:v1\n")]);
        assert!(chart_images(&whole[..whole.len() / 2]).is_cut);
        // Zeros that inflate to far more than their packed size.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let mut header = tar::Header::new_gnu();
        header.set_path("a/values.yaml").unwrap();
        header.set_size(LARGEST_CHART * 2);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..(LARGEST_CHART * 2) >> 20 {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        let found = chart_images(bomb.as_slice());
        assert!(found.is_cut && found.references.is_empty());
        // Nested aliases that expand exponentially.
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            laughs.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![alias; 10].join(", ")
            ));
        }
        let found = chart_images(pack(&[("a/values.yaml", laughs.as_bytes())]).as_slice());
        assert!(found.references.is_empty());
    }
}

//! The images that a Helm chart names, and the values by which it finds them in a mirror.
//!
//! A chart is a program: only Helm, given all values, knows which images it uses. Two sources are
//! read here: values with the habits of charts, and `image:` in templates without an expression.
//! Nothing is unpacked. A chart that exceeds the bounds on bytes, files or depth is read up to the
//! bound.

use std::collections::BTreeSet;

mod files;
mod tree;
mod values;

pub(crate) use files::below_base;
pub use values::{ChartValues, ImagePlace, chart_values};

/// Adds each image that a template names after `image:`, if the line has no expression.
fn template(text: &str, images: &mut BTreeSet<String>) {
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("- ").unwrap_or(line).trim_start();
        let Some(value) = line.strip_prefix("image:") else {
            continue;
        };
        let value = value.split(" #").next().unwrap_or_default().trim();
        let value = value.trim_matches(['"', '\'']);
        images.extend(without_digest(value).map(str::to_owned));
    }
}

/// Returns a reference without its digest, if it has a tag and no expression.
fn without_digest(reference: &str) -> Option<&str> {
    let name = reference.split('@').next().unwrap_or_default();
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "._-/:".contains(one);
    let (repository, tag) = name.rsplit_once(':')?;
    let is_reference = !repository.is_empty() && !tag.is_empty() && !tag.contains('/');
    (is_reference && name.chars().all(is_plain)).then_some(name)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::chart_values;
    use super::files::LARGEST_CHART;

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

    /// Returns the images that a chart names, and whether it was read only in part.
    fn images(chart: &[u8]) -> (Vec<String>, bool) {
        let found = chart_values(chart, &|_, _| None).unwrap();
        let missing = found.missing.into_iter().map(|(_, image)| image);
        (missing.chain(found.fixed).collect(), found.is_cut)
    }

    #[test]
    fn templates_name_images_where_no_expression_is() {
        let template = "\
      containers:
        - image: \"nine:v9\"   # as it is
        - name: x
          image: {{ .Values.image }}
          imagePullPolicy: Always
        - image: registry.mirantis.com/mke/ten:v10@sha256:00
        - image: untagged
";
        let chart = pack(&[
            ("dex/Chart.yaml", b"name: dex\n"),
            ("dex/templates/deployment.yaml", template.as_bytes()),
            ("dex/crds/image.yaml", b"image: crd:v1\n"),
            ("dex/README.md", b"image: readme:v1\n"),
        ]);
        let expected = ["nine:v9", "registry.mirantis.com/mke/ten:v10"];
        assert_eq!(images(&chart), (expected.map(str::to_owned).into(), false));
    }

    #[test]
    fn charts_in_charts_are_read_down_to_a_bound() {
        let values = |name: &str| format!("image: quay.io/{name}:v1\n");
        let metadata = |name: &str| format!("name: {name}\n");
        let mut chart = pack(&[
            ("e/Chart.yaml", metadata("e").as_bytes()),
            ("e/values.yaml", values("deepest").as_bytes()),
        ]);
        for name in ["d", "c", "b"] {
            chart = pack(&[
                (&format!("{name}/Chart.yaml"), metadata(name).as_bytes()),
                (&format!("{name}/values.yaml"), values(name).as_bytes()),
                (&format!("{name}/charts/x.tgz"), &chart),
                (
                    &format!("{name}/charts/y/Chart.yaml"),
                    metadata("y").as_bytes(),
                ),
                (
                    &format!("{name}/charts/y/values.yaml"),
                    values("beside").as_bytes(),
                ),
            ]);
        }
        let (mut found, is_cut) = images(&chart);
        found.sort();
        found.dedup();
        let expected = ["b", "beside", "c", "d"].map(|name| format!("quay.io/{name}:v1"));
        assert_eq!(found, expected);
        assert!(is_cut);
    }

    #[test]
    fn what_is_too_large_ends_early_and_says_so() {
        let metadata = ("a/Chart.yaml", &b"name: a\n"[..]);
        let whole = pack(&[metadata, ("a/values.yaml", b"image: quay.io/one:v1\n")]);
        let cut = chart_values(&whole[..whole.len() / 2], &|_, _| None);
        assert!(cut.is_none_or(|found| found.is_cut));
        // Zeros, which inflate to far more than they are.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let header = |path: &str, size: u64| {
            let mut header = tar::Header::new_gnu();
            header.set_path(path).unwrap();
            header.set_size(size);
            header.set_cksum();
            *header.as_bytes()
        };
        let metadata_block = [&b"name: a"[..], &[b'\n'; 505]].concat();
        for bytes in [
            &header("a/Chart.yaml", 512)[..],
            &metadata_block,
            &header("a/values.yaml", LARGEST_CHART * 2),
        ] {
            encoder.write_all(bytes).unwrap();
        }
        let zeros = vec![0; 1 << 20];
        for _ in 0..(LARGEST_CHART * 2) >> 20 {
            encoder.write_all(&zeros).unwrap();
        }
        let bomb = encoder.finish().unwrap();
        assert_eq!(images(&bomb), (Vec::new(), true));
        // Aliases of aliases, which would become very many.
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            laughs.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![alias; 10].join(", ")
            ));
        }
        let (found, is_cut) = images(&pack(&[metadata, ("a/values.yaml", laughs.as_bytes())]));
        assert!(found.is_empty() && is_cut);
    }
}

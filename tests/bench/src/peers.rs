//! What a skilled user of other programs types to bring a bundle into a registry.
//!
//! The archives are unpacked from the bundle first, as the vendor documents it (DOCS-SRC). There is
//! no log-in, since this registry has none, and plain HTTP is allowed. What is in `$archive` is one
//! archive, in `$img` its reference.

use crate::arguments::Contender;
use crate::contenders::at_once;

const UNPACK: &str = "tar -xzf \"$BUNDLE_NAME\" -C ./";

/// The vendor's words: `a&b@v1.tar` is the image `a/b:v1`.
const NAME: &str = r#"img=$(basename "$archive" | sed 's~\.tar~~' | tr '&' '/' | tr '@' ':')"#;

const SKOPEO: &str = r#"skopeo copy -q --retry-times 3 --multi-arch all --dest-tls-verify=false "oci-archive:$archive" "docker://$REGISTRY_ADDRESS/$REGISTRY_PROJECT_PATH/$img""#;

/// crane pushes a layout, and oras refuses a path with `@`.
const LAYOUT: &str = r#"layout=layouts/$(echo "$img" | tr '/:' '--'); mkdir -p "$layout"; tar -xf "$archive" -C "$layout""#;

const CRANE: &str =
    r#"crane push --insecure "$layout" "$REGISTRY_ADDRESS/$REGISTRY_PROJECT_PATH/$img" >/dev/null"#;

const ORAS: &str = r#"digest=$(grep -o 'sha256:[0-9a-f]*' "$layout/index.json" | head -n 1)
oras cp --no-tty --from-oci-layout "$layout@$digest" --to-plain-http "$REGISTRY_ADDRESS/$REGISTRY_PROJECT_PATH/$img""#;

const REGCTL_BEFORE: &str = r#"regctl registry set --tls disabled "$REGISTRY_ADDRESS""#;
const REGCTL: &str =
    r#"regctl image import "$REGISTRY_ADDRESS/$REGISTRY_PROJECT_PATH/$img" "$archive""#;

const HAULER: &str = r#"find ./bundles -name '*.tar' -printf '--filename=%p\0' | xargs -0 hauler store load
hauler store copy --plain-http "registry://$REGISTRY_ADDRESS/$REGISTRY_PROJECT_PATH""#;

const ZARF: &str = r#"{ printf 'kind: ZarfPackageConfig\nmetadata: { name: bench, version: 0.0.1 }\ncomponents:\n- name: bench\n  required: true\n  imageArchives:\n'
find ./bundles -name '*.tar' | while read -r archive; do
img=$(basename "$archive" | sed 's~\.tar~~' | tr '&' '/' | tr '@' ':')
printf "  - { path: '%s', images: ['%s'] }\n" "$archive" "$img"
done; } > zarf.yaml
zarf package create . --confirm --skip-sbom
zarf package mirror-resources zarf-package-*.tar.zst --confirm --images --plain-http --registry-url "$REGISTRY_ADDRESS/$REGISTRY_PROJECT_PATH""#;

/// Returns the script of a contender that is not Airlock.
pub(crate) fn script(contender: Contender) -> Option<String> {
    let one_by_one = |each: &str| {
        format!("for archive in $(find ./bundles -print | grep \".tar\"); do\n{NAME}\n{each}\ndone")
    };
    let several = |each: &str| {
        let body = format!("{NAME}\n{each}").replace('\'', r"'\''");
        let at_once = at_once();
        format!(
            "find ./bundles -print | grep \".tar\" | xargs -P {at_once} -n 1 sh -c 'set -e; archive=$1\n{body}' sh"
        )
    };
    let work = match contender {
        Contender::Loop | Contender::LoopAgain => one_by_one(SKOPEO),
        Contender::Parallel => several(SKOPEO),
        Contender::Crane => several(&format!("{LAYOUT}\n{CRANE}")),
        Contender::Oras => several(&format!("{LAYOUT}\n{ORAS}")),
        Contender::Regctl => format!("{REGCTL_BEFORE}\n{}", several(REGCTL)),
        Contender::Hauler => HAULER.to_owned(),
        Contender::Zarf => ZARF.to_owned(),
        _ => return None,
    };
    Some(format!("set -e; {UNPACK}\n{work}"))
}

/// Returns the script that copies references from the upstream registry, which are in its first
/// argument, one in each line.
pub(crate) fn copy() -> String {
    let at_once = at_once();
    let body = r#"skopeo copy -q --retry-times 3 --multi-arch all --preserve-digests --src-tls-verify=false --dest-tls-verify=false "docker://$UPSTREAM_ADDRESS/$1" "docker://$REGISTRY_ADDRESS/$REGISTRY_PROJECT_PATH/$1""#;
    format!("set -e; printf '%s\\n' \"$1\" | xargs -P {at_once} -n 1 sh -c '{body}' sh")
}

/// Returns the programs that a contender cannot do without.
pub(crate) fn programs(contender: Contender) -> &'static [&'static str] {
    match contender {
        Contender::Copy => &["skopeo", "xargs"],
        Contender::Loop | Contender::LoopAgain => &["skopeo", "tar"],
        Contender::Parallel => &["skopeo", "tar", "xargs"],
        Contender::Crane => &["crane", "tar", "xargs"],
        Contender::Oras => &["oras", "tar", "xargs"],
        Contender::Regctl => &["regctl", "tar", "xargs"],
        Contender::Hauler => &["hauler", "tar", "xargs"],
        Contender::Zarf => &["zarf", "tar"],
        Contender::Curls => &["curl", "awk"],
        _ => &[],
    }
}

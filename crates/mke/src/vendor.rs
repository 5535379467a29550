//! The vendor's registry, from which bundles are made: its names become those of a private
//! registry.

/// What comes before the names of images and charts in the vendor's registry, and is left out in a
/// bundle (LAB).
const PREFIXES: [&str; 2] = [
    "registry.mirantis.com/mke/",
    "registry.mirantis.com/k0rdent-enterprise/",
];

/// Returns the name that an image or a chart of the vendor's registry has in a bundle:
/// `calico/node:v3.30.200`. `None` if the reference is to another registry.
pub fn vendor_name(reference: &str) -> Option<&str> {
    let reference = reference.strip_prefix("oci://").unwrap_or(reference);
    PREFIXES
        .iter()
        .find_map(|prefix| reference.strip_prefix(prefix))
}

/// Returns whether a registry, with or without a path, is the vendor's own, which has each family
/// of names below a path of its own.
pub fn is_vendor_registry(registry: &str) -> bool {
    let registry = format!("{registry}/");
    PREFIXES.iter().any(|prefix| prefix.starts_with(&registry))
}

/// Returns what the names of the vendor's registry begin with, in words.
pub fn vendor_prefixes() -> String {
    PREFIXES.map(|prefix| format!("`{prefix}`")).join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_lose_their_prefix_and_others_are_none() {
        for (reference, name) in [
            (
                "registry.mirantis.com/mke/calico/node:v1",
                Some("calico/node:v1"),
            ),
            (
                "oci://registry.mirantis.com/k0rdent-enterprise/charts/kof:1.8.1",
                Some("charts/kof:1.8.1"),
            ),
            ("registry.mirantis.com/other/node:v1", None),
            ("calico/node:v1", None),
        ] {
            assert_eq!(vendor_name(reference), name);
        }
        assert!(is_vendor_registry("registry.mirantis.com/mke"));
        assert!(is_vendor_registry("registry.mirantis.com"));
        assert!(!is_vendor_registry("registry.example.com/mke"));
    }
}

//! The names of images and charts in the vendor's registry and in bundles.

/// The prefixes of names in the vendor's registry. Names in bundles do not have them (LAB).
const PREFIXES: [&str; 2] = [
    "registry.mirantis.com/mke/",
    "registry.mirantis.com/k0rdent-enterprise/",
];

/// Returns the name in a bundle of an image or a chart of the vendor's registry, such as
/// `calico/node:v3.30.200`. `None` if the reference is to a different registry.
pub fn vendor_name(reference: &str) -> Option<&str> {
    let reference = reference.strip_prefix("oci://").unwrap_or(reference);
    PREFIXES
        .iter()
        .find_map(|prefix| reference.strip_prefix(prefix))
}

/// Returns whether a registry, with or without a path, is the vendor's.
pub fn is_vendor_registry(registry: &str) -> bool {
    let registry = format!("{registry}/");
    PREFIXES.iter().any(|prefix| prefix.starts_with(&registry))
}

/// Returns a text that lists the prefixes of the vendor's registry.
pub fn vendor_prefixes() -> String {
    PREFIXES.map(|prefix| format!("`{prefix}`")).join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_vendors_registry_lose_their_prefix() {
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

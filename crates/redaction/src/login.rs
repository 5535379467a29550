//! Removes a user and a password before a host, which operators type where credentials do not
//! belong.

/// Returns a text with everything before its last `@` masked. If a digest follows that `@`, the one
/// before counts.
pub fn without_login(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) if !host.starts_with("sha256:") && !host.starts_with("sha512:") => {
            format!("***@{host}")
        }
        Some((before, digest)) if before.contains('@') => {
            format!("{}@{digest}", without_login(before))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_a_password_are_removed_and_a_digest_stays() {
        for (text, expected) in [
            ("bob:secret@quay.io/x:1", "***@quay.io/x:1"),
            ("https://bob:secret@quay.io", "***@quay.io"),
            ("bob:se@cret@quay.io/x", "***@quay.io/x"),
            ("bob:s@quay.io/x@sha256:00", "***@quay.io/x@sha256:00"),
            ("nginx:1.29@sha256:00", "nginx:1.29@sha256:00"),
            ("nginx:1.29", "nginx:1.29"),
        ] {
            assert_eq!(without_login(text), expected);
        }
    }
}

//! OpenSSH keys for media and nodes.

use camino::Utf8Path;

/// Makes an Ed25519 key at `path`, in place of an earlier one.
pub fn make_key(path: &Utf8Path, comment: &str, passphrase: &str) {
    // ssh-keygen asks before it overwrites a key.
    let _ = std::fs::remove_file(path);
    #[expect(clippy::disallowed_methods, reason = "OpenSSH makes the key")]
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", comment, "-N", passphrase, "-f"])
        .arg(path)
        .status();
    assert!(made.expect("`ssh-keygen` of OpenSSH").success());
}

//! Sets `AIRLOCK_VERSION`: the version of the package, followed by the Git revision if the source
//! is a Git checkout.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let revision = root.and_then(|root| {
        revision(root, &mut |path| {
            println!("cargo::rerun-if-changed={}", path.display());
        })
    });
    let package = env!("CARGO_PKG_VERSION");
    match revision {
        Some(revision) => println!("cargo::rustc-env=AIRLOCK_VERSION={package} ({revision})"),
        None => println!("cargo::rustc-env=AIRLOCK_VERSION={package}"),
    }
}

/// Returns the first 12 digits of the revision that is checked out in a folder. Calls `on_read`
/// with each file that it depends on.
fn revision(root: &Path, on_read: &mut dyn FnMut(&Path)) -> Option<String> {
    let mut read = |path: &Path| {
        let text = files::read_text(path).ok()?;
        // Only files that exist are reported: cargo always rebuilds if one is missing.
        on_read(path);
        Some(text.trim().to_owned())
    };
    let git = root.join(".git");
    // In a linked worktree, `.git` is a file that names the folder.
    let folder = match read(&git) {
        Some(text) => root.join(text.strip_prefix("gitdir: ")?),
        None => git,
    };
    let head = read(&folder.join("HEAD"))?;
    let digits = match head.strip_prefix("ref: ") {
        None => head,
        Some(reference) => {
            let common = read(&folder.join("commondir"));
            let common = common.map_or_else(|| folder.clone(), |common| folder.join(common));
            let loose = read(&common.join(reference));
            loose.or_else(|| {
                let packed = read(&common.join("packed-refs"))?;
                let mut lines = packed.lines().filter_map(|line| line.split_once(' '));
                let found = lines.find(|(_, name)| *name == reference);
                found.map(|(digits, _)| digits.to_owned())
            })?
        }
    };
    let is_revision = digits.len() >= 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_revision.then(|| digits[..12].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_revision_is_found_in_each_form_of_a_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let found = |below: &str| revision(&root.join(below), &mut |_| {});
        // A tarball.
        assert_eq!(found("."), None);
        write(".git/HEAD", "ref: refs/heads/main\n");
        assert_eq!(found("."), None);
        write(
            ".git/packed-refs",
            &format!("# pack-refs\n{REVISION} refs/heads/main\n"),
        );
        assert_eq!(found(".").unwrap(), "0123456789ab");
        write(".git/refs/heads/main", &format!("ffff{}\n", &REVISION[4..]));
        assert_eq!(found(".").unwrap(), "ffff456789ab");
        // A linked worktree, and a revision without a branch.
        write(
            "other/.git",
            &format!("gitdir: {}\n", root.join(".git/worktrees/other").display()),
        );
        write(".git/worktrees/other/HEAD", "ref: refs/heads/main\n");
        write(".git/worktrees/other/commondir", "../..\n");
        assert_eq!(found("other").unwrap(), "ffff456789ab");
        write(".git/worktrees/other/HEAD", REVISION);
        assert_eq!(found("other").unwrap(), "0123456789ab");
    }
}

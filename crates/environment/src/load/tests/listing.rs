//! Which environments there are.

use super::{BASE, GOOD, PROD, Workspace};
use crate::load::names;

#[test]
fn names_are_the_folders_with_the_file() {
    assert_eq!(
        names(Workspace::new(&[]).root()).unwrap(),
        Vec::<String>::new()
    );
    let workspace = Workspace::new(&[
        (PROD, GOOD),
        (BASE, ""),
        ("environments/dev/environment.yaml", GOOD),
        ("environments/notes/README.md", ""),
        ("environments/Bad Name/environment.yaml", GOOD),
    ]);
    assert_eq!(
        names(workspace.root()).unwrap(),
        ["Bad Name", "dev", "prod"]
    );
}

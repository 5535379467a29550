//! The list of environments.

use super::{BASE, GOOD, PROD, Workspace};
use crate::load::names;

#[test]
fn names_are_those_of_folders_with_an_environment_file() {
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

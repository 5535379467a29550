//! Machines without CA certificates, other programs, a network or a valid proxy setting.

use support::{Sandbox, Text as _};

use crate::AIRLOCK;

/// Runs the demo in a root folder with only the program, its libraries and a workspace. The root
/// has no CA certificates, no shell and no users.
const IN_A_BARE_ROOT: &str = r#"
root=$1 program=$2 workspace=$3
mkdir -p "$root/bin" "$root/tmp" "$root/proc" "$root/dev" "$root/work"
cp "$program" "$root/bin/airlock"
ldd "$program" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cp -r "$workspace/." "$root/work"
ip link set lo up
mount -t proc proc "$root/proc"
touch "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
exec env -i HOME=/tmp PATH=/bin NO_COLOR=1 unshare --root="$root" --wd=/work /bin/airlock deploy demo
"#;

#[test]
#[cfg_attr(
    without_namespaces,
    ignore = "namespaces cannot be made, or a program for them is missing"
)]
fn the_demo_runs_on_a_machine_with_only_the_program() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let root = tempfile::tempdir().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "programs set up the machine of this test"
    )]
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--net", "sh", "-euc"])
        .args([IN_A_BARE_ROOT, "sh"])
        .args([root.path().as_os_str(), AIRLOCK.as_ref()])
        .arg(sandbox.path(""))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        root.path()
            .join("work/environments/demo/receipt.yaml")
            .exists()
    );
    assert!(!root.path().join("etc").exists());
}

/// Unpacks a medium in an empty folder and deploys from it, without a network, a home folder and
/// variables of the user.
const INSIDE: &str = r#"
ip link set lo up
exec env -i HOME=/nonexistent PATH=/usr/bin:/bin NO_COLOR=1 AIRLOCK_OFFLINE=1 sh -euc '
    "$1/airlock" unpack "$1" --allow-unsigned
    cd airlock-workspace
    ./airlock plan demo
    ./airlock deploy demo --yes
    ./airlock deploy demo --yes
' sh "$1"
"#;

#[test]
#[cfg_attr(
    without_namespaces,
    ignore = "namespaces cannot be made, or a program for them is missing"
)]
fn a_deploy_without_network_needs_only_the_medium() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.init_git();
    sandbox.commit("Start");
    sandbox.run("fetch demo").success();
    let shell = |program: &str, arguments: &[&str], folder: &camino::Utf8Path| {
        #[expect(
            clippy::disallowed_methods,
            reason = "programs set up the machine of this test"
        )]
        let output = std::process::Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let medium = tempfile::tempdir().unwrap();
    let medium = camino::Utf8Path::from_path(medium.path()).unwrap();
    sandbox
        .run(&["pack", "demo", "--out", medium.as_str()])
        .success();

    let inside = tempfile::tempdir().unwrap();
    let inside = camino::Utf8Path::from_path(inside.path()).unwrap();
    let arguments = ["--net", "--mount", "--pid", "--fork", "sh", "-euc", INSIDE];
    let arguments = [&arguments[..], &["sh", medium.as_str()]].concat();
    let stdout = shell("unshare", &arguments, inside);
    stdout.has("14 pushed");
    stdout.has("demo: nothing to do");
    let workspace = inside.join("airlock-workspace");
    assert!(workspace.join("environments/demo/receipt.yaml").exists());
    assert!(
        !workspace
            .join("bundles/mke_bundle_v4.1.5-demo_amd64.tar.gz")
            .exists()
    );
}

/// Returns a sandbox of a machine without CA certificates.
fn without_certificates() -> Sandbox {
    let mut sandbox = Sandbox::with_examples(AIRLOCK);
    sandbox
        .variable("SSL_CERT_FILE", "/nowhere/certificates.pem")
        .variable("SSL_CERT_DIR", "/nowhere");
    sandbox
}

#[test]
fn the_demo_and_a_rehearsal_need_no_ca_certificates() {
    let sandbox = without_certificates();
    sandbox.run("deploy demo").success();
    sandbox.run("rehearse staging").success();
}

#[test]
fn a_malformed_proxy_is_named_and_nothing_is_sent() {
    let mut sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.variable("HTTPS_PROXY", r"http://CORP\user:hunter2@proxy:3128");
    let url = "https://bundles.example.com/mke_bundle_v4.1.5_amd64.tar.gz";
    let run = sandbox.run(&["lock", "v4.1.5", "--url", url]);
    assert_ne!(run.code, Some(0));
    run.reports("the variable HTTPS_PROXY contains a backslash: write it as %5C");
    run.reports("NO_PROXY");
    run.does_not_mention("hunter2");
}

//! `mkectl`, and `programs::Mkectl` with the fake mkectl of each release: the commands that it
//! builds, and the output that it parses.

use std::fmt::Write as _;

use camino::Utf8Path;
use programs::{GatewayPorts, Mkectl, Needed, NodePorts, Upgrade, Variables};

use support::Lab;

use crate::{AIRLOCK, FAKE_MKECTL};

const RELEASES: &[&str] = &[
    "4.1.0", "4.1.1", "4.1.2", "4.1.3", "4.1.4", "4.1.5", "4.2.0", "4.2.1",
];

/// Returns the fake mkectl of a release.
fn of(release: &str) -> Mkectl {
    let mut variables = Variables::default();
    variables.set("FAKE_MKECTL_VERSION", format!("v{release}"));
    Mkectl::at(FAKE_MKECTL, variables).unwrap()
}

#[test]
fn mkectl_of_each_release_gets_the_flags_that_its_help_lists() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    // The fake reads these files.
    let [config, hosts, matrix] = ["mke4.yaml", "hosts.yaml", "release-matrix.json"].map(|name| {
        let path = folder.join(name);
        std::fs::write(&path, "{}\n").unwrap();
        path
    });
    let mut all = String::new();
    for release in RELEASES {
        let archive = folder.join(release).join("backup.tar");
        std::fs::create_dir(archive.parent().unwrap()).unwrap();
        let mkectl = of(release);
        let version = mkectl.version().unwrap();
        assert_eq!(version.to_string(), *release);
        let root = mkectl.help(&[]).unwrap();
        let upgrade = Upgrade {
            release: &version,
            release_matrix: Some(&matrix),
            gateway_ports: Some(GatewayPorts {
                node: NodePorts {
                    http: 33000,
                    https: 33001,
                },
                listener: 8443,
            }),
        };
        writeln!(all, "v{release}").unwrap();
        let mut commands = vec![
            mkectl.apply(&config, &mkectl.help(&["apply"]).unwrap()),
            mkectl.upgrade(&config, &upgrade, &mkectl.help(&["upgrade"]).unwrap()),
        ];
        let archives = mkectl.archives().unwrap();
        assert_eq!(archives.is_none(), *release == "4.1.0", "{release}");
        if let Some(archives) = archives {
            commands.push(mkectl.backup(&config, archive.as_str(), archives, &root));
            commands.push(mkectl.restore(&config, &hosts, archive.as_str(), archives, &root));
        }
        for command in commands {
            let arguments = command.arguments.join(" ");
            let shown = arguments.replace(&format!("{folder}/"), "");
            writeln!(all, "  {shown}").unwrap();
            // The fake of the release accepts the command.
            if command.arguments[0] != "apply" {
                let log = tempfile::NamedTempFile::new().unwrap();
                let log = Utf8Path::from_path(log.path()).unwrap().to_owned();
                let (_sender, signals) = std::sync::mpsc::channel();
                let finished = programs::run(&command, &log, &IgnoreEvents, &signals).unwrap();
                assert!(
                    finished.exit.is_success(),
                    "{release}: {:?}",
                    finished.last_lines
                );
            }
        }
    }
    insta::assert_snapshot!("commands_by_release", all);
}

#[test]
fn the_configuration_is_read_from_the_output_of_each_release() {
    for release in RELEASES {
        let mut mkectl = of(release);
        let initial = mkectl.init().unwrap();
        assert!(
            initial.ends_with(&format!("version: v{release}\n")),
            "{initial}"
        );
        mkectl.kubeconfig = Some("/dev/null".into());
        assert_eq!(mkectl.config_get().unwrap(), initial, "{release}");
    }
}

#[test]
fn mkectl_lists_the_images_and_charts_of_an_offline_installation_since_4_1_3() {
    for release in RELEASES {
        let mkectl = of(release);
        let has_airgap = mkectl.help(&[]).unwrap().has_command("airgap");
        assert_eq!(has_airgap, *release >= "4.1.3", "{release}");
        let images = mkectl.airgap(Needed::Images);
        if !has_airgap {
            assert!(matches!(images, Err(programs::Error::Failed { .. })));
            continue;
        }
        assert_eq!(
            images.unwrap(),
            [
                "registry.mirantis.com/k0rdent-enterprise/mke-operator:v1.6.3",
                "registry.mirantis.com/mke/calico/node:v3.30.2"
            ]
        );
        assert_eq!(
            mkectl.airgap(Needed::Charts).unwrap(),
            ["registry.mirantis.com/k0rdent-enterprise/charts/k0rdent-enterprise:1.2.3"]
        );
    }
}

/// An observer that ignores all events.
struct IgnoreEvents;

impl programs::Observer for IgnoreEvents {
    fn event(&self, _: programs::Event<'_>) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn any_command_of_mkectl_runs_with_the_right_program_and_file() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment(
        "config:\n",
        "config:\n  license: { token: { $env: LAB_LICENSE } }\n",
    );
    lab.variable("LAB_LICENSE", "planted-license-5d21");
    let kubeconfig = lab.home().join(".mke/mke.kubeconf");
    std::fs::create_dir_all(kubeconfig.parent().unwrap()).unwrap();
    std::fs::write(&kubeconfig, "apiVersion: v1\n").unwrap();
    insta::assert_snapshot!(
        "config_get",
        lab.run("mkectl lab -- config get").success().whole()
    );
    std::fs::remove_file(kubeconfig).unwrap();
    let call = lab.calls().pop().unwrap();
    assert!(
        call.file
            .unwrap_or_default()
            .contains("token: planted-license-5d21\n"),
        "{:?}",
        call.arguments
    );
    // If the command fails, the exit code of mkectl is reported.
    lab.variable("FAKE_MKECTL_EXIT", "3");
    insta::assert_snapshot!(lab.run("mkectl lab -- apply --check-ports")
            .exits_with(7)
            .whole(), @"
    exit code: 7
    --- stdout
    --- stderr
       mkectl [SANDBOX]/bin/mkectl apply -f environments/lab/logs/.mke4-[RANDOM].yaml --no-color --no-pretty-print --check-ports
    mkectl | INF mkectl v4.1.5 reads [WORKSPACE]/environments/lab/logs/.mke4-[RANDOM].yaml
    mkectl | FTL apply failed: told to by FAKE_MKECTL_EXIT
    error: `mkectl apply` exited with code 3
      mkectl | INF mkectl v4.1.5 reads [WORKSPACE]/environments/lab/logs/.mke4-[RANDOM].yaml
      mkectl | FTL apply failed: told to by FAKE_MKECTL_EXIT
    hint: its output is in environments/lab/logs/[TIME]-mkectl.log
    ");
    let run = lab
        .run("mkectl lab --format json -- nonsense")
        .exits_with(7);
    let last = run.json();
    assert_eq!(last["error"]["mkectl-exit-code"], 2);
    // No file has the secret, and the note of the run is removed.
    for (path, content) in lab.files() {
        let is_meant = path.as_str().ends_with("mkectl-calls");
        let text = String::from_utf8_lossy(&content);
        assert!(is_meant || !text.contains("planted-license"), "{path}");
    }
    assert!(!lab.path("environments/lab/logs/under-way.yaml").exists());
    lab.run("mkectl lab").exits_with(64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_arguments_is_reported_and_requires_consent() {
    const SECRET: &str = "planted-admin-4410";
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_LEAK", "arguments");
    let typed = ["--", "apply", "--admin-password", SECRET];
    let run = lab.run(&[&["mkectl", "lab"][..], &typed].concat());
    insta::assert_snapshot!(run.whole(), @"
    exit code: 8
    --- stdout
    --- stderr
    warning: mkectl takes --admin-password only as an argument: while it runs, every user of this machine can read it in the process list
    error: --admin-password would be visible in the process list: a terminal is required to confirm
    hint: on a machine without other users, answer `yes`, or add `--allow-visible-secrets` for runs without a terminal
    ");
    assert!(lab.applies().is_empty());
    let allowed = ["mkectl", "lab", "--allow-visible-secrets"];
    let run = lab.run(&[&allowed[..], &typed].concat()).success();
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    WRN connecting with apply -f [WORKSPACE]/environments/lab/logs/.mke4-[RANDOM].yaml --no-color --no-pretty-print --admin-password=***
    !!! Make sure to save the admin credentials shown below !!!
                  They are only showed once
             You won't be able to see them again
                 Generated username:password
            admin:***
    --- stderr
    warning: mkectl takes --admin-password only as an argument: while it runs, every user of this machine can read it in the process list
       mkectl [SANDBOX]/bin/mkectl apply -f environments/lab/logs/.mke4-[RANDOM].yaml --no-color --no-pretty-print --admin-password=***
    mkectl | INF mkectl v4.1.5 reads [WORKSPACE]/environments/lab/logs/.mke4-[RANDOM].yaml
    mkectl | INF MKE v4.1.5 is installed
        apply done: the password of user admin is in environments/lab/admin-password, which only you can read; no other copy exists
    mkectl has finished; its log is environments/lab/logs/[TIME]-mkectl.log
    ");
    assert_eq!(
        lab.applies()[0].arguments.last().unwrap(),
        &format!("--admin-password={SECRET}")
    );
    for (path, content) in lab.files() {
        let is_meant = path.as_str().ends_with("mkectl-calls");
        let text = String::from_utf8_lossy(&content);
        assert!(is_meant || !text.contains(SECRET), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mkectl_is_that_of_the_release_that_the_cluster_runs() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    // The environment names a later release than the cluster runs.
    lab.edit_environment("release: v4.1.5", "release: v4.2.1");
    let run = lab.run("mkectl lab -- version").success();
    assert_eq!(run.stdout, "Version: v4.1.5\n");
    run.reports("according to its receipt, the cluster of lab runs v4.1.5, but the environment requires v4.2.1");
    lab.variable("FAKE_MKECTL_VERSION", "v4.2.1");
    lab.run("mkectl lab -- version").exits_with(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_requires_the_name_of_the_environment() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for arguments in [
        "mkectl lab -- reset --force",
        "mkectl lab --confirm prod -- reset --force",
    ] {
        lab.run(arguments).exits_with(8);
    }
    let resets = || {
        let calls = lab.calls();
        let typed = calls.iter().filter(|call| call.arguments[0] == "reset");
        typed
            .filter(|call| !call.arguments.contains(&"--help".to_owned()))
            .count()
    };
    assert_eq!(resets(), 0);
    lab.run("mkectl lab --confirm lab -- reset --force")
        .success();
    assert_eq!(resets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_reported_even_if_the_file_for_mkectl_is_missing() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let real = lab.path("../bin/real-mkectl");
    std::fs::rename(lab.path("../bin/mkectl"), &real).unwrap();
    // This mkectl deletes the file that it gets.
    let script = format!(
        "#!/bin/sh\nif [ \"$1 $2\" = 'apply -f' ]; then /bin/rm \"$3\"; exit 3; fi\nexec {real} \"$@\"\n"
    );
    lab.install_script("mkectl", script);
    let run = lab.run("mkectl lab -- apply").exits_with(7);
    run.reports("error: `mkectl apply` exited with code 3");
}

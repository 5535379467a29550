//! The CI of a team with many environments. The runners share only a repository and the registries,
//! and some of them are killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use support::{Arguments, Lab, TestRegistry, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

const ENVIRONMENTS: usize = 40;
const REGISTRIES: usize = 5;
const RUNNERS: usize = 8;
const KILLS: usize = 10;
const LOSSES: usize = 3;

/// A bare repository, registries, and clusters on which two concurrent runs of mkectl fail.
struct Team {
    lab: Lab,
    registries: Vec<TestRegistry>,
    state: Mutex<Jobs>,
}

support::used_as!(Team, lab: Lab);

#[derive(Default)]
struct Jobs {
    /// The environments to deploy, once for each push to the repository.
    queue: VecDeque<String>,
    /// The number of running deploys of each environment.
    running: BTreeMap<String, usize>,
    /// The environments whose last deploy was killed.
    interrupted: BTreeSet<String>,
    /// The times after which the next deploys are killed.
    kills: Vec<Duration>,
    killed: usize,
    /// The number of runners that will be lost between a deploy and the push of its receipt.
    losses: usize,
    /// The environments whose last receipt was lost that way.
    lost: BTreeSet<String>,
    /// The number of deploys that were refused because of a concurrent one.
    refused: usize,
    rebuilt: usize,
    /// An unexpected result of a job. It stops all runners.
    fault: Option<String>,
}

/// How a deploy ended.
enum Ended {
    Killed,
    With(i32, String),
}

impl Team {
    async fn new() -> Self {
        let mut lab = Lab::without_mkectl(AIRLOCK).await;
        let mut registries = Vec::new();
        for _ in 0..REGISTRIES {
            registries.push(TestRegistry::embedded().await);
        }
        let sandbox = &mut lab.sandbox;
        // This mkectl fails if another one is running for the same cluster. `flock` replaces itself
        // by mkectl, so the lock is released when mkectl ends.
        sandbox.install_script(
            "mkectl",
            format!(
                "#!/bin/sh\n\
                 case \"$*\" in *--help*|*--dry-run*) exec {FAKE_MKECTL} \"$@\";; esac\n\
                 [ \"$1\" = apply ] || exec {FAKE_MKECTL} \"$@\"\n\
                 exec /usr/bin/flock --nonblock --no-fork --conflict-exit-code 99 \"$FAKE_MKECTL_CLUSTER.lock\" {FAKE_MKECTL} \"$@\"\n"
            ),
        );
        sandbox.install("/usr/bin/git", "git");
        let ignored = std::fs::read_to_string(support::sandbox::repository().join(".gitignore"));
        sandbox.write(".gitignore", &ignored.unwrap());
        let text = sandbox.read("environments/lab/environment.yaml");
        std::fs::remove_dir_all(sandbox.path("environments/lab")).unwrap();
        for index in 0..ENVIRONMENTS {
            let address = &registries[index % REGISTRIES].address;
            let name = name(index);
            let text = text
                .replace(&lab.registry.address, address)
                .replace("mke.lab.example.com", &format!("{name}.example.com"));
            let path = format!("environments/{name}/environment.yaml");
            lab.write(&path, &text);
        }
        std::fs::create_dir_all(lab.path("../clusters")).unwrap();
        let team = Self {
            lab,
            registries,
            state: Mutex::default(),
        };
        let root = team.path("");
        git(&root, "init --quiet --initial-branch=main");
        git(&root, "add --all");
        git(&root, &["commit", "--quiet", "--message", "Describe all"]);
        let origin = team.origin();
        git(&root, &["clone", "--quiet", "--bare", ".", origin.as_str()]);
        team
    }

    fn origin(&self) -> Utf8PathBuf {
        self.path("../origin.git")
    }

    /// Makes a new clone, with the store from the runner's cache.
    fn clone_into(&self, folder: &Utf8Path) {
        let _ = std::fs::remove_dir_all(folder);
        // Cloning a path would copy files while other runners change them, so the clone uses the
        // protocol of a network.
        let origin = format!("file://{}", self.origin());
        let root = self.path("");
        git(&root, &["clone", "--quiet", &origin, folder.as_str()]);
        let (cache, store) = (self.path("bundles/store"), folder.join("bundles/store"));
        let copied = run(
            "cp",
            &["--recursive", "--link", cache.as_str(), store.as_str()],
        );
        assert!(copied.0, "{}", copied.1);
    }

    fn command(&self, folder: &Utf8Path, environment: &str, arguments: &[&str]) -> Command {
        let leading = ["-C", folder.as_str()];
        let mut command = self.lab.command(&[&leading[..], arguments].concat());
        let cluster = self.path("../clusters").join(environment);
        command
            .env("FAKE_MKECTL_CLUSTER", cluster)
            .env("FAKE_MKECTL_RECORD", self.path("../calls"))
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Takes jobs until the queue is empty and no job is running.
    fn work(&self, runner: usize) {
        loop {
            let next = {
                let mut jobs = self.state.lock().unwrap();
                let next = jobs.queue.pop_front();
                if jobs.fault.is_some() {
                    return;
                }
                if next.is_none() && jobs.running.values().all(|count| *count == 0) {
                    return;
                }
                next
            };
            match next {
                Some(environment) => {
                    let job = AssertUnwindSafe(|| self.job(runner, &environment));
                    if std::panic::catch_unwind(job).is_err() {
                        self.state.lock().unwrap().fault = Some("a job panicked".to_owned());
                    }
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Clones the repository, deploys, and pushes the receipt. A job that was killed, refused or
    /// lost is queued again.
    fn job(&self, runner: usize, environment: &str) {
        let folder = self.path(&format!("../runner-{runner}"));
        let (take_over, is_lost, kill) = {
            let mut jobs = self.state.lock().unwrap();
            let running = jobs.running.entry(environment.to_owned()).or_default();
            let is_alone = *running == 0;
            *running += 1;
            // An operator takes over only if no other job of the environment is running.
            let take_over = is_alone && jobs.interrupted.remove(environment);
            let is_lost = is_alone && jobs.lost.remove(environment);
            // A repair is never killed, so every environment is deployed in the end.
            let kill = (!take_over && !is_lost).then(|| jobs.kills.pop());
            (take_over, is_lost, kill.flatten())
        };
        self.clone_into(&folder);
        let is_done = if is_lost {
            self.rebuild(&folder, environment)
        } else {
            self.deploy(&folder, environment, take_over, kill)
        };
        let mut jobs = self.state.lock().unwrap();
        *jobs.running.get_mut(environment).unwrap() -= 1;
        if !is_done {
            jobs.queue.push_back(environment.to_owned());
        }
    }

    /// Deploys and pushes the receipt. Returns whether both succeeded.
    fn deploy(
        &self,
        folder: &Utf8Path,
        environment: &str,
        take_over: bool,
        kill: Option<Duration>,
    ) -> bool {
        let mut arguments = vec!["deploy", environment, "--yes"];
        arguments.extend(take_over.then_some("--take-over"));
        let child = self.command(folder, environment, &arguments).spawn();
        let ended = wait(child.unwrap(), kill);
        let mut jobs = self.state.lock().unwrap();
        match ended {
            Ended::Killed => {
                jobs.killed += 1;
                jobs.interrupted.insert(environment.to_owned());
                false
            }
            Ended::With(code, stderr) => {
                // The deploy ended before its kill, so a later deploy is killed sooner.
                jobs.kills.extend(kill.map(|after| after / 2));
                match code {
                    0 if has_receipt(folder, environment) && jobs.losses > 0 => {
                        jobs.losses -= 1;
                        jobs.lost.insert(environment.to_owned());
                        false
                    }
                    0 => {
                        drop(jobs);
                        push_receipt(folder, environment)
                    }
                    8 => {
                        jobs.refused += 1;
                        false
                    }
                    code => {
                        jobs.fault = Some(format!("deploy {environment}: {code}\n{stderr}"));
                        false
                    }
                }
            }
        }
    }

    /// Rebuilds a lost receipt and pushes it. Returns whether both succeeded.
    fn rebuild(&self, folder: &Utf8Path, environment: &str) -> bool {
        let arguments = ["receipt", "rebuild", environment, "--confirm", environment];
        let child = self.command(folder, environment, &arguments).spawn();
        match wait(child.unwrap(), None) {
            Ended::With(0, _) => {
                self.state.lock().unwrap().rebuilt += 1;
                push_receipt(folder, environment)
            }
            Ended::With(code, stderr) => {
                let fault = format!("receipt rebuild {environment}: {code}\n{stderr}");
                self.state.lock().unwrap().fault = Some(fault);
                false
            }
            Ended::Killed => false,
        }
    }
}

fn name(index: usize) -> String {
    format!("site-{index:02}")
}

/// Waits for a command, and kills its process group after the time `kill`.
fn wait(mut child: std::process::Child, kill: Option<Duration>) -> Ended {
    let mut stderr = child.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if kill.is_some_and(|after| began.elapsed() >= after) {
            let group = -child.id().cast_signed();
            // SAFETY: `kill` touches no memory, and the group's leader has not been waited for.
            unsafe { libc::kill(group, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let stderr = reading.join().unwrap();
    status
        .code()
        .map_or(Ended::Killed, |code| Ended::With(code, stderr))
}

/// Returns whether a deploy left something to commit.
fn has_receipt(folder: &Utf8Path, environment: &str) -> bool {
    let path = format!("environments/{environment}");
    !git(folder, &["status", "--porcelain", &path]).is_empty()
}

/// Commits and pushes the files that a deploy left, as the example of a pipeline does.
fn push_receipt(folder: &Utf8Path, environment: &str) -> bool {
    let path = format!("environments/{environment}");
    if !has_receipt(folder, environment) {
        return true;
    }
    git(folder, &["add", "--all", &path]);
    git(folder, &["commit", "--quiet", "--message", environment]);
    for _ in 0..50 {
        let pulled = [
            "-C",
            folder.as_str(),
            "-c",
            "user.name=CI",
            "-c",
            "user.email=ci@example.com",
            "pull",
            "--quiet",
            "--rebase",
        ];
        let pulled = run("git", &pulled);
        assert!(pulled.0, "{}", pulled.1);
        if run("git", &["-C", folder.as_str(), "push", "--quiet"]).0 {
            return true;
        }
    }
    false
}

fn git(folder: &Utf8Path, arguments: impl Arguments) -> String {
    let leading = format!("-C {folder} -c user.name=CI -c user.email=ci@example.com");
    let (success, text) = run(
        "git",
        &[leading.as_str().words(), arguments.words()].concat(),
    );
    assert!(success, "git {arguments:?}: {text}");
    text
}

fn run(program: &str, arguments: impl Arguments) -> (bool, String) {
    #[expect(clippy::disallowed_methods, reason = "what a runner calls")]
    let output = Command::new(program)
        .args(arguments.words())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_environments_are_deployed_once_each_by_runners_that_are_killed() {
    let team = Team::new().await;
    {
        let mut jobs = team.state.lock().unwrap();
        // Each environment is queued twice in a row, so two runners deploy it concurrently.
        jobs.queue = (0..ENVIRONMENTS)
            .flat_map(|index| [name(index), name(index)])
            .collect();
        // These times reach from the start of the program to the end of mkectl.
        jobs.kills = (0..KILLS)
            .map(|index| Duration::from_millis(50 + 250 * index as u64))
            .collect();
        jobs.losses = LOSSES;
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        for runner in 0..RUNNERS {
            let team = &team;
            scope.spawn(move || team.work(runner));
        }
    });
    let jobs = team.state.lock().unwrap();
    assert_eq!(jobs.fault, None);
    println!(
        "{:?}: {} killed, {} refused, {} receipts rebuilt",
        began.elapsed(),
        jobs.killed,
        jobs.refused,
        jobs.rebuilt
    );
    let checkout = team.path("../checkout");
    team.clone_into(&checkout);
    let digest = bundle::Lock::digest(&team.read(bundles::LOCK));
    for index in 0..ENVIRONMENTS {
        let environment = name(index);
        let path = checkout.join(format!("environments/{environment}/receipt.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let receipt = release::receipt::Receipt::parse(&text, &path).unwrap();
        assert!(receipt.failed.is_none(), "{text}");
        assert!(text.contains(&digest), "{text}");
        let output = team
            .command(
                &checkout,
                &environment,
                &["status", &environment, "--format", "json"],
            )
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let status = &value["result"]["environments"][0];
        assert_eq!(status["shared"]["phase"], "ended", "{status}");
        assert_eq!(status["drift"], serde_json::json!([]), "{status}");
    }
    assert_eq!((jobs.killed, jobs.rebuilt), (KILLS, LOSSES));
    assert_eq!(team.registries.len(), REGISTRIES);
}

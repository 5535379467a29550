//! A temporary workspace for each test, in which it runs the real command.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};

/// The files that Airlock ships in folders to which a team adds files of its own.
const SHIPPED: [&str; 6] = [
    "bundles/v4.1.5-demo-amd64.lock.yaml",
    "environments/base.yaml",
    "environments/ci",
    "environments/demo",
    "environments/environment.schema.json",
    "environments/examples",
];

/// A workspace in a temporary folder.
pub struct Sandbox {
    _folder: tempfile::TempDir,
    root: Utf8PathBuf,
    program: Utf8PathBuf,
    is_alias: bool,
    variables: BTreeMap<String, String>,
}

/// The result of a run of the command.
#[derive(Debug, Clone)]
pub struct Run {
    /// The exit code; `None` if a signal ended the run.
    pub code: Option<i32>,
    /// Standard output, redacted.
    pub stdout: String,
    /// Standard error, redacted.
    pub stderr: String,
}

/// The arguments of a command: a text of words that are separated by single spaces, or a list,
/// which may have spaces in its arguments.
pub trait Arguments: Copy + std::fmt::Debug {
    /// Returns the arguments as a list.
    fn words(&self) -> Vec<&str>;
}

impl Arguments for &str {
    fn words(&self) -> Vec<&str> {
        self.split(' ').collect()
    }
}

impl Arguments for &String {
    fn words(&self) -> Vec<&str> {
        self.split(' ').collect()
    }
}

impl Arguments for &[&str] {
    fn words(&self) -> Vec<&str> {
        self.to_vec()
    }
}

impl<const N: usize> Arguments for &[&str; N] {
    fn words(&self) -> Vec<&str> {
        self.to_vec()
    }
}

impl Arguments for &Vec<&str> {
    fn words(&self) -> Vec<&str> {
        self.to_vec()
    }
}

impl Sandbox {
    /// Makes an empty workspace; `program` is the command under test,
    /// `env!("CARGO_BIN_EXE_xtask-under-test")`.
    pub fn new(program: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("airlock-test-")
            .tempdir()
            .expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path())
            .expect("a path in UTF-8")
            .canonicalize_utf8()
            .expect("the folder was just made");
        for below in ["workspace/environments", "workspace/bundles", "home", "bin"] {
            std::fs::create_dir_all(root.join(below)).expect("a folder");
        }
        let sandbox = Self {
            root,
            program: Utf8PathBuf::from(program),
            is_alias: true,
            variables: BTreeMap::new(),
            _folder: folder,
        };
        for key in ["lab", "mke-prod", "mke-staging"] {
            sandbox.write_ssh_key(key);
        }
        sandbox
    }

    /// Runs the command from now on as the program `airlock` of a medium, without cargo.
    pub fn as_of_medium(&mut self) {
        self.install(self.program.as_str(), "airlock");
        self.program = self.bin().join("airlock");
        self.is_alias = false;
    }

    /// Makes a workspace with the committed environments of this repository, including those that a
    /// team has added.
    pub fn committed(program: &str) -> Self {
        let sandbox = Self::new(program);
        let environments = "environments";
        copy_committed(
            &repository().join(environments),
            &sandbox.path(environments),
        );
        sandbox
    }

    /// Makes a workspace as Airlock ships it, with the demo's registry at a free port.
    pub fn shipped(program: &str) -> Self {
        let sandbox = Self::new(program);
        for below in SHIPPED {
            copy_committed(&repository().join(below), &sandbox.path(below));
        }
        let demo = sandbox.path("environments/demo/environment.yaml");
        let text = std::fs::read_to_string(&demo).expect("the demo's file");
        let moved = text.replace("127.0.0.1:5443", &format!("127.0.0.1:{}", free_port()));
        assert_ne!(
            text, moved,
            "the address of the demo's registry has changed: update this function"
        );
        std::fs::write(&demo, moved).expect("the demo's file");
        sandbox
    }

    /// Makes a workspace as Airlock ships it, whose examples an operator has copied to be the
    /// environments `prod` and `staging`.
    pub fn with_examples(program: &str) -> Self {
        let sandbox = Self::shipped(program);
        let folder = sandbox.path("environments");
        copy_committed(&folder.join("examples"), &folder);
        sandbox
    }

    /// Returns a path below the workspace.
    pub fn path(&self, below: &str) -> Utf8PathBuf {
        self.root.join("workspace").join(below)
    }

    /// Returns the folder that is the command's PATH.
    pub fn bin(&self) -> Utf8PathBuf {
        self.root.join("bin")
    }

    /// Returns the folder that is the command's HOME.
    pub fn home(&self) -> Utf8PathBuf {
        self.root.join("home")
    }

    /// Writes a file below the workspace.
    pub fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Writes a private key for SSH below the command's HOME.
    pub fn write_ssh_key(&self, name: &str) {
        let folder = self.home().join(".ssh");
        std::fs::create_dir_all(&folder).expect("a folder");
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
        std::fs::write(folder.join(name), text).expect("a file");
    }

    /// Writes the file in which `docker login` keeps the login to a host: `login` is
    /// `user:password` in Base64.
    pub fn log_in(&self, host: &str, login: &str) {
        let folder = self.home().join(".docker");
        std::fs::create_dir_all(&folder).expect("a folder");
        let auth = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{login}\"}}}}}}");
        std::fs::write(folder.join("config.json"), auth).expect("a file");
    }

    /// Replaces text in a file below the workspace.
    #[track_caller]
    pub fn edit(&self, below: &str, from: &str, to: &str) {
        let text = self.read(below);
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        self.write(below, &text.replace(from, to));
    }

    /// Removes a file below the workspace.
    #[track_caller]
    pub fn remove(&self, below: &str) {
        let path = self.path(below);
        std::fs::remove_file(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Reads a file below the workspace.
    pub fn read(&self, below: &str) -> String {
        let path = self.path(below);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Reads an environment's receipt, with the values that differ from run to run replaced.
    pub fn receipt(&self, environment: &str) -> String {
        let text = self.read(&format!("environments/{environment}/receipt.yaml"));
        let mut redacted = String::new();
        for line in self.redact(&text).lines() {
            // The configuration names the registry's port, and programs are built anew, so their
            // digests differ each time.
            let line = match line.split_once(": ") {
                Some((key, digest))
                    if digest.len() == 64
                        && ["config", "sha256", "plan", "run"].contains(&key.trim_start()) =>
                {
                    format!("{key}: [SHA-256]")
                }
                Some((key, env!("CARGO_PKG_VERSION"))) if key.trim_start() == "airlock" => {
                    format!("{key}: [VERSION]")
                }
                _ => line.to_owned(),
            };
            redacted.push_str(&line);
            redacted.push('\n');
        }
        redacted
    }

    /// Returns every file of the sandbox, in the workspace, HOME and PATH, with its content.
    pub fn files(&self) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.root, &mut files);
        files
    }

    /// Returns the state of every file of the workspace, for [`Sandbox::changes_since`].
    pub fn state(&self) -> State {
        let files = self.files().into_iter();
        let files = files.filter_map(|(path, content)| {
            let name = path.strip_prefix(self.path("")).ok()?.to_owned();
            let changed = std::fs::metadata(&path).and_then(|file| file.modified());
            Some((name, (changed.expect("a time of change"), content)))
        });
        State(files.collect())
    }

    /// Returns the files of the workspace that were written, created or removed since `before`,
    /// also those with the same content.
    pub fn changes_since(&self, before: &State) -> Vec<String> {
        let now = self.state();
        let names = before.0.keys().chain(now.0.keys());
        let mut changed: Vec<String> = names
            .filter(|name| before.0.get(*name) != now.0.get(*name))
            .map(ToString::to_string)
            .collect();
        changed.sort();
        changed.dedup();
        changed
    }

    /// Puts the program `source` on the command's PATH under `name`, replacing an earlier one.
    pub fn install(&self, source: &str, name: &str) {
        let _ = std::fs::remove_file(self.bin().join(name));
        std::os::unix::fs::symlink(source, self.bin().join(name)).expect("a link");
    }

    /// Puts a program with this content on the command's PATH, replacing an earlier one.
    pub fn install_script(&self, name: &str, program: impl AsRef<[u8]>) {
        write_program(&self.bin().join(name), program);
    }

    /// Puts a program of this machine, such as git, on the command's PATH, and returns its file.
    pub fn install_system(&self, name: &str) -> Utf8PathBuf {
        let program = system(name);
        self.install(program.as_str(), name);
        program
    }

    /// Makes the workspace a git repository with the `.gitignore` of this repository.
    pub fn init_git(&self) {
        self.install_system("git");
        let ignored = std::fs::read_to_string(repository().join(".gitignore"));
        self.write(".gitignore", &ignored.expect("a file"));
        self.git("init --quiet --initial-branch=main");
    }

    /// Commits all changes, and returns the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git("add --all");
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git("rev-parse HEAD")
    }

    /// Runs git in the workspace, as its owner, and returns what it printed.
    pub fn git(&self, arguments: impl Arguments) -> String {
        self.git_in(&self.path(""), arguments)
    }

    /// Runs git in a folder, as the owner of the workspace, and returns what it printed.
    pub fn git_in(&self, folder: &Utf8Path, arguments: impl Arguments) -> String {
        #[expect(clippy::disallowed_methods, reason = "the workspace's owner commits")]
        let mut git = Command::new(system("git"));
        let identity = ["user.name=Jane Doe", "user.email=jane@example.com"];
        let output = git
            .args(["-C", folder.as_str()])
            .args(identity.iter().flat_map(|setting| ["-c", setting]))
            .args(arguments.words())
            .env_clear()
            .env("HOME", self.home())
            .output()
            .expect("git");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Sets an environment variable for all later runs.
    pub fn variable(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Returns the command, ready to be run in this workspace.
    pub fn command(&self, arguments: impl Arguments) -> Command {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests start the command that they test"
        )]
        let mut command = Command::new(&self.program);
        command
            .args(arguments.words())
            .current_dir(self.root.join("workspace"))
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", self.bin())
            .env("NO_COLOR", "1")
            // As the alias `cargo xtask` calls it.
            .envs(self.is_alias.then_some(("CARGO", "cargo")))
            .envs(&self.variables)
            .stdin(Stdio::null());
        command
    }

    /// Returns the command as a script would run it: with `--yes` where a plan requires approval.
    pub fn approved(&self, arguments: impl Arguments) -> Command {
        let asks = ["deploy", "apply", "migrate"];
        let approves = ["--plan", "--yes", "--dry-run", "--help"];
        let arguments = arguments.words();
        let mut command = self.command(&arguments);
        if arguments.len() > 1
            && asks.contains(&arguments[0])
            && !arguments.iter().any(|argument| approves.contains(argument))
        {
            command.arg("--yes");
        }
        command
    }

    /// Runs the command to its end, with the plan approved.
    #[must_use]
    pub fn run(&self, arguments: impl Arguments) -> Run {
        let output = self
            .approved(arguments)
            .output()
            .expect("the command under test");
        self.ended(&output)
    }

    /// Returns the result of a process that ran in this workspace.
    #[must_use]
    pub fn ended(&self, output: &Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: self.redact(&String::from_utf8_lossy(&output.stdout)),
            stderr: self.redact(&String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Packs a medium of the environment `lab` and unpacks it into an empty folder. Returns the
    /// folder.
    #[track_caller]
    pub fn carry(&self) -> Utf8PathBuf {
        self.write("../program", crate::PROGRAM);
        let (medium, inside) = (self.path("../medium"), self.path("../inside"));
        let pack = format!("pack lab --program ../program --out {medium}");
        self.run(&pack).success();
        let unpack = format!("unpack {medium} --allow-unsigned -C {inside}");
        self.run(&unpack).success();
        inside
    }

    /// Locks a bundle as this release, even if the bundle is of a different one.
    #[track_caller]
    pub fn lock_as(&self, release: &str, bundle: &Utf8Path) {
        let lock = format!("lock {release} --bundle {bundle} --force-release");
        self.run(&lock).success();
    }

    /// Replaces values that differ between machines and between runs.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text
            .replace(self.path("").as_str().trim_end_matches('/'), "[WORKSPACE]")
            .replace(self.program.as_str(), "[AIRLOCK]")
            .replace(self.root.as_str(), "[SANDBOX]");
        text = redact_ports(&text);
        text = redact_random(&text);
        text = redact_times(&text);
        redact_speeds(&text)
    }
}

/// The files of a workspace at one time, each with its time of change and its content.
pub struct State(BTreeMap<Utf8PathBuf, (SystemTime, Vec<u8>)>);

impl Run {
    /// Returns code, standard output and standard error as one text, for a snapshot.
    pub fn whole(&self) -> String {
        let code = self
            .code
            .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        format!(
            "exit code: {code}\n--- stdout\n{}--- stderr\n{}",
            self.stdout, self.stderr
        )
    }

    /// Returns the last object that a run with `--format json` wrote.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}", self.whole()))
    }

    /// Checks that the run succeeded, and shows what it printed if not.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits_with(0)
    }

    /// Checks the exit code of the run, and shows what it printed if the code differs.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.whole());
        self
    }

    /// Checks that standard error contains this text.
    #[track_caller]
    pub fn reports(&self, text: &str) -> &Self {
        self.check(&self.stderr, text, true)
    }

    /// Checks that standard error lacks this text.
    #[track_caller]
    pub fn does_not_report(&self, text: &str) -> &Self {
        self.check(&self.stderr, text, false)
    }

    /// Checks that standard output contains this text.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Self {
        self.check(&self.stdout, text, true)
    }

    /// Checks that standard output lacks this text.
    #[track_caller]
    pub fn does_not_print(&self, text: &str) -> &Self {
        self.check(&self.stdout, text, false)
    }

    /// Checks that what the run printed, or its exit code, contains this text.
    #[track_caller]
    pub fn mentions(&self, text: &str) -> &Self {
        self.check(&self.whole(), text, true)
    }

    /// Checks that what the run printed, or its exit code, lacks this text.
    #[track_caller]
    pub fn does_not_mention(&self, text: &str) -> &Self {
        self.check(&self.whole(), text, false)
    }

    #[track_caller]
    fn check(&self, printed: &str, text: &str, is_expected: bool) -> &Self {
        let expected = if is_expected { "missing" } else { "unexpected" };
        let is_as_expected = printed.contains(text) == is_expected;
        assert!(is_as_expected, "{expected}: {text}\n{}", self.whole());
        self
    }
}

/// Assertions about a text.
pub trait Text {
    /// Checks that the text contains this part, and shows the text if not.
    fn has(&self, part: &str) -> &Self;

    /// Checks that the text lacks this part, and shows the text if not.
    fn lacks(&self, part: &str) -> &Self;
}

impl Text for str {
    #[track_caller]
    fn has(&self, part: &str) -> &Self {
        assert!(self.contains(part), "missing: {part}\n{self}");
        self
    }

    #[track_caller]
    fn lacks(&self, part: &str) -> &Self {
        assert!(!self.contains(part), "unexpected: {part}\n{self}");
        self
    }
}

/// Returns the path of a program of this machine.
fn system(name: &str) -> Utf8PathBuf {
    let folders = ["/usr/bin", "/usr/local/bin"].into_iter();
    let mut paths = folders.map(|folder| Utf8Path::new(folder).join(name));
    paths.find(|path| path.exists()).expect("the program")
}

/// Writes an executable file, replacing an earlier one.
pub fn write_program(path: &Utf8Path, program: impl AsRef<[u8]>) {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, program).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Returns this repository's root.
pub fn repository() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace's folder")
        .to_owned()
}

/// Returns the names of this repository's environments, sorted.
pub fn environments() -> Vec<String> {
    described(&repository().join("environments"))
}

/// Returns the names of the examples that can be copied to be environments, sorted.
pub fn examples() -> Vec<String> {
    described(&repository().join("environments/examples"))
}

/// Returns the names of the folders in a folder that have an environment.yaml, sorted.
fn described(folder: &Utf8Path) -> Vec<String> {
    let entries = folder.read_dir_utf8().expect("a folder of the repository");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a folder of the repository"))
        .filter(|entry| entry.path().join("environment.yaml").exists())
        .map(|entry| entry.file_name().to_owned())
        .collect();
    names.sort();
    names
}

/// Returns a free port of loopback.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Copies a file or folder of this repository without the files that git ignores: bundles, stores,
/// receipts and logs.
fn copy_committed(from: &Utf8Path, to: &Utf8Path) {
    let name = from.file_name().expect("a name");
    if !from.is_dir() {
        let is_bundle = from.extension().is_none_or(|extension| extension == "gz");
        if !is_bundle && name != "receipt.yaml" {
            std::fs::copy(from, to).expect("a file of the repository");
        }
    } else if !["store", "rehearsal", "logs"].contains(&name) {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in from.read_dir_utf8().expect("a folder of the repository") {
            let entry = entry.expect("a folder of the repository");
            copy_committed(entry.path(), &to.join(entry.file_name()));
        }
    }
}

fn collect(folder: &Utf8Path, files: &mut BTreeMap<Utf8PathBuf, Vec<u8>>) {
    for entry in folder.read_dir_utf8().expect("a folder of the sandbox") {
        let path = entry.expect("a folder of the sandbox").into_path();
        let kind = path.symlink_metadata().expect("a file of the sandbox");
        if kind.is_dir() {
            collect(&path, files);
        } else if kind.is_file() {
            let content = std::fs::read(&path).expect("a file of the sandbox");
            files.insert(path, content);
        }
    }
}

/// Removes the duration of a step, `, 2.10 MB in 1.2 s, 1.75 MB/s`, which the command reports only
/// for long steps.
fn redact_speeds(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, end) = line
            .strip_suffix('\n')
            .map_or((line, ""), |line| (line, "\n"));
        let speed = content
            .ends_with("/s")
            .then(|| {
                content
                    .rfind(" s, ")
                    .and_then(|at| content[..at].rfind(" in "))
            })
            .flatten();
        let kept = speed.and_then(|at| content[..at].rfind(", "));
        redacted.push_str(kept.map_or(content, |at| &content[..at]));
        redacted.push_str(end);
    }
    redacted
}

/// Replaces the random part in the names of temporary files for mkectl, `.mke4-a1B2c3.yaml`.
fn redact_random(text: &str) -> String {
    let mut parts = text.split("/.mke4-");
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|character: char| character.is_ascii_alphanumeric());
        redacted.push_str("/.mke4-[RANDOM]");
        redacted.push_str(rest);
    }
    redacted
}

/// Replaces the ports of loopback addresses.
fn redact_ports(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, after) = rest.split_at(at + "127.0.0.1:".len());
        redacted.push_str(before);
        rest = after.trim_start_matches(|character: char| character.is_ascii_digit());
        redacted.push_str("[PORT]");
    }
    redacted.push_str(rest);
    redacted
}

/// Replaces times such as `2026-01-02T03:04:05Z` and `2026-01-02T03-04-05Z`.
fn redact_times(text: &str) -> String {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd?dd?ddZ";
    let bytes = text.as_bytes();
    let mut redacted = String::with_capacity(text.len());
    let mut kept = 0;
    let mut at = 0;
    while at + SHAPE.len() <= bytes.len() {
        let fits = SHAPE
            .iter()
            .zip(&bytes[at..])
            .all(|(shape, byte)| match shape {
                b'd' => byte.is_ascii_digit(),
                b'?' => matches!(byte, b':' | b'-'),
                shape => byte == shape,
            });
        if fits {
            redacted.push_str(&text[kept..at]);
            redacted.push_str("[TIME]");
            at += SHAPE.len();
            // The number of a second file of the same second.
            let number = bytes[at..].strip_prefix(b"-").unwrap_or_default();
            let digits = number
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if digits > 0 {
                at += 1 + digits;
            }
            kept = at;
        } else {
            at += 1;
        }
    }
    redacted.push_str(&text[kept..]);
    redacted
}

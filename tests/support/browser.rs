//! Headless Chromium, which opens pages, measures them and takes screenshots.

use std::process::Command;

use camino::Utf8Path;
use serde_json::Value;

/// The script that measures a page, added to a copy of the page.
const MEASURE: &str = include_str!("measure.js");

/// The height of a window, in CSS pixels.
const HEIGHT: u32 = 900;

/// The minimum width of a window, in CSS pixels.
const MINIMUM_WIDTH: u32 = 500;

/// The colour scheme that a reader prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on a light ground.
    Light,
    /// Light text on a dark ground.
    Dark,
}

/// How the browser shows a page.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The width of the window, in CSS pixels.
    pub width: u32,
    /// The preferred colours.
    pub scheme: Scheme,
}

/// A browser with a profile of its own.
pub struct Browser {
    folder: tempfile::TempDir,
}

impl Browser {
    /// Makes a browser with an empty profile.
    #[expect(
        clippy::new_without_default,
        reason = "each browser has a folder of its own"
    )]
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Opens a page, and returns the messages of the browser's console: errors, and the resources
    /// that the policy of the page blocked.
    pub fn console(&self, page: &Utf8Path, look: Look) -> String {
        let (_, log) = self.start(
            HEIGHT,
            look,
            &["--enable-logging=stderr", "--dump-dom", &url(page)],
        );
        let lines = log.lines().filter(|line| line.contains("CONSOLE"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Opens a copy of a page with the script `measure.js`, and returns its measurements.
    pub fn measure(&self, page: &Utf8Path, look: Look) -> Value {
        let html = std::fs::read_to_string(page).expect("a page");
        // The policy of the page forbids scripts, so the copy has no policy.
        let policy = html
            .find("<meta http-equiv=\"Content-Security-Policy\"")
            .expect("a policy");
        let end = policy + html[policy..].find('>').expect("its end") + 1;
        let script = format!("<script>{MEASURE}</script></body>");
        let copy = format!("{}{}", &html[..policy], &html[end..]).replacen("</body>", &script, 1);
        let measured = self.folder.path().join("measured.html");
        std::fs::write(&measured, copy).expect("a file");
        let frame = self.frame(&url_of(&measured), look, HEIGHT);
        let (dom, log) = self.start(
            HEIGHT,
            look,
            &["--virtual-time-budget=5000", "--dump-dom", &frame],
        );
        let measured = dom.split("<pre id=\"measured\">").nth(1);
        let measured = measured.and_then(|rest| rest.split("</pre>").next());
        let measured = measured.unwrap_or_else(|| panic!("nothing was measured: {log}\n{dom}"));
        let unescaped = measured
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        serde_json::from_str(&unescaped).unwrap_or_else(|error| panic!("{error}: {unescaped}"))
    }

    /// Takes a screenshot of the upper part of a page.
    pub fn picture(&self, page: &Utf8Path, look: Look, height: u32, to: &Utf8Path) {
        let frame = self.frame(&url(page), look, height);
        self.start(height, look, &[&format!("--screenshot={to}"), &frame]);
        assert!(to.is_file(), "{to} was not made");
    }

    /// Prints a page as a PDF.
    pub fn print(&self, page: &Utf8Path, to: &Utf8Path) {
        let look = Look {
            width: MINIMUM_WIDTH,
            scheme: Scheme::Dark,
        };
        let file = format!("--print-to-pdf={to}");
        self.start(HEIGHT, look, &["--no-pdf-header-footer", &file, &url(page)]);
        assert!(to.is_file(), "{to} was not made");
    }

    /// Writes a page that shows `url` in a frame and the measurements of the framed page, and
    /// returns its URL. A frame can be narrower than [`MINIMUM_WIDTH`]; a window cannot.
    fn frame(&self, url: &str, look: Look, height: u32) -> String {
        let Look { width, .. } = look;
        let html = format!(
            "<!doctype html><meta name=\"color-scheme\" content=\"light dark\">\
             <body style=\"margin:0\"><iframe src=\"{url}\" width={width} height={height} style=\"border:0;display:block\"></iframe>\
             <script>addEventListener('message', (event) => {{ const pre = document.createElement('pre'); pre.id = 'measured'; \
             pre.textContent = event.data; document.body.append(pre); }});</script>"
        );
        let path = self.folder.path().join("frame.html");
        std::fs::write(&path, html).expect("a file");
        url_of(&path)
    }

    fn start(&self, height: u32, look: Look, arguments: &[&str]) -> (String, String) {
        #[expect(clippy::disallowed_methods, reason = "the browser is a program")]
        let mut command = Command::new("chromium");
        let profile = self.folder.path().join("profile");
        command
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .args(["--no-first-run", "--disable-background-networking"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!(
                "--window-size={},{height}",
                look.width.max(MINIMUM_WIDTH)
            ))
            .args((look.scheme == Scheme::Dark).then_some("--force-dark-mode"))
            .args(arguments)
            .env("HOME", self.folder.path());
        let output = command.output().expect("chromium");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (out, log) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {log}");
        (out, log)
    }
}

fn url(page: &Utf8Path) -> String {
    url_of(page.as_std_path())
}

fn url_of(page: &std::path::Path) -> String {
    format!("file://{}", page.display())
}

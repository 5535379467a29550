//! nginx and haproxy, which terminate TLS in front of a registry with the defaults of their
//! packages.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::sandbox::free_port;
use servers::Certificates;

/// A running proxy; it stops when this is dropped.
pub struct Terminator {
    /// Its address, `127.0.0.1:port`.
    pub address: String,
    /// The CA that signed its certificate.
    pub ca_pem: String,
    folder: tempfile::TempDir,
    process: Child,
}

impl Terminator {
    /// Starts nginx in front of `target`, with `proxy_pass` alone. Bodies have the default limit of
    /// 1 MiB, and the registry sees its own address as `Host`.
    pub async fn nginx(target: &str) -> Self {
        Self::start(target, "nginx.conf", |folder, port| {
            let at = folder.display();
            let config = format!(
                "\
user root;
daemon off;
pid {at}/pid;
error_log {at}/error.log;
events {{}}
http {{
    access_log {at}/access.log;
    client_body_temp_path {at}/body;
    proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi;
    uwsgi_temp_path {at}/uwsgi;
    scgi_temp_path {at}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {at}/tls.pem;
        ssl_certificate_key {at}/tls.pem;
        location / {{ proxy_pass http://{target}; }}
    }}
}}
"
            );
            (config, program("nginx", &["-p", &at.to_string(), "-c"]))
        })
        .await
    }

    /// Starts haproxy in front of `target`, with the time-outs of Debian's package. The registry
    /// sees a plain `http` request.
    pub async fn haproxy(target: &str) -> Self {
        Self::start(target, "haproxy.cfg", |folder, port| {
            let at = folder.display();
            let config = format!(
                "\
defaults
    mode http
    timeout connect 5000
    timeout client 50000
    timeout server 50000
frontend tls
    bind 127.0.0.1:{port} ssl crt {at}/tls.pem
    default_backend registry
backend registry
    server one {target}
"
            );
            (config, program("haproxy", &["-db", "-f"]))
        })
        .await
    }

    async fn start(
        target: &str,
        name: &str,
        configure: impl FnOnce(&Path, u16) -> (String, Command),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = Certificates::local();
        let (ca_pem, port) = (certificates.ca_pem, free_port());
        let both = certificates.leaf.pem() + &certificates.key.serialize_pem();
        std::fs::write(folder.path().join("tls.pem"), both).expect("a file");
        let (config, mut command) = configure(folder.path(), port);
        let path = folder.path().join(name);
        std::fs::write(&path, config).expect("a file");
        let output = std::fs::File::create(folder.path().join("output")).expect("a file");
        let process = command
            .arg(path)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a descriptor"))
            .stderr(output)
            .spawn()
            .expect("the proxy");
        let started = Self {
            address: format!("127.0.0.1:{port}"),
            ca_pem,
            folder,
            process,
        };
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(&started.address)
                .await
                .is_ok()
            {
                return started;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} before {target}: {}", started.log("output"));
    }

    /// Returns the text of a file in the folder of the proxy, `access.log` for example.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Terminator {
    fn drop(&mut self) {
        // nginx must catch the signal to end its workers, so it cannot be SIGKILL.
        // SAFETY: the process was started here and has not been waited for.
        unsafe { libc::kill(self.process.id().cast_signed(), libc::SIGTERM) };
        let _ = self.process.wait();
    }
}

fn program(name: &str, arguments: &[&str]) -> Command {
    // Debian installs both in /usr/sbin, which only root has on PATH.
    let path = format!("/usr/sbin/{name}");
    let path = if Path::new(&path).is_file() {
        &path
    } else {
        name
    };
    #[expect(clippy::disallowed_methods, reason = "the proxy is a program")]
    let mut command = Command::new(path);
    command.args(arguments);
    command
}

//! Chooses the proxy of a request from the variables of the environment, as Go's
//! `golang.org/x/net/http/httpproxy` does.
//!
//! mkectl, containerd and helm are Go programs, so the same variables have the same effect on all
//! of them:
//!
//! - The scheme of the request selects `HTTPS_PROXY` or `HTTP_PROXY`.
//! - Upper case takes precedence over lower case. An empty variable counts as unset.
//! - `ALL_PROXY` is not read.
//!
//! One difference is deliberate: Go ignores a proxy URL that it cannot parse and connects directly;
//! here it is an error.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

/// The proxies and exceptions that a set of variables configures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<Result<Proxy, ProxyError>>,
    http: Option<Result<Proxy, ProxyError>>,
    exceptions: Vec<Exception>,
    /// Whether `REQUEST_METHOD` is set, as for a CGI program. A client could then set `HTTP_PROXY`
    /// with the header `Proxy`.
    is_cgi: bool,
}

/// The URL of a proxy, and the variable that configures it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    variable: String,
    url: Url,
}

/// A variable that does not contain a usable proxy URL. The value is not kept, since it may contain
/// a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable {variable} {rule}")]
pub struct ProxyError {
    /// Name of the variable in the case that was used: `HTTPS_PROXY` or `https_proxy`.
    pub variable: String,
    /// The rule that its value breaks, to follow the variable's name: `is not UTF-8 text`.
    pub rule: &'static str,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// `*`
    All,
    /// `10.0.0.0/8`
    Network(IpNet),
    /// `10.0.0.1`, `10.0.0.1:5000`, `[fd00::1]:5000`
    Address(IpAddr, Option<String>),
    /// `example.com`, `.example.com`, `*.example.com`, each with an optional port.
    Domain {
        /// The domain with a dot before it: `.example.com`.
        suffix: String,
        /// Whether the domain itself is an exception as well, not only its subdomains.
        includes_domain: bool,
        port: Option<String>,
    },
}

impl Proxies {
    /// Reads the variables. `get` returns the value of a variable, with U+FFFD for bytes that are
    /// not UTF-8.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        let named = |names: [&str; 2]| {
            names.into_iter().find_map(|name| {
                let value = get(name).filter(|value| !value.is_empty())?;
                Some((name.to_owned(), value))
            })
        };
        let proxy = |names| named(names).map(|(name, value)| Proxy::parse(name, &value));
        let exceptions = named(["NO_PROXY", "no_proxy"]);
        Self {
            https: proxy(["HTTPS_PROXY", "https_proxy"]),
            http: proxy(["HTTP_PROXY", "http_proxy"]),
            exceptions: exceptions.map_or_else(Vec::new, |(_, value)| read_exceptions(&value)),
            is_cgi: get("REQUEST_METHOD").is_some_and(|value| !value.is_empty()),
        }
    }

    /// Returns the proxy for a request to `url`, or `None` for a direct connection.
    ///
    /// # Errors
    /// [`ProxyError`] if the variable for the scheme of `url` does not contain a usable proxy URL
    /// and `url` is not an exception.
    pub fn of(&self, url: &Url) -> Result<Option<&Proxy>, ProxyError> {
        let setting = match url.scheme() {
            "https" => &self.https,
            "http" => &self.http,
            _ => return Ok(None),
        };
        let Some(setting) = setting else {
            return Ok(None);
        };
        if self.is_exception(url) {
            return Ok(None);
        }
        if url.scheme() == "http" && self.is_cgi {
            return Err(ProxyError {
                variable: "HTTP_PROXY".to_owned(),
                rule: "is not used when REQUEST_METHOD is set: the client of a CGI program can set it",
            });
        }
        setting.as_ref().map(Some).map_err(Clone::clone)
    }

    /// Returns whether requests to `url` never use a proxy: loopback, and entries of `NO_PROXY`.
    fn is_exception(&self, url: &Url) -> bool {
        let port = url.port_or_known_default().map(|port| port.to_string());
        let port = port.unwrap_or_default();
        let (name, address) = match url.host() {
            Some(Host::Domain("localhost")) | None => return true,
            Some(Host::Domain(name)) => (name.to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => {
                let address = IpAddr::V6(address).to_canonical();
                (address.to_string(), Some(address))
            }
        };
        address.is_some_and(|address| address.is_loopback())
            || (self.exceptions.iter()).any(|one| one.covers(&name, address, &port))
    }
}

impl Proxy {
    /// Returns the proxy's URL, including user and password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the name of the variable that configures the proxy: `HTTPS_PROXY`.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    fn parse(variable: String, value: &str) -> Result<Self, ProxyError> {
        let wrong = |rule| ProxyError {
            variable: variable.clone(),
            rule,
        };
        // `Url` treats a backslash as the end of the host. The rest of a password would become a
        // path, and its beginning a host.
        if value.contains('\\') {
            return Err(wrong("contains a backslash: write it as %5C"));
        }
        // `from_variables` receives U+FFFD for bytes that are not UTF-8. No URL contains it.
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(wrong("is not UTF-8 text"));
        }
        if value.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(wrong("contains a space or a control character"));
        }
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https" | "socks5" | "socks5h") {
            return Err(wrong("has a scheme other than http, https and socks5"));
        }
        let authority = rest.find(['/', '?', '#']).map_or(rest, |end| &rest[..end]);
        if rest[authority.len()..].contains('@') {
            return Err(wrong(
                "has a special character in its user or password: write `/` as %2F, `?` as %3F, `#` as %23",
            ));
        }
        let url = Url::parse(&format!("{scheme}://{authority}"))
            .map_err(|_| wrong("is not a URL of a proxy"))?;
        if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
            return Err(wrong("is not a URL of a proxy"));
        }
        Ok(Self { variable, url })
    }
}

/// Writes the proxy's address and the variable, without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "{}://{host}", self.url.scheme())?;
        if let Some(port) = self.url.port_or_known_default() {
            write!(f, ":{port}")?;
        }
        write!(f, " ({})", self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

fn read_exceptions(value: &str) -> Vec<Exception> {
    let mut exceptions = Vec::new();
    for entry in value.split(',') {
        let entry = entry.trim().to_lowercase();
        if entry == "*" {
            return vec![Exception::All];
        }
        exceptions.extend(Exception::parse(&entry));
    }
    exceptions
}

impl Exception {
    /// Parses an entry of `NO_PROXY` in lower case. Returns `None` for an entry without a host.
    fn parse(entry: &str) -> Option<Self> {
        if let Ok(network) = entry.parse::<IpNet>()
            && entry.contains('/')
        {
            return Some(Self::Network(network));
        }
        let (host, port) = split_port(entry).unwrap_or((entry, None));
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        if host.is_empty() {
            return None;
        }
        let suffix = host.strip_prefix('*').filter(|rest| rest.starts_with('.'));
        let host = suffix.unwrap_or(host);
        let name = host.strip_prefix('.').unwrap_or(host);
        let ascii = match name.is_ascii() {
            true => name.to_owned(),
            false => Host::parse(name).map_or(name.to_owned(), |host| host.to_string()),
        };
        Some(Self::Domain {
            suffix: format!(".{ascii}"),
            includes_domain: !host.starts_with('.'),
            port,
        })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let matches_port = |only: &Option<String>| only.as_deref().is_none_or(|only| only == port);
        match self {
            Self::All => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address(one, only) => address == Some(*one) && matches_port(only),
            Self::Domain {
                suffix,
                includes_domain,
                port: only,
            } => {
                (host.ends_with(suffix.as_str()) || (*includes_domain && host == &suffix[1..]))
                    && matches_port(only)
            }
        }
    }
}

/// Splits `host:port` or `[address]:port`. Returns `None` without a port, and for an IPv6
/// address without brackets. An empty port counts as none.
fn split_port(entry: &str) -> Option<(&str, Option<String>)> {
    let (host, port) = entry.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains([':', '[', ']']) => return None,
        None => host,
    };
    Some((host, Some(port.to_owned()).filter(|port| !port.is_empty())))
}

#[cfg(test)]
mod tests;

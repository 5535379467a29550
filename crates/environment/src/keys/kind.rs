//! The types of values, and the check of a value against its type.
//!
//! `mkectl` reads YAML 1.1 and passes the values on as JSON. An unquoted `1.10` therefore arrives
//! as a number. The check refuses a string that would arrive as a different type. It warns of a
//! word that YAML 1.1 and YAML 1.2 read differently.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::Deserialize;

use super::{Key, Rule};
use crate::duration::parse_duration;
use crate::grammar::{self, without_brackets};
use crate::nearest::nearest;
use crate::problem::{quote, quoted_list};
use crate::yaml::{Node, Scalar, Style};

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// An integer.
    Integer,
    /// A TCP or UDP port.
    Port,
    /// The first and the last port, separated by a hyphen.
    PortRange,
    /// Any string.
    Text,
    /// A list of strings.
    Texts,
    /// A duration in Go's syntax, such as `1m30s`.
    Duration,
    /// A Kubernetes quantity, such as `500Mi`.
    Quantity,
    /// A number of bytes with its unit, such as `8GB`.
    Size,
    /// One or more CIDR blocks, separated by commas.
    Cidr,
    /// An IP address or a host name.
    Address,
    /// An IP address or a host name, with an optional port.
    Host,
    /// A URL with a scheme.
    Url,
    /// A certificate or key in PEM format.
    Pem,
    /// A mapping with any keys.
    Map,
    /// A list with items of any type.
    List,
    /// An IP address with the prefix length of its network, such as `172.16.0.100/16`.
    Interface,
    /// An absolute path that ends in `/k0s`.
    K0sFolder,
    /// A value of any type.
    Any,
    /// The path of a file or folder, relative to the file that contains it.
    Path,
    /// A release, such as `v4.1.5`.
    Release,
    /// The address of a registry, with an optional port.
    RegistryAddress,
    /// The path of a project in a registry.
    Project,
    /// A version of MKE 3.
    Mke3Version,
    /// The name of an environment.
    EnvironmentName,
    /// The name of an environment variable, or the prefix of two.
    Variable,
    /// A duration with one unit, such as `90m`.
    OneUnitDuration,
    /// One of the words in [`Rule::values`].
    Word,
    /// A list of single values, which are read as strings even if YAML reads them as numbers.
    Words,
}

/// A problem with a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// A description of the value that follows the word `is`: `a list, not a mapping`.
    pub description: String,
    /// The fix.
    pub help: String,
    /// Whether some YAML readers accept the value.
    pub is_warning: bool,
}

/// Checks a value below `config` against its rule. A null is always valid: it removes the key.
pub fn config_value_fault(rule: &Rule, node: &Node) -> Option<Fault> {
    if node.is_null() {
        return None;
    }
    if crate::reference(node).is_some() {
        let can_be_string = !matches!(
            rule.kind,
            Kind::Boolean | Kind::Integer | Kind::Port | Kind::Map | Kind::List | Kind::Texts
        );
        return (!can_be_string).then(|| {
            Fault::new(
                "a reference, which becomes a string; a different type is expected here",
                "write the value itself: it is not a secret",
            )
        });
    }
    match rule.kind {
        Kind::Any => None,
        Kind::Map => (node.as_mapping().is_none()).then(|| {
            let description = format!("{}, not a mapping", node.kind());
            Fault::new(description, "write keys below it")
        }),
        Kind::List | Kind::Texts => match node.as_sequence() {
            None => Some(Fault::new(
                format!("{}, not a list", node.kind()),
                "write each item on its own line after `- `",
            )),
            Some(items) if rule.kind == Kind::Texts => items
                .iter()
                .filter(|item| crate::reference(item).is_none())
                .find_map(|item| scalar(item, string_fault)),
            Some(_) => None,
        },
        Kind::Boolean => scalar(node, boolean),
        Kind::Integer => scalar(node, |value| integer(value, (rule.min, rule.max))),
        Kind::Port => scalar(node, |value| match scalar_type(value) {
            ScalarType::Integer(1..=65535) => None,
            ScalarType::String if value.text.parse::<u16>().is_ok_and(|port| port > 0) => {
                Some(Fault::new(
                    format!("the text {}, not a number", quote(&value.text)),
                    "write it without quotes",
                ))
            }
            _ => Some(Fault::quoting(
                &value.text,
                "not a port",
                "a port is a number from 1 to 65535",
            )),
        }),
        _ => scalar(node, |value| {
            string_of_kind(rule.kind, value).or_else(|| allowed_value(rule, &value.text))
        }),
    }
}

impl Kind {
    /// Returns the name of the type with its article, for messages and the reference page.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "a boolean",
            Kind::Integer => "an integer",
            Kind::Port => "a port",
            Kind::PortRange => "a port range",
            Kind::Text => "a string",
            Kind::Texts | Kind::Words => "a list of strings",
            Kind::Duration => "a duration",
            Kind::Quantity => "a Kubernetes quantity",
            Kind::Size => "a size",
            Kind::Cidr => "a CIDR block",
            Kind::Address => "a host name or IP address",
            Kind::Host => "a host name or IP address with an optional port",
            Kind::Url => "a URL",
            Kind::Pem => "a PEM text",
            Kind::Map => "a mapping",
            Kind::List => "a list",
            Kind::Interface => "an IP address with a prefix length",
            Kind::K0sFolder | Kind::Path => "a path",
            Kind::Any => "anything",
            Kind::Release => "a release",
            Kind::RegistryAddress => "a registry address",
            Kind::Project => "a repository path",
            Kind::Mke3Version => "an MKE 3 version",
            Kind::EnvironmentName => "an environment name",
            Kind::Variable => "an environment variable name",
            Kind::OneUnitDuration => "a duration",
            Kind::Word => "a word",
        }
    }

    /// Returns an example of the type, if its syntax is not obvious.
    pub(crate) fn example(self) -> Option<&'static str> {
        match self {
            Kind::PortRange => Some("32768-35535"),
            Kind::Duration => Some("1m30s"),
            Kind::Quantity => Some("500Mi"),
            Kind::Size => Some("8GB"),
            Kind::Cidr => Some("10.96.0.0/16"),
            Kind::Host => Some("mke.example.com:6443"),
            Kind::Url => Some("https://idp.example.com"),
            Kind::Interface => Some("172.16.0.100/16"),
            Kind::K0sFolder => Some("/data/k0s"),
            Kind::Release => Some("v4.1.5"),
            Kind::RegistryAddress => Some("registry.example.com:5000"),
            Kind::Project => Some("platform/mke"),
            Kind::Mke3Version => Some("3.8.2"),
            Kind::Variable => Some("PROD_REGISTRY"),
            Kind::OneUnitDuration => Some("90m"),
            Kind::Boolean
            | Kind::Texts
            | Kind::Words
            | Kind::Integer
            | Kind::Port
            | Kind::Text
            | Kind::Address
            | Kind::Pem
            | Kind::Map
            | Kind::List
            | Kind::Any
            | Kind::Path
            | Kind::EnvironmentName
            | Kind::Word => None,
        }
    }
}

/// Checks a value of `environment.yaml` outside `config`. References are not allowed there, and
/// only this crate reads the value.
pub(crate) fn environment_value_fault(
    key: &Key,
    path: &str,
    node: &Node,
) -> Option<grammar::Fault> {
    let rule = key.rule.as_ref()?;
    let fault = |description: String| grammar::Fault {
        rule: format!("`{path}` is {description}"),
        help: rule.help.clone(),
    };
    let wrong_type = |expected: &str| fault(format!("{}, not {expected}", node.kind()));
    let text = node.text().filter(|_| !node.is_null());
    match (rule.kind, text) {
        (Kind::Map, _) => node.as_mapping().is_none().then(|| {
            let first = key.names().next();
            let help = first.map(|name| format!("write `{name}` and its other keys below it"));
            let help = rule.help.clone().or(help);
            grammar::Fault {
                help,
                ..wrong_type(rule.kind.name())
            }
        }),
        (Kind::Words, _) => {
            let Some(items) = node.as_sequence() else {
                return Some(wrong_type("a list"));
            };
            let wrong = items.iter().find(|item| item.as_scalar().is_none());
            let is_too_short = rule.min.is_some() && items.is_empty();
            match wrong {
                Some(item) => Some(fault(format!("a list with {} in it", item.kind()))),
                None => is_too_short.then(|| fault("empty".to_owned())),
            }
        }
        (Kind::Word, Some(text)) if rule.values.iter().any(|value| value == text) => None,
        (Kind::Word, Some(text)) if !rule.is_secret => {
            let mut fault = fault(format!(
                "{}, not {}",
                quote(text),
                alternatives(&rule.values)
            ));
            if let Some(nearest) = nearest(text, rule.values.iter().map(String::as_str)) {
                fault.help = Some(format!("did you mean `{nearest}`?"));
            }
            Some(fault)
        }
        (Kind::Word, _) if !key.fields.is_empty() => Some(wrong_type("a mapping")),
        (Kind::Word, _) => Some(wrong_type(&alternatives(&rule.values))),
        (Kind::Path, Some("")) => {
            let help = "write a path, or remove the key".to_owned();
            let help = rule.help.clone().or(Some(help));
            Some(grammar::Fault {
                help,
                ..fault("empty".to_owned())
            })
        }
        (Kind::Release, Some(text)) => grammar::release(text).err(),
        (Kind::RegistryAddress, Some(text)) => grammar::address(text).err(),
        (Kind::Project, Some(text)) => grammar::project(text).err(),
        (Kind::Mke3Version, Some(text)) => grammar::mke3_version(text).err(),
        (Kind::EnvironmentName, Some(text)) => {
            grammar::environment_name(text)
                .is_err()
                .then(|| grammar::Fault {
                    rule: format!("{} is not {}", quote(text), rule.kind.name()),
                    help: rule.help.clone(),
                })
        }
        (Kind::Variable, _) => {
            (!text.is_some_and(grammar::is_variable_name)).then(|| grammar::Fault {
                // The value may be a secret, so the message does not repeat it.
                rule: format!("this is not {}", rule.kind.name()),
                help: (rule.help.as_ref())
                    .map(|help| format!("{help}, in capital letters, digits and underscores")),
            })
        }
        (Kind::OneUnitDuration, Some(text)) => {
            parse_duration(text).is_none().then(|| grammar::Fault {
                rule: format!("`{path}` is not a duration"),
                help: Some(
                    "write a number from 1 and a unit (`s`, `m`, `h` or `d`), such as `90m`"
                        .to_owned(),
                ),
            })
        }
        (Kind::Boolean, Some(_)) => config_value_fault(rule, node).map(|found| grammar::Fault {
            help: Some(found.help),
            ..fault(found.description)
        }),
        (Kind::Boolean, None) => Some(grammar::Fault {
            help: Some("write `true` or `false`".to_owned()),
            ..wrong_type(rule.kind.name())
        }),
        (_, Some(_)) => None,
        (kind, None) => Some(wrong_type(kind.name())),
    }
}

/// Returns values in words: `` `a` or `b` ``.
fn alternatives(values: &[String]) -> String {
    quoted_list(values.iter().map(String::as_str), " or ")
}

/// Parses a range of ports.
pub fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

/// Parses CIDR blocks that commas separate.
pub fn networks(text: &str) -> Option<Vec<IpNet>> {
    text.split(',')
        .map(|network| network.trim().parse().ok())
        .collect()
}

impl Fault {
    fn new(description: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault {
            description: description.into(),
            help: help.into(),
            is_warning: false,
        }
    }

    /// Returns a fault whose description begins with the quoted text of the value.
    fn quoting(text: &str, description: &str, help: impl Into<String>) -> Fault {
        Fault::new(format!("{}, {description}", quote(text)), help)
    }
}

/// The type that YAML readers give to a scalar.
#[derive(Debug, PartialEq, Eq)]
enum ScalarType {
    String,
    Boolean,
    /// A boolean in YAML 1.1 and a string in YAML 1.2.
    OldBoolean(bool),
    /// An integer in decimal digits, without leading zeros.
    Integer(i64),
    /// A number in a different notation.
    Number,
}

fn scalar_type(scalar: &Scalar) -> ScalarType {
    let is_plain = match scalar.tag.as_deref() {
        None => scalar.style == Style::Plain,
        Some(tag) => tag == "tag:yaml.org,2002:bool",
    };
    if !is_plain {
        return ScalarType::String;
    }
    let text = scalar.text.as_str();
    match text.to_ascii_lowercase().as_str() {
        "true" | "false" => return ScalarType::Boolean,
        "yes" | "on" | "y" => return ScalarType::OldBoolean(true),
        "no" | "off" | "n" => return ScalarType::OldBoolean(false),
        _ => {}
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_decimal = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal
        && (unsigned == "0" || !unsigned.starts_with('0'))
        && let Ok(number) = text.parse()
    {
        return ScalarType::Integer(number);
    }
    let digits = unsigned.replace('_', "");
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (digits.parse::<f64>().is_ok()
            || ["0x", "0o", "0b"].iter().any(|prefix| {
                digits.strip_prefix(prefix).is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
                })
            })
            || is_sexagesimal(&digits));
    if is_number {
        ScalarType::Number
    } else {
        ScalarType::String
    }
}

/// Returns whether YAML 1.1 reads a text as a number to the base of sixty, as in `12:30`.
fn is_sexagesimal(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.contains(':') && text.split(':').all(is_digits)
}

/// Checks a single value by `check`. A list or a mapping is a fault.
fn scalar(node: &Node, check: impl Fn(&Scalar) -> Option<Fault>) -> Option<Fault> {
    match node.as_scalar() {
        Some(scalar) => check(scalar),
        None => Some(Fault::new(
            format!("{}, not a single value", node.kind()),
            "write the value after the key",
        )),
    }
}

fn boolean(value: &Scalar) -> Option<Fault> {
    let text = value.text.as_str();
    match scalar_type(value) {
        ScalarType::Boolean => None,
        ScalarType::OldBoolean(meant) => Some(Fault {
            is_warning: true,
            ..Fault::quoting(
                text,
                "which some YAML readers take for a boolean and others for a string",
                format!("write `{meant}`"),
            )
        }),
        ScalarType::String if matches!(text, "true" | "false") => Some(Fault::new(
            "a string, not a boolean",
            format!("write {} without quotes", quote(text)),
        )),
        _ => Some(Fault::quoting(
            text,
            "not a boolean",
            "write `true` or `false`",
        )),
    }
}

fn integer(value: &Scalar, (least, most): (Option<i64>, Option<i64>)) -> Option<Fault> {
    let text = value.text.as_str();
    let range = match (least, most) {
        (Some(least), Some(most)) => format!("an integer from {least} to {most}"),
        (Some(least), None) => format!("an integer of {least} or more"),
        (None, Some(most)) => format!("an integer of {most} or less"),
        (None, None) => "an integer".to_owned(),
    };
    match scalar_type(value) {
        ScalarType::Integer(number)
            if least.is_none_or(|least| least <= number)
                && most.is_none_or(|most| number <= most) =>
        {
            None
        }
        ScalarType::Integer(_) => Some(Fault::quoting(
            text,
            "which is out of range",
            format!("write {range}"),
        )),
        ScalarType::Number => Some(Fault::quoting(
            text,
            "which YAML readers take for different numbers",
            format!("write {range}, in decimal digits"),
        )),
        _ => Some(Fault::quoting(
            text,
            "not a number",
            format!("write {range}, without quotes"),
        )),
    }
}

/// Checks that YAML readers read a value as a string.
fn string_fault(value: &Scalar) -> Option<Fault> {
    let scalar_type = match scalar_type(value) {
        ScalarType::String => return None,
        ScalarType::Boolean | ScalarType::OldBoolean(_) => "a boolean",
        ScalarType::Integer(_) | ScalarType::Number => "a number",
    };
    Some(Fault::quoting(
        &value.text,
        &format!("which YAML reads as {scalar_type}, not as a string"),
        format!("write it in quotes: `\"{}\"`", value.text),
    ))
}

/// Checks a string, or the number of a quantity or size, against a type.
fn string_of_kind(kind: Kind, value: &Scalar) -> Option<Fault> {
    let may_be_number = matches!(kind, Kind::Quantity | Kind::Size);
    // Kubernetes accepts a number without a unit as a quantity.
    if !(may_be_number
        && matches!(
            scalar_type(value),
            ScalarType::Integer(_) | ScalarType::Number
        ))
    {
        let fault = string_fault(value);
        if fault.is_some() {
            return fault;
        }
    }
    let text = value.text.as_str();
    let fault = |description: &str, help: &str| Some(Fault::quoting(text, description, help));
    match kind {
        Kind::PortRange if port_range(text).is_none() => fault(
            "not a port range",
            "write the first and the last, such as `32768-35535`",
        ),
        Kind::Duration if !is_duration(text) => fault(
            "not a duration",
            "write numbers with units, such as `1m30s`",
        ),
        Kind::Quantity if !has_unit(text, QUANTITY_UNITS) => fault(
            "not a Kubernetes quantity",
            "write a number with a unit, such as `250m` or `500Mi`",
        ),
        Kind::Size if !has_unit(text, SIZE_UNITS) => {
            fault("not a size", "write it with its unit, such as `8GB`")
        }
        Kind::Cidr => match networks(text) {
            None => fault(
                "not a CIDR block",
                "write an address and a prefix length, such as `10.96.0.0/16`",
            ),
            Some(networks) => {
                let network = networks.iter().find(|net| net.trunc() != **net)?;
                fault(
                    "whose address has host bits set",
                    &format!("write `{}`", network.trunc()),
                )
            }
        },
        Kind::Interface if text.parse::<IpNet>().is_err() => fault(
            "not an IP address with a prefix length",
            "write both, such as `172.16.0.100/16`",
        ),
        Kind::K0sFolder if !(text.starts_with('/') && text.ends_with("/k0s")) => fault(
            "not an absolute path that ends in `/k0s`",
            "write the absolute path of a folder `k0s`, such as `/data/k0s`",
        ),
        Kind::Address | Kind::Host => host(kind, text),
        Kind::Url if !text.contains("://") => fault(
            "without a scheme",
            "write the full URL, such as `https://idp.example.com`",
        ),
        Kind::Pem if !text.contains("-----BEGIN ") => Some(Fault::new(
            "not in PEM format",
            "it begins with `-----BEGIN`; `{ $file: path }` takes it from a file",
        )),
        _ => None,
    }
}

/// Checks that a text is one of the values of a rule, if the rule has values.
fn allowed_value(rule: &Rule, text: &str) -> Option<Fault> {
    if rule.values.is_empty() || rule.values.iter().any(|value| value == text) {
        return None;
    }
    let help = match nearest(text, rule.current_values()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("write one of {}", quoted_list(rule.current_values(), ", ")),
    };
    Some(Fault::quoting(text, "which is not one of its values", help))
}

/// Checks an IP address or a host name. [`Kind::Host`] allows a port.
pub(crate) fn host(kind: Kind, text: &str) -> Option<Fault> {
    let fault = |description: &str, help: &str| Some(Fault::quoting(text, description, help));
    if text.contains("://") {
        return fault("which has a scheme", "remove everything up to `://`");
    }
    let no_host = || {
        fault(
            "not a host name or IP address",
            "write an IP address or a host name",
        )
    };
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || "/@<>".contains(c)) {
        return no_host();
    }
    let host = match text.rsplit_once(':') {
        // An IPv6 address in brackets, without a port.
        _ if kind == Kind::Host && text.starts_with('[') && text.ends_with(']') => text,
        Some((host, port)) if kind == Kind::Host && text.parse::<IpAddr>().is_err() => {
            if port.parse::<u16>().is_ok_and(|port| port > 0) {
                host
            } else {
                return fault(
                    "whose port is not valid",
                    "a port is a number from 1 to 65535",
                );
            }
        }
        Some(_) if kind == Kind::Address && text.parse::<IpAddr>().is_err() => {
            return fault("which has a port", "write the address alone");
        }
        _ => text,
    };
    if without_brackets(host).parse::<Ipv6Addr>().is_ok() {
        return None;
    }
    if grammar::ends_in_number(host) && host.parse::<Ipv4Addr>().is_err() {
        return fault(
            "which is neither a host name nor an IPv4 address",
            "write a host name, or an IPv4 address such as `10.0.0.5`",
        );
    }
    if !grammar::is_host_name(host) {
        return no_host();
    }
    None
}

const QUANTITY_UNITS: &[&str] = &[
    "", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
];

const SIZE_UNITS: &[&str] = &[
    "", "B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "K", "M", "G", "T", "Ki", "Mi",
    "Gi", "Ti",
];

/// Returns whether a text is a number followed by one of `units`.
fn has_unit(text: &str, units: &[&str]) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_number = number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        && number.parse::<f64>().is_ok();
    is_number && units.contains(&&text[number.len()..])
}

/// Returns whether Go parses a text as a duration.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &rest[..rest.len() - unit.len()];
        let next = unit.trim_start_matches(|c: char| c.is_alphabetic());
        let name = &unit[..unit.len() - next.len()];
        let is_unit = matches!(name, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h");
        if number.parse::<f64>().is_err() || !is_unit {
            return false;
        }
        parts += 1;
        rest = next;
    }
    parts > 0
}

#[cfg(test)]
mod tests;

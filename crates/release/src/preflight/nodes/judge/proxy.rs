//! Checks whether a node's proxy variables apply to the load balancer or the registry. mkectl sends
//! requests from the nodes to the load balancer, which fail through a proxy (LAB, commit c393df2).

use network::Proxies;

use super::super::{Aspect, NodeCheck, NodeFault};
use super::{Line, Requirements};

pub(super) fn judge<'a>(
    required: &Requirements,
    lines: impl Iterator<Item = &'a Line>,
) -> NodeCheck {
    let aspect = Aspect::Proxy;
    let mut ended = false;
    let mut variables = Vec::new();
    for line in lines {
        ended |= line.keyword == "end";
        variables.extend(line.text.split_once('='));
    }
    if !ended {
        return super::missing_from_output(aspect);
    }
    let proxies = Proxies::from_variables(|name| {
        let mut values = variables.iter().filter(|(known, _)| *known == name);
        values.next().map(|(_, value)| (*value).to_owned())
    });
    // Requests to both use HTTPS.
    let proxy_for = |host: &str| match format!("https://{host}/").parse() {
        Ok(url) if !host.is_empty() => match proxies.of(&url) {
            Ok(proxy) => proxy.map(|proxy| format!("the proxy {proxy}")),
            Err(error) => Some(format!("a proxy that cannot be used ({error})")),
        },
        _ => None,
    };
    if let Some(proxy) = proxy_for(&required.balancer) {
        let text = format!(
            "requests to the load balancer {} use {proxy}",
            required.balancer
        );
        NodeCheck::wrong(aspect, NodeFault::ProxyForBalancer, text)
    } else if let Some(proxy) = proxy_for(&required.registry_address) {
        let text = format!("requests to the registry {} use {proxy}", required.registry);
        NodeCheck::warn(aspect, NodeFault::ProxyForRegistry, text)
    } else {
        NodeCheck::fine(aspect, "none for the registry and the load balancer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::nodes::NodeVerdict;

    #[test]
    fn a_proxy_for_the_balancer_is_worse_than_one_for_the_registry() {
        let required = Requirements {
            registry: "registry.example.com".to_owned(),
            registry_address: "registry.example.com:5000".to_owned(),
            balancer: "mke.example.com".to_owned(),
            ..Requirements::default()
        };
        let judged = |variables: &[&str]| {
            let line = |keyword: &str, text: &str| Line {
                subject: "proxy".to_owned(),
                keyword: keyword.to_owned(),
                text: text.to_owned(),
            };
            let mut lines: Vec<Line> = variables
                .iter()
                .map(|text| line("variable", text))
                .collect();
            lines.push(line("end", ""));
            judge(&required, lines.iter()).verdict
        };
        let proxy = "HTTPS_PROXY=http://proxy:3128";
        assert_eq!(judged(&[]), NodeVerdict::Ok);
        assert_eq!(judged(&["http_proxy=http://proxy:3128"]), NodeVerdict::Ok);
        assert_eq!(judged(&["https_proxy="]), NodeVerdict::Ok);
        assert_eq!(judged(&[proxy]), NodeVerdict::Problem);
        assert_eq!(
            judged(&[proxy, "no_proxy=localhost,mke.example.com"]),
            NodeVerdict::Warning
        );
        assert_eq!(judged(&[proxy, "NO_PROXY=.example.com"]), NodeVerdict::Ok);
        // Ports, and an empty variable beside a full one.
        let ports = |registry| format!("NO_PROXY=mke.example.com,registry.example.com:{registry}");
        assert_eq!(judged(&[proxy, &ports("5000")]), NodeVerdict::Ok);
        assert_eq!(judged(&[proxy, &ports("443")]), NodeVerdict::Warning);
        assert_eq!(judged(&[proxy, "NO_PROXY=", "no_proxy=*"]), NodeVerdict::Ok);
        assert_eq!(
            judged(&[proxy, "NO_PROXY=x", "no_proxy=*"]),
            NodeVerdict::Problem
        );
        // Go does not read this one, so neither mkectl nor containerd does.
        assert_eq!(judged(&["ALL_PROXY=http://proxy:3128"]), NodeVerdict::Ok);
        let many = format!(
            "NO_PROXY={}mke.example.com,registry.example.com",
            "a.tld,".repeat(99)
        );
        let line = format!("airlock\tproxy\tvariable\t{many}");
        assert_eq!(super::super::parse_line(&line).unwrap().text, many);
    }
}

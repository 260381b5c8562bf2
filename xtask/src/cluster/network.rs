//! The bed's network: a bridge that is the node's address, behind the guard that lets nothing out.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::layout::{NODE_ADDRESS, SERVICES};
use crate::command::{output, quietly};
use crate::guard::{self, RANGE};

/// The bridge.
pub(crate) const BRIDGE: &str = "kr0";
/// By which our bridge is known.
const ALIAS: &str = "keyrealm-bed";
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// Chains that kube-proxy and the kubelet make begin so.
const KUBERNETES_CHAINS: &str = "KUBE-";
const TABLES: [&str; 3] = ["mangle", "nat", "filter"];

/// Refuses a machine where the bed would meet somebody else's bridge, routes or Kubernetes.
///
/// # Errors
/// With what is there and how to make room.
pub(crate) fn check_surroundings() -> Result<()> {
    let links = output("ip link", Command::new("ip").args(["-json", "link", "show"]))?;
    foreign_bridge(&serde_json::from_str(&links).unwrap_or_default())?;
    let routes = output("ip route", Command::new("ip").args(["-json", "route", "show", "root", RANGE]))?;
    foreign_route(&serde_json::from_str(&routes).unwrap_or_default())?;
    for table in TABLES {
        if !chains(table)?.is_empty() {
            bail!(
                "another Kubernetes has chains {KUBERNETES_CHAINS}* in the iptables table {table} of this machine; \
                 stop it, or use it with --kubeconfig"
            );
        }
    }
    Ok(())
}

fn foreign_bridge(links: &Value) -> Result<()> {
    let text = |link: &Value, name: &str| link.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours = links.as_array().into_iter().flatten().find(|link| text(link, "ifname") == BRIDGE);
    match ours {
        Some(link) if text(link, "ifalias") != ALIAS => bail!(
            "a network device {BRIDGE} is there that the bed did not make; rename it (ip link set {BRIDGE} name NEW) \
             or remove it (ip link delete {BRIDGE})"
        ),
        _ => Ok(()),
    }
}

fn foreign_route(routes: &Value) -> Result<()> {
    let text = |route: &Value, name: &str| route.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    for route in routes.as_array().into_iter().flatten() {
        if text(route, "type") != "blackhole" && text(route, "dev") != BRIDGE {
            bail!(
                "this machine has a route to {} by {}: the bed needs {RANGE} for itself; remove the route",
                text(route, "dst"),
                text(route, "dev")
            );
        }
    }
    Ok(())
}

/// The bridge with the node's address and the way to services.
///
/// # Errors
/// When the system refuses one of them.
pub(crate) fn open() -> Result<()> {
    guard::up()?;
    ip(&["link", "add", "name", BRIDGE, "type", "bridge"])?;
    ip(&["link", "set", "dev", BRIDGE, "alias", ALIAS])?;
    // Neighbours are looked for with version 6 too, where it is not off.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{BRIDGE}/disable_ipv6"), "1");
    ip(&["address", "add", &format!("{NODE_ADDRESS}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", "dev", BRIDGE, "up"])?;
    // Routing is decided before an address is translated: without this the host itself reaches no service.
    ip(&["route", "replace", SERVICES, "dev", BRIDGE])?;
    fs::write(FORWARD, "1").with_context(|| format!("cannot write {FORWARD}"))
}

/// Ports of the node that programs listen on, with who does.
const PORTS: [(u16, &str); 5] =
    [(53, "CoreDNS"), (5432, "PostgreSQL"), (6443, "the API server"), (10_250, "the kubelet"), (10_256, "kube-proxy")];

/// Refuses a node on whose ports somebody listens who listens on all addresses.
///
/// # Errors
/// With the port and how to find out who it is.
pub(crate) fn check_ports() -> Result<()> {
    PORTS.iter().try_for_each(|(port, user)| is_free(NODE_ADDRESS, *port, user))
}

fn is_free(address: &str, port: u16, user: &str) -> Result<()> {
    TcpListener::bind((address, port)).map(drop).with_context(|| {
        format!(
            "port {port} of {address}, for {user}, is taken by a program that listens on all addresses: \
             `ss -ltnp 'sport = :{port}'` names it; stop it or let it listen on 127.0.0.1 alone"
        )
    })
}

/// Whether the machine passes packets on.
pub(crate) fn forwards() -> bool {
    fs::read_to_string(FORWARD).is_ok_and(|text| text.trim() == "1")
}

/// Takes everything away that `open`, kube-proxy and the kubelet made; what is not there is no error.
pub(crate) fn remove(forwarded: bool) {
    if !forwarded {
        let _ = fs::write(FORWARD, "0");
    }
    if is_ours() {
        // The route to services goes with it.
        let _ = ip(&["link", "delete", BRIDGE]);
    }
    for table in TABLES {
        remove_chains(table);
    }
    guard::down();
}

/// What is still there of the bed's network.
pub(crate) fn left() -> Vec<String> {
    let mut left = Vec::new();
    if is_ours() {
        left.push(format!("the bridge {BRIDGE}"));
    }
    for table in TABLES {
        left.extend(chains(table).unwrap_or_default().into_iter().map(|name| format!("the chain {name} of {table}")));
    }
    left
}

/// Whether the bridge is there and is ours.
fn is_ours() -> bool {
    let link = quietly(Command::new("ip").args(["-json", "link", "show", "dev", BRIDGE]));
    link.is_ok_and(|text| text.contains(&format!("\"ifalias\":\"{ALIAS}\"")))
}

/// The names of a table's chains that kube-proxy and the kubelet made.
fn chains(table: &str) -> Result<Vec<String>> {
    Ok(named_chains(&quietly(Command::new("iptables-save").args(["--table", table]))?))
}

fn named_chains(saved: &str) -> Vec<String> {
    let names = saved.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
    names.filter(|name| name.starts_with(KUBERNETES_CHAINS)).map(str::to_owned).collect()
}

/// The rules elsewhere that name these chains go first, then the chains.
fn remove_chains(table: &str) {
    let Ok(saved) = quietly(Command::new("iptables-save").args(["--table", table])) else { return };
    let run = |arguments: &[&str]| {
        let _ = quietly(Command::new("iptables").args(["--wait", "--table", table]).args(arguments));
    };
    let mut jumps: Vec<String> = Vec::new();
    for line in
        saved.lines().filter(|line| line.starts_with("-A ") && !line.starts_with(&format!("-A {KUBERNETES_CHAINS}")))
    {
        if line.contains(&format!("-j {KUBERNETES_CHAINS}")) || line.contains(&format!("-g {KUBERNETES_CHAINS}")) {
            jumps.push(line.replacen("-A ", "-D ", 1));
        }
    }
    for jump in &jumps {
        let words = shell_words(jump);
        run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let names = named_chains(&saved);
    for name in &names {
        run(&["--flush", name]);
    }
    for name in &names {
        run(&["--delete-chain", name]);
    }
}

/// The words of a line of `iptables-save`, which puts comments in double quotes.
fn shell_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn ip(arguments: &[&str]) -> Result<()> {
    quietly(Command::new("ip").args(arguments)).map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bridge_of_that_name_is_ours_only_with_our_alias() {
        foreign_bridge(&json!([{"ifname": "lo"}, {"ifname": "kr0", "ifalias": "keyrealm-bed"}])).unwrap();
        for other in [json!([{"ifname": "kr0"}]), json!([{"ifname": "kr0", "ifalias": "x"}])] {
            let error = foreign_bridge(&other).unwrap_err().to_string();
            assert!(error.contains("kr0") && error.contains("ip link delete"), "{error}");
        }
    }

    #[test]
    fn somebody_elses_route_in_the_range_is_named() {
        foreign_route(&json!([{"type": "blackhole", "dst": "198.18.0.0/15"}, {"dst": "198.19.0.0/24", "dev": "kr0"}]))
            .unwrap();
        let error = foreign_route(&json!([{"dst": "198.18.7.0/24", "dev": "eth1"}])).unwrap_err().to_string();
        assert!(error.contains("198.18.7.0/24") && error.contains("eth1"), "{error}");
    }

    #[test]
    fn a_taken_port_is_named_with_its_user() {
        let taken = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = is_free("127.0.0.1", port, "PostgreSQL").unwrap_err().to_string();
        assert!(
            error.contains(&port.to_string()) && error.contains("PostgreSQL") && error.contains("ss -ltnp"),
            "{error}"
        );
    }

    #[test]
    fn chains_and_words_are_read_from_what_iptables_saves() {
        let saved = "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n\
            -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\nCOMMIT\n";
        assert_eq!(named_chains(saved), ["KUBE-SERVICES", "KUBE-MARK-MASQ"]);
        let words = shell_words("-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES");
        assert_eq!(words.len(), 8);
        assert_eq!(words[5], "kubernetes service portals");
    }
}

//! No packet from or to the range of the bed leaves the machine, whatever other rules say.
//!
//! 198.18.0.0/15 is for benchmarks (RFC 2544), so no real network has it. A blackhole route ends what is sent there and no
//! narrower route takes. Chains of our own, first in the table that is asked before those of Docker and kube-proxy, drop what
//! crosses the border of the range: forwarded in either direction, or sent by this machine itself.

use std::process::Command;

use anyhow::{Context, Result};

use crate::command::quietly;

/// All addresses of the bed.
pub(crate) const RANGE: &str = "198.18.0.0/15";
/// The chain, in each of the two tables.
const CHAIN: &str = "KEYREALM-BED";
/// Table, and the chain that ours is first in.
const JUMPS: [(&str, &str); 3] = [("mangle", "FORWARD"), ("mangle", "POSTROUTING"), ("filter", "FORWARD")];

/// Puts the guard up; a second time changes nothing.
///
/// # Errors
/// When route or rule cannot be made: then nothing may be started behind it.
pub(crate) fn up() -> Result<()> {
    let refused = || format!("the guard of {RANGE} cannot be put up, so nothing is started behind it");
    quietly(Command::new("ip").args(["route", "replace", "blackhole", RANGE])).with_context(refused)?;
    for (table, parent) in JUMPS {
        // Fails when it is there.
        let _ = iptables(table, &["--new-chain", CHAIN]);
        for rule in rules(table) {
            let there = iptables(table, &[&["--check"], rule.as_slice()].concat()).is_ok();
            if !there {
                iptables(table, &[&["--append"], rule.as_slice()].concat()).with_context(refused)?;
            }
        }
        if iptables(table, &["--check", parent, "--jump", CHAIN]).is_err() {
            iptables(table, &["--insert", parent, "1", "--jump", CHAIN]).with_context(refused)?;
        }
    }
    Ok(())
}

/// Takes the guard away, unless an interface still has an address of the range.
pub(crate) fn down() {
    let addresses = quietly(Command::new("ip").args(["-oneline", "-4", "address"]));
    if addresses.is_ok_and(|text| is_used(&text)) {
        return;
    }
    for (table, parent) in JUMPS {
        let _ = iptables(table, &["--delete", parent, "--jump", CHAIN]);
    }
    for table in ["mangle", "filter"] {
        let _ = iptables(table, &["--flush", CHAIN]);
        let _ = iptables(table, &["--delete-chain", CHAIN]);
    }
    let _ = quietly(Command::new("ip").args(["route", "delete", "blackhole", RANGE]));
}

/// What the chain says: drops before anybody else is asked; in the table that may have another policy, what stays within the
/// range passes.
fn rules(table: &str) -> Vec<Vec<&'static str>> {
    match table {
        "mangle" => vec![
            vec![CHAIN, "--source", RANGE, "!", "--destination", RANGE, "--jump", "DROP"],
            vec![CHAIN, "!", "--source", RANGE, "--destination", RANGE, "!", "--out-interface", "lo", "--jump", "DROP"],
        ],
        _ => vec![vec![CHAIN, "--source", RANGE, "--destination", RANGE, "--jump", "ACCEPT"]],
    }
}

/// Whether a line of `ip -oneline address` has an address of the range.
fn is_used(addresses: &str) -> bool {
    addresses.split_whitespace().any(|word| word.starts_with("198.18.") || word.starts_with("198.19."))
}

fn iptables(table: &str, arguments: &[&str]) -> Result<String> {
    quietly(Command::new("iptables").args(["--wait", "--table", table]).args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_in_the_range_keeps_the_guard() {
        assert!(is_used("5: kr0    inet 198.18.0.1/24 scope global kr0"));
        assert!(is_used("6: br-1    inet 198.19.0.1/24 scope global br-1"));
        assert!(!is_used("2: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0"));
    }

    #[test]
    fn both_directions_are_dropped_before_others_are_asked() {
        assert!(rules("mangle").iter().all(|rule| rule.last() == Some(&"DROP") && rule.contains(&"!")));
        assert_eq!(rules("filter").len(), 1);
        assert!(JUMPS.contains(&("mangle", "FORWARD")) && JUMPS.contains(&("mangle", "POSTROUTING")));
    }
}

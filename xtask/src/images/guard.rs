//! No packet from or to the bed's range leaves the machine.
//!
//! 198.18.0.0/15 is for benchmarks (RFC 2544), so no real network has it. A blackhole route ends what is sent there and
//! no narrower route takes; a chain before all others of FORWARD drops what crosses the border of the range, in either
//! direction, whatever other chains would do with it.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::command::output;

/// All addresses of the bed.
const RANGE: &str = "198.18.0.0/15";
const CHAIN: &str = "KEYREALM-GUARD";

/// Puts the guard up; a second time changes nothing.
///
/// # Errors
/// When route or chain cannot be made: then nothing may be started behind it.
pub(crate) fn up() -> Result<()> {
    quietly("ip", &["route", "replace", "blackhole", RANGE])?;
    if !succeeds("iptables", &["--wait", "--list-rules", CHAIN]) {
        quietly("iptables", &["--wait", "--new-chain", CHAIN])?;
    }
    for rule in rules() {
        let rule: Vec<&str> = rule.split(' ').collect();
        if !succeeds("iptables", &[&["--wait", "--check"], rule.as_slice()].concat()) {
            // Before all others, wherever they come from.
            let (chain, rest) = rule.split_first().unwrap_or((&"FORWARD", &[]));
            quietly("iptables", &[&["--wait", "--insert", chain, "1"], rest].concat())?;
        }
    }
    Ok(())
}

/// Takes the chain away, and the route unless an interface still has an address of the range: the bed's, say.
///
/// # Errors
/// When the addresses cannot be read.
pub(crate) fn down() -> Result<()> {
    succeeds("iptables", &["--wait", "--delete", "FORWARD", "--jump", CHAIN]);
    succeeds("iptables", &["--wait", "--flush", CHAIN]);
    succeeds("iptables", &["--wait", "--delete-chain", CHAIN]);
    let addresses = output("ip address", Command::new("ip").args(["-oneline", "-4", "address"]))?;
    if !is_used(&addresses) {
        succeeds("ip", &["route", "delete", "blackhole", RANGE]);
    }
    Ok(())
}

/// The rules, as chain and what follows.
fn rules() -> [String; 3] {
    [
        format!("{CHAIN} --source {RANGE} ! --destination {RANGE} --jump DROP"),
        format!("{CHAIN} ! --source {RANGE} --destination {RANGE} --jump DROP"),
        format!("FORWARD --jump {CHAIN}"),
    ]
}

/// Whether a line of `ip -oneline address` has an address of the range.
fn is_used(addresses: &str) -> bool {
    addresses.split_whitespace().any(|word| word.starts_with("198.18.") || word.starts_with("198.19."))
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    command(program, arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn quietly(program: &str, arguments: &[&str]) -> Result<()> {
    match command(program, arguments).stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!(
            "the guard of {RANGE} cannot be put up, so nothing is started behind it: {program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ),
        Err(error) => bail!("cannot start {program}: {error}; install iproute2 and iptables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_in_the_range_keeps_the_route() {
        assert!(is_used("5: kr0    inet 198.18.0.1/24 scope global kr0"));
        assert!(is_used("6: br-1    inet 198.19.0.1/24 scope global br-1"));
        assert!(!is_used("2: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0"));
    }

    #[test]
    fn both_directions_are_dropped_and_forward_asks_first() {
        let [out, into, jump] = rules();
        assert!(out.contains("--source 198.18.0.0/15 ! --destination 198.18.0.0/15 --jump DROP"));
        assert!(into.contains("! --source 198.18.0.0/15 --destination 198.18.0.0/15 --jump DROP"));
        assert_eq!(jump, "FORWARD --jump KEYREALM-GUARD");
    }
}

//! The engine's bridge and those that it makes for networks, all in one part of the bed's range.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::output;

/// Not `docker0`: that may be another engine's.
pub(super) const NAME: &str = "krd0";
const ADDRESS: &str = "198.18.128.1/24";
/// Where networks are made, apart from the bridge; both lie in 198.18.128.0/17, the engine's half.
pub(super) const POOL: &str = "198.18.192.0/18";

/// Makes the engine's bridge.
///
/// # Errors
/// When somebody else's link has its name.
pub(super) fn up() -> Result<()> {
    let links = output("ip link", Command::new("ip").args(["-oneline", "link"]))?;
    if links.lines().filter_map(link_name).any(|name| name == NAME) {
        bail!("a link {NAME} is there that is not ours; rename or delete it: ip link delete {NAME}");
    }
    for arguments in [
        &["link", "add", NAME, "type", "bridge"][..],
        &["address", "add", ADDRESS, "dev", NAME],
        &["link", "set", NAME, "up"],
    ] {
        output("the engine's bridge", Command::new("ip").args(arguments))?;
    }
    Ok(())
}

/// Deletes every bridge that has an address in the engine's half.
///
/// # Errors
/// When one cannot be deleted.
pub(super) fn down() -> Result<()> {
    let addresses = output("ip address", Command::new("ip").args(["-oneline", "-4", "address"]))?;
    for name in ours(&addresses) {
        output("deleting a bridge", Command::new("ip").args(["link", "delete", name]))?;
    }
    Ok(())
}

/// The interfaces with an address in 198.18.128.0/17.
fn ours(addresses: &str) -> Vec<&str> {
    let found = addresses.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (name, address) = (words.next()?, words.nth(1)?);
        let third: u8 = address.strip_prefix("198.18.")?.split('.').next()?.parse().ok()?;
        (third >= 128).then_some(name)
    });
    found.collect()
}

/// The name in a line of `ip -oneline link`.
fn link_name(line: &str) -> Option<&str> {
    line.split(": ").nth(1)?.split('@').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_others_stay() {
        let addresses = "1: lo    inet 127.0.0.1/8 scope host lo\\ valid_lft forever\n\
                         4: kr0    inet 198.18.0.1/24 scope global kr0\\ valid_lft forever\n\
                         5: krd0    inet 198.18.128.1/24 scope global krd0\\ valid_lft forever\n\
                         6: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0\\ valid\n\
                         7: br-0a    inet 198.18.192.1/24 brd 198.18.192.255 scope global br-0a\\ valid\n";
        assert_eq!(ours(addresses), ["krd0", "br-0a"]);
    }

    #[test]
    fn names_of_links_are_read() {
        assert_eq!(link_name("5: krd0: <BROADCAST> mtu 1500"), Some("krd0"));
        assert_eq!(link_name("9: veth1@if8: <BROADCAST> mtu 1500"), Some("veth1"));
    }
}

//! Which TCP ports a process listens on, read from /proc.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Addresses and ports.
pub(crate) fn listening_sockets(pid: u32) -> io::Result<Vec<SocketAddr>> {
    let own = inodes(pid)?;
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // A kernel without IPv6 has no second table.
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let of_ours = text.lines().skip(1).filter_map(entry);
        found.extend(
            of_ours
                .filter(|(_, inode)| own.contains(inode))
                .map(|(address, _)| address),
        );
    }
    Ok(found)
}

fn inodes(pid: u32) -> io::Result<BTreeSet<String>> {
    let mut inodes = BTreeSet::new();
    for file in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A file may be closed meanwhile.
        let Ok(target) = fs::read_link(file?.path()) else {
            continue;
        };
        let target = target.to_string_lossy().into_owned();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.map(str::to_owned));
    }
    Ok(inodes)
}

/// Local address and inode of a line about a listening socket (proc(5)).
fn entry(line: &str) -> Option<(SocketAddr, String)> {
    const LISTEN: &str = "0A";
    let fields: Vec<_> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != LISTEN {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(address(ip)?, port), (*inode).to_owned()))
}

/// Words of four bytes, each in the order of the machine.
fn address(hex: &str) -> Option<IpAddr> {
    let bytes = hex::decode(hex).ok()?;
    let mut network = Vec::new();
    for word in bytes.chunks_exact(4) {
        let word = u32::from_be_bytes(word.try_into().ok()?);
        network.extend_from_slice(&word.to_ne_bytes());
    }
    match network.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(network).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(network).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn own_ports_are_found() {
        let listeners = ["127.0.0.1:0", "0.0.0.0:0"].map(|at| TcpListener::bind(at).unwrap());
        let found = listening_sockets(std::process::id()).unwrap();
        for listener in &listeners {
            assert!(found.contains(&listener.local_addr().unwrap()), "{found:?}");
        }
    }
}

//! Picks free TCP ports on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports are taken from below Linux's ephemeral range (32768 on), so that no outgoing connection can hold one.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// The first of `length` consecutive ports that nothing listens on.
///
/// No port is handed out twice by one process, and two processes begin at different places.
pub(crate) fn free_ports(length: u16) -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let begin = process::id().wrapping_mul(97) % u32::from(COUNT);
    let begin = u16::try_from(begin).expect("smaller than COUNT");
    for _ in 0..COUNT {
        let offset = (begin + TAKEN.fetch_add(length, Ordering::Relaxed) % COUNT) % COUNT;
        let first = FIRST + offset;
        if (first..first + length).all(is_free) {
            return first;
        }
    }
    panic!("no {length} consecutive free ports on loopback");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

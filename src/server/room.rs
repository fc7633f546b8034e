//! Places for unfinished attestations: some in all, and a few for each client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the attestations under way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Room(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Room,
    client: Option<IpAddr>,
}

impl Room {
    /// A place, unless `most` are taken, or `most_per_client` of them by this client. One whose
    /// address the host does not tell is not counted, and a limit of zero per client is none.
    pub(crate) fn enter(
        &self,
        client: Option<IpAddr>,
        most: usize,
        most_per_client: usize,
    ) -> Option<Place> {
        let client = client.filter(|_| most_per_client > 0).map(network);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= most {
            return None;
        }
        if let Some(client) = client {
            let count = taken.by_client.entry(client).or_default();
            if *count >= most_per_client {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        Some(Place {
            room: self.clone(),
            client,
        })
    }
}

/// What one client has for itself: an IPv4 address, or all of an IPv6 network of 64 bits.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(u64::MAX) << 64;
            Ipv6Addr::from_bits(address.to_bits() & prefix).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        let Some(client) = self.client else { return };
        if let Some(count) = taken.by_client.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let room = Room::default();
        let one: Option<IpAddr> = "192.0.2.1".parse().ok();
        let two: Option<IpAddr> = "192.0.2.2".parse().ok();
        let first = room.enter(one, 3, 2).unwrap();
        let second = room.enter(one, 3, 2).unwrap();
        assert!(room.enter(one, 3, 2).is_none(), "third of one address");
        let third = room.enter(two, 3, 2).unwrap();
        assert!(room.enter(two, 3, 2).is_none(), "fourth in all");
        drop(first);
        let again = room.enter(one, 3, 2).unwrap();
        drop((again, second, third));
        let taken = room.0.lock().unwrap();
        assert!(taken.all == 0 && taken.by_client.is_empty());
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        for (first, second, are_one) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let room = Room::default();
            let _place = room.enter(first.parse().ok(), 2, 1).unwrap();
            let next = room.enter(second.parse().ok(), 2, 1);
            assert_eq!(next.is_none(), are_one, "{first} {second}");
        }
    }

    #[test]
    fn unknown_addresses_and_a_limit_of_zero_share_the_whole() {
        let room = Room::default();
        let _places = [
            room.enter(None, 2, 1).unwrap(),
            room.enter(None, 2, 1).unwrap(),
        ];
        assert!(room.enter(None, 2, 1).is_none());
        let room = Room::default();
        let one: Option<IpAddr> = "192.0.2.1".parse().ok();
        let _places = [
            room.enter(one, 2, 0).unwrap(),
            room.enter(one, 2, 0).unwrap(),
        ];
        assert!(room.enter(one, 2, 0).is_none());
    }

    #[test]
    fn each_place_comes_back_by_itself() {
        let room = Room::default();
        let one: Option<IpAddr> = "192.0.2.1".parse().ok();
        let first = room.enter(one, 9, 1).unwrap();
        assert!(room.enter(one, 9, 1).is_none(), "second of one address");
        let mut places: Vec<_> = (0..3).map(|_| room.enter(one, 9, 4).unwrap()).collect();
        places.push(first);
        for left in [3, 2, 1] {
            drop(places.pop());
            let taken = room.0.lock().unwrap();
            assert_eq!(taken.all, left);
            assert_eq!(taken.by_client.values().sum::<usize>(), left);
        }
    }
}

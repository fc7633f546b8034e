//! Tests of the resource manager: isolation, limits, and its journal.

use std::collections::HashSet;

use tests::{Manufacturer, Model, RC_OBJECT_MEMORY, RC_REFERENCE_H0, ResourceManager, TpmSocket};

use crate::LIMIT;
use crate::harness_commands::*;

#[test]
fn two_connections_share_a_tpm_and_neither_sees_the_others_keys() {
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let mut one = TpmSocket::connect(manager.socket()).unwrap();
    let mut two = TpmSocket::connect(manager.socket()).unwrap();
    let first: Vec<u32> = (0..3).map(|_| create_key(&mut one)).collect();
    assert_eq!(code(&read_public(&mut two, first[0])), RC_REFERENCE_H0);
    assert_eq!(handles(&mut two, 0x8000_0000), [0_u32; 0]);
    // The same TPM has only three slots for all: these need the first connection's keys out of the way.
    let second: Vec<u32> = (0..3).map(|_| create_key(&mut two)).collect();
    for handle in &first {
        assert_eq!(code(&read_public(&mut one, *handle)), 0);
    }
    assert_eq!(
        handles(&mut one, 0x8000_0000)
            .into_iter()
            .collect::<HashSet<_>>(),
        first.into_iter().collect()
    );
    drop(one);
    for handle in second {
        assert_eq!(code(&read_public(&mut two, handle)), 0);
    }
}

#[test]
fn a_fourth_object_of_a_connection_is_refused_until_one_is_flushed() {
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let mut client = TpmSocket::connect(manager.socket()).unwrap();
    let handles: Vec<u32> = (0..3).map(|_| create_key(&mut client)).collect();
    assert_eq!(
        code(&client.transmit(&create_primary()).unwrap()),
        RC_OBJECT_MEMORY
    );
    let flush = command(CC_FLUSH_CONTEXT, &handles[1].to_be_bytes());
    assert_eq!(code(&client.transmit(&flush).unwrap()), 0);
    assert_eq!(code(&read_public(&mut client, handles[1])), RC_REFERENCE_H0);
    assert_eq!(create_key(&mut client), handles[1]);
    assert_eq!(code(&read_public(&mut client, handles[2])), 0);
}

#[test]
fn sessions_end_with_their_connection() {
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let mut watcher = TpmSocket::connect(manager.socket()).unwrap();
    // More sessions than the TPM can hold loaded, spread over connections.
    let mut clients: Vec<TpmSocket> = (0..5)
        .map(|_| TpmSocket::connect(manager.socket()).unwrap())
        .collect();
    let mut sessions = Vec::new();
    for client in &mut clients {
        let answer = client.transmit(&start_policy_session()).unwrap();
        assert_eq!(code(&answer), 0);
        sessions.push(word(&answer, 10));
    }
    for (client, session) in clients.iter_mut().zip(&sessions) {
        let digest = client
            .transmit(&command(CC_POLICY_GET_DIGEST, &session.to_be_bytes()))
            .unwrap();
        assert_eq!(code(&digest), 0);
    }
    // Saved sessions are listed from 0x03000000 on (part 2, section 7.3), shown as policy or HMAC handles.
    assert_eq!(handles(&mut watcher, 0x0300_0000).len(), 5);
    drop(clients);
    tests::until("all sessions are flushed", LIMIT, || {
        handles(&mut watcher, 0x0300_0000).is_empty()
    });
}

#[test]
fn keys_are_lost_when_the_tpm_restarts_under_the_manager() {
    let mut tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let mut client = TpmSocket::connect(manager.socket()).unwrap();
    let handle = create_key(&mut client);
    tpm.restart();
    assert_eq!(code(&read_public(&mut client, handle)), RC_REFERENCE_H0);
    create_key(&mut client);
}

#[test]
fn the_journal_tells_commands_by_connection_and_refusals_are_used_up() {
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let mut one = TpmSocket::connect(manager.socket()).unwrap();
    let handle = create_key(&mut one);
    let mut two = TpmSocket::connect(manager.socket()).unwrap();
    handles(&mut two, 0x8000_0000);
    manager.refuse_next(CC_READ_PUBLIC, 0x922);
    assert_eq!(code(&read_public(&mut one, handle)), 0x922);
    assert_eq!(code(&read_public(&mut one, handle)), 0);
    let expected = [
        vec![CC_CREATE_PRIMARY, CC_READ_PUBLIC, CC_READ_PUBLIC],
        vec![CC_GET_CAPABILITY],
    ];
    assert_eq!(manager.connections(), expected);
    manager.clear();
    assert_eq!(manager.connections(), [Vec::<u32>::new(), Vec::new()]);
    manager.disconnect();
    assert!(
        one.transmit(&get_capability(CAP_HANDLES, 0x8000_0000))
            .is_err()
    );
}

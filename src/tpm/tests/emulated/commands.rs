//! Which commands an attestation costs, and in which order.

use evidence::{EkTemplate, Hash, PcrSelection};
use tpm::{CommandCode, EkChoice, Options};

use crate::emulator::{Emulator, credential_for, soon};

const READ_CERTIFICATE: [CommandCode; 2] = [CommandCode::NV_READ_PUBLIC, CommandCode::NV_READ];

#[test]
fn cold_with_a_persistent_ek() {
    let emulator = Emulator::start();
    let (attestor, record) = emulator.attestor(Options::default());
    let commands = record.take();
    let expect = [
        &READ_CERTIFICATE[..],
        &[
            CommandCode::NV_READ_PUBLIC,
            CommandCode::READ_PUBLIC,
            CommandCode::CREATE_PRIMARY,
            CommandCode::CERTIFY_CREATION,
        ],
    ]
    .concat();
    assert_eq!(without_repeated_reads(commands), expect);
    assert_eq!(attestor.endorsement().persistent, Some(0x8101_0001));
    assert_eq!(attestor.endorsement().template, EkTemplate::L1);
    attestor.offer();
    assert_eq!(record.take(), [], "an offer is ready");
}

#[test]
fn cold_without_a_persistent_ek() {
    let emulator = Emulator::start();
    emulator.raw().evict(0x8101_0001);
    let (attestor, record) = emulator.attestor(Options::default());
    let expect = [
        &READ_CERTIFICATE[..],
        &[
            CommandCode::NV_READ_PUBLIC,
            CommandCode::READ_PUBLIC,
            CommandCode::CREATE_PRIMARY,
            CommandCode::CREATE_PRIMARY,
            CommandCode::CERTIFY_CREATION,
        ],
    ]
    .concat();
    assert_eq!(without_repeated_reads(record.take()), expect);
    assert_eq!(attestor.endorsement().persistent, None);
}

#[test]
fn warm_with_a_low_range_ek() {
    for salted in [false, true] {
        check_warm(EkChoice::Rsa, salted, &[]);
    }
}

#[test]
fn warm_with_a_high_range_ek() {
    for salted in [false, true] {
        check_warm(EkChoice::Ecc, salted, &[CommandCode::POLICY_OR]);
    }
}

fn check_warm(ek: EkChoice, salted: bool, branch: &[CommandCode]) {
    let emulator = Emulator::start();
    let options = Options {
        ek,
        salted,
        ..Options::default()
    };
    let (mut attestor, record) = emulator.attestor(options);
    let (credential, secret) = credential_for(&attestor);
    record.take();
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
    assert_eq!(
        record.saw(secret.expose()),
        !salted,
        "the secret on the bus"
    );
    let selection = [PcrSelection::new(
        Hash::Sha256,
        &(0..24).collect::<Vec<_>>(),
    )];
    attestor.quote(&[1; 32], &selection, soon()).unwrap();
    let expect = [
        &[CommandCode::START_AUTH_SESSION, CommandCode::POLICY_SECRET],
        branch,
        &[
            CommandCode::ACTIVATE_CREDENTIAL,
            CommandCode::QUOTE,
            CommandCode::PCR_READ,
            CommandCode::PCR_READ,
            CommandCode::PCR_READ,
        ],
    ]
    .concat();
    assert_eq!(record.take(), expect);
    drop(attestor);
    let mut raw = emulator.raw();
    assert_eq!(raw.handles(0x0200_0000), Vec::<u32>::new(), "sessions");
    assert_eq!(raw.handles(0x8000_0000), Vec::<u32>::new(), "objects");
}

/// A certificate takes a read for each buffer.
fn without_repeated_reads(mut commands: Vec<CommandCode>) -> Vec<CommandCode> {
    commands.dedup_by(|next, last| next == last && *next == CommandCode::NV_READ);
    commands
}

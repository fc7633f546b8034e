//! The AK certifies SVID keys: what it costs within three objects, and what is left in the TPM after failures.

use evidence::{Attest, Attested, EkTemplate, Hash, Hierarchy, PcrSelection, tag};
use tpm::{Address, Attestor, Auth, CommandCode, EkChoice, Error, Options, Signed, WrappedKey};

use crate::attestation::verifies;
use crate::emulator::{Disturbance, Emulator, Record, Refusal, credential_for, recorded_at, soon};
use crate::keyring::{kept_key, on_both, provision};
use crate::raw::OWNER;

const EK: u32 = 0x8101_0001;
const FLUSH: CommandCode = CommandCode::FLUSH_CONTEXT;
const CONTEXT_LOAD: CommandCode = CommandCode::CONTEXT_LOAD;
const CONTEXT_SAVE: CommandCode = CommandCode::CONTEXT_SAVE;
const CREATE_PRIMARY: CommandCode = CommandCode::CREATE_PRIMARY;
const ROOT_IS_THERE: [CommandCode; 1] = [CommandCode::READ_PUBLIC];
const ROOT_IS_MADE: [CommandCode; 4] = [
    CommandCode::READ_PUBLIC,
    CREATE_PRIMARY,
    CONTEXT_SAVE,
    FLUSH,
];
const TWO_KEYS: [CommandCode; 6] = [
    CommandCode::LOAD,
    CommandCode::CERTIFY,
    FLUSH,
    CommandCode::LOAD,
    CommandCode::CERTIFY,
    FLUSH,
];

fn attestor(address: Address, disturb: Disturbance) -> (Attestor, Record) {
    let (native, record) = recorded_at(address, disturb);
    let attestor = Attestor::open(Box::new(native), Options::default(), soon()).unwrap();
    record.take();
    (attestor, record)
}

/// An emulator with or without a persistent EK and SRK, and two keys of it.
fn prepared(ek: bool, root: bool) -> (Emulator, [WrappedKey; 2]) {
    let emulator = Emulator::start();
    if !ek {
        emulator.raw().evict(EK);
    }
    if root {
        provision(&emulator);
    }
    let keys = [kept_key(&emulator), kept_key(&emulator)];
    (emulator, keys)
}

fn certify(attestor: &mut Attestor, keys: &[WrappedKey]) -> Vec<Signed> {
    let signed = attestor.certify(keys, &[7; 32], soon()).unwrap();
    assert_eq!(signed.len(), keys.len());
    let root = attestor.storage_root(soon()).unwrap();
    for (key, signed) in keys.iter().zip(&signed) {
        assert!(verifies(attestor.ak(), signed));
        let attest = Attest::parse(&signed.attest).unwrap();
        assert_eq!(
            (attest.kind, attest.extra_data),
            (tag::ATTEST_CERTIFY, vec![7; 32])
        );
        let signer = attestor.ak().public.qualified_name(Hierarchy::Endorsement);
        assert_eq!(Some(attest.qualified_signer), signer);
        let below = key.public.qualified_name_below(&root, Hierarchy::Owner);
        let expect = Attested::Certify {
            name: key.name().unwrap(),
            qualified_name: below.unwrap(),
        };
        assert_eq!(attest.attested, expect);
    }
    signed
}

/// The EK and the AK do their work, and nothing had to be made for it.
fn still_activates(attestor: &mut Attestor, record: &Record) {
    record.take();
    let (credential, secret) = credential_for(attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
    let commands = record.take();
    assert!(!commands.contains(&CREATE_PRIMARY), "{commands:?}");
}

fn no_objects(emulator: &Emulator) {
    let left = emulator.raw().handles(0x8000_0000);
    assert_eq!(left, Vec::<u32>::new(), "objects");
}

/// Each list of commands is that of one step: the SRK for the offer, certifying two keys, and that again.
fn check_costs(ek: bool, root: bool, steps: [&[&[CommandCode]]; 3]) {
    let (emulator, keys) = prepared(ek, root);
    on_both(&emulator, |address| {
        let (mut attestor, record) = attestor(address, Disturbance::None);
        let public = attestor.storage_root(soon()).unwrap();
        assert_eq!(record.take(), steps[0].concat());
        assert_eq!(attestor.storage_root(soon()).unwrap(), public);
        assert_eq!(record.take(), [], "remembered");
        certify(&mut attestor, &keys);
        assert_eq!(record.take(), steps[1].concat());
        certify(&mut attestor, &keys);
        assert_eq!(record.take(), steps[2].concat());
        still_activates(&mut attestor, &record);
        assert_eq!(attestor.certify(&[], &[7; 32], soon()).unwrap(), []);
        assert_eq!(record.take(), []);
    });
    no_objects(&emulator);
}

#[test]
fn with_both_keys_persistent() {
    check_costs(true, true, [&[&ROOT_IS_THERE], &[&TWO_KEYS], &[&TWO_KEYS]]);
}

#[test]
fn with_a_root_that_is_made() {
    let certified: [&[CommandCode]; 3] = [&[CONTEXT_LOAD], &TWO_KEYS, &[FLUSH]];
    check_costs(true, false, [&[&ROOT_IS_MADE], &certified, &certified]);
}

/// The EK gives its place away, and comes back without being made again.
#[test]
fn with_a_root_and_an_ek_that_are_made() {
    let first: [&[CommandCode]; 3] = [
        &[CONTEXT_SAVE, FLUSH, CONTEXT_LOAD],
        &TWO_KEYS,
        &[FLUSH, CONTEXT_LOAD],
    ];
    let again: [&[CommandCode]; 3] = [&[FLUSH, CONTEXT_LOAD], &TWO_KEYS, &[FLUSH, CONTEXT_LOAD]];
    check_costs(false, false, [&[&ROOT_IS_MADE], &first, &again]);
}

/// swtpm, as other TPMs, takes a persistent key into one of its places while it works with it.
#[test]
fn with_an_ek_that_is_made_and_no_place_left() {
    let first: [&[CommandCode]; 3] = [
        &[CommandCode::LOAD, CONTEXT_SAVE, FLUSH],
        &TWO_KEYS,
        &[CONTEXT_LOAD],
    ];
    let again: [&[CommandCode]; 3] = [&[FLUSH], &TWO_KEYS, &[CONTEXT_LOAD]];
    check_costs(false, true, [&[&ROOT_IS_THERE], &first, &again]);
}

#[test]
fn a_key_of_another_tpm_is_not_certified() {
    let stolen = kept_key(&Emulator::start());
    for (ek, root) in [(true, true), (true, false), (false, true), (false, false)] {
        let emulator = Emulator::start();
        if !ek {
            emulator.raw().evict(EK);
        }
        emulator.raw().clear();
        if root {
            provision(&emulator);
        }
        let own = kept_key(&emulator);
        let (mut attestor, record) = attestor(emulator.address(), Disturbance::None);
        let keys = [own.clone(), stolen.clone()];
        let error = attestor.certify(&keys, &[7; 32], soon()).unwrap_err();
        assert!(matches!(error, Error::ForeignKey), "{error}");
        still_activates(&mut attestor, &record);
        certify(&mut attestor, &[own]);
        drop(attestor);
        no_objects(&emulator);
    }
}

#[test]
fn the_same_keys_are_certified_after_a_reset() {
    for (ek, root, made) in [
        (true, true, 1),
        (true, false, 2),
        (false, true, 2),
        (false, false, 3),
    ] {
        let (mut emulator, keys) = prepared(ek, root);
        let (mut attestor, record) = attestor(emulator.address(), Disturbance::None);
        certify(&mut attestor, &keys);
        record.take();
        emulator.restart();
        certify(&mut attestor, &keys);
        let commands = record.take();
        let primaries = commands.iter().filter(|one| **one == CREATE_PRIMARY);
        assert_eq!(primaries.count(), made, "{commands:?}");
        still_activates(&mut attestor, &record);
        drop(attestor);
        no_objects(&emulator);
    }
}

/// TPM2_Clear leaves EK and AK as they are, and changes the SRK.
#[test]
fn a_clear_under_way_is_noticed() {
    for (ek, root) in [(true, true), (true, false), (false, true), (false, false)] {
        let (emulator, keys) = prepared(ek, root);
        let disturb = Disturbance::Clear(CommandCode::CERTIFY);
        let (mut attestor, record) = attestor(emulator.address(), disturb);
        let before = attestor.storage_root(soon()).unwrap();
        let ak = attestor.ak().name.clone();
        let error = attestor.certify(&keys, &[7; 32], soon()).unwrap_err();
        assert!(matches!(error, Error::ForeignKey), "{error}");
        assert_ne!(attestor.storage_root(soon()).unwrap(), before);
        assert_eq!(attestor.ak().name, ak);
        still_activates(&mut attestor, &record);
        drop(attestor);
        let new = kept_key(&emulator);
        let (mut attestor, _record) = self::attestor(emulator.address(), Disturbance::None);
        certify(&mut attestor, &[new]);
    }
}

#[test]
fn an_ek_that_does_not_come_back_is_made_again() {
    for code in [0x1DF, 0x902, 0x921] {
        let (emulator, keys) = prepared(false, true);
        let disturb = Disturbance::Refuse(CONTEXT_LOAD, Refusal::Code(code), 1);
        let (mut attestor, record) = attestor(emulator.address(), disturb);
        certify(&mut attestor, &keys);
        assert_eq!(record.take().last(), Some(&CREATE_PRIMARY));
        still_activates(&mut attestor, &record);
        certify(&mut attestor, &keys);
        let saved: [&[CommandCode]; 3] = [&[CONTEXT_SAVE, FLUSH], &TWO_KEYS, &[CONTEXT_LOAD]];
        assert_eq!(record.take(), saved.concat(), "by a new context");
        drop(attestor);
        no_objects(&emulator);
    }
}

#[test]
fn an_ek_that_cannot_be_made_at_once_is_made_by_the_next_call() {
    let (emulator, keys) = prepared(false, true);
    let refusals = vec![(CONTEXT_LOAD, 0x1DF), (CREATE_PRIMARY, 0x921)];
    let disturb = Disturbance::RefuseInTurn(refusals);
    let (mut attestor, record) = attestor(emulator.address(), disturb);
    let error = attestor.certify(&keys, &[7; 32], soon()).unwrap_err();
    assert!(error.hint().unwrap().contains("lockout"), "{error}");
    record.take();
    let (credential, secret) = credential_for(&attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
    assert_eq!(record.take()[..2], [CREATE_PRIMARY; 2]);
    certify(&mut attestor, &keys);
    drop(attestor);
    no_objects(&emulator);
}

#[test]
fn a_failure_leaves_the_keys_as_they_were() {
    for (command, code) in [
        (CommandCode::CERTIFY, 0x921),
        (CommandCode::LOAD, 0x98E),
        (CONTEXT_SAVE, 0x921),
    ] {
        for root in [true, false] {
            let (emulator, keys) = prepared(false, root);
            let disturb = Disturbance::Refuse(command, Refusal::Code(code), 1);
            let (mut attestor, record) = attestor(emulator.address(), disturb);
            attestor.storage_root(soon()).unwrap();
            let outcome = attestor.certify(&keys, &[7; 32], soon());
            // A refusal to save the SRK's context only costs time.
            let saved = command == CONTEXT_SAVE && !root;
            assert_eq!(outcome.is_ok(), saved, "{command}");
            still_activates(&mut attestor, &record);
            certify(&mut attestor, &keys);
            drop(attestor);
            no_objects(&emulator);
        }
    }
}

/// Lost handles and full TPMs cost one more try, and one only.
#[test]
fn lost_handles_are_recovered_from_once() {
    for code in [0x18B, 0x28B, 0x902, 0x910] {
        for (times, recovers) in [(1, true), (2, false)] {
            let (emulator, keys) = prepared(true, true);
            let disturb = Disturbance::Refuse(CommandCode::CERTIFY, Refusal::Code(code), times);
            let (mut attestor, _record) = attestor(emulator.address(), disturb);
            let outcome = attestor.certify(&keys, &[7; 32], soon());
            assert_eq!(outcome.is_ok(), recovers, "{code:#x}");
            certify(&mut attestor, &keys);
            drop(attestor);
            no_objects(&emulator);
        }
    }
}

/// The EK is outside when handles turn out to be lost: it is made again, but not loaded before, and its old
/// handle, which may be another key's by now, is not touched.
#[test]
fn an_ek_that_is_set_aside_is_not_flushed_again() {
    for (times, recovers) in [(1, true), (2, false)] {
        let (emulator, keys) = prepared(false, false);
        let disturb = Disturbance::Refuse(CommandCode::CERTIFY, Refusal::Code(0x28B), times);
        let (mut attestor, record) = attestor(emulator.address(), disturb);
        attestor.storage_root(soon()).unwrap();
        record.take();
        let outcome = attestor.certify(&keys, &[7; 32], soon());
        assert_eq!(outcome.is_ok(), recovers);
        let refused = [CONTEXT_LOAD, CommandCode::LOAD, CommandCode::CERTIFY];
        let removed = [FLUSH; 3];
        let restored = [CREATE_PRIMARY; 2];
        let steps: [&[CommandCode]; 6] = [
            &[CONTEXT_SAVE, FLUSH],
            &refused,
            &removed,
            &restored,
            &ROOT_IS_MADE,
            &[CONTEXT_SAVE, FLUSH, CONTEXT_LOAD],
        ];
        let commands = record.take();
        let common = steps.concat();
        assert_eq!(commands[..common.len()], common);
        let ends: [&[CommandCode]; 2] = if recovers {
            [&TWO_KEYS, &[FLUSH, CONTEXT_LOAD]]
        } else {
            [&refused[1..], &removed]
        };
        assert_eq!(commands[common.len()..], ends.concat());
        attestor.storage_root(soon()).unwrap();
        let remembered = record.take().is_empty();
        assert_eq!(remembered, recovers, "only while the keys are there");
        let (credential, secret) = credential_for(&attestor);
        let opened = attestor.activate(&credential, soon()).unwrap();
        assert_eq!(opened.expose(), secret.expose());
        drop(attestor);
        no_objects(&emulator);
    }
}

#[test]
fn a_key_that_stays_in_the_tpm_is_a_failure() {
    let (emulator, keys) = prepared(true, true);
    let disturb = Disturbance::Refuse(FLUSH, Refusal::Code(0x921), 1);
    let (mut attestor, _record) = attestor(emulator.address(), disturb);
    let error = attestor.certify(&keys, &[7; 32], soon()).unwrap_err();
    assert!(error.hint().unwrap().contains("lockout"), "{error}");
}

#[test]
fn the_root_is_looked_for_again_when_keys_were_lost() {
    for root in [true, false] {
        let (emulator, _keys) = prepared(true, root);
        let disturb = Disturbance::Clear(CommandCode::QUOTE);
        let (mut attestor, _record) = attestor(emulator.address(), disturb);
        let before = attestor.storage_root(soon()).unwrap();
        let selections = [PcrSelection::new(Hash::Sha256, &[0])];
        attestor.quote(&[1; 32], &selections, soon()).unwrap();
        assert_ne!(attestor.storage_root(soon()).unwrap(), before);
    }
}

#[test]
fn a_tpm_that_asks_for_the_command_again_gets_it() {
    let (emulator, keys) = prepared(true, true);
    let disturb = Disturbance::Refuse(CommandCode::CERTIFY, Refusal::Code(0x922), 2);
    let (mut attestor, record) = attestor(emulator.address(), disturb);
    certify(&mut attestor, &keys[..1]);
    let again = [CommandCode::CERTIFY; 3];
    assert_eq!(record.take()[2..5], again);
}

#[test]
fn the_owner_s_password_is_told_from_the_endorsement_s() {
    let emulator = Emulator::start();
    emulator.raw().set_password(OWNER, b"a password");
    let (mut attestor, record) = attestor(emulator.address(), Disturbance::None);
    let error = attestor.storage_root(soon()).unwrap_err();
    assert!(matches!(error, Error::OwnerAuth { .. }), "{error}");
    still_activates(&mut attestor, &record);
    drop(attestor);
    let options = Options {
        owner_auth: Auth::new(b"a password".to_vec()),
        ek: EkChoice::Template(EkTemplate::L1),
        ..Options::default()
    };
    let (mut attestor, _record) = emulator.attestor(options);
    attestor.storage_root(soon()).unwrap();
}

//! SVID keys below the SRK: what each step costs, and what becomes of them when a TPM is reset, cleared or another one.

use evidence::SvidKeyTemplate::EccP256;
use evidence::{AkTemplate, Hash, StorageTemplate, SvidKeyTemplate};
use rustix::io::Errno;
use tpm::{
    Address, Attestor, Auth, CommandCode, Error, Keyring, Options, SignatureScheme, Tpm, WrappedKey,
};

use crate::attestation::verifies;
use crate::emulator::{Disturbance, Emulator, Record, Refusal, recorded_at, soon};
use crate::raw::OWNER;

const SRK: u32 = 0x8100_0001;
const SIGN: CommandCode = CommandCode::SIGN;
const LOAD: CommandCode = CommandCode::LOAD;
const CREATE: CommandCode = CommandCode::CREATE;
const FLUSH: CommandCode = CommandCode::FLUSH_CONTEXT;
const CONTEXT_LOAD: CommandCode = CommandCode::CONTEXT_LOAD;
const CONTEXT_SAVE: CommandCode = CommandCode::CONTEXT_SAVE;
const CREATE_PRIMARY: CommandCode = CommandCode::CREATE_PRIMARY;
const READ_PUBLIC: CommandCode = CommandCode::READ_PUBLIC;

/// Makes the SRK persistent, as an installer of a system does.
pub(crate) fn provision(emulator: &Emulator) {
    let template = StorageTemplate::EccP256.public();
    emulator.raw().make_persistent(OWNER, &template, SRK);
}

pub(crate) fn keyring(emulator: &Emulator) -> (Keyring, Record) {
    disturbed(emulator.address(), Disturbance::None)
}

fn disturbed(address: Address, disturb: Disturbance) -> (Keyring, Record) {
    let (native, record) = recorded_at(address, disturb);
    let keyring = Keyring::open(Box::new(native), Auth::default(), soon()).unwrap();
    (keyring, record)
}

fn generate(keyring: &mut Keyring) -> WrappedKey {
    keyring.generate(EccP256, soon()).unwrap()
}

/// A key that was made in a TPM and kept, as by an earlier process.
pub(crate) fn kept_key(emulator: &Emulator) -> WrappedKey {
    generate(&mut keyring(emulator).0)
}

fn sign(keyring: &mut Keyring, key: &WrappedKey) -> Result<(), Error> {
    let scheme = SignatureScheme::Ecdsa(Hash::Sha256);
    let digest = Hash::Sha256.digest(&[b"to be signed"]);
    keyring.sign(key, &digest, scheme, soon()).map(drop)
}

/// Runs a test on a bare TPM, and on one behind a resource manager.
pub(crate) fn on_both(emulator: &Emulator, check: impl Fn(Address)) {
    check(emulator.address());
    let manager = emulator.managed();
    check(Address::Unix(manager.socket().to_owned()));
}

fn no_objects(emulator: &Emulator) {
    let left = emulator.raw().handles(0x8000_0000);
    assert_eq!(left, Vec::<u32>::new(), "objects");
}

#[test]
fn signing_takes_one_command_below_a_persistent_root() {
    let emulator = Emulator::start();
    provision(&emulator);
    on_both(&emulator, |address| {
        let (mut keyring, record) = disturbed(address, Disturbance::None);
        assert_eq!(record.take(), [READ_PUBLIC]);
        let first = generate(&mut keyring);
        assert_eq!(record.take(), [CREATE, LOAD]);
        sign(&mut keyring, &first).unwrap();
        assert_eq!(record.take(), [SIGN]);
        let second = generate(&mut keyring);
        assert_eq!(record.take(), [CREATE, LOAD]);
        for key in [&first, &second, &first] {
            sign(&mut keyring, key).unwrap();
            assert_eq!(record.take(), [SIGN]);
        }
        // The second was used longest ago.
        let third = generate(&mut keyring);
        assert_eq!(record.take(), [FLUSH, CREATE, LOAD]);
        for key in [&third, &first] {
            sign(&mut keyring, key).unwrap();
            assert_eq!(record.take(), [SIGN]);
        }
        sign(&mut keyring, &second).unwrap();
        assert_eq!(record.take(), [FLUSH, LOAD, SIGN]);
    });
    no_objects(&emulator);
}

#[test]
fn signing_takes_one_command_below_a_root_that_is_made() {
    let emulator = Emulator::start();
    on_both(&emulator, |address| {
        let (mut keyring, record) = disturbed(address, Disturbance::None);
        let made = [READ_PUBLIC, CREATE_PRIMARY, CONTEXT_SAVE, FLUSH];
        assert_eq!(record.take(), made);
        let first = generate(&mut keyring);
        assert_eq!(record.take(), [CONTEXT_LOAD, CREATE, LOAD, FLUSH]);
        let second = generate(&mut keyring);
        assert_eq!(record.take(), [CONTEXT_LOAD, CREATE, LOAD, FLUSH]);
        for key in [&second, &first] {
            sign(&mut keyring, key).unwrap();
            assert_eq!(record.take(), [SIGN]);
        }
        let third = generate(&mut keyring);
        assert_eq!(record.take(), [FLUSH, CONTEXT_LOAD, CREATE, LOAD, FLUSH]);
        sign(&mut keyring, &second).unwrap();
        let cold = [FLUSH, CONTEXT_LOAD, LOAD, FLUSH, SIGN];
        assert_eq!(record.take(), cold);
        keyring.load(&third, soon()).unwrap();
        assert_eq!(record.take(), [], "it is loaded");
    });
    no_objects(&emulator);
}

/// Two keys that alternate, as SPIRE's agent rotates: each new one takes the place of the one before the last.
#[test]
fn a_rotation_costs_one_creation() {
    let emulator = Emulator::start();
    provision(&emulator);
    let (mut keyring, record) = keyring(&emulator);
    let mut current = generate(&mut keyring);
    record.take();
    for _ in 0..3 {
        let next = generate(&mut keyring);
        sign(&mut keyring, &next).unwrap();
        keyring.forget(&current.name().unwrap());
        assert_eq!(record.take(), [CREATE, LOAD, SIGN, FLUSH]);
        keyring.forget(&current.name().unwrap());
        assert_eq!(record.take(), [], "forgotten");
        current = next;
    }
}

#[test]
fn keys_come_back_in_another_process_and_after_a_reset() {
    for provisioned in [true, false] {
        let mut emulator = Emulator::start();
        if provisioned {
            provision(&emulator);
        }
        let key = kept_key(&emulator);
        let (mut keyring, record) = keyring(&emulator);
        let parent = keyring.parent().clone();
        sign(&mut keyring, &key).unwrap();
        let before = keyring.clock(soon()).unwrap();
        record.take();
        emulator.restart();
        sign(&mut keyring, &key).unwrap();
        let commands = record.take();
        let made = commands.iter().filter(|one| **one == CREATE_PRIMARY);
        assert_eq!(made.count(), usize::from(!provisioned), "{commands:?}");
        sign(&mut keyring, &key).unwrap();
        assert_eq!(record.take(), [SIGN]);
        let after = keyring.clock(soon()).unwrap();
        assert_eq!(record.take(), [CommandCode::READ_CLOCK]);
        assert_eq!(after.reset_count, before.reset_count + 1);
        assert_eq!(after.restart_count, 0);
        assert_eq!(keyring.parent(), &parent);
        drop(keyring);
        no_objects(&emulator);
    }
}

/// What tells a reset from other losses: the kernel, or the TPM, does not know a handle any more.
#[test]
fn lost_handles_and_full_tpms_are_recovered_from_once() {
    let emulator = Emulator::start();
    provision(&emulator);
    let key = kept_key(&emulator);
    for (command, refusal) in [
        (SIGN, Refusal::System(Errno::INVAL)),
        (SIGN, Refusal::System(Errno::PIPE)),
        (SIGN, Refusal::Code(0x18B)),
        (SIGN, Refusal::Code(0x910)),
        (SIGN, Refusal::Code(0x902)),
        (LOAD, Refusal::Code(0x902)),
        (LOAD, Refusal::Code(0x903)),
    ] {
        for (times, recovers) in [(1, true), (2, false)] {
            let disturb = Disturbance::Refuse(command, refusal, times);
            let (mut keyring, _record) = disturbed(emulator.address(), disturb);
            assert_eq!(sign(&mut keyring, &key).is_ok(), recovers);
        }
    }
    for refusal in [
        Refusal::System(Errno::ACCESS),
        Refusal::Code(0x921),
        Refusal::Code(0x98E),
    ] {
        let disturb = Disturbance::Refuse(SIGN, refusal, 1);
        let (mut keyring, record) = disturbed(emulator.address(), disturb);
        keyring.load(&key, soon()).unwrap();
        record.take();
        assert!(sign(&mut keyring, &key).is_err());
        assert_eq!(record.take(), [SIGN], "other failures are not repeated");
    }
    let disturb = Disturbance::Refuse(SIGN, Refusal::Code(0x922), 2);
    let (mut keyring, record) = disturbed(emulator.address(), disturb);
    sign(&mut keyring, &key).unwrap();
    assert_eq!(record.take()[2..], [SIGN, SIGN, SIGN], "but these are");
}

#[test]
fn a_lost_connection_is_made_again() {
    let emulator = Emulator::start();
    let manager = emulator.managed();
    let address = Address::Unix(manager.socket().to_owned());
    let (mut keyring, record) = disturbed(address, Disturbance::None);
    let key = generate(&mut keyring);
    manager.disconnect();
    sign(&mut keyring, &key).unwrap();
    record.take();
    manager.disconnect();
    keyring.clock(soon()).unwrap();
    generate(&mut keyring);
    let commands = record.take();
    assert!(
        !commands.contains(&CREATE_PRIMARY),
        "contexts outlive a connection: {commands:?}"
    );
}

fn is_foreign(outcome: Result<(), Error>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::ForeignKey), "{error}");
    assert!(error.hint().unwrap().contains("do not move"), "{error}");
}

#[test]
fn a_key_of_another_tpm_is_of_no_use() {
    let stolen = kept_key(&Emulator::start());
    for provisioned in [true, false] {
        let emulator = Emulator::start();
        // The same seeds, as in every copy of the emulator's state, until the owner's is drawn anew.
        emulator.raw().clear();
        if provisioned {
            provision(&emulator);
        }
        let (mut keyring, record) = keyring(&emulator);
        record.take();
        is_foreign(sign(&mut keyring, &stolen));
        let looks = if provisioned {
            vec![LOAD, READ_PUBLIC]
        } else {
            vec![CONTEXT_LOAD, LOAD, FLUSH, READ_PUBLIC]
        };
        assert_eq!(record.take(), looks);
        is_foreign(keyring.load(&stolen, soon()));
        let own = generate(&mut keyring);
        sign(&mut keyring, &own).unwrap();
        for damaged in damaged(&own) {
            is_foreign(keyring.load(&damaged, soon()));
        }
        drop(keyring);
        no_objects(&emulator);
    }
}

/// Keys whose private part has been cut, or changed.
fn damaged(key: &WrappedKey) -> [WrappedKey; 3] {
    let with = |change: fn(&mut Vec<u8>)| {
        let mut damaged = key.clone();
        change(&mut damaged.private);
        // Another Name, so that it does not count as loaded.
        damaged.public = AkTemplate::EccP256.public();
        damaged
    };
    [
        with(Vec::clear),
        with(|private| private.truncate(20)),
        with(|private| private[60] ^= 1),
    ]
}

#[test]
fn keys_do_not_outlive_a_clear() {
    for provisioned in [true, false] {
        let emulator = Emulator::start();
        if provisioned {
            provision(&emulator);
        }
        let (mut keyring, _record) = keyring(&emulator);
        let (old, parent) = (generate(&mut keyring), keyring.parent().clone());
        drop(keyring);
        emulator.raw().clear();
        let (mut keyring, _record) = self::keyring(&emulator);
        is_foreign(sign(&mut keyring, &old));
        assert_ne!(keyring.parent(), &parent);
    }
}

/// The process that had the keys when its TPM was cleared notices, and makes new ones below the new root.
#[test]
fn a_clear_under_way_is_noticed() {
    for provisioned in [true, false] {
        let emulator = Emulator::start();
        if provisioned {
            provision(&emulator);
        }
        let (mut keyring, record) = disturbed(emulator.address(), Disturbance::Clear(SIGN));
        let parent = keyring.parent().clone();
        let old = generate(&mut keyring);
        record.take();
        is_foreign(sign(&mut keyring, &old));
        let commands = record.take();
        let made = commands.iter().filter(|one| **one == CREATE_PRIMARY);
        assert_eq!(made.count(), 1, "{commands:?}");
        assert_ne!(keyring.parent(), &parent);
        let new = generate(&mut keyring);
        sign(&mut keyring, &new).unwrap();
        drop(keyring);
        no_objects(&emulator);
    }
}

#[test]
fn a_root_that_moves_is_followed() {
    let mut emulator = Emulator::start();
    let key = kept_key(&emulator);
    let (mut keyring, _record) = keyring(&emulator);
    sign(&mut keyring, &key).unwrap();
    // Somebody makes the very same key persistent, and evicts it again.
    emulator.restart();
    provision(&emulator);
    sign(&mut keyring, &key).unwrap();
    drop(keyring);
    let (mut keyring, _record) = self::keyring(&emulator);
    emulator.restart();
    emulator.raw().evict(SRK);
    sign(&mut keyring, &key).unwrap();
    // Another root, persistent: keys below it load although the one that was made is still good.
    emulator.restart();
    emulator
        .raw()
        .make_persistent(OWNER, &StorageTemplate::Rsa2048.public(), SRK);
    let below_it = kept_key(&emulator);
    sign(&mut keyring, &below_it).unwrap();
    is_foreign(sign(&mut keyring, &key));
}

#[test]
fn what_is_no_storage_root_is_left_alone() {
    let emulator = Emulator::start();
    let other = AkTemplate::EccP256.public();
    emulator.raw().make_persistent(OWNER, &other, SRK);
    let (mut keyring, _record) = keyring(&emulator);
    let key = generate(&mut keyring);
    sign(&mut keyring, &key).unwrap();
    assert!(keyring.parent().is_storage_root());
    drop(keyring);
    let (mut native, _record) = emulator.recorded();
    let there = native.persistent(SRK, soon()).unwrap().unwrap();
    assert_eq!(there.public.attributes, other.attributes, "not evicted");
}

#[test]
fn the_owner_s_password_is_needed_to_make_a_root() {
    let emulator = Emulator::start();
    emulator.raw().set_password(OWNER, b"a password");
    let open = |auth: &[u8]| {
        let (native, _record) = emulator.recorded();
        Keyring::open(Box::new(native), Auth::new(auth.to_vec()), soon())
    };
    for wrong in [&b""[..], b"another"] {
        let error = open(wrong).err().unwrap();
        assert!(matches!(error, Error::OwnerAuth { .. }), "{error}");
        assert!(error.hint().unwrap().contains("owner"), "{error}");
        assert!(error.code().unwrap().is_wrong_auth());
    }
    let mut keyring = open(b"a password").unwrap();
    let key = generate(&mut keyring);
    sign(&mut keyring, &key).unwrap();
}

#[test]
fn a_tpm_says_what_it_has() {
    let emulator = Emulator::start();
    let (mut keyring, record) = keyring(&emulator);
    record.take();
    for template in SvidKeyTemplate::ALL {
        assert!(keyring.is_supported(template, soon()).unwrap());
        assert_eq!(record.take(), [CommandCode::TEST_PARMS]);
    }
    drop(keyring);
    let (mut native, _record) = emulator.recorded();
    // A modulus of a size that TPMs do not have.
    let mut odd = SvidKeyTemplate::Rsa2048.public().as_bytes().to_vec();
    let place = odd.len() - 8;
    odd[place..place + 2].copy_from_slice(&1536_u16.to_be_bytes());
    let odd = evidence::Public::parse(&odd).unwrap();
    assert!(!native.supports(&odd, soon()).unwrap());
    drop(native);
    assert_eq!(emulator.raw().handles(0x8000_0000), Vec::<u32>::new());
}

/// Both on one TPM with three places, each with as many keys as it may hold.
#[test]
fn a_keyring_and_an_attestor_share_a_tpm() {
    let emulator = Emulator::start();
    emulator.raw().evict(0x8101_0001);
    let manager = emulator.managed();
    let address = || Address::Unix(manager.socket().to_owned());
    let (mut keyring, _record) = disturbed(address(), Disturbance::None);
    let (native, _record) = recorded_at(address(), Disturbance::None);
    let mut attestor = Attestor::open(Box::new(native), Options::default(), soon()).unwrap();
    assert_eq!(attestor.storage_root(soon()).unwrap(), *keyring.parent());
    let keys = [generate(&mut keyring), generate(&mut keyring)];
    for _ in 0..2 {
        let signed = attestor.certify(&keys, &[9; 32], soon()).unwrap();
        assert!(signed.iter().all(|one| verifies(attestor.ak(), one)));
        for key in &keys {
            sign(&mut keyring, key).unwrap();
        }
    }
    drop((attestor, keyring, manager));
    no_objects(&emulator);
}

//! Keys that get lost come back, the same ones or none.

use std::time::Instant;

use evidence::{
    AkTemplate, ClockInfo, EkTemplate, Hash, Hierarchy, PcrBank, PcrSelection, Public, Secret,
    Signature, Writer,
};
use rustix::io::Errno;
use tpm::{
    Activation, Attestor, Auth, CommandCode, Context, Created, CreationRecord, Error, Handle, Key,
    Native, NvPublic, Options, SignatureScheme, Signed, Tpm, WrappedKey,
};

use crate::emulator::{Disturbance, Emulator, Refusal, credential_for, soon};
use crate::raw::{OWNER, PLATFORM};

const RSA_CERTIFICATE: u32 = 0x01C0_0002;
const P384_CERTIFICATE: u32 = 0x01C0_0016;

#[test]
fn keys_are_the_same_after_a_reset_of_the_tpm() {
    let mut emulator = Emulator::start();
    emulator.raw().evict(0x8101_0001);
    let (mut attestor, record) = emulator.attestor(Options::default());
    let (credential, secret) = credential_for(&attestor);
    let selections = [PcrSelection::new(Hash::Sha256, &[0])];
    let (ek, ak) = (
        attestor.endorsement().key.name.clone(),
        attestor.ak().name.clone(),
    );
    emulator.restart();
    record.take();
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
    emulator.restart();
    attestor.quote(&[1; 32], &selections, soon()).unwrap();
    assert_eq!(
        (&attestor.endorsement().key.name, &attestor.ak().name),
        (&ek, &ak)
    );
    drop(attestor);
    assert_eq!(
        emulator.raw().handles(0x8000_0000),
        Vec::<u32>::new(),
        "objects"
    );
}

#[test]
fn keys_that_another_program_flushed_come_back() {
    let emulator = Emulator::start();
    let (mut attestor, _record) =
        emulator.disturbed_attestor(Options::default(), Disturbance::Flush);
    let (credential, secret) = credential_for(&attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
}

/// What the kernel and the TPM say when objects are gone, or there is no room.
#[test]
fn lost_handles_and_full_tpms_are_recovered_from_once() {
    let emulator = Emulator::start();
    let selections = [PcrSelection::new(Hash::Sha256, &[0])];
    for refusal in [
        Refusal::System(Errno::INVAL),
        Refusal::System(Errno::FAULT),
        Refusal::System(Errno::PIPE),
        Refusal::Code(0x18B),
        Refusal::Code(0x184),
        Refusal::Code(0x910),
        Refusal::Code(0x902),
        Refusal::Code(0x903),
        Refusal::Code(0x901),
    ] {
        for (times, recovers) in [(1, true), (2, false)] {
            let disturb = Disturbance::Refuse(CommandCode::QUOTE, refusal, times);
            let (mut attestor, record) = emulator.disturbed_attestor(Options::default(), disturb);
            record.take();
            let quoted = attestor.quote(&[1; 32], &selections, soon());
            assert_eq!(quoted.is_ok(), recovers);
            let commands = record.take();
            let made = commands
                .iter()
                .filter(|one| **one == CommandCode::CREATE_PRIMARY);
            assert_eq!(made.count(), 1, "{commands:?}");
        }
    }
}

#[test]
fn other_failures_are_not_repeated() {
    let emulator = Emulator::start();
    let selections = [PcrSelection::new(Hash::Sha256, &[0])];
    for refusal in [
        Refusal::System(Errno::ACCESS),
        Refusal::System(Errno::IO),
        Refusal::Code(0x921),
        Refusal::Code(0x98E),
    ] {
        let disturb = Disturbance::Refuse(CommandCode::QUOTE, refusal, 1);
        let (mut attestor, record) = emulator.disturbed_attestor(Options::default(), disturb);
        record.take();
        assert!(attestor.quote(&[1; 32], &selections, soon()).is_err());
        assert_eq!(record.take(), [CommandCode::QUOTE]);
    }
}

#[test]
fn a_tpm_that_asks_for_the_command_again_gets_it() {
    let emulator = Emulator::start();
    for code in [0x922, 0x90A, 0x908, 0x920] {
        let disturb = Disturbance::Refuse(CommandCode::ACTIVATE_CREDENTIAL, Refusal::Code(code), 2);
        let (mut attestor, record) = emulator.disturbed_attestor(Options::default(), disturb);
        let (credential, secret) = credential_for(&attestor);
        record.take();
        let opened = attestor.activate(&credential, soon()).unwrap();
        assert_eq!(opened.expose(), secret.expose());
        let again = CommandCode::ACTIVATE_CREDENTIAL;
        assert_eq!(record.take()[2..], [again, again, again], "{code:#x}");
    }
}

/// TPM2_ChangeEPS: endorsement primaries are other keys from now on, and persistent ones are gone.
#[test]
fn a_tpm_with_another_seed_is_noticed() {
    for certified in [true, false] {
        let mut emulator = Emulator::start();
        if !certified {
            let mut raw = emulator.raw();
            raw.undefine(RSA_CERTIFICATE);
            raw.undefine(P384_CERTIFICATE);
        }
        let (mut attestor, _record) = emulator.attestor(Options::default());
        let (credential, _secret) = credential_for(&attestor);
        emulator.restart();
        let mut raw = emulator.raw();
        raw.authorized(0x0124, &[PLATFORM], Writer::new());
        drop(raw);
        let error = attestor.activate(&credential, soon()).err().unwrap();
        match error {
            Error::OtherKey { .. } => assert!(certified),
            Error::KeysChanged => assert!(!certified),
            other => panic!("{other}"),
        }
        drop(attestor);
        let left = emulator.raw().handles(0x8000_0000);
        assert_eq!(left, Vec::<u32>::new(), "objects");
    }
}

/// A TPM that once makes another key than the one asked for.
struct Fickle {
    native: Native,
    made: usize,
    other: usize,
}

impl Tpm for Fickle {
    fn create_primary(
        &mut self,
        hierarchy: Hierarchy,
        template: &Public,
        auth: &Auth,
        deadline: Instant,
    ) -> Result<Created, Error> {
        self.made += 1;
        let other = AkTemplate::Rsa2048.public();
        let template = if self.made == self.other {
            &other
        } else {
            template
        };
        self.native
            .create_primary(hierarchy, template, auth, deadline)
    }

    fn property(&mut self, property: u32, deadline: Instant) -> Result<Option<u32>, Error> {
        self.native.property(property, deadline)
    }

    fn nv_public(&mut self, index: u32, deadline: Instant) -> Result<Option<NvPublic>, Error> {
        self.native.nv_public(index, deadline)
    }

    fn nv_read(
        &mut self,
        index: &NvPublic,
        owner: Option<&Auth>,
        size: u16,
        offset: u16,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        self.native.nv_read(index, owner, size, offset, deadline)
    }

    fn persistent(&mut self, handle: u32, deadline: Instant) -> Result<Option<Key>, Error> {
        self.native.persistent(handle, deadline)
    }

    fn certify_creation(
        &mut self,
        key: &Key,
        record: &CreationRecord,
        deadline: Instant,
    ) -> Result<Signed, Error> {
        self.native.certify_creation(key, record, deadline)
    }

    fn activate(
        &mut self,
        activation: &Activation<'_>,
        deadline: Instant,
    ) -> Result<Secret, Error> {
        self.native.activate(activation, deadline)
    }

    fn quote(
        &mut self,
        key: &Key,
        binding: &[u8],
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Signed, Error> {
        self.native.quote(key, binding, selections, deadline)
    }

    fn read_pcrs(
        &mut self,
        selections: &[PcrSelection],
        deadline: Instant,
    ) -> Result<Vec<PcrBank>, Error> {
        self.native.read_pcrs(selections, deadline)
    }

    fn create(
        &mut self,
        parent: &Key,
        template: &Public,
        deadline: Instant,
    ) -> Result<WrappedKey, Error> {
        self.native.create(parent, template, deadline)
    }

    fn load(&mut self, parent: &Key, key: &WrappedKey, deadline: Instant) -> Result<Key, Error> {
        self.native.load(parent, key, deadline)
    }

    fn certify(
        &mut self,
        key: &Key,
        signer: &Key,
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Signed, Error> {
        self.native.certify(key, signer, binding, deadline)
    }

    fn sign(
        &mut self,
        key: &Key,
        digest: &[u8],
        scheme: SignatureScheme,
        deadline: Instant,
    ) -> Result<Signature, Error> {
        self.native.sign(key, digest, scheme, deadline)
    }

    fn clock(&mut self, deadline: Instant) -> Result<ClockInfo, Error> {
        self.native.clock(deadline)
    }

    fn save_context(&mut self, key: &Key, deadline: Instant) -> Result<Context, Error> {
        self.native.save_context(key, deadline)
    }

    fn load_context(&mut self, context: &Context, deadline: Instant) -> Result<Handle, Error> {
        self.native.load_context(context, deadline)
    }

    fn supports(&mut self, template: &Public, deadline: Instant) -> Result<bool, Error> {
        self.native.supports(template, deadline)
    }

    fn flush(&mut self, handle: Handle, deadline: Instant) -> Result<(), Error> {
        self.native.flush(handle, deadline)
    }
}

/// The first and second are the EK and the AK, the third and fourth those that replace them.
#[test]
fn keys_that_are_not_the_same_any_more_are_not_used() {
    for other in [3, 4] {
        let mut emulator = Emulator::start();
        emulator.raw().evict(0x8101_0001);
        let (native, record) = emulator.recorded();
        let made = 0;
        let fickle = Fickle {
            native,
            made,
            other,
        };
        let mut attestor = Attestor::open(Box::new(fickle), Options::default(), soon()).unwrap();
        let ak = attestor.ak().name.clone();
        emulator.restart();
        let selections = [PcrSelection::new(Hash::Sha256, &[0])];
        let error = attestor.quote(&[1; 32], &selections, soon()).unwrap_err();
        assert!(matches!(error, Error::KeysChanged), "{error}");
        record.take();
        attestor.quote(&[1; 32], &selections, soon()).unwrap();
        assert_eq!(
            record.take()[0],
            CommandCode::CREATE_PRIMARY,
            "no lost handle is used"
        );
        assert_eq!(attestor.ak().name, ak, "the next is the first again");
        drop(attestor);
        let left = emulator.raw().handles(0x8000_0000);
        assert_eq!(left, Vec::<u32>::new(), "objects");
    }
}

#[test]
fn a_failed_start_leaves_nothing_in_the_tpm() {
    let emulator = Emulator::start();
    emulator.raw().evict(0x8101_0001);
    let refusal = Refusal::Code(0x921);
    let disturb = Disturbance::Refuse(CommandCode::CERTIFY_CREATION, refusal, 1);
    let (native, _record) = emulator.disturbed(disturb);
    let error = Attestor::open(Box::new(native), Options::default(), soon())
        .err()
        .unwrap();
    assert!(error.hint().unwrap().contains("lockout"), "{error}");
    let left = emulator.raw().handles(0x8000_0000);
    assert_eq!(left, Vec::<u32>::new(), "objects");
}

/// The EK is made again when its persistent handle is gone, or another key has taken its place.
#[test]
fn a_persistent_ek_may_be_evicted_in_between() {
    for replaced in [false, true] {
        let mut emulator = Emulator::start();
        let (mut attestor, _record) = emulator.attestor(Options::default());
        let (credential, secret) = credential_for(&attestor);
        emulator.restart();
        let mut raw = emulator.raw();
        raw.evict(0x8101_0001);
        if replaced {
            raw.make_persistent(OWNER, &EkTemplate::L1.public(&[]), 0x8101_0001);
        }
        drop(raw);
        let opened = attestor.activate(&credential, soon()).unwrap();
        assert_eq!(opened.expose(), secret.expose());
        assert_eq!(attestor.endorsement().persistent, None);
    }
}

#[test]
fn a_machine_does_not_change_its_ek_while_it_runs() {
    let mut emulator = Emulator::start();
    let (mut attestor, _record) = emulator.attestor(Options::default());
    let (credential, _secret) = credential_for(&attestor);
    emulator.restart();
    let mut raw = emulator.raw();
    raw.evict(0x8101_0001);
    raw.evict(0x8101_0016);
    raw.undefine(RSA_CERTIFICATE);
    drop(raw);
    for _ in 0..2 {
        let error = attestor.activate(&credential, soon()).err().unwrap();
        assert!(matches!(error, Error::KeysChanged), "{error}");
    }
    drop(attestor);
    let left = emulator.raw().handles(0x8000_0000);
    assert_eq!(left, Vec::<u32>::new(), "objects");
}

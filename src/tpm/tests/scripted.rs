//! The native back end against responses that no healthy TPM gives.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evidence::{
    AkTemplate, EkTemplate, Hash, Hierarchy, Malformed, Public, StorageTemplate, SvidKeyTemplate,
    Writer,
};
use tpm::{
    Auth, CommandCode, Error, Key, Keyring, Native, SignatureScheme, Tpm, Transport, WrappedKey,
};

/// Answers in order; keeps the commands.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
    commands: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Transport for Script {
    fn exchange(&mut self, command: &[u8], _deadline: Instant) -> io::Result<Vec<u8>> {
        self.commands.lock().unwrap().push(command.to_vec());
        let next = self.answers.lock().unwrap().pop_front();
        next.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Vec<u8>>) -> (Native, Self) {
        let script = Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            ..Self::default()
        };
        (Native::new(script.clone()), script)
    }

    fn commands(&self) -> Vec<Vec<u8>> {
        self.commands.lock().unwrap().clone()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn size_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

fn code(code: u32) -> Vec<u8> {
    Writer::new().u16(0x8001).u32(10).u32(code).finish()
}

fn plain(parameters: Writer) -> Vec<u8> {
    let parameters = parameters.finish();
    let size = 10 + size_of(&parameters);
    Writer::new()
        .u16(0x8001)
        .u32(size)
        .u32(0)
        .raw(&parameters)
        .finish()
}

/// A response to a command with a password.
fn authorized(handle: Option<u32>, parameters: Writer) -> Vec<u8> {
    let parameters = parameters.finish();
    let mut body = Writer::new();
    if let Some(handle) = handle {
        body = body.u32(handle);
    }
    let body = body.u32(size_of(&parameters)).raw(&parameters);
    let body = body.u16(0).u8(1).u16(0).finish();
    let size = 10 + size_of(&body);
    Writer::new()
        .u16(0x8002)
        .u32(size)
        .u32(0)
        .raw(&body)
        .finish()
}

fn nv_public(index: u32, size: u16) -> Vec<u8> {
    let public = Writer::new()
        .u32(index)
        .u16(11)
        .u32(0x6207_2001)
        .u16(0)
        .u16(size)
        .finish();
    plain(Writer::new().sized(&public).sized(&[0; 34]))
}

fn buffer_max(value: u32) -> Vec<u8> {
    plain(Writer::new().u8(0).u32(6).u32(1).u32(0x12C).u32(value))
}

#[test]
fn nv_is_read_in_the_portions_that_the_tpm_gives() {
    let part = |len: usize| authorized(None, Writer::new().sized(&vec![7; len]));
    let (mut tpm, script) = Script::new([
        nv_public(0x01C0_0002, 1000),
        code(0x1C4),
        buffer_max(600),
        part(600),
        part(400),
    ]);
    let contents = tpm.read_nv(0x01C0_0002, &Auth::default(), soon()).unwrap();
    assert_eq!(contents, Some(vec![7; 1000]));
    let tails: Vec<_> = script
        .commands()
        .iter()
        .filter(|command| command[6..10] == 0x014E_u32.to_be_bytes())
        .map(|command| command[command.len() - 4..].to_vec())
        .collect();
    assert_eq!(tails, [[3, 232, 0, 0], [2, 88, 0, 0], [1, 144, 2, 88]]);
}

#[test]
fn a_tpm_that_gives_no_nv_at_all_ends_the_reading() {
    for maximum in [0, 1024, 0xFFFF_FFFF] {
        let answers = [
            nv_public(0x01C0_0002, 1000),
            code(0x1C4),
            buffer_max(maximum),
        ];
        let (mut tpm, _script) = Script::new(answers);
        let error = tpm
            .read_nv(0x01C0_0002, &Auth::default(), soon())
            .unwrap_err();
        assert_eq!(error.code().unwrap().0, 0x1C4, "{maximum}");
    }
}

#[test]
fn short_and_foreign_nv_answers_are_malformed() {
    for (answers, expect) in [
        (vec![nv_public(0x01C0_0003, 10)], Malformed::Value),
        (
            vec![
                nv_public(0x01C0_0002, 10),
                authorized(None, Writer::new().sized(&[7; 9])),
            ],
            Malformed::Truncated,
        ),
        (
            vec![
                nv_public(0x01C0_0002, 10),
                authorized(None, Writer::new().sized(&[7; 11])),
            ],
            Malformed::TooLong,
        ),
    ] {
        let (mut tpm, _script) = Script::new(answers);
        let error = tpm
            .read_nv(0x01C0_0002, &Auth::default(), soon())
            .unwrap_err();
        let Error::Response { problem, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(problem, expect);
    }
    let (mut tpm, _script) = Script::new([nv_public(0x01C0_0002, 0x4001)]);
    let error = tpm
        .read_nv(0x01C0_0002, &Auth::default(), soon())
        .unwrap_err();
    assert!(matches!(error, Error::NvTooLong { .. }), "{error}");
}

#[test]
fn a_failure_is_followed_by_a_look_at_the_self_test() {
    for (result, broken) in [(0, false), (0x101, true)] {
        let test_result = plain(Writer::new().sized(&[1, 2]).u32(result));
        let (mut tpm, script) = Script::new([code(0x101), test_result]);
        let error = tpm.persistent(0x8101_0001, soon()).unwrap_err();
        let Error::Failure { broken: found, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(found, broken);
        let hint = error.hint().unwrap();
        assert_eq!(hint.contains("failure mode"), broken, "{hint}");
        assert_eq!(script.commands().len(), 2);
    }
}

#[test]
fn absence_of_a_key_is_an_answer_and_a_key_of_another_type_too() {
    let keyed_hash = Writer::new()
        .u16(8)
        .u16(11)
        .u32(0x72)
        .u16(0)
        .u16(0x10)
        .u16(0)
        .finish();
    let other = plain(Writer::new().sized(&keyed_hash).u16(0).u16(0));
    for answer in [code(0x18B), code(0x184), other] {
        let (mut tpm, _script) = Script::new([answer]);
        assert_eq!(tpm.persistent(0x8101_0001, soon()).unwrap(), None);
    }
    for answer in [code(0x28B), code(0x902)] {
        let (mut tpm, _script) = Script::new([answer]);
        assert!(tpm.persistent(0x8101_0001, soon()).is_err());
    }
}

#[test]
fn a_property_that_is_not_there_is_none() {
    let other = plain(Writer::new().u8(0).u32(6).u32(1).u32(0x12D).u32(5));
    let none = plain(Writer::new().u8(0).u32(6).u32(0));
    for (answer, expect) in [(buffer_max(5), Some(5)), (other, None), (none, None)] {
        let (mut tpm, _script) = Script::new([answer]);
        assert_eq!(tpm.property(0x12C, soon()).unwrap(), expect);
    }
    let wrong = plain(Writer::new().u8(0).u32(5).u32(0));
    let (mut tpm, _script) = Script::new([wrong]);
    assert!(matches!(
        tpm.property(0x12C, soon()),
        Err(Error::Response { .. })
    ));
}

/// The Name in the response must be the public area's, and the ticket one of creation.
#[test]
fn a_primary_key_must_have_its_own_name() {
    let public = AkTemplate::EccP256.public();
    let made = |name: &[u8], ticket: u16| {
        let parameters = Writer::new()
            .sized(public.as_bytes())
            .sized(&[1])
            .sized(&[2; 32]);
        let parameters = parameters.u16(ticket).u32(0x4000_000B).sized(&[3; 32]);
        authorized(Some(0x8000_0000), parameters.sized(name))
    };
    let name = public.name().unwrap();
    let mut other = name.as_bytes().to_vec();
    other[9] ^= 1;
    for (answer, ok) in [
        (made(name.as_bytes(), 0x8021), true),
        (made(&other, 0x8021), false),
        (made(name.as_bytes(), 0x8023), false),
    ] {
        let (mut tpm, _script) = Script::new([answer]);
        let created = tpm.create_primary(Hierarchy::Endorsement, &public, &Auth::default(), soon());
        assert_eq!(created.is_ok(), ok);
    }
}

fn persistent(public: &Public) -> Vec<u8> {
    plain(Writer::new().sized(public.as_bytes()).u16(0).u16(0))
}

fn storage_root() -> Key {
    let answer = persistent(&StorageTemplate::EccP256.public());
    let (mut tpm, _script) = Script::new([answer]);
    tpm.persistent(0x8100_0001, soon()).unwrap().unwrap()
}

fn svid_key() -> WrappedKey {
    WrappedKey {
        public: SvidKeyTemplate::EccP256.public(),
        private: vec![7; 100],
    }
}

fn is_malformed<T>(outcome: Result<T, Error>, expect: Malformed) {
    match outcome {
        Err(Error::Response { problem, .. }) => assert_eq!(problem, expect),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("taken"),
    }
}

#[test]
fn a_new_svid_key_is_read_strictly() {
    let public = svid_key().public;
    let made = |private: usize, public: &[u8], ticket: u16| {
        let parameters = Writer::new().sized(&vec![7; private]).sized(public);
        let parameters = parameters.sized(&[1]).sized(&[2; 32]);
        let parameters = parameters.u16(ticket).u32(0x4000_0001).sized(&[3; 32]);
        authorized(None, parameters)
    };
    let (parent, template) = (storage_root(), public.as_bytes());
    let keyed_hash = [0, 8, 0, 11, 0, 0, 0, 0x72, 0, 0, 0, 0x10, 0, 0];
    for (answer, expect) in [
        (made(1537, template, 0x8021), Malformed::TooLong),
        (made(100, template, 0x8023), Malformed::Value),
        (made(100, &template[1..], 0x8021), Malformed::Value),
        (made(100, &keyed_hash, 0x8021), Malformed::Value),
    ] {
        let (mut tpm, _script) = Script::new([answer]);
        is_malformed(tpm.create(&parent, &public, soon()), expect);
    }
    let (mut tpm, script) = Script::new([made(1536, template, 0x8021)]);
    let key = tpm.create(&parent, &public, soon()).unwrap();
    assert_eq!((key.private.len(), key.public), (1536, public));
    assert_eq!(script.commands()[0][10..14], 0x8100_0001_u32.to_be_bytes());
}

#[test]
fn a_loaded_key_must_have_its_own_name() {
    let (parent, key) = (storage_root(), svid_key());
    let name = key.name().unwrap();
    let answer = |name: &[u8]| authorized(Some(0x8000_0001), Writer::new().sized(name));
    let (mut tpm, _script) = Script::new([answer(name.as_bytes())]);
    assert_eq!(tpm.load(&parent, &key, soon()).unwrap().name, name);
    let (mut tpm, _script) = Script::new([answer(parent.name.as_bytes())]);
    is_malformed(tpm.load(&parent, &key, soon()), Malformed::Value);
}

/// A signature by another algorithm or over another hash than was asked for is none.
#[test]
fn a_signature_is_what_was_asked_for() {
    let (mut key, digest) = (storage_root(), [1; 32]);
    key.public = svid_key().public;
    let scheme = SignatureScheme::Ecdsa(Hash::Sha256);
    let signature = |algorithm: u16, hash: u16| {
        let parameters = Writer::new().u16(algorithm).u16(hash);
        authorized(None, parameters.sized(&[1; 32]).sized(&[2; 32]))
    };
    let (mut tpm, script) = Script::new([signature(0x18, 0x0B)]);
    tpm.sign(&key, &digest, scheme, soon()).unwrap();
    // The scheme, and a ticket that proves nothing.
    let tail = "0018000b802440000007".to_owned() + "0000";
    let sent = script.commands().remove(0);
    assert_eq!(hex::encode(&sent[sent.len() - 12..]), tail);
    for (algorithm, hash) in [(0x18, 0x0C), (0x1A, 0x0B)] {
        let (mut tpm, _script) = Script::new([signature(algorithm, hash)]);
        is_malformed(tpm.sign(&key, &digest, scheme, soon()), Malformed::Value);
    }
    let rsa = authorized(None, Writer::new().u16(0x14).u16(0x0B).sized(&[1; 256]));
    let (mut tpm, _script) = Script::new([rsa]);
    is_malformed(tpm.sign(&key, &digest, scheme, soon()), Malformed::Value);
}

#[test]
fn a_clock_is_read_strictly() {
    let answer = |safe: u8| plain(Writer::new().u64(9).u64(8).u32(7).u32(6).u8(safe));
    for safe in [false, true] {
        let (mut tpm, _script) = Script::new([answer(u8::from(safe))]);
        let clock = tpm.clock(soon()).unwrap();
        let counters = (clock.clock, clock.reset_count, clock.restart_count);
        assert_eq!((counters, clock.safe), ((8, 7, 6), safe));
    }
    let (mut tpm, _script) = Script::new([answer(2)]);
    is_malformed(tpm.clock(soon()), Malformed::Value);
}

#[test]
fn a_context_goes_back_as_it_came() {
    let context = Writer::new().u64(1).u32(0x8000_0000).u32(0x4000_0001);
    let context = context.sized(&[5; 50]).finish();
    let saved = plain(Writer::new().raw(&context));
    let loaded = plain(Writer::new().u32(0x8000_0002));
    let (mut tpm, script) = Script::new([saved, loaded]);
    let saved = tpm.save_context(&storage_root(), soon()).unwrap();
    tpm.load_context(&saved, soon()).unwrap();
    assert_eq!(script.commands()[1][10..], context);
}

/// What a TPM lacks is an answer only where it names a parameter.
#[test]
fn lacking_a_curve_is_an_answer() {
    let template = SvidKeyTemplate::EccP384.public();
    for (answer, expect) in [
        (plain(Writer::new()), Some(true)),
        (code(0x1E6), Some(false)),
        (code(0x1C4), Some(false)),
        (code(0x143), None),
        (code(0x101), None),
    ] {
        let (mut tpm, _script) = Script::new([answer]);
        assert_eq!(tpm.supports(&template, soon()).ok(), expect);
    }
}

/// A root that needs a password is none of ours to guess at.
#[test]
fn a_root_with_a_password_is_told_from_the_hierarchies() {
    let root = StorageTemplate::EccP256.public();
    let (tpm, script) = Script::new([persistent(&root), code(0x98E)]);
    let mut keyring = Keyring::open(Box::new(tpm), Auth::default(), soon()).unwrap();
    let error = keyring
        .generate(SvidKeyTemplate::EccP256, soon())
        .unwrap_err();
    assert!(error.hint().unwrap().contains("storage root"), "{error}");
    assert_eq!(script.commands().len(), 2, "one attempt");
}

#[test]
fn silence_names_the_command_that_waited() {
    let (mut tpm, _script) = Script::new([]);
    let template = EkTemplate::L1.public(&[]);
    let error = tpm
        .create_primary(Hierarchy::Endorsement, &template, &Auth::default(), soon())
        .unwrap_err();
    let waited = matches!(
        error,
        Error::Deadline {
            command: CommandCode::CREATE_PRIMARY
        }
    );
    assert!(waited, "{error}");
}

/// A password that no command has room for is refused here, and not shown.
#[test]
fn commands_are_bounded() {
    let (mut tpm, script) = Script::new([]);
    let template = EkTemplate::L1.public(&[]);
    let auth = Auth::new(vec![b'x'; 4096]);
    let error = tpm
        .create_primary(Hierarchy::Endorsement, &template, &auth, soon())
        .unwrap_err();
    assert!(matches!(error, Error::CommandTooLong { .. }), "{error}");
    assert!(!format!("{error:?}").contains("xx"));
    assert!(script.commands().is_empty());
}

//! Key managers, held to the contract with a real process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unnecessary_wraps,
    reason = "tests, and options as the fields are"
)]

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use conformance::{Handshake, Host, Loaded, LogLine, NotLoaded, Subject};
use plugin::{
    Code, HashAlgorithm, KeyType, SignerOptions, Status,
    proto::key_manager::{
        GenerateKeyRequest, GetPublicKeyRequest, GetPublicKeysRequest, SignDataRequest,
        key_manager_client::KeyManagerClient,
        sign_data_request::{PssOptions, SignerOpts},
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::UnixStream,
    process::Command,
    time::timeout,
};

const BINARY: &str = env!("CARGO_BIN_EXE_echo-credentials");
const TD: Option<&str> = Some("example.org");

async fn key_manager() -> Loaded {
    let subject = Subject::key_manager(BINARY);
    let loaded = Host::new().load(&subject).await.unwrap();
    loaded.configure(TD, "").await.unwrap();
    loaded
}

fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn key(key_id: &str, key_type: i32) -> GenerateKeyRequest {
    let key_id = key_id.to_owned();
    GenerateKeyRequest { key_id, key_type }
}

fn sign(key_id: &str, length: usize, signer_opts: Option<SignerOpts>) -> SignDataRequest {
    SignDataRequest {
        key_id: key_id.to_owned(),
        data: vec![7; length],
        signer_opts,
    }
}

fn pss(hash_algorithm: i32, salt_length: i32) -> Option<SignerOpts> {
    Some(SignerOpts::PssOptions(PssOptions {
        salt_length,
        hash_algorithm,
    }))
}

fn hash(algorithm: i32) -> Option<SignerOpts> {
    Some(SignerOpts::HashAlgorithm(algorithm))
}

#[tokio::test]
async fn each_role_names_its_own_service() {
    for (subject, service) in [
        (
            Subject::key_manager(BINARY),
            "spire.plugin.agent.keymanager.v1.KeyManager",
        ),
        (
            Subject::credential_composer(BINARY),
            "spire.plugin.server.credentialcomposer.v1.CredentialComposer",
        ),
    ] {
        let loaded = Host::new().load(&subject).await.unwrap();
        let config = "spire.service.common.config.v1.Config";
        assert_eq!(loaded.services(), [service, config]);
        assert_eq!(loaded.health().await.unwrap(), 1);
        loaded.configure(TD, "").await.unwrap();
        assert!(loaded.validate(TD, "").await.unwrap().valid);
        let unloaded = loaded.unload().await;
        unloaded.deinit.unwrap();
        assert!(unloaded.exit.unwrap().success());
        assert_eq!(unloaded.stdout_noise, b"");
    }
}

#[tokio::test]
async fn another_cookie_is_refused() {
    let subject = Subject::node_attestor(BINARY, conformance::Side::Agent);
    let error = Host::new().load(&subject).await.unwrap_err();
    let NotLoaded::Exited { log, .. } = error else {
        panic!("{error}")
    };
    let [LogLine::Text(sentence)] = log.as_slice() else {
        panic!("{log:?}")
    };
    assert!(
        sentence.contains("KeyManager, CredentialComposer"),
        "{sentence}"
    );
}

#[tokio::test]
async fn no_key_before_configure() {
    let subject = Subject::key_manager(BINARY);
    let loaded = Host::new().load(&subject).await.unwrap();
    let mut keys = KeyManagerClient::new(loaded.channel());
    let expected = (Code::FailedPrecondition, "not configured".to_owned());
    assert_eq!(told(keys.generate_key(key("a", 1)).await), expected);
    let key_id = "a".to_owned();
    let get = GetPublicKeyRequest { key_id };
    assert_eq!(told(keys.get_public_key(get).await), expected);
    let all = GetPublicKeysRequest {};
    assert_eq!(told(keys.get_public_keys(all).await), expected);
    assert_eq!(told(keys.sign_data(sign("a", 32, hash(5))).await), expected);
}

#[tokio::test]
async fn malformed_requests_for_keys_are_refused() {
    let loaded = key_manager().await;
    let mut keys = KeyManagerClient::new(loaded.channel());
    let long = "k".repeat(256);
    for (request, sentence) in [
        (key("", 1), "key id is required"),
        (key("", 0), "key id is required"),
        (key(&long, 1), "key id is too long"),
        (key("a", 0), "key type is required"),
        (key("a", 5), "key type is unknown"),
        (key("a", -1), "key type is unknown"),
    ] {
        let answer = told(keys.generate_key(request.clone()).await);
        let expected = (Code::InvalidArgument, sentence.to_owned());
        assert_eq!(answer, expected, "{request:?}");
    }
    for (key_id, sentence) in [
        (String::new(), "key id is required"),
        (long.clone(), "key id is too long"),
    ] {
        let answer = told(keys.get_public_key(GetPublicKeyRequest { key_id }).await);
        assert_eq!(answer, (Code::InvalidArgument, sentence.to_owned()));
    }
    assert_eq!(loaded.key_manager().public_keys().await.unwrap(), []);

    let longest = &"k".repeat(255);
    let held = loaded.key_manager();
    held.generate_key(longest, KeyType::EcP256).await.unwrap();
    assert_eq!(held.public_key(longest).await.unwrap().id, *longest);
}

#[tokio::test]
async fn malformed_requests_for_signatures_are_refused() {
    let loaded = key_manager().await;
    let mut keys = KeyManagerClient::new(loaded.channel());
    keys.generate_key(key("a", 1)).await.unwrap();
    let long = "k".repeat(256);
    let length = "data is not as long as a digest of the hash algorithm";
    for (request, sentence) in [
        (sign("", 32, hash(5)), "key id is required"),
        (sign(&long, 32, hash(5)), "key id is too long"),
        (sign("a", 32, None), "signer options are required"),
        (sign("a", 32, hash(0)), "hash algorithm is required"),
        (sign("a", 32, hash(3)), "hash algorithm is unknown"),
        (sign("a", 32, hash(16)), "hash algorithm is unknown"),
        (sign("a", 32, pss(0, -1)), "hash algorithm is required"),
        (sign("a", 32, pss(99, -1)), "hash algorithm is unknown"),
        (sign("a", 32, pss(5, -2)), "salt length is negative"),
        (sign("a", 0, hash(5)), length),
        (sign("a", 31, hash(5)), length),
        (sign("a", 33, hash(5)), length),
        (sign("a", 32, hash(6)), length),
        (sign("a", 48, pss(5, -1)), length),
    ] {
        let answer = told(keys.sign_data(request.clone()).await);
        let expected = (Code::InvalidArgument, sentence.to_owned());
        assert_eq!(answer, expected, "{request:?}");
    }
    let huge = sign("a", 64 << 10, hash(5));
    assert_eq!(told(keys.sign_data(huge).await).0, Code::OutOfRange);
}

#[tokio::test]
async fn requests_arrive_as_they_were_meant() {
    let loaded = key_manager().await;
    let mut keys = KeyManagerClient::new(loaded.channel());
    for (number, key_type) in [
        (1, KeyType::EcP256),
        (2, KeyType::EcP384),
        (3, KeyType::Rsa2048),
        (4, KeyType::Rsa4096),
    ] {
        let made = keys.generate_key(key("a", number)).await.unwrap();
        assert_eq!(made.into_inner().public_key.unwrap().r#type, number);
        let made = loaded.key_manager().generate_key("a", key_type).await;
        assert_eq!(made.unwrap().r#type, number);
    }
    for (number, length, algorithm) in [
        (4, 28, HashAlgorithm::Sha224),
        (5, 32, HashAlgorithm::Sha256),
        (6, 48, HashAlgorithm::Sha384),
        (7, 64, HashAlgorithm::Sha512),
        (10, 28, HashAlgorithm::Sha3_224),
        (11, 32, HashAlgorithm::Sha3_256),
        (12, 48, HashAlgorithm::Sha3_384),
        (13, 64, HashAlgorithm::Sha3_512),
        (14, 28, HashAlgorithm::Sha512_224),
        (15, 32, HashAlgorithm::Sha512_256),
    ] {
        assert_eq!(algorithm.digest_length(), length);
        let salted = SignerOptions::Pss {
            hash: algorithm,
            salt_length: -1,
        };
        for (wire, options) in [
            (hash(number), SignerOptions::Hash(algorithm)),
            (pss(number, -1), salted),
        ] {
            let meant = format!("{options:?} {:02x?}", vec![7_u8; length]).into_bytes();
            let request = sign("a", length, wire);
            let signed = keys.sign_data(request).await.unwrap().into_inner();
            assert_eq!(signed.signature, meant);
            let held = loaded.key_manager();
            let current = held.public_key("a").await.unwrap();
            let signed = held.sign(&current, &vec![7; length], options).await;
            assert_eq!(signed.unwrap(), meant);
        }
    }
}

#[tokio::test]
async fn answers_are_held_to_the_rules_of_the_host() {
    let loaded = key_manager().await;
    let keys = loaded.key_manager();
    let options = SignerOptions::Hash(HashAlgorithm::Sha256);
    assert_eq!(keys.public_keys().await.unwrap(), []);
    assert_eq!(told(keys.public_key("a").await).0, Code::NotFound);
    let first = keys.generate_key("a", KeyType::EcP256).await.unwrap();
    let held = keys.public_keys().await.unwrap();
    assert_eq!(held.as_slice(), std::slice::from_ref(&first));
    keys.sign(&first, &[7; 32], options).await.unwrap();

    let second = keys.generate_key("a", KeyType::Rsa2048).await.unwrap();
    assert_ne!(first.fingerprint, second.fingerprint);
    let stale = told(keys.sign(&first, &[7; 32], options).await);
    assert_eq!(
        stale,
        (Code::Internal, "fingerprint does not match".to_owned())
    );
    keys.sign(&second, &[7; 32], options).await.unwrap();

    let mute = keys.generate_key("mute", KeyType::EcP256).await.unwrap();
    let empty = told(keys.sign(&mute, &[7; 32], options).await);
    assert!(empty.1.contains("empty signature"), "{empty:?}");
    for (id, sentence) in [("nameless", "unexpected key id"), ("bare", "missing")] {
        let made = told(keys.generate_key(id, KeyType::EcP256).await);
        assert!(made.1.contains(sentence), "{made:?}");
        let held = told(keys.public_key(id).await);
        assert!(held.1.contains(sentence), "{held:?}");
    }
    let all = told(keys.public_keys().await);
    assert!(all.1.contains("missing"), "{all:?}");
}

#[tokio::test]
async fn a_panic_ends_one_call_only() {
    let loaded = key_manager().await;
    let keys = loaded.key_manager();
    let internal = (Code::Internal, "internal error".to_owned());
    let answer = keys.generate_key("panic", KeyType::EcP256).await;
    assert_eq!(told(answer), internal);
    assert!(keys.generate_key("a", KeyType::EcP256).await.is_ok());
}

/// Has a shell start the plugin, connects from here, and says whether that was served, and what the plugin logged.
async fn connect_from_another_process(role: &str, variable: (&str, &str)) -> (bool, String) {
    let base = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", "\"$0\" & wait", BINARY])
        .env(role, role)
        .env("TMPDIR", base.path())
        .env(variable.0, variable.1)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(shell.stdout.take().unwrap());
    stdout.read_line(&mut line).await.unwrap();
    let Ok(Handshake::Unix(path)) = Handshake::parse(&line) else {
        panic!("{line}")
    };
    // A server of HTTP/2 speaks at once.
    let mut stream = UnixStream::connect(path).await.unwrap();
    let read = timeout(Duration::from_secs(5), stream.read(&mut [0; 9])).await;
    let served = read.expect("neither served nor closed").unwrap() > 0;
    shell.kill().await.unwrap();
    let mut log = String::new();
    let rest = shell.stderr.as_mut().unwrap().read_to_string(&mut log);
    timeout(Duration::from_secs(5), rest)
        .await
        .expect("plugin outlives its host")
        .unwrap();
    (served, log)
}

/// This process runs as the same user as the plugin's parent.
#[tokio::test]
async fn a_key_manager_serves_its_parent_only() {
    let group = rustix::process::getegid().as_raw().to_string();
    let refused = "connection by another process refused";
    for variable in [("UNUSED", ""), ("PLUGIN_UNIX_SOCKET_GROUP", group.as_str())] {
        let (served, log) = connect_from_another_process("KeyManager", variable).await;
        assert!(!served, "{log}");
        assert_eq!(log.matches(refused).count(), 1, "{log}");
        let (served, log) = connect_from_another_process("CredentialComposer", variable).await;
        assert!(served, "{log}");
        assert!(!log.contains(refused), "{log}");
    }

    let subject = Subject::key_manager(BINARY).variable("PLUGIN_UNIX_SOCKET_GROUP", &group);
    let loaded = Host::new().load(&subject).await.unwrap();
    let Handshake::Unix(socket) = loaded.handshake() else {
        panic!()
    };
    let mode = fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the group may use it");
    assert_eq!(loaded.health().await.unwrap(), 1);
}

/// Each of two signatures waits for the other to begin.
#[tokio::test]
async fn signatures_are_made_side_by_side() {
    let loaded = key_manager().await;
    let keys = loaded.key_manager();
    let key = keys.generate_key("paired", KeyType::EcP256).await.unwrap();
    let options = SignerOptions::Hash(HashAlgorithm::Sha256);
    let both = async {
        tokio::join!(
            keys.sign(&key, &[1; 32], options),
            keys.sign(&key, &[2; 32], options)
        )
    };
    let (one, other) = timeout(Duration::from_secs(10), both)
        .await
        .expect("one signature waits for the end of the other");
    assert_ne!(one.unwrap(), other.unwrap());
}

//! The agent's KeyManager by the contract of SPIRE's own tests (`spire/M01` to `spire/M47`), over its real socket.

use std::fs;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use conformance::Loaded;
use evidence::{Curve, Hash, SubjectKey};
use plugin::proto::key_manager::{
    GenerateKeyRequest, GetPublicKeyRequest, GetPublicKeysRequest, PublicKey, SignDataRequest,
    key_manager_client::KeyManagerClient,
    sign_data_request::{PssOptions, SignerOpts},
};
use plugin::{Code, HashAlgorithm, KeyType, SignerOptions, Status};
use tests::{ToSign, X509Signer};
use tonic::transport::Channel;

use crate::process_key_machine::{
    IDS, KeyMachine, SHA256, files, generate, key_manager, list, loaded_key_manager, named, signs,
    try_sign,
};
use crate::process_plugin::{TRUST_DOMAIN, unload};

fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn wire(keys: &Loaded) -> KeyManagerClient<Channel> {
    KeyManagerClient::new(keys.channel())
}

fn key(key_id: &str, key_type: i32) -> GenerateKeyRequest {
    let key_id = key_id.to_owned();
    GenerateKeyRequest { key_id, key_type }
}

/// What Go's x509 asks for, as SPIRE Agent hands it on.
fn options(asked: &ToSign) -> SignerOptions {
    let hash = match asked.hash {
        5 => HashAlgorithm::Sha256,
        6 => HashAlgorithm::Sha384,
        7 => HashAlgorithm::Sha512,
        other => panic!("hash {other}"),
    };
    let salt = asked.salt.map(|salt| i32::try_from(salt).unwrap());
    salt.map_or(SignerOptions::Hash(hash), |salt_length| {
        SignerOptions::Pss { hash, salt_length }
    })
}

const ECDSA: &[&str] = &["ECDSA-SHA256", "ECDSA-SHA384", "ECDSA-SHA512"];
const RSA: &[&str] = &[
    "SHA256-RSA",
    "SHA384-RSA",
    "SHA512-RSA",
    "SHA256-RSAPSS",
    "SHA384-RSAPSS",
    "SHA512-RSAPSS",
];

#[tokio::test]
async fn keys_of_every_type_sign_certificates_that_go_accepts() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let mut go = X509Signer::start();
    for (case, id, key_type, number, algorithms) in [
        ("spire/M01", "EC-P256", KeyType::EcP256, 1, ECDSA),
        ("spire/M02", "EC-P384", KeyType::EcP384, 2, ECDSA),
        ("spire/M03", "RSA-2048", KeyType::Rsa2048, 3, RSA),
    ] {
        let made = keys.key_manager().generate_key(id, key_type).await.unwrap();
        assert_eq!((made.id.as_str(), made.r#type), (id, number), "{case}");
        let public = verify::parse_public_key(&made.pkix_data).unwrap();
        assert!(
            match &public {
                SubjectKey::Ec { curve, .. } =>
                    key_type
                        == match curve {
                            Curve::P256 => KeyType::EcP256,
                            Curve::P384 => KeyType::EcP384,
                            Curve::P521 => panic!("{case}"),
                        },
                SubjectKey::Rsa { modulus, .. } =>
                    key_type == KeyType::Rsa2048 && modulus.len() == 256 && modulus[0] >= 0x80,
            },
            "{case}"
        );
        assert_eq!(made.pkix_data, public.spki(), "{case}: canonical");
        for algorithm in algorithms {
            let asked = go.begin(&made.pkix_data, algorithm).unwrap();
            let sign = keys.key_manager();
            let signed = sign.sign(&made, &asked.digest, options(&asked)).await;
            let outcome = go.finish(&signed.unwrap());
            assert_eq!(outcome, Ok(()), "spire/M05 to spire/M10: {id} {algorithm}");
        }
        // The judge is one: what was signed for another certificate is refused.
        let asked = go.begin(&made.pkix_data, algorithms[0]).unwrap();
        let other = Hash::Sha256.digest(&[&asked.digest]);
        let sign = keys.key_manager();
        let signed = sign.sign(&made, &other, options(&asked)).await;
        go.finish(&signed.unwrap()).unwrap_err();
    }
    let large = keys.key_manager().generate_key("a", KeyType::Rsa4096).await;
    let message = "key_type_unsupported: the TPM makes no RSA-4096 key".to_owned();
    let expected = (Code::InvalidArgument, message);
    assert_eq!(told(large), expected, "spire/M04");
    unload(keys).await;
    machine.leaves_nothing_in_the_tpm();
}

#[tokio::test]
async fn ids_types_and_options_are_required_and_the_rest_is_not_found() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let mut wire = wire(&keys);
    let required = |what: &str| (Code::InvalidArgument, format!("{what} is required"));
    let made = wire.generate_key(key("", 1)).await;
    assert_eq!(told(made), required("key id"), "spire/M11");
    let made = wire.generate_key(key("a", 0)).await;
    assert_eq!(told(made), required("key type"), "spire/M12");
    let got = |key_id: &str| {
        let key_id = key_id.to_owned();
        GetPublicKeyRequest { key_id }
    };
    let nobody = wire.get_public_key(got("")).await;
    assert_eq!(told(nobody), required("key id"), "spire/M14");
    let unknown = told(wire.get_public_key(got("nope")).await);
    let not_found = (Code::NotFound, "no such key \"nope\"".to_owned());
    assert_eq!(unknown, not_found, "spire/M14");
    let asked = |key_id: &str, data: &[u8], signer_opts| SignDataRequest {
        key_id: key_id.to_owned(),
        data: data.to_vec(),
        signer_opts,
    };
    let sha256 = Some(SignerOpts::HashAlgorithm(5));
    assert_eq!(
        told(wire.sign_data(asked("nope", &[7; 32], sha256)).await),
        not_found
    );
    generate(&keys, "a").await;
    let none = wire.sign_data(asked("a", &[7; 32], None)).await;
    assert_eq!(told(none).0, Code::InvalidArgument, "spire/M40");
    for (case, length, options) in [
        ("no hash", 32, SignerOpts::HashAlgorithm(0)),
        ("SHA-224", 28, SignerOpts::HashAlgorithm(4)),
        ("SHA3-256", 32, SignerOpts::HashAlgorithm(11)),
        ("a long digest", 33, SignerOpts::HashAlgorithm(5)),
        ("a short one", 31, SignerOpts::HashAlgorithm(5)),
        (
            "PSS of an EC key",
            32,
            SignerOpts::PssOptions(PssOptions {
                salt_length: -1,
                hash_algorithm: 5,
            }),
        ),
    ] {
        let request = asked("a", &vec![7; length], Some(options));
        let refused = told(wire.sign_data(request).await);
        assert_eq!(refused.0, Code::InvalidArgument, "{case}: {}", refused.1);
    }
    unload(keys).await;
}

/// `spire/M20` to `spire/M42` are about SPIRE's own side, and what it makes of answers that are none: here it gets no such
/// answer.
#[tokio::test]
async fn no_answer_is_one_that_the_host_refuses() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let mut wire = wire(&keys);
    let sound = |case: &str, key: &PublicKey, id: &str| {
        assert_eq!(key.id, id, "{case}");
        assert!(verify::parse_public_key(&key.pkix_data).is_ok(), "{case}");
        let digest = Hash::Sha256.digest(&[&key.pkix_data]);
        assert_eq!(key.fingerprint, hex::encode(&digest), "{case}");
    };
    let none = wire.get_public_keys(GetPublicKeysRequest {}).await.unwrap();
    assert_eq!(none.into_inner().public_keys, [], "spire/M35");
    for id in IDS {
        let made = wire.generate_key(key(id, 1)).await.unwrap().into_inner();
        let made = made.public_key.unwrap();
        sound("spire/M20 to spire/M25", &made, id);
        let key_id = id.to_owned();
        let got = wire.get_public_key(GetPublicKeyRequest { key_id }).await;
        let got = got.unwrap().into_inner().public_key.unwrap();
        sound("spire/M26 to spire/M31", &got, id);
        assert_eq!(got, made);
    }
    let all = wire.get_public_keys(GetPublicKeysRequest {}).await.unwrap();
    let all = all.into_inner().public_keys;
    assert_eq!(all.len(), 2);
    for (key, id) in all.iter().zip(IDS) {
        sound("spire/M32 to spire/M36", key, id);
        let request = SignDataRequest {
            key_id: id.to_owned(),
            data: vec![7; 32],
            signer_opts: Some(SignerOpts::HashAlgorithm(5)),
        };
        let signed = wire.sign_data(request).await.unwrap().into_inner();
        assert_eq!(signed.key_fingerprint, key.fingerprint, "spire/M37");
        assert!(!signed.signature.is_empty(), "spire/M38");
    }
    let rsa = wire.generate_key(key("rsa", 3)).await.unwrap().into_inner();
    let digest = [7; 32];
    for salt_length in [-1, 0, 32] {
        let hash = HashAlgorithm::Sha256;
        let options = SignerOptions::Pss { hash, salt_length };
        let rsa = rsa.public_key.as_ref().unwrap();
        let signed = keys.key_manager().sign(rsa, &digest, options).await;
        assert_eq!(signed.unwrap().len(), 256, "spire/M42: {salt_length}");
    }
    unload(keys).await;
}

#[tokio::test]
async fn a_key_that_was_overwritten_signs_nothing_any_more() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let old = generate(&keys, "id").await;
    signs(&keys, &old).await;
    let manager = keys.key_manager();
    let made = manager.generate_key("id", KeyType::Rsa2048).await;
    let new = made.unwrap();
    let signed = keys.key_manager().sign(&new, &[7; 32], SHA256).await;
    assert_eq!(signed.unwrap().len(), 256);
    let (code, message) = told(try_sign(&keys, &old, b"message").await);
    assert_eq!(code, Code::Internal, "spire/M13");
    assert!(message.contains("does not match"), "spire/M13: {message}");
    assert_eq!(list(&keys).await, named([&new]));
    unload(keys).await;
}

#[tokio::test]
async fn all_keys_are_listed_and_there_again_after_a_restart() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    assert!(list(&keys).await.is_empty(), "spire/M15");
    let made = keys.key_manager();
    let four = [
        generate(&keys, IDS[0]).await,
        generate(&keys, IDS[1]).await,
        made.generate_key("p384", KeyType::EcP384).await.unwrap(),
        made.generate_key("rsa", KeyType::Rsa2048).await.unwrap(),
    ];
    let expected = named([&four[0], &four[1], &four[2], &four[3]]);
    assert_eq!(list(&keys).await, expected, "spire/M15");
    for id in four.iter().map(|key| &key.id) {
        let got = keys.key_manager().public_key(id).await.unwrap();
        assert_eq!(got, expected[id], "spire/M14");
    }
    unload(keys).await;
    machine.manager.clear();
    let keys = machine.key_manager("").await;
    assert_eq!(list(&keys).await, expected, "spire/M47");
    for key in &four[..2] {
        signs(&keys, key).await;
    }
    assert!(!machine.manager.connections().concat().contains(&CREATE));
    unload(keys).await;
    machine.leaves_nothing_in_the_tpm();
}

/// `TPM2_Create`
const CREATE: u32 = 0x153;

#[tokio::test]
async fn there_are_no_keys_before_configure_and_none_without_a_directory() {
    let machine = KeyMachine::new();
    let keys = loaded_key_manager().await;
    let expected = (Code::FailedPrecondition, "not configured".to_owned());
    let manager = keys.key_manager();
    let made = manager.generate_key("a", KeyType::EcP256).await;
    assert_eq!(told(made), expected, "spire/M46");
    assert_eq!(told(manager.public_keys().await), expected);

    let device = format!("device = \"unix:{}\"", machine.manager.socket().display());
    let configured = keys.configure(Some(TRUST_DOMAIN), &device).await;
    let (code, message) = told(configured);
    assert_eq!(code, Code::InvalidArgument, "spire/M43");
    assert!(message.contains("keys_path is required"), "{message}");
    assert_eq!(told(manager.public_keys().await), expected);

    let text = machine.data("");
    assert!(
        keys.validate(Some(TRUST_DOMAIN), &text)
            .await
            .unwrap()
            .valid
    );
    assert!(!machine.keys().exists(), "only looked at");
    keys.configure(Some(TRUST_DOMAIN), &text).await.unwrap();
    assert_eq!(files(&machine.keys()), [""; 0], "spire/M44");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(machine.keys()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700, "spire/M44");
    generate(&keys, "a").await;
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(machine.file("a")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    unload(keys).await;
}

/// A TLS server and its clients sign whenever they like.
#[tokio::test]
async fn signatures_that_are_asked_for_at_once_all_verify() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let pair = [generate(&keys, IDS[0]).await, generate(&keys, IDS[1]).await];
    let asked = (0..64_u8).map(|number| {
        let (manager, key) = (keys.key_manager(), pair[usize::from(number % 2)].clone());
        tokio::spawn(async move {
            let digest = Hash::Sha256.digest(&[&[number]]);
            let signed = manager.sign(&key, &digest, SHA256).await.unwrap();
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.pkix_data);
            assert!(public.verify(&[number], &signed).is_ok(), "{number}");
        })
    });
    for signed in asked.collect::<Vec<_>>() {
        signed.await.unwrap();
    }
    unload(keys).await;
    machine.leaves_nothing_in_the_tpm();
}

/// SPIRE's two keys take turns, and the one in use signs until the next one is there.
#[tokio::test]
async fn keys_rotate_at_the_price_of_one_creation_each() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let mut current = generate(&keys, IDS[0]).await;
    for id in [IDS[1], IDS[0]].into_iter().cycle().take(6) {
        machine.manager.clear();
        let next = generate(&keys, id).await;
        let sent = machine.manager.connections().concat();
        assert_eq!(sent.iter().filter(|sent| **sent == CREATE).count(), 1);
        assert!(!sent.contains(&CREATE_PRIMARY), "{sent:x?}");
        signs(&keys, &current).await;
        signs(&keys, &next).await;
        assert_eq!(list(&keys).await, named([&current, &next]));
        current = next;
    }
    unload(keys).await;
    let keys = key_manager(&machine.data("")).await;
    assert_eq!(list(&keys).await[&current.id], current);
    unload(keys).await;
}

/// `TPM2_CreatePrimary`
const CREATE_PRIMARY: u32 = 0x131;

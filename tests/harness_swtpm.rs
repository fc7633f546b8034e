//! Tests of software TPMs: their models, channels and state.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use tests::{Channel, EkCertificate, Manufacturer, Model, Tool, TpmSocket, run};

use crate::harness_commands::*;

#[test]
fn a_tpm_answers_and_survives_a_restart() {
    let mut tpm = Manufacturer::new().make(&Model::default());
    assert_answers(tpm.socket());
    tpm.restart();
    assert_answers(tpm.socket());
    tpm.power_off();
    assert!(TpmSocket::connect(tpm.socket()).is_err());
}

#[test]
fn a_model_decides_certificates_and_persistent_keys() {
    let maker = Manufacturer::new();
    let (rsa, p256, p384, issuer) = (0x01C0_0002, 0x01C0_000A, 0x01C0_0016, 0x01C0_0100);
    let (rsa_key, p384_key) = (0x8101_0001, 0x8101_0016);
    let usual = Model::default();
    let all = vec![
        EkCertificate::Rsa2048,
        EkCertificate::P256,
        EkCertificate::P384,
    ];
    let table = [
        (usual.clone(), vec![rsa], vec![rsa_key]),
        (
            Model {
                certificates: all,
                ..usual.clone()
            },
            vec![rsa, p256, p384],
            vec![rsa_key, p384_key],
        ),
        (
            Model {
                certificates: vec![EkCertificate::P256],
                ..usual.clone()
            },
            vec![p256],
            vec![],
        ),
        (
            Model {
                certificates: vec![EkCertificate::P384],
                ..usual.clone()
            },
            vec![p384],
            vec![p384_key],
        ),
        (
            Model {
                certificates: vec![],
                issuer_in_nv: true,
                ..usual.clone()
            },
            vec![issuer],
            vec![],
        ),
        (
            Model {
                persistent_keys: false,
                ..usual
            },
            vec![rsa],
            vec![],
        ),
    ];
    for (model, indices, persistent) in table {
        let tpm = maker.make(&model);
        let mut socket = TpmSocket::connect(tpm.socket()).unwrap();
        assert_eq!(handles(&mut socket, 0x0100_0000), indices, "{model:?}");
        assert_eq!(handles(&mut socket, 0x8100_0000), persistent, "{model:?}");
    }
}

#[test]
fn ek_certificates_chain_to_their_manufacturers_root_alone() {
    let (maker, other) = (Manufacturer::new(), Manufacturer::new());
    let certificates = vec![
        EkCertificate::Rsa2048,
        EkCertificate::P256,
        EkCertificate::P384,
    ];
    let tpm = maker.make(&Model {
        certificates,
        channel: Channel::Tcp,
        ..Model::default()
    });
    drop(other.make(&Model::default()));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ek.der").display().to_string();
    let text = |path: std::path::PathBuf| fs::read_to_string(path).unwrap();
    let mut keys = HashSet::new();
    for index in ["0x01C00002", "0x01C0000A", "0x01C00016"] {
        run(
            "tpm2",
            &["nvread", "-C", "o", "-o", &file, index],
            &[("TPM2TOOLS_TCTI", &tpm.tcti())],
        );
        let shown = run(
            "certtool",
            &["--inder", "--certificate-info", "--infile", &file],
            &[],
        );
        keys.insert(
            shown
                .lines()
                .skip_while(|line| !line.contains("Public Key ID"))
                .nth(2)
                .unwrap()
                .to_owned(),
        );
        let leaf = shown
            .split_once("-----BEGIN")
            .map(|(_, pem)| format!("-----BEGIN{pem}"))
            .unwrap();
        for (maker, trusted) in [(&maker, true), (&other, false)] {
            let chain = directory.path().join("chain.pem");
            fs::write(&chain, [leaf.as_str(), &text(maker.issuer())].concat()).unwrap();
            let arguments = [
                "--verify",
                "--infile",
                &chain.display().to_string(),
                "--load-ca-certificate",
                &maker.root().display().to_string(),
            ];
            assert_eq!(
                Tool::run("certtool", &arguments, &[]).success,
                trusted,
                "{index}"
            );
        }
    }
    assert_eq!(keys.len(), 3);
}

#[test]
fn a_tpm_on_tcp_serves_the_software_stack() {
    let tpm = Manufacturer::new().make(&Model {
        channel: Channel::Tcp,
        ..Model::default()
    });
    let family = run(
        "tpm2",
        &["getcap", "properties-fixed"],
        &[("TPM2TOOLS_TCTI", &tpm.tcti())],
    );
    assert!(family.contains("TPM2_PT_FAMILY_INDICATOR"), "{family}");
}

#[test]
fn a_tpm_on_a_device_answers_one_client_after_another() {
    use std::io::{Read as _, Write as _};
    let tpm = Manufacturer::new().make(&Model {
        channel: Channel::Device,
        ..Model::default()
    });
    for _ in 0..2 {
        let mut device = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(tpm.device())
            .unwrap();
        device
            .write_all(&get_capability(CAP_TPM_PROPERTIES, PT_FIXED))
            .unwrap();
        let mut answer = [0; 4096];
        let length = device.read(&mut answer).unwrap();
        assert!(length > 27, "{length}");
        assert_eq!(answer[19..27], *b"\x00\x00\x01\x002.0\x00");
    }
}

#[test]
fn a_duplicate_has_the_same_seeds_and_a_rolled_back_tpm_its_old_state() {
    let mut tpm = Manufacturer::new().make(&Model::default());
    let key = |socket: &Path| {
        let mut socket = TpmSocket::connect(socket).unwrap();
        let handle = create_key(&mut socket);
        let public = read_public(&mut socket, handle);
        socket
            .transmit(&command(CC_FLUSH_CONTEXT, &handle.to_be_bytes()))
            .unwrap();
        public
    };
    let original = key(tpm.socket());
    let copy = tpm.duplicate();
    assert_eq!(key(copy.socket()), original);
    TpmSocket::connect(tpm.socket()).unwrap().clear();
    assert_ne!(key(tpm.socket()), original);
    tpm.roll_back(&copy);
    assert_eq!(key(tpm.socket()), original);
}

#[test]
fn a_pcr_can_be_extended_and_is_reset_by_a_restart() {
    // SHA-256 of 32 zero bytes and 32 bytes of 7.
    const EXTENDED: [u8; 32] = [
        0xDA, 0xF6, 0xD3, 0xE6, 0xAD, 0x66, 0x99, 0x0A, 0xBA, 0x2F, 0xAE, 0x6E, 0x6C, 0x61, 0xF1,
        0x8B, 0x2D, 0x48, 0xF0, 0xCA, 0x6C, 0x29, 0xD2, 0xCF, 0xA1, 0x9A, 0xB4, 0x1F, 0x5A, 0x86,
        0x52, 0x31,
    ];
    let mut tpm = Manufacturer::new().make(&Model::default());
    let mut socket = TpmSocket::connect(tpm.socket()).unwrap();
    socket.extend_pcr(11, [7; 32]);
    assert_eq!(read_pcr_11(&mut socket), EXTENDED);
    tpm.restart();
    assert_eq!(
        read_pcr_11(&mut TpmSocket::connect(tpm.socket()).unwrap()),
        [0; 32]
    );
}

/// The value of PCR 11 in the SHA-256 bank.
fn read_pcr_11(tpm: &mut TpmSocket) -> Vec<u8> {
    let answer = tpm
        .transmit(&command(0x17E, &[0, 0, 0, 1, 0, 0x0B, 3, 0, 8, 0]))
        .unwrap();
    assert_eq!(code(&answer), 0);
    answer[answer.len() - 32..].to_vec()
}

fn assert_answers(socket: &Path) {
    let answer = TpmSocket::connect(socket)
        .unwrap()
        .transmit(&get_capability(CAP_TPM_PROPERTIES, PT_FIXED))
        .unwrap();
    assert_eq!(code(&answer), 0);
    // moreData, the capability, a count, and the family indicator: "2.0".
    assert_eq!(answer[19..27], *b"\x00\x00\x01\x002.0\x00");
}

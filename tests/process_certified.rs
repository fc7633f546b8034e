//! Both plugins of an agent on one real TPM, and both plugins of a server: keys that are certified as they are used.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use conformance::Loaded;
use evidence::{EkHash, Hash, Offer};
use plugin::proto::key_manager::PublicKey;
use plugin::{AgentAttributes, Code, KeyType, Status};
use serde_json::Value;
use tests::{Model, Secrets};
use tokio::task::JoinSet;

use crate::process_key_machine::{
    IDS, KeyMachine, SHA256, files, generate, list, named, signs, try_sign,
};
use crate::process_machine::Verifier;
use crate::process_plugin::{challenge, decisions, field, unload, verdict};
use crate::process_store::{Kept, now_ms, told};

/// `TPM2_Create`, `TPM2_CreatePrimary`, `TPM2_Certify`, `TPM2_Load`, `TPM2_Sign` (TPM library part 2, section 6.5.2).
const CREATE: u32 = 0x153;
const CREATE_PRIMARY: u32 = 0x131;
const CERTIFY: u32 = 0x148;
const SIGN: u32 = 0x15D;

/// An attestation of the agent's plugin by the server's.
async fn attested(agent: &Loaded, server: &Loaded) -> Result<AgentAttributes, Status> {
    let mut ours = agent.aid().await?;
    let payload = ours.payload().await?;
    let mut theirs = server.attest(&[]).await?;
    theirs.payload(&payload).await;
    let asked = challenge(&mut theirs).await?;
    let response = ours.challenge(&asked).await?;
    crate::process_machine::learn(&response);
    theirs.respond(&response).await;
    verdict(&mut theirs).await
}

/// Whether the next SVID of this agent may be for this key.
async fn takes(kept: &Kept, granted: &AgentAttributes, key: &PublicKey) -> bool {
    let digest = Hash::Sha256.digest(&[&key.pkix_data]).try_into().unwrap();
    let taken = kept
        .database
        .consume_key(&granted.spiffe_id, &digest, now_ms());
    taken.await.unwrap()
}

async fn enrolled(kept: &Kept, agent: &Loaded) -> EkHash {
    let payload = agent.aid().await.unwrap().payload().await.unwrap();
    let key = Offer::decode(&payload).unwrap().ek.certificate.unwrap();
    let hash = verify::EkCertificate::parse(&key).unwrap().key().ek_hash();
    kept.records.enrol(hash);
    hash
}

fn with_root() -> Model {
    Model {
        storage_root: true,
        ..Model::default()
    }
}

fn count(sent: &[u32], command: u32) -> usize {
    sent.iter().filter(|sent| **sent == command).count()
}

#[tokio::test]
async fn the_key_that_was_made_is_the_key_that_gets_the_svid() {
    let machine = KeyMachine::new();
    let kept = Kept::new().await;
    let server = kept.server("svid_keys = \"require\"").await;
    let composer = kept.composer("").await;
    let attestor = machine.attestor("").await;
    let hash = enrolled(&kept, &attestor).await;
    // SPIRE makes the key first, and asks the attestor then.
    let none = attested(&attestor, &server).await.unwrap_err();
    assert_eq!(none.code(), Code::PermissionDenied);
    assert!(
        none.message().starts_with("svid_key_uncertified: "),
        "{none}"
    );
    let keys = machine.key_manager("").await;
    let mut current: BTreeMap<String, PublicKey> = BTreeMap::new();
    for id in [IDS[0], IDS[1], IDS[0], IDS[1]] {
        let key = generate(&keys, id).await;
        let before = current.insert(id.to_owned(), key.clone());
        let granted = attested(&attestor, &server).await.unwrap();
        assert!(granted.spiffe_id.ends_with(&hash.hex()));
        let certified = "svid_key:certified".to_owned();
        assert!(granted.selector_values.contains(&certified));
        assert_eq!(list(&keys).await, current);
        for key in current.values() {
            assert!(takes(&kept, &granted, key).await, "{}", key.id);
            assert!(!takes(&kept, &granted, key).await, "{}", key.id);
        }
        if let Some(before) = before {
            assert!(!takes(&kept, &granted, &before).await, "it was overwritten");
        }
        signs(&keys, &key).await;
    }
    let known = kept.database.machine(&hash).await.unwrap().unwrap();
    assert!(known.state.storage_root.is_some());
    let kinds = Secrets::known().kinds();
    assert!(kinds.contains("a certification's binding"), "tpm/I11");
    for plugin in [keys, attestor, composer] {
        unload(plugin).await;
    }
    let log = unload(server).await;
    let certified: Vec<_> = decisions(&log)
        .iter()
        .map(|line| line.fields["svid_keys"].as_u64().unwrap())
        .collect();
    assert_eq!(certified, [0, 1, 2, 2, 2]);
    machine.leaves_nothing_in_the_tpm();
}

/// What a rotation costs, by the TPM's bus: one key is made, and each that there is certified.
#[tokio::test]
async fn a_rotation_costs_one_creation_and_as_many_certifications_as_keys() {
    for root in [true, false] {
        let machine = KeyMachine::of(&Model {
            storage_root: root,
            ..Model::default()
        });
        let kept = Kept::new().await;
        let server = kept.server("").await;
        let (keys, attestor) = (machine.key_manager("").await, machine.attestor("").await);
        enrolled(&kept, &attestor).await;
        generate(&keys, IDS[0]).await;
        attested(&attestor, &server).await.unwrap();
        let made = count(&machine.manager.connections().concat(), CREATE_PRIMARY);
        // The AK; and where none is persistent, its parent for each of the two plugins.
        assert_eq!(made, if root { 1 } else { 3 });
        for (round, id) in [IDS[1], IDS[0], IDS[1]].into_iter().enumerate() {
            machine.manager.clear();
            generate(&keys, id).await;
            attested(&attestor, &server).await.unwrap();
            let sent = machine.manager.connections();
            let of_all = sent.concat();
            assert_eq!(count(&of_all, CREATE), 1, "{root} {round}: {sent:x?}");
            assert_eq!(count(&of_all, CERTIFY), 2, "{root} {round}: {sent:x?}");
            assert_eq!(
                count(&of_all, CREATE_PRIMARY),
                0,
                "{root} {round}: {sent:x?}"
            );
            assert_eq!(count(&of_all, SIGN), 0, "{root} {round}: {sent:x?}");
        }
        // Without a rotation nothing is made at all.
        machine.manager.clear();
        attested(&attestor, &server).await.unwrap();
        let sent = machine.manager.connections().concat();
        assert_eq!((count(&sent, CREATE), count(&sent, CERTIFY)), (0, 2));
        for plugin in [keys, attestor, server] {
            unload(plugin).await;
        }
        machine.leaves_nothing_in_the_tpm();
    }
}

/// Nobody asks them to wait for each other: a TPM does one thing at a time, and neither plugin may lose its objects.
#[tokio::test]
async fn both_plugins_work_at_once_on_one_tpm() {
    const ATTESTATIONS: usize = 100;
    const SIGNATURES: usize = 1000;
    const SIGNERS: usize = 4;
    let machine = KeyMachine::of(&with_root());
    let kept = Kept::new().await;
    let server = kept.server("svid_keys = \"require\"").await;
    let (keys, attestor) = (machine.key_manager("").await, machine.attestor("").await);
    enrolled(&kept, &attestor).await;
    let pair = [generate(&keys, IDS[0]).await, generate(&keys, IDS[1]).await];
    let mut signing = JoinSet::new();
    for signer in 0..SIGNERS {
        let (manager, pair) = (keys.key_manager(), pair.clone());
        signing.spawn(async move {
            for number in 0..SIGNATURES / SIGNERS {
                let key = &pair[(signer + number) % 2];
                let digest = Hash::Sha256.digest(&[&number.to_be_bytes()]);
                let signed = manager.sign(key, &digest, SHA256).await;
                assert!(!signed.unwrap().is_empty());
            }
        });
    }
    for _ in 0..ATTESTATIONS {
        attested(&attestor, &server).await.unwrap();
    }
    while let Some(signed) = signing.join_next().await {
        signed.unwrap();
    }
    let sent = machine.manager.connections().concat();
    assert_eq!(count(&sent, SIGN), SIGNATURES);
    assert_eq!(count(&sent, CERTIFY), 2 * ATTESTATIONS);
    for plugin in [keys, attestor, server] {
        unload(plugin).await;
    }
    machine.leaves_nothing_in_the_tpm();
}

/// Keys of two attestations at once do not mix, though the directory changed in between.
#[tokio::test]
async fn an_attestation_certifies_the_keys_that_it_offered() {
    let machine = KeyMachine::new();
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let (keys, attestor) = (machine.key_manager("").await, machine.attestor("").await);
    enrolled(&kept, &attestor).await;
    let old = generate(&keys, IDS[0]).await;
    let mut first = attestor.aid().await.unwrap();
    let payload = first.payload().await.unwrap();
    let mut judged = server.attest(&[]).await.unwrap();
    judged.payload(&payload).await;
    let asked = challenge(&mut judged).await.unwrap();

    let new = generate(&keys, IDS[0]).await;
    let granted = attested(&attestor, &server).await.unwrap();
    assert!(takes(&kept, &granted, &new).await);
    assert!(!takes(&kept, &granted, &old).await);

    judged
        .respond(&first.challenge(&asked).await.unwrap())
        .await;
    let granted = verdict(&mut judged).await.unwrap();
    assert!(takes(&kept, &granted, &old).await, "as it was offered");
    assert!(!takes(&kept, &granted, &new).await);
    for plugin in [keys, attestor, server] {
        unload(plugin).await;
    }
}

/// The attestor reads what the KeyManager writes, and tells what it cannot read.
#[tokio::test]
async fn a_directory_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = KeyMachine::new();
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let attestor = machine.attestor("").await;
    enrolled(&kept, &attestor).await;
    attested(&attestor, &server).await.expect("not there yet");
    let keys = machine.key_manager("").await;
    attested(&attestor, &server).await.expect("empty");
    let key = generate(&keys, IDS[0]).await;
    let mode = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(machine.keys(), permissions).unwrap();
    };
    mode(0o722);
    let status = attested(&attestor, &server).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().starts_with("svid_keys_failed: "),
        "{status}"
    );
    mode(0o700);
    let granted = attested(&attestor, &server).await.unwrap();
    assert!(takes(&kept, &granted, &key).await);
    // A file that is none costs its key alone.
    fs::write(machine.file(IDS[1]), "{}").unwrap();
    let granted = attested(&attestor, &server).await.unwrap();
    assert!(takes(&kept, &granted, &key).await);
    let log = unload(attestor).await;
    let damaged = told(&log, "warn", "key_damaged");
    assert_eq!(damaged.len(), 1);
    unload(keys).await;
    unload(server).await;
}

/// The file of a key gets a private area that no TPM loads.
fn damage_private(file: &Path) {
    let mut key: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let mut private = key["private"].as_str().unwrap().to_owned();
    let middle = private.len() / 2;
    let is_a = private.as_bytes()[middle] == b'A';
    let other = if is_a { "B" } else { "A" };
    private.replace_range(middle..=middle, other);
    key["private"] = private.into();
    fs::write(file, key.to_string()).unwrap();
}

/// Nobody is shown a key of before a reboot, and nobody would put it out of the way but the KeyManager, when it looks.
#[tokio::test]
async fn a_damaged_key_of_before_a_reboot_fails_no_attestation() {
    let mut machine = KeyMachine::new();
    let kept = Kept::new().await;
    let server = kept.server("svid_keys = \"require\"").await;
    let (keys, attestor) = (machine.key_manager("").await, machine.attestor("").await);
    enrolled(&kept, &attestor).await;
    let old = [generate(&keys, IDS[0]).await, generate(&keys, IDS[1]).await];
    let granted = attested(&attestor, &server).await.unwrap();
    for key in &old {
        assert!(takes(&kept, &granted, key).await);
    }
    for plugin in [keys, attestor] {
        unload(plugin).await;
    }
    damage_private(&machine.file(IDS[1]));
    machine.tpm.restart();
    let (keys, attestor) = (machine.key_manager("").await, machine.attestor("").await);
    assert!(list(&keys).await.is_empty());
    let aside = format!("{}.json.damaged", IDS[1]);
    assert_eq!(files(&machine.keys()), [format!("{}.json", IDS[0]), aside]);
    let new = generate(&keys, IDS[0]).await;
    let granted = attested(&attestor, &server).await.unwrap();
    assert!(takes(&kept, &granted, &new).await);
    assert!(!takes(&kept, &granted, &old[1]).await);
    let log = unload(keys).await;
    assert_eq!(told(&log, "error", "key_damaged").len(), 1);
    for plugin in [attestor, server] {
        unload(plugin).await;
    }
    machine.leaves_nothing_in_the_tpm();
}

/// The KeyManager has the key in the TPM, and does not look at its file again.
#[tokio::test]
async fn a_key_file_that_is_damaged_while_in_use_fails_one_attestation() {
    let machine = KeyMachine::new();
    let kept = Kept::new().await;
    let server = kept.server("svid_keys = \"require\"").await;
    let (keys, attestor) = (machine.key_manager("").await, machine.attestor("").await);
    enrolled(&kept, &attestor).await;
    let (sound, lost) = (generate(&keys, IDS[0]).await, generate(&keys, IDS[1]).await);
    damage_private(&machine.file(IDS[1]));
    let status = attested(&attestor, &server).await.unwrap_err();
    assert!(status.message().starts_with("tpm_failed: "), "{status}");
    for _ in 0..2 {
        let granted = attested(&attestor, &server).await.unwrap();
        assert!(takes(&kept, &granted, &sound).await);
        assert!(!takes(&kept, &granted, &lost).await);
    }
    // SPIRE makes the next one in its place.
    let next = generate(&keys, IDS[1]).await;
    let granted = attested(&attestor, &server).await.unwrap();
    assert!(takes(&kept, &granted, &next).await);
    let log = unload(attestor).await;
    let damaged = told(&log, "warn", "key_damaged");
    assert_eq!(damaged.len(), 1, "once");
    assert_eq!(field(damaged[0], "key_id"), IDS[1]);
    for plugin in [keys, server] {
        unload(plugin).await;
    }
    machine.leaves_nothing_in_the_tpm();
}

/// A server that wants keys certified that nobody offered is none of ours.
#[tokio::test]
async fn certifications_of_nothing_are_refused_by_the_agent() {
    let machine = KeyMachine::new();
    let attestor = machine.attestor("").await;
    let mut exchange = attestor.aid().await.unwrap();
    let payload = exchange.payload().await.unwrap();
    let (asked, _) = Verifier::open().begin(&payload);
    let mut asked = evidence::Challenge::decode(&asked).unwrap();
    asked.extension.as_mut().unwrap().certify = true;
    let status = exchange.challenge(&asked.encode()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status.message().starts_with("keys_not_offered: "),
        "{status}"
    );
    unload(attestor).await;
}

#[tokio::test]
async fn keys_of_every_type_are_certified() {
    for model in [with_root(), Model::default()] {
        let machine = KeyMachine::of(&model);
        let kept = Kept::new().await;
        let server = kept.server("").await;
        let (keys, attestor) = (machine.key_manager("").await, machine.attestor("").await);
        enrolled(&kept, &attestor).await;
        let manager = keys.key_manager();
        let made = [
            generate(&keys, IDS[0]).await,
            manager.generate_key("b", KeyType::EcP384).await.unwrap(),
            manager.generate_key("c", KeyType::Rsa2048).await.unwrap(),
        ];
        let granted = attested(&attestor, &server).await.unwrap();
        for key in &made {
            assert!(takes(&kept, &granted, key).await, "{}", key.id);
        }
        assert_eq!(list(&keys).await, named([&made[0], &made[1], &made[2]]));
        try_sign(&keys, &made[0], b"message").await.unwrap();
        for plugin in [keys, attestor, server] {
            unload(plugin).await;
        }
    }
}

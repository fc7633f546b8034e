//! The SVID keys in an attestation by a real software TPM: which are offered, and what the AK says of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use evidence::{
    Attest, Attested, Capability, Credential, EkProfile, Evidence, Hash, Hierarchy, Name,
    OfferExtension, PcrSelection, Public, Response, Secret, Signature, SignatureValue, Transcript,
};
use plugin::{Code, Purpose, Status};
use tests::{EkCertificate, Manufacturer, Model, Swtpm};

use crate::config::Settings;
use crate::failure::Failure;
use crate::svid_keys::{self, Unloadable};
use crate::tests_keeper::{CREATE, CREATE_PRIMARY, IDS, Site, damage_private, deadline, generate};
use crate::tests_log::logged;
use crate::worker::{Introduction, Question, QuoteWanted, Worker};

const CERTIFY: u32 = 0x148;

/// The attestor beside the KeyManager of a site, and what a server needs for a challenge.
struct Attesting<'a> {
    site: &'a Site,
    worker: Worker,
    ek: Public,
    ak: Public,
}

impl<'a> Attesting<'a> {
    fn new(site: &'a Site) -> Self {
        let device = format!("unix:{}", site.manager.socket().display());
        let tpm = tpm::open(&device, deadline()).unwrap();
        // The same keys on every connection.
        let attestor = tpm::Attestor::open(tpm, tpm::Options::default(), deadline()).unwrap();
        Self {
            site,
            worker: Worker::start().unwrap(),
            ek: attestor.endorsement().key.public.clone(),
            ak: attestor.ak().public.clone(),
        }
    }

    fn settings(&self) -> Arc<Settings> {
        let text = format!(
            "device = \"unix:{}\"\nkeys_path = \"{}\"",
            self.site.manager.socket().display(),
            self.site.keys().display()
        );
        Arc::new(Settings::build("example.org", &text, Purpose::Configure).unwrap())
    }

    fn introduce(&self) -> Result<Introduction, Failure> {
        wait(self.worker.introduce(self.settings()))
    }

    /// The certifications with which a challenge that asks for them is answered.
    fn answer(&self, introduction: &Introduction) -> Result<Evidence, Failure> {
        let ek = self.ek.subject_key().unwrap();
        let profile = EkProfile::of(&ek).unwrap();
        let (name, seed) = (self.ak.name().unwrap(), vec![5; profile.hash.size()]);
        let credential = Credential::make(&ek, profile, &name, &secret(), &seed).unwrap();
        let quote = Some(QuoteWanted {
            transcript: transcript(),
            selections: vec![PcrSelection::new(Hash::Sha256, &[7])],
            log: None,
            certify: introduction.svid_keys.clone(),
        });
        let question = Question { credential, quote };
        match wait(self.worker.answer(self.settings(), question))? {
            Response::Proof(proof) => Ok(Evidence::decode(&proof.evidence).unwrap()),
            Response::Secret(_) => panic!("a bare secret"),
        }
    }

    /// The AK vouches for every key of the offer, in its order, below the parent of the offer.
    fn certifies(&self, introduction: &Introduction) {
        let offered = extension(introduction);
        let parent = Public::parse(offered.svid_parent.as_ref().unwrap()).unwrap();
        let evidence = self.answer(introduction).unwrap();
        assert_eq!(evidence.certifications.len(), offered.svid_keys.len());
        let quote = Attest::parse(&evidence.quote).unwrap();
        for (certification, key) in evidence.certifications.iter().zip(&offered.svid_keys) {
            let key = Public::parse(key).unwrap();
            let attest = Attest::parse(&certification.attest).unwrap();
            let said = Attested::Certify {
                name: key.name().unwrap(),
                qualified_name: key.qualified_name_below(&parent, Hierarchy::Owner).unwrap(),
            };
            assert_eq!(attest.attested, said);
            assert_eq!(
                attest.extra_data,
                secret().certify_binding(&transcript()).to_vec()
            );
            assert_eq!(attest.clock.reset_count, quote.clock.reset_count);
            let signature = Signature::parse(&certification.signature).unwrap();
            let SignatureValue::Ecdsa { r, s } = signature.value else {
                panic!("{signature:?}")
            };
            let wide = |scalar: Vec<u8>| [vec![0; 32 - scalar.len()], scalar].concat();
            let point = self.ak.subject_key().unwrap().point().unwrap();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(&certification.attest, &[wide(r), wide(s)].concat())
                .unwrap();
        }
    }
}

fn secret() -> Secret {
    Secret::new((100..132).collect())
}

fn transcript() -> Transcript {
    Transcript::new("example.org", b"payload", b"challenge")
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn extension(introduction: &Introduction) -> &OfferExtension {
    introduction.offer.extension.as_ref().unwrap()
}

fn offers_nothing(introduction: &Introduction) {
    let offered = extension(introduction);
    assert_eq!(offered.evidence, [Capability::Quote]);
    assert!(offered.svid_keys.is_empty() && offered.svid_parent.is_none());
    assert!(introduction.svid_keys.is_empty());
}

fn made(certificate: EkCertificate) -> Swtpm {
    Manufacturer::new().make(&Model {
        certificates: vec![certificate],
        ..Model::default()
    })
}

/// Where the EK is persistent, and where EK, AK and SRK all take one of three places.
#[test]
fn every_key_of_this_tpm_is_offered_and_certified() {
    for certificate in [EkCertificate::Rsa2048, EkCertificate::P256] {
        let tpm = made(certificate);
        let site = Site::new(&tpm);
        let attesting = Attesting::new(&site);
        offers_nothing(&attesting.introduce().unwrap());
        let mut keeper = site.keeper("");
        // An empty directory.
        let introduction = attesting.introduce().unwrap();
        offers_nothing(&introduction);
        let evidence = attesting.answer(&introduction).unwrap();
        assert!(evidence.certifications.is_empty());
        for (round, id) in IDS.iter().cycle().take(4).enumerate() {
            let key = generate(&mut keeper, id);
            let introduction = attesting.introduce().unwrap();
            let offered = extension(&introduction);
            assert!(offered.evidence.contains(&Capability::Certify));
            let newest = Public::parse(&offered.svid_keys[0]).unwrap();
            assert_eq!(newest.subject_key().unwrap().spki(), key.pkix, "{round}");
            assert_eq!(offered.svid_keys.len(), usize::min(round + 1, 2));
            attesting.certifies(&introduction);
        }
        site.manager.clear();
        attesting.certifies(&attesting.introduce().unwrap());
        let sent: Vec<u32> = site.manager.connections().concat();
        let count = |command| sent.iter().filter(|sent| **sent == command).count();
        assert_eq!(
            [CERTIFY, CREATE, CREATE_PRIMARY].map(count),
            [2, 0, 0],
            "{certificate:?}: {sent:x?}"
        );
    }
}

#[test]
fn attestations_at_the_same_time_keep_their_own_keys() {
    let tpm = made(EkCertificate::Rsa2048);
    let site = Site::new(&tpm);
    let attesting = Attesting::new(&site);
    let mut keeper = site.keeper("");
    generate(&mut keeper, IDS[0]);
    let first = attesting.introduce().unwrap();
    // Written over the first: the first attestation speaks of what it has offered all the same.
    generate(&mut keeper, IDS[0]);
    generate(&mut keeper, IDS[1]);
    let second = attesting.introduce().unwrap();
    assert!(
        !extension(&second)
            .svid_keys
            .contains(&extension(&first).svid_keys[0])
    );
    for introduction in [&second, &first, &second] {
        attesting.certifies(introduction);
    }
}

#[test]
fn what_is_no_key_of_this_tpm_is_not_offered_and_what_is_unreadable_is_an_error() {
    let (tpm, other) = (made(EkCertificate::Rsa2048), made(EkCertificate::Rsa2048));
    let (site, elsewhere) = (Site::new(&tpm), Site::new(&other));
    generate(&mut elsewhere.keeper(""), IDS[1]);
    let attesting = Attesting::new(&site);
    let mut keeper = site.keeper("");
    fs::copy(elsewhere.file(IDS[1]), site.file(IDS[1])).unwrap();
    offers_nothing(&attesting.introduce().unwrap());
    generate(&mut keeper, IDS[0]);
    fs::write(site.file("damaged"), "{").unwrap();
    let found = logged(|| assert_eq!(svid_keys::read(&site.keys()).unwrap().len(), 2));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("key_damaged"), "{found:?}");
    let keys = svid_keys::read(&site.keys()).unwrap();
    let foreign = logged(|| assert!(svid_keys::below(None, keys).is_empty()));
    assert_eq!(foreign.len(), 2, "{foreign:?}");
    assert!(foreign[0].contains("key_of_another_tpm"), "{foreign:?}");
    let introduction = attesting.introduce().unwrap();
    assert_eq!(extension(&introduction).svid_keys.len(), 1);
    attesting.certifies(&introduction);

    // The right parent's Name above a key that is not below it: the TPM is asked, and refuses.
    let theirs = fs::read_to_string(site.file(IDS[1])).unwrap();
    let ours = fs::read_to_string(site.file(IDS[0])).unwrap();
    let parent = |text: &str| {
        let text = text.split("\"parent\": \"").nth(1).unwrap();
        text.split('"').next().unwrap().to_owned()
    };
    let forged = theirs.replace(&parent(&theirs), &parent(&ours));
    fs::write(site.file(IDS[1]), forged).unwrap();
    let introduction = attesting.introduce().unwrap();
    assert_eq!(extension(&introduction).svid_keys.len(), 2);
    let status = Status::from(attesting.answer(&introduction).unwrap_err());
    assert_eq!(status.code(), Code::Internal);
    let message = "tpm_failed: the key was made by another TPM, or before this one was cleared";
    assert!(status.message().starts_with(message), "{status}");
    // It fails one attestation, and is let be after that.
    let introduction = attesting.introduce().unwrap();
    assert_eq!(extension(&introduction).svid_keys.len(), 1);
    attesting.certifies(&introduction);
    fs::write(site.file(IDS[1]), theirs).unwrap();
    attesting.certifies(&attesting.introduce().unwrap());

    let open_to_others = fs::Permissions::from_mode(0o770);
    fs::set_permissions(site.keys(), open_to_others).unwrap();
    let status = Status::from(attesting.introduce().err().unwrap());
    assert_eq!(status.code(), Code::FailedPrecondition);
    let message = "svid_keys_failed: unable to read the keys to certify: ";
    assert!(status.message().starts_with(message), "{status}");
}

/// Certification is of all keys or of none: which of them fails is found out, whichever place it has.
#[test]
fn a_key_that_the_tpm_does_not_load_fails_one_attestation_and_no_other() {
    for certificate in [EkCertificate::Rsa2048, EkCertificate::P256] {
        let tpm = made(certificate);
        let site = Site::new(&tpm);
        let attesting = Attesting::new(&site);
        let mut keeper = site.keeper("");
        let keys = IDS.map(|id| generate(&mut keeper, id));
        for (id, other) in [(0, 1), (1, 0)] {
            let sound = fs::read(site.file(IDS[id])).unwrap();
            damage_private(&site.file(IDS[id]));
            let introduction = attesting.introduce().unwrap();
            assert_eq!(introduction.svid_keys.len(), 2);
            for _ in 0..2 {
                let failed = attesting.answer(&introduction).unwrap_err();
                let foreign = matches!(failed, Failure::Tpm(tpm::Error::ForeignKey));
                assert!(foreign, "{failed:?}");
            }
            let introduction = attesting.introduce().unwrap();
            let [offered] = introduction.svid_keys.as_slice() else {
                panic!("one key")
            };
            let spki = offered.public.subject_key().unwrap().spki();
            assert_eq!(spki, keys[other].pkix);
            attesting.certifies(&introduction);
            // The same Name, and the private area that belongs to it.
            fs::write(site.file(IDS[id]), sound).unwrap();
            let introduction = attesting.introduce().unwrap();
            assert_eq!(introduction.svid_keys.len(), 2);
            attesting.certifies(&introduction);
        }
    }
}

#[test]
fn what_is_left_out_is_told_once_and_is_of_one_storage_root_key() {
    let tpm = made(EkCertificate::Rsa2048);
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    for id in IDS {
        generate(&mut keeper, id);
    }
    damage_private(&site.file(IDS[1]));
    let device = format!("unix:{}", site.manager.socket().display());
    let opened = tpm::open(&device, deadline()).unwrap();
    let mut attestor = tpm::Attestor::open(opened, tpm::Options::default(), deadline()).unwrap();
    let parent = attestor.storage_root(deadline()).unwrap().name().unwrap();
    let files = || svid_keys::read(&site.keys()).unwrap();
    let wrapped: Vec<_> = files().into_iter().map(|file| file.key).collect();
    let mut unloadable = Unloadable::default();
    let ids = |unloadable: &mut Unloadable, parent| {
        let left = unloadable.leave_out(parent, files());
        let mut ids: Vec<_> = left.into_iter().map(|file| file.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&mut unloadable, Some(&parent)), IDS);
    for _ in 0..2 {
        unloadable.find(&mut attestor, &wrapped, &[7; 32], deadline());
        assert_eq!(unloadable.len(), 1);
    }
    let other = Name::from_bytes(&[0, 0x0B, 1]);
    for another in [None, Some(&other)] {
        assert_eq!(ids(&mut unloadable, another), IDS);
    }
    let mut told = Vec::new();
    for _ in 0..2 {
        let action = || assert_eq!(ids(&mut unloadable, Some(&parent)), IDS[..1]);
        told.extend(logged(action));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["WARN", "key_damaged", "key_id=\"agent-svid-B\""] {
        assert!(told[0].contains(part), "{told:?}");
    }
    unloadable.forget_all_but(&files());
    assert_eq!(unloadable.len(), 1);
    fs::remove_file(site.file(IDS[1])).unwrap();
    unloadable.forget_all_but(&files());
    assert_eq!(unloadable.len(), 0);
}

#[test]
fn an_offer_has_a_limit() {
    let tpm = made(EkCertificate::Rsa2048);
    let site = Site::new(&tpm);
    let attesting = Attesting::new(&site);
    let mut keeper = site.keeper("");
    let mut made: Vec<_> = (0..5)
        .map(|number| {
            // A file system does not tell files apart that are written in one tick of the clock.
            thread::sleep(Duration::from_millis(20));
            generate(&mut keeper, &number.to_string()).pkix
        })
        .collect();
    made.reverse();
    let introduction = attesting.introduce().unwrap();
    let keys = extension(&introduction).svid_keys.iter();
    let offered: Vec<_> = keys
        .map(|key| Public::parse(key).unwrap().subject_key().unwrap().spki())
        .collect();
    assert_eq!(offered, made[..4]);
    attesting.certifies(&introduction);
}

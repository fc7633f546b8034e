//! Agents of the first generation: the bare secret, and the creation of an AK under the SRK.

use evidence::{AkTemplate, Algorithm, Attested, Hash, Name, Response};
use softtpm::{Key, KeyKind, Lies, Role, SoftTpm};

use super::histories::Server;
use super::{Counter, grant, machine, old_agent, policy, prover};
use crate::{Anchors, LegacyAgents, OnChange, Policy, Reason, begin};

fn old(lies: Lies) -> Result<crate::Grant, Reason> {
    let mut agent = old_agent(SoftTpm::first_generation(KeyKind::Rsa2048).unwrap());
    agent.lies = lies;
    grant(&mut agent, &policy())
}

#[test]
fn old_agents_are_accepted_and_marked() {
    let granted = old(Lies::none()).unwrap();
    assert!(
        granted
            .selectors()
            .contains(&"attestation:credential".to_owned())
    );
    let ecc = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
    assert!(
        grant(&mut old_agent(ecc), &policy()).is_ok(),
        "1.10 takes ECC AKs"
    );
    let mut wide = SoftTpm::first_generation(KeyKind::Rsa2048).unwrap();
    wide.ak = (wide.ak)
        .altered(|public| public.name_alg = Algorithm::SHA384)
        .unwrap();
    assert!(
        grant(&mut old_agent(wide), &policy()).is_ok(),
        "the creation is hashed as the AK's Name is"
    );
}

/// The answer of an old agent is the secret itself: without a new one each time it could be sent again.
#[test]
fn the_secret_is_another_each_time() {
    let mut agent = old_agent(SoftTpm::first_generation(KeyKind::Rsa2048).unwrap());
    let payload = agent.payload().unwrap();
    let begin = |seed| {
        let mut entropy = Counter(seed);
        begin(&payload, &policy(), &Anchors::default(), 0, &mut entropy).unwrap()
    };
    let (first, pending) = begin(0);
    let (_, later) = begin(100);
    let answer = agent.answer(&payload, &first).unwrap();
    assert_eq!(
        later.finish(&answer).unwrap_err().reason,
        Reason::ProofMismatch
    );
    assert!(pending.finish(&answer).is_ok());
}

#[test]
fn old_agents_are_refused_where_quotes_are_required() {
    let strict = Policy {
        legacy_agents: LegacyAgents::Deny,
        ..policy()
    };
    let mut agent = old_agent(SoftTpm::first_generation(KeyKind::Rsa2048).unwrap());
    assert_eq!(grant(&mut agent, &strict), Err(Reason::PolicyRequiresQuote));
}

#[test]
fn the_creation_is_that_of_the_ak() {
    let other = Key::sample(Role::Other, KeyKind::Rsa2048).unwrap();
    let lies = Lies::none;
    for (name, lie) in [
        ("absent", lies().offer(|offer| offer.ak.creation = None)),
        ("magic", lies().creation(|attest| attest.magic = 0)),
        (
            "other object",
            lies().creation(|attest| {
                if let Attested::Creation { name, .. } = &mut attest.attested {
                    *name = Name::from_bytes(&[0, 11, 1]);
                }
            }),
        ),
        (
            "other data",
            lies().offer(|offer| offer.ak.creation.as_mut().unwrap().data.push(0)),
        ),
        (
            "other type",
            lies().creation(|attest| {
                attest.kind = evidence::tag::ATTEST_TIME;
                attest.attested = Attested::Other(vec![0; 33]);
            }),
        ),
        (
            "other signer",
            lies().signer(other, Algorithm::RSASSA, Hash::Sha256),
        ),
        (
            "signature of another scheme",
            lies().offer(|offer| offer.ak.creation.as_mut().unwrap().signature[1] = 0x16),
        ),
    ] {
        assert_eq!(old(lie), Err(Reason::CreationMismatch), "{name}");
    }
    let garbage = lies().offer(|offer| offer.ak.creation.as_mut().unwrap().attestation.truncate(9));
    assert_eq!(old(garbage), Err(Reason::MalformedPayload));
}

#[test]
fn the_secret_is_the_one_in_the_credential() {
    for guess in [&[0; 32][..], &[], &[1; 31], &[1; 33]] {
        assert_eq!(
            old(Lies::none().guess(guess)),
            Err(Reason::ProofMismatch),
            "{}",
            guess.len()
        );
    }
}

#[test]
fn an_old_agent_answers_with_a_secret_and_nothing_else() {
    let proof = evidence::Proof {
        evidence: vec![],
        log: None,
        proof: [0; 32],
    };
    let bytes = Response::Proof(proof).encode();
    let lie = Lies::none().response(move |response| response.clone_from(&bytes));
    assert_eq!(old(lie), Err(Reason::MalformedResponse));
}

#[test]
fn the_creation_of_a_current_agent_is_for_old_servers_only() {
    let mut agent = prover(machine());
    agent.lies = Lies::none().offer(|offer| offer.ak.creation = None);
    assert!(grant(&mut agent, &policy()).is_ok());
}

#[test]
fn an_old_agent_is_known_by_its_ak_and_may_be_replaced() {
    let mut server = Server::new();
    let mut tpm = SoftTpm::first_generation(KeyKind::P256).unwrap();
    for _ in 0..2 {
        let grant = server.judge(&mut old_agent(tpm.clone())).unwrap();
        assert!(grant.changes().is_empty());
    }
    let state = server.state().clone();
    assert_eq!((&state.clock, &state.storage_root), (&None, &None));
    assert_eq!(state.ak, tpm.ak.name().unwrap());
    assert!(state.boot_ids.is_empty());
    let mut new = machine();
    assert_eq!(new.ek_hash(), tpm.ek_hash());
    let told = Ok(vec![Reason::AkChanged]);
    assert_eq!(server.attest(&mut new), told);
    assert!(server.state().clock.is_some());
    server.keep(state, None);
    server.policy.ak_change = OnChange::Quarantine;
    tpm.ak = machine().ak;
    let refused = server.judge(&mut old_agent(tpm.clone())).unwrap_err();
    assert_eq!(refused, Reason::AkChanged);
}

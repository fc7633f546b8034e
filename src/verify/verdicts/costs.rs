//! Which machines are judged apart, so that others do not wait for them.

use evidence::{AkTemplate, Algorithm, Hash};
use softtpm::{Ak, Key, KeyKind, Role, SoftTpm};

use super::{Counter, machine, policy, prover};
use crate::session::LARGE_RESPONSE;
use crate::tests_chain::Chain;
use crate::{Anchors, Request};

fn is_costly(tpm: SoftTpm, certificate: Option<&Chain>, anchors: &Anchors) -> bool {
    let mut prover = prover(tpm);
    prover.certificate = certificate.map(|chain| chain.leaf.clone());
    let payload = prover.payload().unwrap();
    Request::read(payload, &policy())
        .unwrap()
        .is_costly(anchors)
}

#[test]
fn large_curves_are_costly() {
    for (kind, expect) in [
        (KeyKind::Rsa2048, false),
        (KeyKind::Rsa4096, false),
        (KeyKind::P256, false),
        (KeyKind::P384, true),
        (KeyKind::P521, true),
    ] {
        let tpm = SoftTpm::sample(kind, AkTemplate::EccP256).unwrap();
        assert_eq!(
            is_costly(tpm, None, &Anchors::default()),
            expect,
            "EK {kind:?}"
        );
        let mut tpm = machine();
        let (algorithm, hash) = match kind {
            KeyKind::P256 => (Algorithm::ECDSA, Hash::Sha256),
            KeyKind::P384 => (Algorithm::ECDSA, Hash::Sha384),
            KeyKind::P521 => (Algorithm::ECDSA, Hash::Sha512),
            _ => (Algorithm::RSASSA, Hash::Sha256),
        };
        tpm.ak = Ak::new(Key::sample(Role::Ak, kind).unwrap(), algorithm, hash);
        let payload = prover(tpm).payload().unwrap();
        let (_, pending) =
            crate::begin(&payload, &policy(), &Anchors::default(), 0, &mut Counter(0)).unwrap();
        assert_eq!(pending.is_costly(&[]), expect, "AK {kind:?}");
        let large = vec![0; LARGE_RESPONSE + 1];
        assert_eq!(pending.is_costly(&large[1..]), expect, "AK {kind:?}");
        assert!(pending.is_costly(&large), "a log to replay");
    }
}

#[test]
fn chains_that_may_take_a_search_are_costly() {
    let chain = Chain::of(machine().ek_key());
    let direct = Anchors::new([chain.ca.clone()], []).0;
    assert!(!is_costly(machine(), Some(&chain), &direct));
    assert!(!is_costly(machine(), Some(&chain), &Anchors::default()));
    let helped = Anchors::new(Vec::<Vec<u8>>::new(), [chain.ca.clone()]).0;
    assert!(
        is_costly(machine(), Some(&chain), &helped),
        "an intermediate of the operator's"
    );
    let mut prover = prover(machine());
    prover.certificate = Some(chain.leaf.clone());
    prover.intermediates = vec![chain.ca.clone()];
    let payload = prover.payload().unwrap();
    assert!(
        Request::read(payload, &policy())
            .unwrap()
            .is_costly(&direct),
        "an intermediate of the agent's"
    );
}

//! Tests of the search for secrets: what it finds, and what it leaves alone.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tests::{Process, Secrets};

/// Thirty-two bytes without a pattern.
fn secret() -> Vec<u8> {
    (0..32_u8).map(|n| n.wrapping_mul(167) ^ 0x5B).collect()
}

fn knowing(secret: &[u8]) -> Secrets {
    let secrets = Secrets::default();
    secrets.learn("the secret", secret);
    secrets
}

#[test]
fn a_planted_secret_is_found_in_every_form() {
    let secret = secret();
    let shifted = |by: usize| [&vec![b'x'; by][..], &secret].concat();
    let forms = [
        hex::encode(&secret),
        hex::encode_upper(&secret),
        format!("0{}", hex::encode(&secret)),
        STANDARD.encode(shifted(0)),
        STANDARD.encode(shifted(1)),
        STANDARD.encode(shifted(2)),
        URL_SAFE_NO_PAD.encode(shifted(0)),
        URL_SAFE_NO_PAD.encode(shifted(1)),
        URL_SAFE_NO_PAD.encode(shifted(2)),
        format!("{secret:?}"),
        format!("{secret:#?}").replace('\n', " "),
        format!("{secret:02x?}"),
        format!("{secret:X?}"),
        format!("{secret:#x?}").replace('\n', " "),
        format!("{:?}", &secret[8..24]),
        hex::encode(&secret[..16]),
        hex::encode(&secret[16..]),
        secret
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(":"),
    ];
    for form in forms {
        for line in [
            form.clone(),
            format!("level=debug msg=\"sent {form} to the peer\""),
            format!("{{\"@message\":\"m\",\"detail\":\"Secret({form})\"}}"),
            serde_json::json!({"a": [{"b": format!("first\n{form}")}]}).to_string(),
        ] {
            let log = format!("a line\n{line}\nanother\n");
            assert!(!knowing(&secret).leaks(&log).is_empty(), "{line}");
            assert!(Secrets::default().leaks(&log).is_empty());
            let other: Vec<_> = secret.iter().map(|byte| !byte).collect();
            assert!(knowing(&other).leaks(&log).is_empty(), "{line}");
        }
    }
}

#[test]
fn passwords_are_found_as_they_are() {
    let log = "{\"@message\":\"unable to use \\\"correct horse\\\"\"}";
    for (password, is_there) in [("correct horse", true), ("horse", false), ("unablE", false)] {
        let leaks = knowing(password.as_bytes()).leaks(log);
        assert_eq!(!leaks.is_empty(), is_there, "{password}: {leaks:?}");
    }
    // Short, and in another form.
    let encoded = hex::encode("seven l");
    assert!(!knowing(b"seven l").leaks(&encoded).is_empty());
}

#[test]
fn what_says_nothing_is_no_secret() {
    for nothing in [&[0; 32][..], &[7; 32], &[1, 2, 3, 1, 2, 3, 1, 2], b"ab"] {
        let secrets = knowing(nothing);
        assert!(secrets.kinds().is_empty());
        assert!(secrets.leaks(&format!("{nothing:?}")).is_empty());
    }
    assert!(knowing(&secret()).kinds().contains("the secret"));
}

/// Every process that the harness starts is searched when it ends.
#[test]
fn a_secret_in_the_log_of_a_process_fails_its_test() {
    let directory = tempfile::tempdir().unwrap();
    let secret: Vec<u8> = secret().iter().rev().copied().collect();
    Secrets::known().learn("what this test plants", &secret);
    for (text, expect) in [(hex::encode(&secret), true), ("nothing".to_owned(), false)] {
        let log = directory.path().join("log");
        fs::write(&log, "").unwrap();
        let mut process = Process::start("echo", &[&text], &log);
        process.wait(crate::LIMIT);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(process)));
        assert_eq!(outcome.is_err(), expect, "{text}");
        fs::remove_file(&log).unwrap();
    }
}

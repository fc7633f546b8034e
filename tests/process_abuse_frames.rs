//! Abuse below gRPC: bytes on the plugin's socket that no host would write.

use std::time::{Duration, Instant};

use tests::Signal;

use crate::process_abuse::{Scene, is_full};
use crate::process_abuse_wire::{
    ACK, ATTEST, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, HEALTH, NOWHERE,
    PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire,
    attest_request, block, field, frame, integer, message, opening,
};
use crate::process_grants::machine;
use crate::process_plugin::{LIMIT, decisions, field as text};

/// `CANCEL` as the reason of a reset.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[tokio::test]
async fn what_is_no_http2_is_hung_up_on() {
    let mut scene = Scene::new("").await;
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3][..], &[0; 512]].concat();
    for (name, bytes) in [
        (
            "HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\nmuch more than a preface".to_vec(),
        ),
        ("TLS", hello),
        ("zeros", vec![0; 100]),
        ("a frame without preface", frame(SETTINGS, 0, 0, &[0; 60])),
        (
            "half a preface and more",
            [&PREFACE[..20], &[b'!'; 40]].concat(),
        ),
    ] {
        let mut wire = Wire::silent(&scene.server).await;
        wire.send(&bytes).await;
        wire.closed().await;
        scene.serves(name).await;
    }
    scene.unharmed("what is no HTTP/2").await;
}

#[tokio::test]
async fn a_conversation_cut_at_any_byte_ends_alone() {
    let mut scene = Scene::new("").await;
    let request = frame(HEADERS, END_HEADERS, 1, &block(ATTEST));
    let payload = attest_request(1, &machine().payload().unwrap());
    let whole = [opening(), request, frame(DATA, 0, 1, &payload)].concat();
    let step = if is_full() { 1 } else { 11 };
    for length in (0..=whole.len()).step_by(step) {
        let mut wire = Wire::silent(&scene.server).await;
        wire.send(&whole[..length]).await;
    }
    scene.unharmed("conversations cut off").await;
}

/// What ends the connection that says it, and what the standard lets pass (RFC 9113, section 6).
fn broken_frames() -> Vec<(&'static str, Vec<u8>, bool)> {
    let headers = |flags, content: &[u8]| frame(HEADERS, flags, 1, content);
    let begun = || headers(END_HEADERS, &block(ATTEST));
    vec![
        (
            "a frame of 16 MiB",
            vec![0xFF, 0xFF, 0xFF, DATA, 0, 0, 0, 0, 1],
            true,
        ),
        ("data on no stream", frame(DATA, 0, 0, b"x"), true),
        ("data on an idle stream", frame(DATA, 0, 9, b"x"), true),
        (
            "headers on an even stream",
            frame(HEADERS, END_HEADERS, 2, &block(ATTEST)),
            true,
        ),
        (
            "headers on no stream",
            frame(HEADERS, END_HEADERS, 0, &block(ATTEST)),
            true,
        ),
        (
            "an index of no field",
            headers(END_HEADERS, &[0xFF, 0x7F]),
            true,
        ),
        (
            "an integer without end",
            headers(END_HEADERS, &[0xFF; 64]),
            true,
        ),
        (
            "padding longer than its frame",
            headers(END_HEADERS | PADDED, &[200, 1, 2]),
            true,
        ),
        (
            "data between header frames",
            [headers(0, &block(ATTEST)), frame(DATA, 0, 1, b"x")].concat(),
            true,
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &[]),
            true,
        ),
        (
            "settings of odd length",
            frame(SETTINGS, 0, 0, &[0; 5]),
            true,
        ),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[0; 6]), true),
        (
            "a window too large",
            frame(SETTINGS, 0, 0, &[0, 4, 0xFF, 0xFF, 0xFF, 0xFF]),
            true,
        ),
        (
            "acknowledged settings",
            frame(SETTINGS, ACK, 0, &[0; 6]),
            true,
        ),
        ("a short ping", frame(PING, 0, 0, &[0; 7]), true),
        (
            "a push",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            true,
        ),
        (
            "a window that grows by nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            true,
        ),
        (
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7F, 0xFF, 0xFF, 0xFF]),
            true,
        ),
        (
            "a reset of an idle stream",
            frame(RST_STREAM, 0, 9, &CANCEL),
            true,
        ),
        (
            "a stream that depends on itself",
            [begun(), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])].concat(),
            false,
        ),
        (
            "a frame of no known kind",
            frame(0xEE, 0xFF, 0, &[0; 100]),
            false,
        ),
        (
            "headers after the end",
            [
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(ATTEST)),
                begun(),
            ]
            .concat(),
            false,
        ),
    ]
}

#[tokio::test]
async fn frames_that_break_the_rules_harm_their_connection_alone() {
    let mut scene = Scene::new("").await;
    for (name, bytes, is_fatal) in broken_frames() {
        let mut wire = Wire::open(&scene.server).await;
        wire.send(&bytes).await;
        if is_fatal {
            wire.closed().await;
        } else {
            while wire.stream() < 101 {}
            assert!(wire.serves().await, "{name}");
        }
        scene.serves(name).await;
    }
    scene.unharmed("broken frames").await;
}

#[tokio::test]
async fn headers_are_bounded_however_they_are_packed() {
    let mut scene = Scene::new("").await;
    let large = "x".repeat(4000);
    let plain: Vec<u8> = (0..100).flat_map(|_| field("x", &large)).collect();
    // One field of 4,000 bytes in the table, and then again and again in one byte each.
    let mut packed = [
        vec![0x40],
        integer(0, 7, 1),
        b"x".to_vec(),
        integer(0, 7, 4000),
    ]
    .concat();
    packed.extend(large.as_bytes());
    packed.extend(vec![0xBE; 60_000]);
    for (name, block) in [
        ("plain headers", [block(ATTEST), plain].concat()),
        ("packed headers", [block(ATTEST), packed].concat()),
    ] {
        let mut wire = Wire::open(&scene.server).await;
        let mut pieces = block.chunks(16 << 10);
        let mut bytes = frame(HEADERS, 0, 1, pieces.next().unwrap());
        for piece in pieces {
            bytes.extend(frame(CONTINUATION, 0, 1, piece));
        }
        bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        wire.send(&bytes).await;
        // Refused as a request or hung up on: not served.
        wire.ended(1).await;
        scene.serves(name).await;
    }
    let mut wire = Wire::open(&scene.server).await;
    wire.send(&frame(HEADERS, 0, 1, &block(ATTEST))).await;
    let endless = frame(CONTINUATION, 0, 1, &field("x", &large)).repeat(4);
    let mut sent = 0;
    while wire.send(&endless).await {
        sent += endless.len();
        assert!(sent < 64 << 20, "headers without end are read without end");
    }
    scene.unharmed("bombs of headers").await;
    let log = scene.unload().await;
    let refused = decisions(&log)
        .iter()
        .filter(|line| text(line, "outcome") != "granted")
        .count();
    assert_eq!(refused, 0, "none of these became an attestation");
}

/// Compression is not on: a small message stays small (tpm/J03).
#[tokio::test]
async fn compressed_messages_are_not_inflated() {
    let mut scene = Scene::new("").await;
    // A gzip member of no content that is as good as any: nobody looks into it.
    let gzip = [
        0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut compressed = message(&gzip);
    compressed[0] = 1;
    for encoding in ["gzip", "deflate", "zstd", "identity", ""] {
        let mut wire = Wire::open(&scene.server).await;
        let stream = wire.stream();
        let encoding = if encoding.is_empty() {
            Vec::new()
        } else {
            field("grpc-encoding", encoding)
        };
        let block = [block(ATTEST), encoding].concat();
        let begin = frame(HEADERS, END_HEADERS, stream, &block);
        wire.send(&[begin, frame(DATA, 0, stream, &compressed)].concat())
            .await;
        assert!(wire.ended(stream).await);
    }
    scene.unharmed("compressed messages").await;
    let log = scene.unload().await;
    let reasons: Vec<_> = decisions(&log)
        .iter()
        .map(|line| text(line, "reason"))
        .collect();
    // Of a named compression the runtime knows that it is not to be had.
    assert_eq!(
        reasons
            .iter()
            .filter(|reason| **reason == "malformed_payload")
            .count(),
        2,
        "tpm/J03 {reasons:?}"
    );
    assert!(
        reasons
            .iter()
            .all(|reason| ["malformed_payload", ""].contains(reason)),
        "tpm/J03 {reasons:?}"
    );
}

/// A message is refused for the size it announces, before it is sent or kept.
#[tokio::test]
async fn announced_sizes_are_refused_at_once() {
    let mut scene = Scene::new("").await;
    let payload = attest_request(1, &machine().payload().unwrap());
    let announced = |length: u32| [&[0], &length.to_be_bytes()[..]].concat();
    let most = u32::try_from(evidence::limits::RESPONSE).unwrap();
    for length in [most + 1000, u32::MAX] {
        let mut wire = Wire::open(&scene.server).await;
        let (first, begin) = wire.request(ATTEST);
        wire.send(&[begin, frame(DATA, 0, first, &announced(length))].concat())
            .await;
        assert!(wire.ended(first).await);
        let (second, begin) = wire.request(ATTEST);
        wire.send(&[begin, frame(DATA, 0, second, &payload)].concat())
            .await;
        wire.data(second).await;
        wire.send(&frame(DATA, 0, second, &announced(length))).await;
        assert!(wire.ended(second).await);
    }
    scene.unharmed("announced sizes").await;
    let log = scene.unload().await;
    let reasons: Vec<_> = decisions(&log)
        .iter()
        .map(|line| text(line, "reason"))
        .collect();
    let refused = ["payload_too_large", "response_too_large"];
    assert_eq!(reasons, [&[""], &refused[..], &refused[..], &[""]].concat());
}

/// Streams that are begun and dropped while the plugin gets no turn are no reason to end all others.
#[tokio::test]
async fn streams_dropped_before_they_were_seen_end_nothing_else() {
    let mut scene = Scene::new("").await;
    let mut host = Wire::open(&scene.server).await;
    assert!(host.serves().await);
    scene.stop();
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        let (stream, begin) = host.short(ATTEST);
        bytes.extend([begin, frame(RST_STREAM, 0, stream, &CANCEL)].concat());
    }
    assert_eq!(
        host.push(&bytes),
        bytes.len(),
        "the socket takes all at once"
    );
    scene.signal(Signal::CONT);
    assert!(host.serves().await, "the connection is gone");
    // No host gets further ahead of its plugin than by what the plugin takes as cancelled unseen.
    for _ in 0..if is_full() { 50 } else { 2 } {
        for _ in 0..40 {
            let mut bytes = Vec::new();
            for _ in 0..100 {
                let (stream, begin) = host.short(ATTEST);
                bytes.extend([begin, frame(RST_STREAM, 0, stream, &CANCEL)].concat());
            }
            assert!(host.send(&bytes).await);
        }
        assert!(host.serves().await, "the connection is gone");
    }
    drop(host);
    scene.unharmed("a flood of resets").await;
}

/// As many streams as there may be say little, all at once, while the plugin gets no turn.
#[tokio::test]
async fn small_messages_of_many_streams_end_nothing_else() {
    let mut scene = Scene::new("").await;
    let mut host = Wire::open(&scene.server).await;
    scene.stop();
    let mut bytes = Vec::new();
    for _ in 0..3500 {
        let (stream, begin) = host.short(ATTEST);
        bytes.extend([begin, frame(DATA, 0, stream, &attest_request(1, b"{}"))].concat());
    }
    assert_eq!(
        host.push(&bytes),
        bytes.len(),
        "the socket takes all at once"
    );
    scene.signal(Signal::CONT);
    assert!(host.serves().await, "the connection is gone");
    drop(host);
    scene.unharmed("small messages").await;
    let log = scene.unload().await;
    let refused = decisions(&log)
        .iter()
        .filter(|line| text(line, "outcome") != "granted")
        .count();
    assert_eq!(refused, 3500);
}

/// Data of streams that are over, which the plugin no longer knows.
#[tokio::test]
async fn late_data_ends_nothing_else() {
    let mut scene = Scene::new("").await;
    let mut host = Wire::open(&scene.server).await;
    for _ in 0..30 {
        let streams: Vec<_> = (0..100).map(|_| host.short(NOWHERE)).collect();
        let begin: Vec<_> = streams
            .iter()
            .flat_map(|(_, begin)| begin.clone())
            .collect();
        host.send(&begin).await;
        for (stream, _) in &streams {
            assert!(host.ended(*stream).await);
        }
        let late: Vec<_> = streams
            .iter()
            .flat_map(|(stream, _)| frame(DATA, 0, *stream, b"late"))
            .collect();
        host.send(&late).await;
    }
    assert!(host.serves().await, "the connection is gone");
    drop(host);
    scene.unharmed("late data").await;
}

/// What refused streams sent is given back to the connection's window, which all share.
#[tokio::test]
async fn unread_data_takes_nothing_from_others() {
    let mut scene = Scene::new("").await;
    let mut host = Wire::open(&scene.server).await;
    let piece = [b' '; 16 << 10];
    let begin = Instant::now();
    let mut sent = 0;
    while sent < 24 << 20 {
        let (stream, mut bytes) = host.short(if sent % 2 == 0 { NOWHERE } else { ATTEST });
        for _ in 0..3 {
            bytes.extend(frame(DATA, 0, stream, &piece));
        }
        while host.window < 3 * piece.len() {
            assert!(
                begin.elapsed() < LIMIT,
                "the window stays shut after {sent} bytes"
            );
            host.frame_within(Duration::from_secs(1)).await;
        }
        host.window -= 3 * piece.len();
        assert!(host.send(&bytes).await);
        sent += 3 * piece.len();
    }
    assert!(host.serves().await);
    drop(host);
    scene.unharmed("unread data").await;
}

#[tokio::test]
async fn pings_and_settings_without_end_are_answered_one_by_one() {
    let mut scene = Scene::new("").await;
    for (name, bytes) in [
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("priorities", frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 0])),
        ("health checks", Vec::new()),
    ] {
        let mut wire = Wire::open(&scene.server).await;
        // Nothing is read here: what the plugin answers has to stay within bounds, or it reads no more.
        for _ in 0..2000 {
            let bytes = if bytes.is_empty() {
                let (stream, begin) = wire.short(HEALTH);
                [begin, frame(DATA, END_STREAM, stream, &message(&[]))].concat()
            } else {
                bytes.repeat(10)
            };
            if wire.push(&bytes) < bytes.len() {
                break;
            }
        }
        scene.serves(name).await;
    }
    scene.unharmed("control frames").await;
}

#[tokio::test]
async fn connections_are_few() {
    let mut scene = Scene::new("").await;
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(Wire::silent(&scene.server).await);
    }
    let mut refused = 0;
    for wire in &mut held {
        // Who is served hears settings at once, who is not hears the end.
        if !wire.send(&opening()).await || wire.frame().await.is_none() {
            refused += 1;
        }
    }
    // All but 32, of which the host has one.
    assert_eq!(refused, held.len() - 31);
    scene.serves("a flood of connections").await;
    drop(held);
    let begin = Instant::now();
    loop {
        let mut wire = Wire::silent(&scene.server).await;
        wire.send(&opening()).await;
        if wire.frame().await.is_some_and(|frame| frame.kind != GOAWAY) {
            break;
        }
        assert!(begin.elapsed() < LIMIT, "no connection becomes free");
    }
    scene.unharmed("a flood of connections").await;
}

//! A host below gRPC: HTTP/2 frames written by hand (RFC 9113), so that they can be wrong.

use std::path::Path;
use std::time::Duration;

use conformance::{Handshake, Loaded};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::process_plugin::LIMIT;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags.
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

pub(crate) const ATTEST: &str = "/spire.plugin.server.nodeattestor.v1.NodeAttestor/Attest";
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/Check";
pub(crate) const NOWHERE: &str = "/nobody.Knows/This";

/// A frame, of any kind and with any content.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A header field that enters no table (RFC 7541, section 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

fn text(text: &str) -> Vec<u8> {
    [integer(0, 7, text.len()), text.as_bytes().to_vec()].concat()
}

/// An integer with a prefix of `bits` bits below `pattern` (RFC 7541, section 5.1).
pub(crate) fn integer(pattern: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    if value < most {
        return vec![pattern | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![pattern | u8::try_from(most).unwrap()];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// The fields of a gRPC request for `path`.
pub(crate) fn request_fields(path: &str) -> [(&str, &str); 6] {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "unused"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
}

/// A header block of a gRPC request.
pub(crate) fn block(path: &str) -> Vec<u8> {
    let fields = request_fields(path);
    fields
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

/// A gRPC message in its envelope.
pub(crate) fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[0], &length[..], content].concat()
}

/// An `AttestRequest`: field 1 is the payload, field 2 the response.
pub(crate) fn attest_request(number: u8, content: &[u8]) -> Vec<u8> {
    message(
        &[
            integer_field(number),
            varint(content.len()),
            content.to_vec(),
        ]
        .concat(),
    )
}

fn integer_field(number: u8) -> Vec<u8> {
    vec![number << 3 | 2]
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) content: Vec<u8>,
}

impl Frame {
    /// The last frame of a stream.
    pub(crate) fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
            || self.kind == RST_STREAM
    }
}

/// A connection of which every byte is ours.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: UnixStream,
    next: u32,
    /// Whether the fields of [`Wire::short`] are in the table.
    indexed: Option<String>,
    /// What the connection's window still takes.
    pub(crate) window: usize,
}

impl Wire {
    /// A connection on which nothing was said.
    pub(crate) async fn silent(server: &Loaded) -> Self {
        let Handshake::Unix(path) = server.handshake() else {
            panic!("no socket")
        };
        Self::at(path).await
    }

    async fn at(path: &Path) -> Self {
        Self {
            socket: UnixStream::connect(path).await.unwrap(),
            next: 1,
            indexed: None,
            window: 65_535,
        }
    }

    /// A connection with preface and settings exchanged, and as much room for us as there can be.
    pub(crate) async fn open(server: &Loaded) -> Self {
        let mut wire = Self::silent(server).await;
        wire.send(&opening()).await;
        while wire.frame().await.unwrap().kind != SETTINGS {}
        wire.send(&frame(SETTINGS, ACK, 0, &[])).await;
        wire
    }

    /// The number of the next stream.
    pub(crate) fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Begins a request.
    pub(crate) fn request(&mut self, path: &str) -> (u32, Vec<u8>) {
        let stream = self.stream();
        (stream, frame(HEADERS, END_HEADERS, stream, &block(path)))
    }

    /// Begins a request in a few bytes: after the first for its path the fields are in the table.
    pub(crate) fn short(&mut self, path: &str) -> (u32, Vec<u8>) {
        let stream = self.stream();
        let fields = request_fields(path);
        let block: Vec<u8> = if self.indexed.as_deref() == Some(path) {
            // The last field that entered the table has the first number after the static ones.
            (62..62 + u8::try_from(fields.len()).unwrap())
                .rev()
                .map(|index| 0x80 | index)
                .collect()
        } else {
            self.indexed = Some(path.to_owned());
            let entering =
                |&(name, value): &(&str, &str)| [vec![0x40], text(name), text(value)].concat();
            fields.iter().flat_map(entering).collect()
        };
        (stream, frame(HEADERS, END_HEADERS, stream, &block))
    }

    /// Writes; false if the other side has closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(LIMIT, self.socket.write_all(bytes)).await;
        sent.expect("the plugin reads").is_ok()
    }

    /// Writes what the socket takes now; the number of bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        self.socket.try_write(bytes).unwrap_or(0)
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        timeout(LIMIT, self.read())
            .await
            .expect("the plugin says something")
    }

    /// The next frame, if there is one in time.
    pub(crate) async fn frame_within(&mut self, limit: Duration) -> Option<Frame> {
        timeout(limit, self.read()).await.ok().flatten()
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.socket.read_exact(&mut header).await.ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut content = vec![0; usize::try_from(length).unwrap()];
        self.socket.read_exact(&mut content).await.ok()?;
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        if header[3] == WINDOW_UPDATE && stream == 0 {
            let more = u32::from_be_bytes(content.as_slice().try_into().unwrap());
            self.window += usize::try_from(more).unwrap();
        }
        Some(Frame {
            kind: header[3],
            flags: header[4],
            stream,
            content,
        })
    }

    /// Reads until the stream has ended; false if the connection ended first.
    pub(crate) async fn ended(&mut self, stream: u32) -> bool {
        loop {
            match self.frame().await {
                None => return false,
                Some(frame) if frame.kind == GOAWAY => return false,
                Some(frame) if frame.stream == stream && frame.ends() => return true,
                Some(_) => {}
            }
        }
    }

    /// Reads to the stream's next message: its content, in its envelope.
    pub(crate) async fn data(&mut self, stream: u32) -> Vec<u8> {
        loop {
            let frame = self.frame().await.expect("the connection lasts");
            assert!(
                frame.kind != GOAWAY && !(frame.stream == stream && frame.ends()),
                "{frame:?}"
            );
            if frame.kind == DATA && frame.stream == stream {
                return frame.content;
            }
        }
    }

    /// Reads until the plugin has closed.
    pub(crate) async fn closed(&mut self) {
        while self.frame().await.is_some() {}
    }

    /// Whether this very connection still serves: a health check is answered with a message.
    pub(crate) async fn serves(&mut self) -> bool {
        let (stream, mut bytes) = self.request(HEALTH);
        bytes.extend(frame(DATA, END_STREAM, stream, &message(&[])));
        if !self.send(&bytes).await {
            return false;
        }
        loop {
            match self.frame().await {
                None => return false,
                Some(frame) if frame.kind == GOAWAY => return false,
                Some(frame) if frame.kind == DATA && frame.stream == stream => return true,
                Some(frame) if frame.stream == stream && frame.ends() => return false,
                Some(_) => {}
            }
        }
    }
}

/// The preface, and settings that hold nothing back.
pub(crate) fn opening() -> Vec<u8> {
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0x7F, 0xFF, 0xFF, 0xFF]);
    let window = frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes());
    [PREFACE, &settings, &window].concat()
}

//! Every bound of the runtime, with the reason for its value.

use std::time::Duration;

/// What one attestation may cost. A binary may choose its own.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message taken from the host, in bytes.
    pub message_bytes: usize,
    /// Longest wait for the peer's next message.
    pub peer_wait: Duration,
    /// Exchanges at the same time; one more is refused with `RESOURCE_EXHAUSTED`.
    pub exchanges: u32,
}

impl Default for Limits {
    /// 4 MiB is what SPIRE lets through between agent and server; a server may keep an agent waiting for its turn, hence
    /// the minute; a thousand waiting streams of a few KiB are no burden.
    fn default() -> Self {
        Self {
            message_bytes: 4 << 20,
            peer_wait: Duration::from_mins(1),
            exchanges: 1024,
        }
    }
}

/// HTTP/2 streams beyond [`Limits::exchanges`], so that a full house still answers Configure and Shutdown.
pub(crate) const SPARE_STREAMS: u32 = 64;

/// Bytes of one stream that may be on the way unread: most messages as a whole, since waiting half-way for room costs both
/// sides a turn. Larger messages come in pieces.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all streams together: all exchanges of one connection share it, and none may take it from the others. It
/// also bounds the small frames that may wait unread, one for each 512 bytes of it: more than there are streams.
pub(crate) const CONNECTION_WINDOW: u32 = 8 << 20;

/// Streams that may be cancelled before this process has looked at them: a host drops as many as it has while this process
/// gets no turn. One more ends the connection, and with it every exchange.
pub(crate) const CANCELLED_UNSEEN: usize = 16 << 10;

/// Headers of one request: the host's have some hundred bytes.
pub(crate) const HEADERS: u32 = 16 << 10;

/// The ID of a key, in bytes. SPIRE's have twelve.
pub(crate) const KEY_ID: usize = 255;

/// One request to a key manager: an ID and a digest of at most 64 bytes, and room for what a newer host may add.
pub(crate) const KEY_REQUEST: usize = 4 << 10;

/// Connections at the same time. A host has one.
pub(crate) const CONNECTIONS: usize = 32;

/// How long the reader of stderr may stand still before lines are lost: everything else waits for it.
pub(crate) const LOG_STALL: Duration = Duration::from_secs(1);

/// How long the host's address may be awaited; a go-plugin plugin waits as long.
pub(crate) const BROKER_WAIT: Duration = Duration::from_secs(5);

/// One call to a host service.
pub(crate) const HOST_CALL: Duration = Duration::from_secs(2);

/// Counters, and as many gauges, waiting for the host; further names are dropped.
pub(crate) const MEASUREMENTS: usize = 256;

/// Samples of summaries waiting for the host; more are dropped until it has taken these.
pub(crate) const SAMPLES: usize = 8;

/// The least time between two reports to the host. Each call costs as much as a small attestation.
pub(crate) const METRICS_PAUSE: Duration = Duration::from_millis(250);

/// Names taken from the host's list of services.
pub(crate) const HOST_SERVICES: usize = 64;

/// From Shutdown to exit the host allows two seconds: this for open streams and as much again for [`crate::Plugin::retire`].
pub(crate) const DRAIN: Duration = Duration::from_millis(600);

/// Deinit is given ten seconds by the host.
pub(crate) const DEINIT: Duration = Duration::from_secs(8);

/// After SIGTERM the host, which got the signal too, is given this long to call Shutdown.
pub(crate) const TERM_WAIT: Duration = Duration::from_secs(30);

/// Between the end of the broker stream and the conclusion that no Shutdown will come.
pub(crate) const ORPHAN_WAIT: Duration = Duration::from_secs(2);

/// How often the parent process is looked at.
pub(crate) const PARENT_POLL: Duration = Duration::from_secs(2);

/// `sun_path` holds 108 bytes and its terminator.
pub(crate) const SOCKET_PATH: usize = 107;

/// Entries of the temporary directory looked at for what a killed predecessor left.
pub(crate) const STALE_SCAN: usize = 4096;

/// The host reads stderr in pieces of 64 KiB and does not parse a line that is longer.
pub(crate) const LOG_LINE: usize = 60 << 10;

/// One value of a log line.
pub(crate) const LOG_VALUE: usize = 4 << 10;

/// The message of a log line.
pub(crate) const LOG_MESSAGE: usize = 16 << 10;

//! The other end of an attestation in the community TPM plugin's wire format: an independent implementation in Go.

use std::path::Path;

use crate::go_peer::GoPeer;

/// One attestation as an agent, or as a server, that knows nothing of our extensions; it ends on drop.
#[derive(Debug)]
pub struct StpPeer(GoPeer);

impl StpPeer {
    /// On the library that the plugin used up to its version 1.9: AKs are RSA.
    pub const OLDER: &str = "v1";
    /// On the library that takes ECC AKs, too.
    pub const CURRENT: &str = "v2";

    /// An agent with the TPM behind a unix socket. It writes the payload, reads the challenge and writes the response.
    ///
    /// It opens the TPM twice and leaves no room for others meanwhile: give it a resource manager.
    pub fn agent(library: &str, socket: &Path) -> Self {
        Self::start(library, &["agent", &socket.display().to_string()])
    }

    /// A server. It reads the payload, writes the challenge, reads the response, and writes its verdict: a JSON object
    /// with the booleans `accepted` and `has_certificate` and the EK's `hash`.
    pub fn server(library: &str) -> Self {
        Self::start(library, &["server"])
    }

    /// Gives it a message: one JSON document without line breaks.
    pub fn send(&mut self, message: &[u8]) {
        self.0.send(message);
    }

    /// Its next message; `None` when it has ended, as it does on what it cannot accept.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        self.0.receive()
    }

    fn start(library: &str, arguments: &[&str]) -> Self {
        Self(GoPeer::start("stp", library, "stp-peer", arguments))
    }
}

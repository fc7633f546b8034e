//! Go's x509 as SPIRE uses it: has self-signed certificates signed by keys that are elsewhere, and says what they are worth.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::go_peer::GoPeer;

/// Go's side; it ends on drop.
#[derive(Debug)]
pub struct X509Signer(GoPeer);

/// What Go wants signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSign {
    /// The digest.
    pub digest: Vec<u8>,
    /// The number of its algorithm, Go's `crypto.Hash`.
    pub hash: i64,
    /// The length of the salt, where RSASSA-PSS is wanted.
    pub salt: Option<i64>,
}

impl X509Signer {
    /// Starts it.
    pub fn start() -> Self {
        Self(GoPeer::start("x509", "v1", "x509-signer", &[]))
    }

    /// Asks for a certificate of the key (SubjectPublicKeyInfo in DER) by an algorithm, in Go's words (`ECDSA-SHA256`).
    ///
    /// # Errors
    /// Go's, where it finds the key or the algorithm not good enough to ask for a signature.
    pub fn begin(&mut self, key: &[u8], algorithm: &str) -> Result<ToSign, String> {
        self.send(&json!({"key": STANDARD.encode(key), "algorithm": algorithm}));
        let said = self.receive();
        if said.get("digest").is_none() {
            return Err(said["error"].to_string());
        }
        let digest = said["digest"].as_str().expect("a digest");
        let number = |name: &str| said[name].as_i64().expect("a number");
        Ok(ToSign {
            digest: STANDARD.decode(digest).expect("base64"),
            hash: number("hash"),
            salt: (said["pss"] == true).then(|| number("salt")),
        })
    }

    /// Gives the signature; whether Go accepts the certificate with it.
    ///
    /// # Errors
    /// Go's.
    pub fn finish(&mut self, signature: &[u8]) -> Result<(), String> {
        self.send(&json!({"signature": STANDARD.encode(signature)}));
        let said = self.receive();
        if said["accepted"] == true {
            Ok(())
        } else {
            Err(said["error"].to_string())
        }
    }

    fn send(&mut self, message: &Value) {
        self.0.send(message.to_string().as_bytes());
    }

    fn receive(&mut self) -> Value {
        let line = self.0.receive().expect("it goes on until it is dropped");
        serde_json::from_slice(&line).expect("JSON")
    }
}

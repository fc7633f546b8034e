//! A forge of revocation lists: DER by hand, so that every byte can be wrong, signed with real keys.

use super::forge::{Extension, Signer, name, oid, time, tlv};

pub(super) const CRL_POINTS: &str = "2.5.29.31";
pub(super) const ISSUING_POINT: &str = "2.5.29.28";
pub(super) const CRL_NUMBER: &str = "2.5.29.20";
pub(super) const DELTA: &str = "2.5.29.27";
pub(super) const REASON: &str = "2.5.29.21";
pub(super) const CERTIFICATE_ISSUER: &str = "2.5.29.29";

/// A list to be.
pub(super) struct List {
    pub(super) issuer: Vec<u8>,
    pub(super) this_update: Vec<u8>,
    pub(super) next_update: Vec<u8>,
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) extensions: Vec<Extension>,
    /// The algorithm inside, when it is not the signer's.
    pub(super) inner_algorithm: Option<Vec<u8>>,
    /// The algorithm outside, when it is not the one inside.
    pub(super) outer_algorithm: Option<Vec<u8>>,
    pub(super) version: Vec<u8>,
    /// Fields behind the extensions.
    pub(super) more_fields: Vec<u8>,
}

impl List {
    pub(super) fn of(issuer: &str) -> Self {
        Self {
            issuer: name(issuer),
            this_update: time("260101000000Z"),
            next_update: time("280101000000Z"),
            entries: Vec::new(),
            extensions: Vec::new(),
            inner_algorithm: None,
            outer_algorithm: None,
            version: tlv(0x02, &[&[1]]),
            more_fields: Vec::new(),
        }
    }

    pub(super) fn revoking(mut self, serial: &[u8], extensions: &[Extension]) -> Self {
        let extensions = match extensions {
            [] => Vec::new(),
            some => tlv(0x30, &[&some.iter().flat_map(written).collect::<Vec<_>>()]),
        };
        let date = time("260201000000Z");
        let entry = tlv(0x30, &[&tlv(0x02, &[serial]), &date, &extensions]);
        self.entries.push(entry);
        self
    }

    pub(super) fn with(mut self, oid: &'static str, critical: bool, value: Vec<u8>) -> Self {
        self.extensions.push(extension(oid, critical, value));
        self
    }

    pub(super) fn sign(&self, signer: &Signer) -> Vec<u8> {
        let algorithm = self.inner_algorithm.clone();
        let algorithm = algorithm.unwrap_or_else(|| signer.algorithm());
        let entries = match self.entries.as_slice() {
            [] => Vec::new(),
            entries => tlv(0x30, &[&entries.concat()]),
        };
        let extensions = match self.extensions.as_slice() {
            [] => Vec::new(),
            all => {
                let all: Vec<u8> = all.iter().flat_map(written).collect();
                tlv(0xA0, &[&tlv(0x30, &[&all])])
            }
        };
        let signed = tlv(
            0x30,
            &[
                &self.version,
                &algorithm,
                &self.issuer,
                &self.this_update,
                &self.next_update,
                &entries,
                &extensions,
                &self.more_fields,
            ],
        );
        let signature = tlv(0x03, &[&[0], &signer.sign(&signed)]);
        let outer = self.outer_algorithm.as_ref().unwrap_or(&algorithm);
        tlv(0x30, &[&signed, outer, &signature])
    }
}

pub(super) fn extension(oid: &'static str, critical: bool, value: Vec<u8>) -> Extension {
    let flag = if critical {
        tlv(0x01, &[&[0xFF]])
    } else {
        Vec::new()
    };
    Extension {
        oid,
        flag,
        value,
        behind: Vec::new(),
    }
}

pub(super) fn written(all: &Extension) -> Vec<u8> {
    tlv(0x30, &[&oid(all.oid), &all.flag, &tlv(0x04, &[&all.value])])
}

/// A directory name among general names.
pub(super) fn directory(common: &str) -> Vec<u8> {
    tlv(0x30, &[&tlv(0xA4, &[&name(common)])])
}

pub(super) fn entry_of(issuer: &str) -> [Extension; 1] {
    [extension(CERTIFICATE_ISSUER, true, directory(issuer))]
}

/// The issuing distribution point of an indirect list.
pub(super) fn indirect() -> Vec<u8> {
    tlv(0x30, &[&tlv(0x84, &[&[0xFF]])])
}

/// Distribution points that name an issuer of lists.
pub(super) fn lists_by(issuer: &str) -> Vec<u8> {
    tlv(
        0x30,
        &[&tlv(0x30, &[&tlv(0xA2, &[&tlv(0xA4, &[&name(issuer)])])])],
    )
}

pub(super) fn point(uri: &str) -> Vec<u8> {
    tlv(0xA0, &[&tlv(0xA0, &[&tlv(0x86, &[uri.as_bytes()])])])
}

//! The report of `ca import`, as a table and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use verify::Vendor;

use crate::anchors::SkippedFile;
use crate::ca_certificate::CaCertificate;
use crate::exit::Exit;
use crate::output::{Report, columns, fields};
use crate::text::printable;

/// What was imported, and what was not.
#[derive(Debug, Serialize)]
pub(crate) struct Imported {
    /// Absent where nothing was left to write.
    #[serde(flatten)]
    written: Option<Written>,
    vendors: Vec<OfVendor>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) skipped: Vec<SkippedFile>,
}

/// The files written.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    ca_path: String,
    /// Of the bundle, in hex.
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    intermediates_path: Option<String>,
    /// The lines for the server's `plugin_data`.
    configuration: String,
}

/// What was imported of one vendor.
#[derive(Debug, Default, Serialize)]
struct OfVendor {
    vendor: String,
    anchors: usize,
    intermediates: usize,
    /// Numbers of certificates by the kind of their key.
    keys: BTreeMap<&'static str, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_expires: Option<String>,
    #[serde(skip)]
    first: Option<i64>,
}

/// A certificate that was not imported.
#[derive(Debug, Serialize)]
pub(crate) struct LeftOut {
    /// A reason code of the server, or `other_vendor`.
    why: &'static str,
    #[serde(flatten)]
    pub(crate) certificate: CaCertificate,
}

impl LeftOut {
    pub(crate) fn of(certificate: CaCertificate, why: &'static str) -> Self {
        Self { why, certificate }
    }
}

impl Written {
    pub(crate) fn new(
        ca_path: &Path,
        sha256: String,
        intermediates_path: Option<&Path>,
        vendors: Option<&[Vendor]>,
    ) -> Self {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let intermediates_path = intermediates_path.map(path);
        let mut lines = vec![
            ("ca_path", quoted(&path(ca_path))),
            ("ca_bundle_sha256", quoted(&sha256)),
        ];
        if let Some(path) = &intermediates_path {
            lines.push(("intermediates_path", quoted(path)));
        }
        if let Some(vendors) = vendors {
            let names = vendors.iter().map(|vendor| quoted(&vendor.to_string()));
            let names = names.collect::<Vec<_>>().join(", ");
            lines.push(("vendors", format!("[{names}]")));
        }
        let lines = lines
            .into_iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
        Self {
            ca_path: path(ca_path),
            sha256,
            intermediates_path,
            configuration: lines.collect(),
        }
    }
}

/// A string of HCL.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Imported {
    pub(crate) fn new(written: Option<Written>) -> Self {
        Self {
            written,
            vendors: Vec::new(),
            left_out: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Counts what is kept by vendor; it is in their order.
    pub(crate) fn count(&mut self, anchors: &[CaCertificate], intermediates: &[CaCertificate]) {
        let mut all: BTreeMap<&str, OfVendor> = BTreeMap::new();
        let anchors = anchors.iter().map(|one| (one, true));
        for (one, is_anchor) in anchors.chain(intermediates.iter().map(|one| (one, false))) {
            let of = all.entry(one.vendor()).or_default();
            one.vendor().clone_into(&mut of.vendor);
            of.anchors += usize::from(is_anchor);
            of.intermediates += usize::from(!is_anchor);
            *of.keys.entry(one.key).or_default() += 1;
            if of
                .first
                .is_none_or(|first| one.expires.is_some_and(|end| end < first))
            {
                of.first = one.expires;
                of.first_expires.clone_from(&one.not_after);
            }
        }
        self.vendors = all.into_values().collect();
    }
}

impl Report for Imported {
    fn table(&self) -> String {
        let mut parts = Vec::new();
        if !self.vendors.is_empty() {
            let header = [
                "VENDOR",
                "ANCHORS",
                "INTERMEDIATES",
                "KEYS",
                "FIRST EXPIRES",
            ];
            parts.push(columns(
                header,
                self.vendors.iter().map(OfVendor::row).collect(),
            ));
        }
        if !self.left_out.is_empty() {
            let row = |one: &LeftOut| {
                [
                    one.certificate.subject.clone(),
                    one.certificate.vendor().to_owned(),
                    one.why.to_owned(),
                ]
            };
            let rows = self.left_out.iter().map(row).collect();
            parts.push(columns(["LEFT OUT", "VENDOR", "WHY"], rows));
        }
        parts.extend(SkippedFile::table(&self.skipped));
        parts.push(match &self.written {
            None => {
                "nothing was written: there is no certificate that a server could use\n".to_owned()
            }
            Some(written) => written.table(),
        });
        parts.join("\n")
    }

    fn exit(&self) -> Exit {
        match self.written {
            Some(_) => Exit::Good,
            None => Exit::Negative,
        }
    }
}

impl OfVendor {
    fn row(&self) -> [String; 5] {
        let keys = self
            .keys
            .iter()
            .map(|(key, count)| format!("{count} {key}"));
        [
            self.vendor.clone(),
            self.anchors.to_string(),
            self.intermediates.to_string(),
            keys.collect::<Vec<_>>().join(", "),
            self.first_expires.clone().unwrap_or_default(),
        ]
    }
}

impl Written {
    fn table(&self) -> String {
        let path = |path: &String| printable(path);
        let files = fields(vec![
            ("bundle", Some(path(&self.ca_path))),
            ("sha256", Some(self.sha256.clone())),
            ("intermediates", self.intermediates_path.as_ref().map(path)),
        ]);
        format!(
            "{files}\nFor the server's plugin_data:\n\n{}",
            self.configuration
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_can_be_pasted() {
        let path = Path::new("/odd \"\\name/ca-bundle.pem");
        let vendors = [Vendor(*b"STM "), Vendor([0, 0, 0x10, 0x14])];
        let written = Written::new(path, "ab".into(), Some(Path::new("/i.pem")), Some(&vendors));
        assert_eq!(
            written.configuration,
            "ca_path = \"/odd \\\"\\\\name/ca-bundle.pem\"\nca_bundle_sha256 = \"ab\"\n\
             intermediates_path = \"/i.pem\"\nvendors = [\"STM\", \"id:00001014\"]\n"
        );
        let plain = Written::new(Path::new("/a"), "ab".into(), None, None);
        assert_eq!(plain.configuration.lines().count(), 2);
    }

    #[test]
    fn nothing_written_is_a_bad_answer() {
        let nothing = Imported::new(None);
        assert_eq!(nothing.exit(), Exit::Negative);
        assert!(nothing.table().starts_with("nothing was written"));
    }
}

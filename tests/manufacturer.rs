//! A maker of software TPMs: its own root and issuing certificate authorities, and TPMs with EK certificates from them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::process::run;
use crate::swtpm::{Channel, Swtpm};

/// An EK certificate that a TPM is delivered with, by its template in the TCG's EK Credential Profile 2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EkCertificate {
    /// Template L-1 at NV index 0x01C00002; its EK is persistent at 0x81010001.
    Rsa2048,
    /// Template L-2 at NV index 0x01C0000A; its EK is not persistent.
    P256,
    /// Template H-3 at NV index 0x01C00016; its EK is persistent at 0x81010016.
    P384,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Model {
    /// The EK certificates in it; without any, and with `persistent_keys` false, all that it has is its seeds.
    pub certificates: Vec<EkCertificate>,
    /// Whether the EKs that are usually persistent are.
    pub persistent_keys: bool,
    /// Whether a storage root key is persistent at 0x81000001, as an installer of a system leaves it.
    pub storage_root: bool,
    /// Whether the issuer's certificate is at NV index 0x01C00100, where agents look for intermediates.
    pub issuer_in_nv: bool,
    /// Active PCR banks, comma-separated.
    pub pcr_banks: String,
    /// How it is reached.
    pub channel: Channel,
}

impl Default for Model {
    /// The usual discrete TPM: one RSA EK with its certificate, SHA-256 PCRs.
    fn default() -> Self {
        Self {
            certificates: vec![EkCertificate::Rsa2048],
            persistent_keys: true,
            storage_root: false,
            issuer_in_nv: false,
            pcr_banks: "sha256".to_owned(),
            channel: Channel::Unix,
        }
    }
}

/// Certificate authorities in a temporary directory; they come to be with the first TPM.
#[derive(Debug)]
pub struct Manufacturer {
    directory: TempDir,
}

impl Manufacturer {
    /// Founds one; two of them share no key.
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("manufacturer-").expect("a temporary directory");
        let path = directory.path().display();
        let write = |name: &str, text: String| {
            fs::write(directory.path().join(name), text).expect("a new file");
        };
        write(
            "setup.conf",
            format!(
                "create_certs_tool = /usr/bin/swtpm_localca\n\
                 create_certs_tool_config = {path}/localca.conf\n\
                 create_certs_tool_options = {path}/localca.options\n"
            ),
        );
        write(
            "localca.conf",
            format!(
                "statedir = {path}\nsigningkey = {path}/signkey.pem\nissuercert = {path}/issuer.pem\n\
                 certserial = {path}/serial\n"
            ),
        );
        write(
            "localca.options",
            "--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n"
                .to_owned(),
        );
        Self { directory }
    }

    /// The root's self-signed certificate, PEM; present once a TPM was made.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("swtpm-localca-rootca-cert.pem")
    }

    /// The issuing authority's certificate, PEM; present once a TPM was made.
    pub fn issuer(&self) -> PathBuf {
        self.directory.path().join("issuer.pem")
    }

    /// Makes a TPM and starts it.
    pub fn make(&self, model: &Model) -> Swtpm {
        let directory = TempDir::with_prefix("swtpm-").expect("a temporary directory");
        self.set_up(directory.path(), model);
        // The stack's tools reach a TPM over TCP only.
        let workbench = Swtpm::start(directory, Channel::Tcp);
        self.equip(&workbench, model);
        workbench.moved_to(model.channel)
    }

    /// Creates the seeds, an RSA and a P-384 EK, and their certificates.
    fn set_up(&self, directory: &Path, model: &Model) {
        let state = directory.join("state");
        fs::create_dir(&state).expect("a new directory");
        let config = self.directory.path().join("setup.conf");
        let mut arguments = vec![
            "--tpm2",
            "--create-ek-cert",
            "--vmid",
            "test",
            "--pcr-banks",
            &model.pcr_banks,
        ];
        let (state, config) = (state.display().to_string(), config.display().to_string());
        arguments.extend(["--tpm-state", &state, "--config", &config]);
        if rustix::process::getuid().is_root() {
            // Otherwise it would give up the right to read the directories.
            arguments.extend(["--runas", "root"]);
        }
        run("swtpm_setup", &arguments, &[]);
    }

    /// Brings what swtpm's setup leaves to what the model asks for.
    fn equip(&self, tpm: &Swtpm, model: &Model) {
        let tcti = tpm.tcti();
        let tool =
            |arguments: &[&str]| run("tpm2", arguments, &[("TPM2TOOLS_TCTI", tcti.as_str())]);
        let has = |certificate| model.certificates.contains(&certificate);
        for (certificate, index) in [
            (EkCertificate::Rsa2048, "0x01C00002"),
            (EkCertificate::P384, "0x01C00016"),
        ] {
            if !has(certificate) {
                tool(&["nvundefine", "-C", "p", index]);
            }
        }
        for (certificate, handle) in [
            (EkCertificate::Rsa2048, "0x81010001"),
            (EkCertificate::P384, "0x81010016"),
        ] {
            if !(model.persistent_keys && has(certificate)) {
                tool(&["evictcontrol", "-C", "o", "-c", handle]);
            }
        }
        if model.storage_root {
            let context = tpm.directory().join("srk.ctx").display().to_string();
            tool(&[
                "createprimary",
                "-C",
                "o",
                "-g",
                "sha256",
                "-G",
                "ecc256:aes128cfb",
                "-a",
                STORAGE_ROOT,
                "-c",
                &context,
            ]);
            tool(&["evictcontrol", "-C", "o", "-c", &context, "0x81000001"]);
            tool(&["flushcontext", "-t"]);
        }
        if has(EkCertificate::P256) {
            let certificate = self.issue_p256(tpm.directory(), &tool);
            write_nv(tpm.directory(), &tool, "0x01C0000A", &certificate);
        }
        if model.issuer_in_nv {
            let pem = fs::read_to_string(self.issuer()).expect("the issuer exists by now");
            write_nv(tpm.directory(), &tool, "0x01C00100", &der(&pem));
        }
    }

    /// Issues a certificate, DER, for the EK that template L-2 gives.
    fn issue_p256(&self, directory: &Path, tool: &dyn Fn(&[&str]) -> String) -> Vec<u8> {
        let path = |name: &str| directory.join(name).display().to_string();
        let context = path("ek.ctx");
        let public = path("ek.pub");
        tool(&[
            "createek", "-G", "ecc256", "-c", &context, "-u", &public, "-f", "tss",
        ]);
        let fields = tool(&["readpublic", "-c", &context]);
        tool(&["flushcontext", "-t"]);
        let field = |name: &str| {
            let value = fields
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("an EC point");
            value.trim().to_owned()
        };
        let key = format!("x={},y={},id=secp256r1", field("x:"), field("y:"));
        let home = |name: &str| self.directory.path().join(name).display().to_string();
        let (config, options) = (home("localca.conf"), home("localca.options"));
        let output = directory.display().to_string();
        let mut arguments = vec![
            "--type", "ek", "--ek", &key, "--dir", &output, "--vmid", "test", "--tpm2",
        ];
        arguments.extend([
            "--tpm-spec-family",
            "2.0",
            "--tpm-spec-level",
            "0",
            "--tpm-spec-revision",
            "164",
        ]);
        arguments.extend([
            "--tpm-manufacturer",
            "id:00001014",
            "--tpm-model",
            "swtpm",
            "--tpm-version",
            "id:20191023",
        ]);
        arguments.extend(["--configfile", &config, "--optsfile", &options]);
        run("swtpm_localca", &arguments, &[]);
        fs::read(directory.join("ek.cert")).expect("the certificate was written")
    }
}

impl Default for Manufacturer {
    fn default() -> Self {
        Self::new()
    }
}

/// Attributes of the storage root key of the TCG's provisioning guidance.
const STORAGE_ROOT: &str =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";

/// Defines an NV index as a manufacturer does, readable by all, and writes it.
fn write_nv(directory: &Path, tool: &dyn Fn(&[&str]) -> String, index: &str, content: &[u8]) {
    const ATTRIBUTES: &str = "ppwrite|writedefine|ppread|ownerread|authread|no_da|platformcreate";
    let file = directory.join("nv");
    fs::write(&file, content).expect("a new file");
    let (file, size) = (file.display().to_string(), content.len().to_string());
    tool(&["nvdefine", "-C", "p", "-s", &size, "-a", ATTRIBUTES, index]);
    tool(&["nvwrite", "-C", "p", "-i", &file, index]);
}

/// The first certificate of a PEM text.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let mut body = String::new();
    let lines = pem
        .lines()
        .skip_while(|line| *line != "-----BEGIN CERTIFICATE-----")
        .skip(1);
    body.extend(lines.take_while(|line| !line.starts_with("-----")));
    STANDARD.decode(body).expect("PEM is base64")
}

//! A software TPM with EK certificates from a certificate authority of its own.
#![expect(
    clippy::expect_used,
    reason = "a test bed that does not come up fails the test"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running swtpm; it ends, and its files are removed, on drop.
pub(crate) struct SoftwareTpm {
    process: Child,
    directory: TempDir,
}

impl SoftwareTpm {
    /// With an RSA-2048 certificate (template L-1), a P-384 certificate (H-3), and PCRs of SHA-256.
    pub(crate) fn certified() -> Self {
        Self::set_up(&["--create-ek-cert", "--pcr-banks", "sha256"])
    }

    /// `options` for swtpm_setup.
    pub(crate) fn set_up(options: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let home = directory.path().display();
        let write = |name: &str, text: String| {
            fs::write(directory.path().join(name), text).expect("a new file");
        };
        write(
            "localca.options",
            "--platform-manufacturer Test\n".to_owned(),
        );
        write(
            "localca.conf",
            format!(
                "statedir = {home}\nsigningkey = {home}/key.pem\nissuercert = {home}/issuer.pem\n\
             certserial = {home}/serial\n"
            ),
        );
        write(
            "setup.conf",
            format!(
                "create_certs_tool = /usr/bin/swtpm_localca\n\
             create_certs_tool_config = {home}/localca.conf\n\
             create_certs_tool_options = {home}/localca.options\n"
            ),
        );
        for name in ["state", "certificates"] {
            fs::create_dir(directory.path().join(name)).expect("a new directory");
        }
        let path = |name: &str| directory.path().join(name);
        let mut setup = Command::new("swtpm_setup");
        setup.arg("--tpm2").arg("--tpm-state").arg(path("state"));
        setup.arg("--config").arg(path("setup.conf"));
        setup.arg("--write-ek-cert-files").arg(path("certificates"));
        succeed(setup.args(options));
        let process = start(directory.path());
        Self { process, directory }
    }

    /// The address for `--device`.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("tpm").display())
    }

    /// The EK certificate that the setup wrote beside the TPM, in DER: `rsa2048` or `secp384r1`.
    pub(crate) fn certificate(&self, kind: &str) -> PathBuf {
        self.directory
            .path()
            .join("certificates")
            .join(format!("ek-{kind}.crt"))
    }

    /// The certificate authority that issued the EK certificates.
    pub(crate) fn issuer(&self) -> PathBuf {
        self.directory.path().join("issuer.pem")
    }

    /// The root above it.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("swtpm-localca-rootca-cert.pem")
    }
}

impl SoftwareTpm {
    /// TPM2_HierarchyChangeAuth of the endorsement hierarchy, from the empty password (TPM library part 3, section 24.8).
    pub(crate) fn set_endorsement_password(&self, password: &[u8]) {
        self.set_password([0x40, 0, 0, 0x0B], password);
    }

    /// The same of the owner hierarchy.
    pub(crate) fn set_owner_password(&self, password: &[u8]) {
        self.set_password([0x40, 0, 0, 0x01], password);
    }

    fn set_password(&self, hierarchy: [u8; 4], password: &[u8]) {
        let size = u16::try_from(password.len()).expect("a short password");
        let body = [
            &hierarchy[..],
            &[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0],
            &size.to_be_bytes(),
            password,
        ];
        self.command(0x8002, 0x129, &body.concat());
    }

    /// How many handles there are from `first` on, of its kind: TPM2_GetCapability (TPM library part 3, section 30.2).
    pub(crate) fn handles(&self, first: u32) -> u8 {
        let body = [&[0, 0, 0, 1][..], &first.to_be_bytes(), &[0, 0, 0, 16]];
        let response = self.command(0x8001, 0x17A, &body.concat());
        // moreData, the capability, and the count.
        *response.get(8).expect("a list")
    }

    /// One command on a connection of its own; what the response, at most 4 KiB, has after its header.
    fn command(&self, tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
        let total = u32::try_from(10 + body.len()).expect("a short command");
        let head = [
            &tag.to_be_bytes()[..],
            &total.to_be_bytes(),
            &code.to_be_bytes(),
        ];
        let path = self.directory.path().join("tpm");
        let mut stream = UnixStream::connect(path).expect("swtpm listens");
        let command = [&head.concat(), body].concat();
        stream.write_all(&command).expect("swtpm reads");
        let mut response = vec![0; 4096];
        let size = stream.read(&mut response).expect("swtpm answers");
        response.truncate(size);
        let (header, body) = response.split_at_checked(10).expect("a header");
        assert!(header.ends_with(&[0; 4]), "TPM_RC_SUCCESS");
        body.to_vec()
    }
}

impl SoftwareTpm {
    /// Extends the SHA-256 PCRs by what a log tells, as the firmware did (TPM2_PCR_Extend, TPM library part 3,
    /// section 22.2).
    pub(crate) fn boot(&self, log: &softtpm::BootLog) {
        let path = self.directory.path().join("tpm");
        let mut stream = UnixStream::connect(path).expect("swtpm listens");
        let empty_password = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        for entry in &log.entries {
            let digest = entry.digest(evidence::Hash::Sha256).expect("a digest");
            let body = [
                &[0, 0, 0x01, 0x82][..],
                &entry.pcr.to_be_bytes(),
                &[0, 0, 0, 9],
                &empty_password,
                &[0, 0, 0, 1, 0, 0x0B],
                digest,
            ]
            .concat();
            let total = u32::try_from(6 + body.len()).expect("a short command");
            let command = [&[0x80, 0x02][..], &total.to_be_bytes(), &body].concat();
            stream.write_all(&command).expect("swtpm reads");
            let mut response = [0; 19];
            stream.read_exact(&mut response).expect("swtpm answers");
            assert_eq!(response[6..10], [0; 4], "TPM_RC_SUCCESS");
        }
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Runs the tool against no TPM in particular.
pub(crate) fn tool(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tpm-attestor"));
    command.args(arguments).output().expect("the tool starts")
}

/// What a command prints, which must end well.
pub(crate) fn succeed(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn start(directory: &Path) -> Child {
    let socket = directory.join("tpm");
    let process = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "swtpm", "socket", "--tpm2"])
        .arg("--tpmstate")
        .arg(format!("dir={}", directory.join("state").display()))
        .arg("--server")
        .arg(format!("type=unixio,path={}", socket.display()))
        .args(["--flags", "not-need-init,startup-clear"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("swtpm starts");
    let end = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < end, "swtpm does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    process
}

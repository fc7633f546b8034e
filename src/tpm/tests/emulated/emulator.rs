//! A software TPM for these tests: swtpm with certificates from an authority of its own, and raw commands to prepare it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::raw::Raw;
use evidence::{Credential, EkProfile, Secret, Writer};
use tempfile::TempDir;
use tests::ResourceManager;
use tpm::{Address, Attestor, CommandCode, Connection, Native, Options, Transport};

/// A running swtpm; it ends on drop.
pub(crate) struct Emulator {
    process: Child,
    directory: TempDir,
    address: Address,
    /// The TCTI of the second back end, when served over TCP.
    pub(crate) tcti: Option<String>,
}

/// The commands that went over a transport, and the responses.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Entry>>>);

/// A command, and its response; empty if there was none.
type Entry = (CommandCode, Vec<u8>);

/// A transport that keeps a record, and may do something to the TPM before a command.
pub(crate) struct Recorder {
    connection: Connection,
    record: Record,
    disturb: Disturbance,
}

/// What else happens to the TPM.
pub(crate) enum Disturbance {
    /// Nothing.
    None,
    /// A command fails, so many times, and does not reach the TPM.
    Refuse(CommandCode, Refusal, usize),
    /// The first of these commands fails with a code, then the next.
    RefuseInTurn(Vec<(CommandCode, u32)>),
    /// Another program removes all objects, once, before the next session starts.
    Flush,
    /// The TPM is cleared, once, before a command.
    Clear(CommandCode),
    /// A PCR is extended before it is read, so many times.
    Extend(usize),
}

/// How a command fails.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    /// In the kernel or on the way.
    System(rustix::io::Errno),
    /// With a code of the TPM's.
    Code(u32),
}

/// A deadline that no test reaches unless something hangs.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

impl Emulator {
    /// With an RSA-2048 (L-1) and a P-384 (H-3) EK, their certificates and persistent handles, and
    /// active SHA-256 PCRs.
    pub(crate) fn start() -> Self {
        Self::start_on(false)
    }

    /// The same on TCP with a control channel, as libtss2 wants it.
    pub(crate) fn start_on_tcp() -> Self {
        Self::start_on(true)
    }

    fn start_on(tcp: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy(master_state(), directory.path());
        let (process, address, tcti) = power_on(directory.path(), tcp);
        Self {
            process,
            directory,
            address,
            tcti,
        }
    }

    /// Where the native back end finds it.
    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// A power cycle: a TPM Reset.
    pub(crate) fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let (process, address, tcti) = power_on(self.directory.path(), self.tcti.is_some());
        (self.process, self.address, self.tcti) = (process, address, tcti);
    }

    /// A connection for raw commands. swtpm serves one at a time: drop it before the next.
    pub(crate) fn raw(&self) -> Raw<Connection> {
        Raw(Connection::open(self.address(), soon()).unwrap())
    }

    /// The native back end, with a record of what it sends.
    pub(crate) fn recorded(&self) -> (Native, Record) {
        self.disturbed(Disturbance::None)
    }

    /// The native back end on a TPM to which something happens.
    pub(crate) fn disturbed(&self, disturb: Disturbance) -> (Native, Record) {
        recorded_at(self.address(), disturb)
    }

    /// What stands for Linux's resource manager, in front of it.
    pub(crate) fn managed(&self) -> ResourceManager {
        match &self.address {
            Address::Unix(path) => ResourceManager::start(path),
            other => panic!("no resource manager at {other}"),
        }
    }

    /// An attestor over the native back end, with the record.
    pub(crate) fn attestor(&self, options: Options) -> (Attestor, Record) {
        self.disturbed_attestor(options, Disturbance::None)
    }

    /// The same on a TPM to which something happens.
    pub(crate) fn disturbed_attestor(
        &self,
        options: Options,
        disturb: Disturbance,
    ) -> (Attestor, Record) {
        let (native, record) = self.disturbed(disturb);
        let attestor = Attestor::open(Box::new(native), options, soon()).unwrap();
        (attestor, record)
    }
}

/// The native back end at an address, with a record of what it sends.
pub(crate) fn recorded_at(address: Address, disturb: Disturbance) -> (Native, Record) {
    let record = Record::default();
    let recorder = Recorder {
        connection: Connection::open(address, soon()).unwrap(),
        record: record.clone(),
        disturb,
    };
    (Native::new(recorder), record)
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Record {
    /// The commands since the last call.
    pub(crate) fn take(&self) -> Vec<CommandCode> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap());
        taken.into_iter().map(|(code, _)| code).collect()
    }

    /// Whether a response since the last [`Record::take`] holds these bytes.
    pub(crate) fn saw(&self, bytes: &[u8]) -> bool {
        let record = self.0.lock().unwrap();
        record
            .iter()
            .any(|(_, response)| response.windows(bytes.len()).any(|window| window == bytes))
    }
}

impl Transport for Recorder {
    fn exchange(&mut self, command: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
        let code = CommandCode(u32::from_be_bytes(command[6..10].try_into().unwrap()));
        let response = match self.disturb_before(code) {
            Some(Refusal::System(error)) => Err(error.into()),
            Some(Refusal::Code(code)) => Ok(Writer::new().u16(0x8001).u32(10).u32(code).finish()),
            None => self.connection.exchange(command, deadline),
        };
        let answered = response.as_ref().map(Clone::clone).unwrap_or_default();
        self.record.0.lock().unwrap().push((code, answered));
        response
    }
}

impl Recorder {
    fn disturb_before(&mut self, code: CommandCode) -> Option<Refusal> {
        let mut raw = Raw(&mut self.connection);
        match &mut self.disturb {
            Disturbance::Flush if code == CommandCode::START_AUTH_SESSION => {
                raw.flush_all();
                self.disturb = Disturbance::None;
            }
            Disturbance::Clear(command) if code == *command => {
                raw.clear();
                self.disturb = Disturbance::None;
            }
            Disturbance::Extend(times) if code == CommandCode::PCR_READ && *times > 0 => {
                raw.extend(16, &[1; 32]);
                *times -= 1;
            }
            Disturbance::RefuseInTurn(refusals) => {
                let first = refusals
                    .first()
                    .is_some_and(|(command, _)| code == *command);
                return first.then(|| Refusal::Code(refusals.remove(0).1));
            }
            Disturbance::Refuse(command, refusal, times) if code == *command && *times > 0 => {
                *times -= 1;
                return Some(*refusal);
            }
            _ => {}
        }
        None
    }
}

/// A credential for the keys of an attestor, and the secret inside it.
pub(crate) fn credential_for(attestor: &Attestor) -> (Credential, Secret) {
    let key = attestor.endorsement().key.public.subject_key().unwrap();
    let profile = EkProfile::of(&key).unwrap();
    let secret = Secret::new((100..132).collect());
    let seed = vec![5; profile.hash.size()];
    let name = &attestor.ak().name;
    let credential = Credential::make(&key, profile, name, &secret, &seed).unwrap();
    (credential, secret)
}

fn power_on(directory: &Path, tcp: bool) -> (Child, Address, Option<String>) {
    let state = format!("dir={}", directory.display());
    let socket = directory.join("socket");
    drop(fs::remove_file(&socket));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "swtpm", "socket", "--tpm2"]);
    command.args([
        "--tpmstate",
        &state,
        "--flags",
        "not-need-init,startup-clear",
    ]);
    let (address, tcti) = if tcp {
        let port = two_free_ports();
        let server = format!("type=tcp,port={port}");
        let control = format!("type=tcp,port={}", port + 1);
        command.args(["--server", &server, "--ctrl", &control]);
        let tcti = format!("swtpm:host=127.0.0.1,port={port}");
        (Address::Tcp(([127, 0, 0, 1], port).into()), Some(tcti))
    } else {
        let server = format!("type=unixio,path={}", socket.display());
        command.args(["--server", &server]);
        (Address::Unix(socket), None)
    };
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv and swtpm are installed");
    if comes_up(&mut process, &address, tcp) {
        return (process, address, tcti);
    }
    // Another program was faster to take a port.
    assert!(tcp, "swtpm does not start");
    power_on(directory, tcp)
}

/// Waits for a TPM to take connections; false when it has ended instead. Whoever else listens on
/// a port would take them too, so that a look at the process comes last.
fn comes_up(process: &mut Child, address: &Address, tcp: bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        let ended = process.try_wait().unwrap().is_some();
        if ended {
            return false;
        }
        if Connection::open(address.clone(), soon()).is_ok() {
            let settle = if tcp { 100 } else { 0 };
            std::thread::sleep(Duration::from_millis(settle));
            return process.try_wait().unwrap().is_none();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("swtpm does not start");
}

/// Two neighbouring ports below those that the system hands out, free now and not given before.
fn two_free_ports() -> u16 {
    static STEP: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() * 97 % 5_000).unwrap() * 2;
    loop {
        let step = STEP.fetch_add(1, Ordering::Relaxed);
        assert!(step < 1_000, "no free ports");
        let port = start + step * 2;
        let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 1) {
            return port;
        }
    }
}

/// The state of a TPM fresh from its maker; made once, and kept with what the build leaves.
pub(crate) fn master_state() -> &'static Path {
    static MASTER: OnceLock<PathBuf> = OnceLock::new();
    MASTER.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let master = home.join("tpm-master");
        if !master.exists() {
            let new = tempfile::tempdir_in(home).unwrap();
            set_up(new.path());
            // Another run may have been faster: its TPM is as good.
            drop(fs::rename(new.path().join("state"), &master));
        }
        master
    })
}

fn set_up(directory: &Path) {
    let home = directory.display();
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    write(
        "localca.conf",
        format!(
            "statedir = {home}\nsigningkey = {home}/key.pem\nissuercert = {home}/issuer.pem\ncertserial = {home}/serial\n"
        ),
    );
    write(
        "localca.options",
        "--platform-manufacturer Test\n--platform-version 1\n--platform-model Test\n".into(),
    );
    let config = write(
        "setup.conf",
        format!(
            "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {home}/localca.conf\ncreate_certs_tool_options = {home}/localca.options\n"
        ),
    );
    let state = directory.join("state");
    fs::create_dir(&state).unwrap();
    let state = state.display().to_string();
    let mut command = Command::new("swtpm_setup");
    command.args(["--tpm2", "--create-ek-cert", "--pcr-banks", "sha256"]);
    command.args(["--vmid", "test", "--tpm-state", &state, "--config", &config]);
    if rustix::process::getuid().is_root() {
        // As another user it could not read the directories.
        command.args(["--runas", "root"]);
    }
    let output = command.output().expect("swtpm_setup is installed");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Copies the files of a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

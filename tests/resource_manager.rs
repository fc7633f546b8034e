//! A TPM resource manager in front of one software TPM, with the limits of Linux's /dev/tpmrm0, that keeps a journal.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use crate::space::{RC_OBJECT_MEMORY, RC_REFERENCE_H0};

use crate::secrets::Secrets;
use crate::space::{Space, Upstream};
use crate::tpm_bus;
use crate::tpm_socket::{code, read_frame, response};

const STOP_TIME: Duration = Duration::from_secs(5);

/// A unix socket on which each connection has a TPM of its own: three transient objects, its own sessions, all flushed
/// when it closes. The TPM behind it may be restarted; it must not be used beside it, for it serves one connection.
#[derive(Debug)]
pub struct ResourceManager {
    shared: Arc<Shared>,
    socket: PathBuf,
    _directory: TempDir,
}

#[derive(Debug)]
struct Shared {
    tpm: Mutex<Upstream>,
    /// What a test wants to know; nothing is written down for anybody else.
    journal: Option<Mutex<Vec<Vec<u32>>>>,
    refusals: Mutex<Vec<(u32, u32)>>,
    clients: Mutex<Vec<(usize, UnixStream)>>,
    stopped: AtomicBool,
}

impl ResourceManager {
    /// Starts one in front of the TPM behind a unix socket, as in `ResourceManager::start(swtpm.socket())`.
    pub fn start(tpm: &Path) -> Self {
        let directory = TempDir::with_prefix("tpmrm-").expect("a temporary directory");
        let socket = directory.path().join("tpmrm.sock");
        let listener = UnixListener::bind(&socket).expect("a new socket");
        let shared = Shared::new(tpm, Some(Mutex::default())).expect("the TPM answers");
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self {
            shared,
            socket,
            _directory: directory,
        }
    }

    /// Serves a unix socket until the process ends, and writes nothing down: for what is no test.
    ///
    /// # Errors
    /// The TPM does not answer, or the socket cannot be made.
    pub fn serve(tpm: &Path, socket: &Path) -> io::Result<()> {
        let shared = Shared::new(tpm, None)?;
        let listener = UnixListener::bind(socket)?;
        accept(&listener, &shared);
        Ok(())
    }

    /// Where clients connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The command codes received so far, one list for each connection in the order of connecting.
    pub fn connections(&self) -> Vec<Vec<u32>> {
        self.shared.journal().clone()
    }

    /// Empties the journal's lists; connections keep their places.
    pub fn clear(&self) {
        self.shared.journal().iter_mut().for_each(Vec::clear);
    }

    /// Answers the next command with this command code with a response code, instead of asking the TPM. Several calls
    /// for one command code are used up in order.
    pub fn refuse_next(&self, command_code: u32, response_code: u32) {
        lock(&self.shared.refusals).push((command_code, response_code));
    }

    /// Closes all connections, as when a device goes away; new ones are served.
    pub fn disconnect(&self) {
        for (_, client) in lock(&self.shared.clients).drain(..) {
            // It may have gone by itself.
            drop(client.shutdown(std::net::Shutdown::Both));
        }
    }
}

impl Drop for ResourceManager {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        drop(UnixStream::connect(&self.socket));
        self.disconnect();
        // Whoever uses the TPM next must find its one connection free.
        let deadline = Instant::now() + STOP_TIME;
        while Arc::strong_count(&self.shared) > 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Shared {
    fn new(tpm: &Path, journal: Option<Mutex<Vec<Vec<u32>>>>) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            tpm: Mutex::new(Upstream::connect(tpm.to_owned())?),
            journal,
            refusals: Mutex::default(),
            clients: Mutex::default(),
            stopped: AtomicBool::new(false),
        }))
    }

    fn journal(&self) -> MutexGuard<'_, Vec<Vec<u32>>> {
        lock(self.journal.as_ref().expect("a test keeps a journal"))
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for (number, client) in listener.incoming().enumerate() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { return };
        let Ok(handle) = client.try_clone() else {
            return;
        };
        lock(&shared.clients).push((number, handle));
        if shared.journal.is_some() {
            shared.journal().push(Vec::new());
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(client, &shared, number));
    }
}

/// Serves one connection to its end, however it ends.
fn serve(mut client: UnixStream, shared: &Shared, number: usize) {
    let mut space = Space::default();
    while let Ok(Some(command)) = read_frame(&mut client) {
        if shared.journal.is_some() {
            shared.journal()[number].push(code(&command));
        }
        let answer = match refusal(shared, code(&command)) {
            Some(refused) => Ok(response(refused)),
            None => space.run(&mut lock(&shared.tpm), &command),
        };
        let Ok(answer) = answer else { break };
        if shared.journal.is_some() {
            let handles = lock(&shared.tpm).handles(code(&command));
            tpm_bus::learn(Secrets::known(), &command, handles, &answer);
        }
        if io::Write::write_all(&mut client, &answer).is_err() {
            break;
        }
    }
    space.flush(&mut lock(&shared.tpm));
    lock(&shared.clients).retain(|(other, _)| *other != number);
}

fn refusal(shared: &Shared, command_code: u32) -> Option<u32> {
    let mut refusals = lock(&shared.refusals);
    let index = refusals
        .iter()
        .position(|(code, _)| *code == command_code)?;
    Some(refusals.remove(index).1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread of the resource manager panics while it holds a lock")
}

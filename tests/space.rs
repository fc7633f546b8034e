//! What the resource manager keeps for one connection: virtual handles, and saved contexts behind them.
//!
//! As in Linux's tpm2-space.c, a TPM holds nothing between two commands: all contexts of the connection are loaded
//! before each command and saved after it. So two connections share a TPM with three slots, and a command that needs a
//! slot finds it taken when its own connection has three objects.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::tpm_socket::{TpmSocket, be32, code, command, response};

/// `TPM_RC_OBJECT_MEMORY`: no slot for one more transient object.
pub const RC_OBJECT_MEMORY: u32 = 0x902;
/// `TPM_RC_REFERENCE_H0`: the first handle names a transient object that is not there.
pub const RC_REFERENCE_H0: u32 = 0x910;

/// Transient objects of one connection.
const OBJECTS: usize = 3;
/// Virtual handles count down from here, so that they are never equal to what the TPM would give.
const LAST_VIRTUAL: u32 = 0x80FF_FFFF;
const HEADER: usize = 10;
const RECONNECT_TIME: Duration = Duration::from_secs(20);

mod cc {
    //! Command codes (TPM library part 2, section 6.5.2).
    pub(super) const CONTEXT_LOAD: u32 = 0x161;
    pub(super) const CONTEXT_SAVE: u32 = 0x162;
    pub(super) const FLUSH_CONTEXT: u32 = 0x165;
    pub(super) const GET_CAPABILITY: u32 = 0x17A;
}

/// The one connection to the TPM, made again when the TPM was restarted.
#[derive(Debug)]
pub(crate) struct Upstream {
    path: PathBuf,
    socket: Option<TpmSocket>,
    /// For each command that the TPM has: handles in it, and whether its response has one.
    shapes: HashMap<u32, Shape>,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    handles: usize,
    returns_handle: bool,
}

impl Upstream {
    /// Connects and asks the TPM for the commands that it has.
    pub(crate) fn connect(path: PathBuf) -> io::Result<Self> {
        let mut upstream = Self {
            path,
            socket: None,
            shapes: HashMap::new(),
        };
        let answer = upstream.transmit(&get_capability(2, 0x11F, 0xFFFF))?;
        // moreData, the capability, and a counted list of TPMA_CC (part 2, section 8.9).
        let count = usize::try_from(be32(&answer, HEADER + 5)).unwrap_or(0);
        for index in 0..count {
            let attributes = be32(&answer, HEADER + 9 + 4 * index);
            let handles = usize::try_from(attributes >> 25 & 7).unwrap_or(0);
            let shape = Shape {
                handles,
                returns_handle: attributes >> 28 & 1 == 1,
            };
            upstream.shapes.insert(attributes & 0x2000_FFFF, shape);
        }
        // Their handles are parameters to the TPM, but handles to a resource manager.
        upstream.shapes.insert(
            cc::CONTEXT_SAVE,
            Shape {
                handles: 1,
                returns_handle: false,
            },
        );
        upstream.shapes.insert(
            cc::FLUSH_CONTEXT,
            Shape {
                handles: 1,
                returns_handle: false,
            },
        );
        Ok(upstream)
    }

    /// Sends a command; once more on a new connection if the TPM was restarted since the last.
    pub(crate) fn transmit(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if let Some(socket) = &mut self.socket
            && let Ok(answer) = socket.transmit(bytes)
        {
            return Ok(answer);
        }
        let deadline = Instant::now() + RECONNECT_TIME;
        let socket = loop {
            match TpmSocket::connect(&self.path) {
                Ok(socket) => break socket,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        };
        self.socket.insert(socket).transmit(bytes)
    }

    /// Sends a command on the connection that there is, if there is one.
    fn transmit_connected(&mut self, bytes: &[u8]) {
        if let Some(socket) = &mut self.socket
            && socket.transmit(bytes).is_err()
        {
            self.socket = None;
        }
    }

    /// How many handles a command has.
    pub(crate) fn handles(&self, code: u32) -> usize {
        self.shape(code).handles
    }

    fn shape(&self, code: u32) -> Shape {
        self.shapes.get(&code).copied().unwrap_or(Shape {
            handles: 0,
            returns_handle: false,
        })
    }
}

/// The virtual TPM of one connection.
#[derive(Debug, Default)]
pub(crate) struct Space {
    objects: [Option<Object>; OBJECTS],
    sessions: Vec<Session>,
}

#[derive(Debug)]
struct Object {
    context: Vec<u8>,
    /// The TPM's handle while a command runs.
    loaded: u32,
}

#[derive(Debug)]
struct Session {
    context: Vec<u8>,
    handle: u32,
}

impl Space {
    /// Runs one command of the connection.
    pub(crate) fn run(&mut self, tpm: &mut Upstream, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.load(tpm)?;
        let answer = self.run_loaded(tpm, bytes);
        self.save(tpm)?;
        answer
    }

    /// Forgets everything, as at the end of the connection.
    pub(crate) fn flush(&mut self, tpm: &mut Upstream) {
        self.objects = Default::default();
        for session in self.sessions.drain(..) {
            tpm.transmit_connected(&command(cc::FLUSH_CONTEXT, &session.handle.to_be_bytes()));
        }
    }

    fn run_loaded(&mut self, tpm: &mut Upstream, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let code = code(bytes);
        let shape = tpm.shape(code);
        let mut real = bytes.to_vec();
        for index in 0..shape.handles {
            let Some(field) = real.get_mut(HEADER + 4 * index..HEADER + 4 * index + 4) else {
                break;
            };
            let handle = be32(field, 0);
            if is_transient(handle) {
                let Some(loaded) = self.loaded(handle) else {
                    // The kernel fails the write itself; a socket can only answer, and so it says what a TPM says.
                    return Ok(response(
                        RC_REFERENCE_H0 + u32::try_from(index).unwrap_or(0),
                    ));
                };
                field.copy_from_slice(&loaded.to_be_bytes());
            }
        }
        let mut answer = tpm.transmit(&real)?;
        if crate::tpm_socket::code(&answer) != 0 {
            return Ok(answer);
        }
        if shape.returns_handle {
            return self.adopt(tpm, answer);
        }
        if code == cc::GET_CAPABILITY {
            self.list_virtual(&mut answer);
        }
        Ok(answer)
    }

    /// Takes over the object or session that a command has made.
    fn adopt(&mut self, tpm: &mut Upstream, mut answer: Vec<u8>) -> io::Result<Vec<u8>> {
        let handle = be32(&answer, HEADER);
        if is_session(handle) && !self.sessions.iter().any(|session| session.handle == handle) {
            self.sessions.push(Session {
                context: Vec::new(),
                handle,
            });
        }
        if is_transient(handle) {
            let Some(free) = self.objects.iter().position(Option::is_none) else {
                tpm.transmit(&command(cc::FLUSH_CONTEXT, &handle.to_be_bytes()))?;
                return Ok(response(RC_OBJECT_MEMORY));
            };
            self.objects[free] = Some(Object {
                context: Vec::new(),
                loaded: handle,
            });
            answer[HEADER..HEADER + 4].copy_from_slice(&virtual_handle(free).to_be_bytes());
        }
        Ok(answer)
    }

    /// Loads every context; one that the TPM refuses (it was restarted) is gone.
    fn load(&mut self, tpm: &mut Upstream) -> io::Result<()> {
        let mut sessions = Vec::new();
        for session in self.sessions.drain(..) {
            if code(&tpm.transmit(&command(cc::CONTEXT_LOAD, &session.context))?) == 0 {
                sessions.push(session);
            }
        }
        self.sessions = sessions;
        for slot in &mut self.objects {
            if let Some(object) = slot {
                let answer = tpm.transmit(&command(cc::CONTEXT_LOAD, &object.context))?;
                if code(&answer) == 0 {
                    object.loaded = be32(&answer, HEADER);
                } else {
                    *slot = None;
                }
            }
        }
        Ok(())
    }

    /// Saves every context and empties the TPM; one that cannot be saved was flushed by the command itself.
    fn save(&mut self, tpm: &mut Upstream) -> io::Result<()> {
        for slot in &mut self.objects {
            if let Some(object) = slot {
                let handle = object.loaded.to_be_bytes();
                let answer = tpm.transmit(&command(cc::CONTEXT_SAVE, &handle))?;
                if code(&answer) == 0 {
                    object.context = answer[HEADER..].to_vec();
                    tpm.transmit(&command(cc::FLUSH_CONTEXT, &handle))?;
                } else {
                    *slot = None;
                }
            }
        }
        let mut sessions = Vec::new();
        for mut session in self.sessions.drain(..) {
            let answer = tpm.transmit(&command(cc::CONTEXT_SAVE, &session.handle.to_be_bytes()))?;
            if code(&answer) == 0 {
                session.context = answer[HEADER..].to_vec();
                sessions.push(session);
            }
        }
        self.sessions = sessions;
        Ok(())
    }

    /// The TPM's handle for a virtual one.
    fn loaded(&self, handle: u32) -> Option<u32> {
        let slot = usize::try_from(LAST_VIRTUAL.checked_sub(handle)?).ok()?;
        self.objects.get(slot)?.as_ref().map(|object| object.loaded)
    }

    /// Puts virtual handles into a list of transient handles.
    fn list_virtual(&self, answer: &mut [u8]) {
        const CAPABILITY_HANDLES: u32 = 1;
        if be32(answer, HEADER + 1) != CAPABILITY_HANDLES {
            return;
        }
        for field in answer[HEADER + 9..].chunks_exact_mut(4) {
            let real = be32(field, 0);
            let slot = self
                .objects
                .iter()
                .position(|slot| slot.as_ref().is_some_and(|object| object.loaded == real));
            if let Some(slot) = slot {
                field.copy_from_slice(&virtual_handle(slot).to_be_bytes());
            }
        }
    }
}

/// `TPM2_GetCapability`.
pub(crate) fn get_capability(capability: u32, property: u32, count: u32) -> Vec<u8> {
    command(
        cc::GET_CAPABILITY,
        &[capability, property, count].map(u32::to_be_bytes).concat(),
    )
}

fn virtual_handle(slot: usize) -> u32 {
    LAST_VIRTUAL - u32::try_from(slot).expect("three slots")
}

fn is_transient(handle: u32) -> bool {
    handle >> 24 == 0x80
}

fn is_session(handle: u32) -> bool {
    matches!(handle >> 24, 0x02 | 0x03)
}

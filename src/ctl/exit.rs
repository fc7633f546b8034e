//! The exit codes, which scripts may rely on.

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and the answer is good.
    Good,
    /// Done, and the answer is bad: a certificate or a machine would be refused, a log or a record does not hold, a
    /// configuration has problems, boots differ, a collection of CAs is of no use, or a store does not know the machine.
    Negative,
    /// The command line is wrong.
    Usage,
    /// Something outside this program failed: the TPM, a file, a permission.
    Environment,
    /// This program failed.
    Internal,
}

impl Exit {
    /// All of them, ascending.
    pub const ALL: [Self; 5] = [
        Self::Good,
        Self::Negative,
        Self::Usage,
        Self::Environment,
        Self::Internal,
    ];

    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Environment => 3,
            Self::Internal => 4,
        }
    }

    /// For the documentation.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Good => "done, and the answer is good",
            Self::Negative => {
                "done, and the answer is bad: a server would refuse the machine, `doctor` found a problem, a log or a record does not hold, a configuration has problems, two boots differ, a collection of CAs is of no use or not the one named, or a store does not know the machine or has it in no quarantine"
            }
            Self::Usage => "the command line is wrong",
            Self::Environment => {
                "something outside this program failed: the TPM, a file, a permission"
            }
            Self::Internal => "this program failed",
        }
    }
}

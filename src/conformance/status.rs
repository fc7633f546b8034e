//! gRPC's names of status codes.

use tonic::{Code, Status};

use crate::case::{Stop, failed};

/// As in `PERMISSION_DENIED`.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// As in `PERMISSION_DENIED: not enrolled`.
pub(crate) fn told(status: &Status) -> String {
    format!("{}: {}", code_name(status.code()), status.message())
}

/// A call must be refused, with one of these codes; any, if none is named.
pub(crate) fn refused<T>(answer: Result<T, Status>, codes: &[Code]) -> Result<Status, Stop> {
    let names: Vec<_> = codes.iter().map(|code| code_name(*code)).collect();
    let right = match names.as_slice() {
        [] => "a refusal".to_owned(),
        names => format!("a refusal with {}", names.join(" or ")),
    };
    match answer {
        Ok(_) => Err(failed("it was accepted", right)),
        Err(status) if codes.is_empty() || codes.contains(&status.code()) => Ok(status),
        Err(status) => Err(failed(told(&status), right)),
    }
}

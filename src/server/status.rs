//! The one place that maps a rejection to what the peer sees: a code and a constant sentence.

use plugin::{Code, Status, Unexpected};
use verify::{Fault, Reason, Rejection};

/// The status for a rejection. SPIRE relays code and message to the agent, which is not
/// authenticated, and to its audit log: no bytes of the peer, no secrets, no expected values. An
/// agent stops at PERMISSION_DENIED and tries again after anything else.
pub fn status(rejection: &Rejection) -> Status {
    Status::new(code(rejection.reason.fault()), rejection.reason.to_string())
}

/// The gRPC code for a fault.
pub fn code(fault: Fault) -> Code {
    match fault {
        Fault::Malformed => Code::InvalidArgument,
        Fault::Misbehaved | Fault::Untrusted | Fault::Denied => Code::PermissionDenied,
        Fault::Limit => Code::ResourceExhausted,
        Fault::Deadline => Code::DeadlineExceeded,
        Fault::Unavailable => Code::Unavailable,
        Fault::Bug => Code::Internal,
    }
}

/// The reason for what came instead of the payload.
pub(crate) fn instead_of_payload(unexpected: Unexpected) -> Reason {
    match unexpected {
        Unexpected::Response => Reason::ProtocolOrder,
        Unexpected::TooLarge => Reason::PayloadTooLarge,
        Unexpected::Closed => Reason::ClientClosed,
        Unexpected::Late => Reason::Timeout,
        _ => Reason::MalformedPayload,
    }
}

/// The reason for what came instead of the response.
pub(crate) fn instead_of_response(unexpected: Unexpected) -> Reason {
    match unexpected {
        Unexpected::Payload => Reason::ProtocolOrder,
        Unexpected::TooLarge => Reason::ResponseTooLarge,
        Unexpected::Closed => Reason::ClientClosed,
        Unexpected::Late => Reason::Timeout,
        _ => Reason::MalformedResponse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_gets_code_and_constant_sentence_and_no_detail() {
        let rejection = Rejection::because(Reason::UntrustedChain, "peer's words");
        let status = status(&rejection);
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), "untrusted_chain: could not verify cert");
    }

    #[test]
    fn every_message_is_short_and_on_one_line() {
        for reason in Reason::ALL {
            let status = status(&Rejection::from(*reason));
            let message = status.message();
            assert!(
                message.len() < 120 && message.chars().all(|c| (' '..='~').contains(&c)),
                "{message}"
            );
        }
    }

    #[test]
    fn every_fault_has_its_code() {
        for (fault, expect) in [
            (Fault::Malformed, Code::InvalidArgument),
            (Fault::Misbehaved, Code::PermissionDenied),
            (Fault::Untrusted, Code::PermissionDenied),
            (Fault::Denied, Code::PermissionDenied),
            (Fault::Limit, Code::ResourceExhausted),
            (Fault::Deadline, Code::DeadlineExceeded),
            (Fault::Unavailable, Code::Unavailable),
            (Fault::Bug, Code::Internal),
        ] {
            assert_eq!(code(fault), expect);
        }
    }

    #[test]
    fn what_came_instead_names_its_reason() {
        for (unexpected, payload, response) in [
            (
                Unexpected::Payload,
                Reason::MalformedPayload,
                Reason::ProtocolOrder,
            ),
            (
                Unexpected::Response,
                Reason::ProtocolOrder,
                Reason::MalformedResponse,
            ),
            (
                Unexpected::Neither,
                Reason::MalformedPayload,
                Reason::MalformedResponse,
            ),
            (
                Unexpected::Empty,
                Reason::MalformedPayload,
                Reason::MalformedResponse,
            ),
            (
                Unexpected::Broken,
                Reason::MalformedPayload,
                Reason::MalformedResponse,
            ),
            (
                Unexpected::Closed,
                Reason::ClientClosed,
                Reason::ClientClosed,
            ),
            (Unexpected::Late, Reason::Timeout, Reason::Timeout),
            (
                Unexpected::TooLarge,
                Reason::PayloadTooLarge,
                Reason::ResponseTooLarge,
            ),
        ] {
            assert_eq!(instead_of_payload(unexpected), payload);
            assert_eq!(instead_of_response(unexpected), response);
        }
    }
}

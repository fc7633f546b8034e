// The other end of an attestation in the community TPM plugin's wire format, on the TPM library it is built on.
module stp-peer

go 1.25.0

tool stp-peer

require github.com/google/go-attestation v0.6.1

require (
	github.com/google/go-tpm v0.9.8 // indirect
	golang.org/x/sys v0.41.0 // indirect
)

// The other end of an attestation in the community TPM plugin's wire format, on the TPM library it is built on.
module stp-peer

go 1.25.0

tool stp-peer

require github.com/google/go-attestation v0.5.1

require (
	github.com/google/certificate-transparency-go v1.1.2 // indirect
	github.com/google/go-tpm v0.9.0 // indirect
	github.com/google/go-tspi v0.3.0 // indirect
	golang.org/x/crypto v0.13.0 // indirect
	golang.org/x/sys v0.14.0 // indirect
)

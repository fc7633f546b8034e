package main

import (
	"crypto"

	"github.com/google/go-attestation/attest"
)

// The library up to 0.5 knows TPM 1.2, too, and RSA AKs only.

func activation(ek crypto.PublicKey, ak attest.AttestationParameters) attest.ActivationParameters {
	return attest.ActivationParameters{TPMVersion: attest.TPMVersion20, EK: ek, AK: ak}
}

func configuration(connection channel) *attest.OpenConfig {
	return &attest.OpenConfig{TPMVersion: attest.TPMVersion20, CommandChannel: connection}
}

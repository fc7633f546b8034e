package main

import (
	"crypto"

	"github.com/google/go-attestation/attest"
)

// The library from 0.6 on takes ECC AKs.

func activation(ek crypto.PublicKey, ak attest.AttestationParameters) attest.ActivationParameters {
	return attest.ActivationParameters{EK: ek, AK: ak}
}

func configuration(connection channel) *attest.OpenConfig {
	return &attest.OpenConfig{CommandChannel: connection}
}

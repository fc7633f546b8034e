// Command stp-peer is one end of an attestation in the wire format of spiffe/spire-tpm-plugin: an independent
// implementation for interoperability tests, on go-attestation, the library that defines the format.
//
// Messages are lines on standard input and output, each one JSON document as it would travel in SPIRE's streams.
//
//	stp-peer agent SOCKET   writes the payload, reads the challenge, writes the response
//	stp-peer server         reads the payload, writes the challenge, reads the response, writes the verdict
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/google/go-attestation/attest"
)

// Longer than any message that a peer sends with a boot event log.
const maxLine = 4 << 20

type payload struct {
	EK []byte
	AK *attest.AttestationParameters
}

type challenge struct {
	EC *attest.EncryptedCredential
}

type response struct {
	Secret []byte
}

type verdict struct {
	Accepted       bool   `json:"accepted"`
	HasCertificate bool   `json:"has_certificate"`
	Hash           string `json:"hash"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "agent":
		err = agent(os.Args[2], lines)
	case len(os.Args) == 2 && os.Args[1] == "server":
		err = server(lines)
	default:
		fmt.Fprintln(os.Stderr, "usage: stp-peer agent SOCKET | stp-peer server")
		os.Exit(64)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stp-peer:", err)
		os.Exit(1)
	}
}

// The TPM is closed between the two halves, and the AK travels as a blob, as in the plugin.
func agent(socket string, lines *bufio.Scanner) error {
	offer, blob, err := offer(socket)
	if err != nil {
		return err
	}
	if err := write(offer); err != nil {
		return err
	}
	var asked challenge
	if err := read(lines, &asked); err != nil {
		return err
	}
	if asked.EC == nil {
		return errors.New("the challenge has no EC")
	}
	secret, err := activate(socket, blob, *asked.EC)
	if err != nil {
		return err
	}
	return write(response{Secret: secret})
}

func offer(socket string) (*payload, []byte, error) {
	tpm, err := open(socket)
	if err != nil {
		return nil, nil, err
	}
	defer tpm.Close()
	eks, err := tpm.EKs()
	if err != nil {
		return nil, nil, err
	}
	if len(eks) == 0 {
		return nil, nil, errors.New("the TPM has no EK")
	}
	ak, err := tpm.NewAK(nil)
	if err != nil {
		return nil, nil, err
	}
	defer ak.Close(tpm)
	blob, err := ak.Marshal()
	if err != nil {
		return nil, nil, err
	}
	parameters := ak.AttestationParameters()
	ek, err := encodeEK(&eks[0])
	return &payload{EK: ek, AK: &parameters}, blob, err
}

func activate(socket string, blob []byte, credential attest.EncryptedCredential) ([]byte, error) {
	tpm, err := open(socket)
	if err != nil {
		return nil, err
	}
	defer tpm.Close()
	ak, err := tpm.LoadAK(blob)
	if err != nil {
		return nil, err
	}
	defer ak.Close(tpm)
	return ak.ActivateCredential(tpm, credential)
}

func server(lines *bufio.Scanner) error {
	var offered payload
	if err := read(lines, &offered); err != nil {
		return err
	}
	if offered.AK == nil {
		return errors.New("the payload has no AK")
	}
	ek, err := decodeEK(offered.EK)
	if err != nil {
		return err
	}
	parameters := activation(ek.Public, *offered.AK)
	secret, credential, err := parameters.Generate()
	if err != nil {
		return err
	}
	if err := write(challenge{EC: credential}); err != nil {
		return err
	}
	var answered response
	if err := read(lines, &answered); err != nil {
		return err
	}
	spki, err := x509.MarshalPKIXPublicKey(ek.Public)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(spki)
	return write(verdict{
		Accepted:       subtle.ConstantTimeCompare(secret, answered.Secret) == 1,
		HasCertificate: ek.Certificate != nil,
		Hash:           hex.EncodeToString(hash[:]),
	})
}

// The certificate comes first if there is one, then the public key, each as PEM.
func encodeEK(ek *attest.EK) ([]byte, error) {
	var text []byte
	if ek.Certificate != nil {
		text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ek.Certificate.Raw})
	}
	spki, err := x509.MarshalPKIXPublicKey(ek.Public)
	if err != nil {
		return nil, err
	}
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})...), nil
}

func decodeEK(text []byte) (*attest.EK, error) {
	var ek attest.EK
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		var err error
		switch block.Type {
		case "CERTIFICATE":
			ek.Certificate, err = attest.ParseEKCertificate(block.Bytes)
		case "PUBLIC KEY":
			ek.Public, err = x509.ParsePKIXPublicKey(block.Bytes)
		default:
			err = fmt.Errorf("a PEM block of type %q", block.Type)
		}
		if err != nil {
			return nil, err
		}
		text = rest
	}
	if ek.Public == nil {
		return nil, errors.New("the payload has no public key of the EK")
	}
	return &ek, nil
}

type channel struct{ net.Conn }

func (channel) MeasurementLog() ([]byte, error) {
	return nil, errors.New("no event log here")
}

func open(socket string) (*attest.TPM, error) {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return attest.OpenTPM(configuration(channel{connection}))
}

func read(lines *bufio.Scanner, message any) error {
	if !lines.Scan() {
		return errors.Join(errors.New("the peer has gone"), lines.Err())
	}
	return json.Unmarshal(lines.Bytes(), message)
}

func write(message any) error {
	return json.NewEncoder(os.Stdout).Encode(message)
}

// Has self-signed certificates signed by keys that are elsewhere, as SPIRE's contract test of a KeyManager does, and says
// whether Go's x509 accepts them. One JSON document a line: {key, algorithm} comes in; {digest, hash, pss, salt} goes out,
// {signature} or {error} comes in, and {accepted, error} goes out.
package main

import (
	"bufio"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
)

type order struct {
	Key       []byte `json:"key"`
	Algorithm string `json:"algorithm"`
}

type question struct {
	Digest []byte `json:"digest"`
	Hash   int    `json:"hash"`
	PSS    bool   `json:"pss"`
	Salt   int    `json:"salt"`
}

type answer struct {
	Signature []byte `json:"signature"`
	Error     string `json:"error"`
}

type verdict struct {
	Accepted bool   `json:"accepted"`
	Error    string `json:"error"`
}

var algorithms = []x509.SignatureAlgorithm{
	x509.ECDSAWithSHA256,
	x509.ECDSAWithSHA384,
	x509.ECDSAWithSHA512,
	x509.SHA256WithRSA,
	x509.SHA384WithRSA,
	x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS,
	x509.SHA384WithRSAPSS,
	x509.SHA512WithRSAPSS,
}

// lines reads and writes one document a line.
type lines struct {
	in  *bufio.Reader
	out *json.Encoder
}

func (l *lines) read(document any) error {
	line, err := l.in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, document)
}

// signer is a key that somebody else holds.
type signer struct {
	public crypto.PublicKey
	lines  *lines
}

func (s *signer) Public() crypto.PublicKey { return s.public }

func (s *signer) Sign(_ io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	asked := question{Digest: digest, Hash: int(options.HashFunc())}
	if pss, ok := options.(*rsa.PSSOptions); ok {
		asked.PSS, asked.Salt = true, pss.SaltLength
	}
	if err := s.lines.out.Encode(asked); err != nil {
		return nil, err
	}
	var got answer
	if err := s.lines.read(&got); err != nil {
		return nil, err
	}
	if got.Error != "" {
		return nil, errors.New(got.Error)
	}
	return got.Signature, nil
}

func main() {
	peer := &lines{in: bufio.NewReader(os.Stdin), out: json.NewEncoder(os.Stdout)}
	for {
		var asked order
		if err := peer.read(&asked); err == io.EOF {
			return
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "x509-signer:", err)
			os.Exit(1)
		}
		said := verdict{Accepted: true}
		if err := certify(asked, peer); err != nil {
			said = verdict{Error: err.Error()}
		}
		if err := peer.out.Encode(said); err != nil {
			os.Exit(1)
		}
	}
}

func certify(asked order, peer *lines) error {
	public, err := x509.ParsePKIXPublicKey(asked.Key)
	if err != nil {
		return err
	}
	for _, algorithm := range algorithms {
		if algorithm.String() != asked.Algorithm {
			continue
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), SignatureAlgorithm: algorithm}
		made, err := x509.CreateCertificate(rand.Reader, template, template, public, &signer{public, peer})
		if err != nil {
			return err
		}
		certificate, err := x509.ParseCertificate(made)
		if err != nil {
			return err
		}
		return certificate.CheckSignature(algorithm, certificate.RawTBSCertificate, certificate.Signature)
	}
	return fmt.Errorf("no algorithm %q", asked.Algorithm)
}

// What SPIRE Agent does with a key of its KeyManager, on the library of Go that it does it with.
module x509-signer

go 1.25.0

tool x509-signer

# Goes into the `plugins` section of SPIRE Server's configuration; see README.md for the words between at signs.
NodeAttestor "tpm" {
  plugin_cmd      = "@PLUGIN_CMD@"
  plugin_checksum = "@PLUGIN_CHECKSUM@"
  plugin_data {
    # A machine is accepted if its EK certificate leads to a certificate in this directory ...
    ca_path = "@CA_PATH@"
    # ... or if a file in this one is named like its EK's hash.
    hash_path = "@HASH_PATH@"
    # Revocation lists, a deny list, makers that count and a pin on the CAs: docs/operations.md.
    # With credential-composer.hcl: the store that is named there, and no agent without a certified key.
    # store     = "@STORE@"
    # svid_keys = "require"
  }
}

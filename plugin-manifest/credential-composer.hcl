# Goes into the `plugins` section of SPIRE Server's configuration beside server.hcl with its `store`; see README.md for the
# words between at signs, and docs/hardware-bound-keys.md for the order in which servers and agents take these blocks.
CredentialComposer "tpm" {
  # The same file as the attestor.
  plugin_cmd      = "@PLUGIN_CMD@"
  plugin_checksum = "@PLUGIN_CHECKSUM@"
  plugin_data {
    # One file for both plugins, made if it is not there; several servers need PostgreSQL.
    store = "@STORE@"
    # "require" is the default; "observe" only logs what it would refuse.
    # svid_keys = "observe"
  }
}

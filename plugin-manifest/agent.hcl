# Goes into the `plugins` section of SPIRE Agent's configuration; see README.md for the words between at signs.
NodeAttestor "tpm" {
  plugin_cmd      = "@PLUGIN_CMD@"
  plugin_checksum = "@PLUGIN_CHECKSUM@"
  plugin_data {
    # The default; a machine with a TPM of its own needs no configuration at all.
    device = "@DEVICE@"
    # With key-manager.hcl: the directory that is named there, whose keys are offered for certification.
    # keys_path = "@KEYS_PATH@"
  }
}

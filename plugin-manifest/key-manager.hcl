# Goes into the `plugins` section of SPIRE Agent's configuration in place of its own KeyManager, beside agent.hcl with its
# `keys_path`; see README.md for the words between at signs.
KeyManager "tpm" {
  # The same file as the attestor.
  plugin_cmd      = "@PLUGIN_CMD@"
  plugin_checksum = "@PLUGIN_CHECKSUM@"
  plugin_data {
    # Wrapped keys, of use to this TPM alone. Only the last part of the path may be missing; it is made.
    keys_path = "@KEYS_PATH@"
    device    = "@DEVICE@"
    # What becomes of an SVID when the machine boots: docs/hardware-bound-keys.md.
  }
}

# Firmware of TPMs with published weaknesses, as versions of the quote's firmwareVersion.
#
# Between two ranges of an advisory there may be fixed versions. "X and earlier" begins at X's major version.
# "to" includes what a version begins: 7.61 stands for all of 7.61.
#
# Left out, since no source gives versions that a quote shows:
#   CVE-2019-11090 (TPM-FAIL, Intel): fixed in versions of CSME, SPS and TXE, which the TPM in them does not show.
#   CVE-2023-1017 and CVE-2023-1018 of makers other than Nuvoton, and in virtual TPMs.
#   CVE-2025-2884 of makers other than Infineon: for Nuvoton only versions with the fix are published.

# ROCA: RSA keys that can be factored.
advisory "CVE-2017-15361" {
  vendor = "IFX"
  from   = "4.0"
  to     = "4.33"
  source = "https://portal.msrc.microsoft.com/en-us/security-guidance/advisory/ADV170012"
}

advisory "CVE-2017-15361" {
  vendor = "IFX"
  from   = "4.40"
  to     = "4.42"
  source = "https://portal.msrc.microsoft.com/en-us/security-guidance/advisory/ADV170012"
}

advisory "CVE-2017-15361" {
  vendor = "IFX"
  from   = "5.0"
  to     = "5.61"
  source = "https://portal.msrc.microsoft.com/en-us/security-guidance/advisory/ADV170012"
}

advisory "CVE-2017-15361" {
  vendor = "IFX"
  from   = "6.0"
  to     = "6.42"
  source = "https://portal.msrc.microsoft.com/en-us/security-guidance/advisory/ADV170012"
}

advisory "CVE-2017-15361" {
  vendor = "IFX"
  from   = "7.0"
  to     = "7.61"
  source = "https://portal.msrc.microsoft.com/en-us/security-guidance/advisory/ADV170012"
}

advisory "CVE-2017-15361" {
  vendor = "IFX"
  from   = "133.0"
  to     = "133.32"
  source = "https://portal.msrc.microsoft.com/en-us/security-guidance/advisory/ADV170012"
}

# TPM-FAIL: the time that ECDSA takes gives the key away. The maker says of versions that it does not list that they are
# not affected.
advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "71.0"
  to     = "71.0"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "71.4"
  to     = "71.4"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "71.12"
  to     = "71.12"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "73.0"
  to     = "73.0"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "73.4"
  to     = "73.4"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "73.5"
  to     = "73.5"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "73.8"
  to     = "73.8"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "73.9"
  to     = "73.9"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "74.0"
  to     = "74.0"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "74.4"
  to     = "74.4"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "74.5"
  to     = "74.5"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "74.8"
  to     = "74.8"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "74.9"
  to     = "74.9"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

advisory "CVE-2019-16863" {
  vendor = "STM"
  from   = "74.16"
  to     = "74.16"
  source = "https://www.st.com/content/st_com/en/campaigns/tpm-update.html"
}

# The same kind of weakness in NPCT75x.
advisory "CVE-2020-25082" {
  vendor = "NTC"
  from   = "7.2.0.1"
  to     = "7.2.0.1"
  source = "https://www.nuvoton.com/support/security/security-advisories/sa-002/"
}

advisory "CVE-2020-25082" {
  vendor = "NTC"
  from   = "7.2.0.2"
  to     = "7.2.0.2"
  source = "https://www.nuvoton.com/support/security/security-advisories/sa-002/"
}

advisory "CVE-2020-25082" {
  vendor = "NTC"
  from   = "7.2.1.0"
  to     = "7.2.1.0"
  source = "https://www.nuvoton.com/support/security/security-advisories/sa-002/"
}

# A write out of bounds in NPCT65x.
advisory "CVE-2023-1017" {
  vendor = "NTC"
  from   = "1.3.0.1"
  to     = "1.3.0.1"
  source = "https://www.nuvoton.com/support/security/security-advisories/sa-003/"
}

advisory "CVE-2023-1017" {
  vendor = "NTC"
  from   = "1.3.1.0"
  to     = "1.3.1.0"
  source = "https://www.nuvoton.com/support/security/security-advisories/sa-003/"
}

advisory "CVE-2023-1017" {
  vendor = "NTC"
  from   = "1.3.2.8"
  to     = "1.3.2.8"
  source = "https://www.nuvoton.com/support/security/security-advisories/sa-003/"
}

# TCG VRT0009: a read out of bounds. SLB 9672 is updated to 15.23 for it, so that all of 15 before that counts.
advisory "CVE-2025-2884" {
  vendor = "IFX"
  from   = "15.0"
  to     = "15.22"
  source = "https://www.ieiworld.com/en/support/con_show.php?cid=114&op=showone"
}

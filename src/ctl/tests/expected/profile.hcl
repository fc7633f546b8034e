# Recorded from 2 boots:
# 1. good.json, 2026-11-24T12:00:00Z
# 2. updated.json, 2026-11-24T12:00:00Z
profile "production" {
    # Secure Boot was on.
    secure_boot = true
    # All keys that may sign what is booted.
    db = [
        "282e8130b7070f107aaecc25d3992ca4440270860b09088792a5075fab0d13f8", # certificate C=US, ST=Colorado, L=Fort Collins, O=SnakeOil
    ]
    # All keys that vouched for what was started.
    authorities = [
        "282e8130b7070f107aaecc25d3992ca4440270860b09088792a5075fab0d13f8", # certificate C=US, ST=Colorado, L=Fort Collins, O=SnakeOil
    ]
    # All programs that the firmware or a loader started, by Authenticode digest.
    boot_images = [
        "7f6eb74f2b95f13250d5cb614e8a17ed5ff1ce793bddc4b36824277b5d0b088d", # hint: PciRoot(0x0)/Pci(0x2,0x0)/HD(1)/linux.efi; boot 1
        "9bf2519c746ec66b569300e423127a9361b47af7f66783c7e1378fb055671ad4", # hint: PciRoot(0x0)/Pci(0x2,0x0)/HD(1)/EFI/BOOT/BOOTX64.EFI
        "fd20596084ffebd78ec92779e01262144b049e0e4e9ed86c6ded7001526d5388", # hint: PciRoot(0x0)/Pci(0x2,0x0)/HD(1)/linux.efi; boot 2
    ]
    # All kernel command lines that were measured.
    command_line {
        allow = [
            "initrd=\\initrd console=ttyS0 quiet panic=-1", # PCR 12
        ]
    }
    # Firmware code: changes with updates of the firmware.
    pcr "0" {
        values = [
            "fb77695320b23f97c2bac740cdab2664163181bb30c9e9178a30de3a7dfeb3a9",
        ]
    }
    # Code of devices: changes with devices and their firmware.
    pcr "2" {
        values = [
            "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
        ]
    }
    # Command line and initramfs as the kernel got them, files of GRUB: changes with both.
    pcr "9" {
        values = [
            "7a88fb5f9f36e9c1360a30acd0f3439bc7fb73da695690edbc256e267d9e4b8f", # boot 1
            "91919ded9e2f629b2eef3680dd1eb5007997bd3cbd321b9633a3b590478d7652", # boot 2
        ]
    }
    # Kernel command line and credentials by systemd's loader and stub.
    pcr "12" {
        values = [
            "066ad3953ae23a9b21702acc4f91da73f5ff77c365a340a3a0bb1cb0144bfd73",
        ]
    }
}

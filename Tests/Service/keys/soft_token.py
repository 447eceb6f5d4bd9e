"""A PKCS#11 token of SoftHSM in a new folder."""

import os
import shutil
import subprocess

import scratch

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "48151623"


class SoftToken:
    def __init__(self):
        self.folder = scratch.new_folder()
        (self.folder / "tokens").mkdir()
        (self.folder / "softhsm2.conf").write_text(f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
        # All programs that load SoftHSM read this variable.
        os.environ["SOFTHSM2_CONF"] = str(self.folder / "softhsm2.conf")
        self.initialize("fieldseal")
        self.pin_file = self.folder / "pin"
        self.pin_file.write_text(f"{PIN}\n")
        self.pin_file.chmod(0o400)

    def initialize(self, label):
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN], check=True, capture_output=True)

    def tool(self, *arguments, token="fieldseal", **options):
        """Runs pkcs11-tool of OpenSC, which has no code in common with the program."""
        return subprocess.run(
            ["pkcs11-tool", "--module", MODULE, "--token-label", token, "--login", "--pin", PIN, *arguments], check=True, capture_output=True, **options)

    def setting(self, sealed, **other):
        return {"module": MODULE, "token": "fieldseal", "label": "kek", "pinFile": str(self.pin_file), "sealedFile": str(sealed), **other}

    def remove(self):
        os.environ.pop("SOFTHSM2_CONF", None)
        shutil.rmtree(self.folder, ignore_errors=True)

"""A time-stamping authority of the openssl on this machine, in a folder."""

import subprocess
from pathlib import Path

_CONFIG = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class TimestampAuthority:
    """Makes a root and a time-stamping certificate, and stamps.

    Args:
        folder: Where keys and certificates go.
        not_before: First day of the time-stamping certificate, ``YYYYMMDDHHMMSSZ``.
        not_after: Its last day.
    """

    def __init__(
        self, folder: Path, *, not_before: str | None = None, not_after: str | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.root = folder, folder / "root.pem"
        self._config = folder / "openssl.cnf"
        self._config.write_text(_CONFIG.format(folder=folder, name=f"tests {folder.name}"))
        (folder / "serial").write_text("01\n")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl(
            "req", "-x509", "-days", "3650", *key, "-keyout", "root.key", "-out", "root.pem",
            "-config", "openssl.cnf", "-extensions", "ca", "-subj", "/CN=root of the tests",
        )  # fmt: skip
        self._openssl("req", "-new", *key, "-keyout", "tsa.key", "-out", "tsa.csr",
                      "-config", "openssl.cnf", "-subj", "/CN=clock of the tests")  # fmt: skip
        if not_before and not_after:
            self._sign_for(not_before, not_after)
        else:
            self._openssl("x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key",
                          "-set_serial", "2", "-days", "3650", "-extfile", "openssl.cnf",
                          "-extensions", "leaf", "-out", "tsa.pem")  # fmt: skip

    def stamp(self, query: bytes) -> bytes:
        """Answer a timestamp query."""
        (self.folder / "query.tsq").write_bytes(query)
        self._openssl("ts", "-reply", "-config", "openssl.cnf", "-section", "it",
                      "-queryfile", "query.tsq", "-out", "reply.tsr")  # fmt: skip
        return (self.folder / "reply.tsr").read_bytes()

    def _sign_for(self, not_before: str, not_after: str) -> None:
        (self.folder / "index").write_text("")
        (self.folder / "ca.cnf").write_text(
            self._config.read_text()
            + f"[ca_default]\ndatabase = {self.folder}/index\nserial = {self.folder}/serial\n"
            "default_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n"
        )
        self._openssl("ca", "-batch", "-config", "ca.cnf", "-name", "ca_default", "-in", "tsa.csr",
                      "-cert", "root.pem", "-keyfile", "root.key", "-startdate", not_before,
                      "-enddate", not_after, "-extensions", "leaf", "-out", "tsa.pem",
                      "-outdir", str(self.folder), "-notext")  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, check=True)

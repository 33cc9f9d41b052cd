"""nginx by the recipe of docs/proxy.md, in a folder of its own, ended when the block ends."""

import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from nodes import ROOT, wait_for

NAME = "images.example"


def is_there():
    return all(shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin") for program in ("nginx", "openssl"))


def recipe():
    """The first block of nginx in the document: an upstream and a server."""
    return re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "proxy.md").read_text(), re.S)[1]


class Proxy:
    """`servers`: the port of each, and those of the nodes behind it."""

    def __init__(self, servers):
        self.folder = Path(tempfile.mkdtemp(prefix="nginx-"))
        self.ports = [port for port, _ in servers]
        certificate = [self.folder / "proxy.pem", self.folder / "proxy.key"]
        self._make_certificate(*certificate)
        text = ""
        for port, nodes in servers:
            behind = "".join(f"server 127.0.0.1:{node};" for node in nodes)
            one = re.sub(r"(server 127\.0\.0\.1:\d+;\s*)+", behind, recipe(), count=1)
            one = one.replace("8443", str(port)).replace("upstream pixseal", f"upstream nodes{port}").replace("//pixseal", f"//nodes{port}")
            text += one
        for name, path in zip(("crt", "key"), certificate):
            text = text.replace(f"/etc/nginx/images.example.{name}", str(path))
        temporary = "".join(
            f"{kind}_temp_path {self.folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {self.folder / 'pid'}; error_log {self.folder / 'error.log'};"
            f"events {{ worker_connections 512; }} http {{ access_log off; {temporary} {text} }}"
        )

    def _make_certificate(self, certificate, key):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
        subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)

    def __enter__(self):
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
        self.process = subprocess.Popen([nginx, "-c", self.folder / "nginx.conf", "-p", self.folder])
        wait_for("nginx listens", lambda: all(self._listens(port) for port in self.ports))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listens(self, port):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

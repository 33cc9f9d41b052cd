"""Three nodes on free ports in a folder of their own, ended when the block ends."""

import json
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "target" / "debug"
PATIENCE = 20.0


def wait_for(what, condition, patience=PATIENCE):
    """The first true value of a condition; fails if there is none in time."""
    deadline = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {patience} s in vain: {what}")
        time.sleep(0.02)


def free_port():
    """One that is free for TCP and for UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return tcp.getsockname()[1]


def png(width, height, pixel):
    """A PNG of 8-bit RGB whose pixels are `pixel(x, y)`."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b"")
    )


class Nodes:
    """Nodes 1 to 3. `tokens` are users with their rights; `token[user]` is what each shows. `urls` are names outside."""

    def __init__(self, tokens=(), options=(), urls=None):
        self.folder = Path(tempfile.mkdtemp(prefix="browser-"))
        self.ports = {id: free_port() for id in (1, 2, 3)}
        self.options = list(options)
        self.urls = urls or {}
        lines = [self._line(id, f"127.0.0.1:{port}") for id, port in self.ports.items()]
        (self.folder / "cluster.toml").write_text("[nodes]\n" + "".join(lines))
        self.token = {user: self._add_token(user, rights) for user, rights in tokens}
        self.processes = {}

    def _line(self, id, address):
        url = self.urls.get(id)
        return f'{id} = {{ address = "{address}", url = "{url}" }}\n' if url else f'{id} = "{address}"\n'

    def _add_token(self, user, rights):
        secrets = self.folder / "secrets"
        command = [PROGRAMS / "seal", "token", "add", user, "--secrets", secrets, "--rights", rights]
        added = subprocess.run(command, capture_output=True, text=True, check=True)
        return added.stdout.split()[-1]

    def __enter__(self):
        for id in self.ports:
            self.start(id)
        wait_for("the nodes agree", lambda: all(self._is_ready(id) for id in self.ports))
        return self

    def __exit__(self, *_):
        for id in list(self.processes):
            self.kill(id)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, id):
        command = [PROGRAMS / "server", str(id), "--cluster", self.folder / "cluster.toml"]
        command += ["--images", self.folder / f"images-{id}", "--secrets", self.folder / "secrets", *self.options]
        with open(self.folder / f"{id}.log", "ab") as log:
            self.processes[id] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    def stop(self, id):
        """It is there, and does nothing any more."""
        self.processes[id].send_signal(signal.SIGSTOP)

    def kill(self, id):
        process = self.processes.pop(id)
        process.kill()
        process.wait()

    def url(self, id):
        return f"http://127.0.0.1:{self.ports[id]}"

    def get(self, id, target, user=None):
        """Status and content."""
        request = urllib.request.Request(self.url(id) + target)
        if user:
            request.add_header("Authorization", f"Bearer {self.token[user]}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return None, b""

    def put(self, id, target, content, user=None):
        request = urllib.request.Request(f"{self.url(id)}{target}?relay", data=content, method="PUT")
        if user:
            request.add_header("Authorization", f"Bearer {self.token[user]}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def _is_ready(self, id):
        return self.get(id, "/readyz")[0] == 200

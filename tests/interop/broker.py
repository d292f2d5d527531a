"""Starts and stops the broker under test: `noctule`, or Mosquitto to check the tests themselves."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

START_SECONDS = 15
STOP_SECONDS = 15


def free_port():
    """A loopback port that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def target_folder(root):
    return os.path.abspath(os.environ.get("CARGO_TARGET_DIR") or os.path.join(root, "target"))


class Broker:
    """One running broker with a TCP and a Unix socket, for one group of tests."""

    def __init__(self, kind, root, log_path):
        self.kind = kind
        self.root = root
        self.log_path = log_path
        self.folder = tempfile.mkdtemp(prefix="interop-")
        self.port = free_port()
        self.unix = os.path.join(self.folder, "broker.sock")
        self.process = None

    def command(self):
        if self.kind == "mosquitto":
            config = os.path.join(self.folder, "mosquitto.conf")
            with open(config, "w", encoding="ascii") as file:
                file.write(
                    f"listener {self.port} 127.0.0.1\nlistener 0 {self.unix}\n"
                    "user root\nallow_anonymous true\npersistence false\nsys_interval 1\n"
                    "max_queued_messages 10000\n"
                )
            return ["mosquitto", "-c", config, "-v"]
        binary = os.environ.get("NOCTULE_BIN")
        binary = binary or os.path.join(target_folder(self.root), "debug", "noctule")
        listeners = ["--listen", f"127.0.0.1:{self.port}", "--listen", f"unix:{self.unix}"]
        system = ["--system-interval-seconds", "1", "--data", os.path.join(self.folder, "data")]
        return [binary, "serve", *listeners, *system, *os.environ.get("NOCTULE_ARGS", "").split()]

    def start(self):
        """Returns once both sockets accept; raises RuntimeError when they never do."""
        with open(self.log_path, "wb") as log:
            try:
                self.process = subprocess.Popen(
                    self.command(),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise RuntimeError(f"the broker cannot be started: {error}") from error
        deadline = time.monotonic() + START_SECONDS
        while not self.accepts():
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended with status {self.process.returncode}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker does not accept within {START_SECONDS} s")
            time.sleep(0.02)

    def runs(self):
        return self.process.poll() is None

    def accepts(self):
        addresses = ((socket.AF_INET, ("127.0.0.1", self.port)), (socket.AF_UNIX, self.unix))
        for family, address in addresses:
            with socket.socket(family) as probe:
                if probe.connect_ex(address) != 0:
                    return False
        return True

    def stop(self):
        """Asks the broker to stop. Returns None when it did so with status 0, else what it did."""
        complaint = None
        if self.process is not None:
            if self.process.poll() is not None:
                complaint = f"ended by itself with status {self.process.returncode}"
            else:
                self.process.terminate()
                try:
                    status = self.process.wait(STOP_SECONDS)
                    complaint = None if status == 0 else f"stopped with status {status}"
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                    complaint = f"did not stop within {STOP_SECONDS} s of SIGTERM"
        shutil.rmtree(self.folder, ignore_errors=True)
        return complaint

"""A training program's side of its lease with `millrace cluster run`: report steps, say checkpoints, hear the stop.

    lease = millrace_lease.take()              # None when no scheduler started this program
    for step, batch in enumerate(loader, 1):
        train(batch)
        if lease:
            lease.report(step, compute_seconds=..., wait_seconds=..., samples=len(batch))
            if lease.stopping or step % 1000 == 0:
                save(path); lease.checkpointed(step, path)
            if lease.stopping:
                break

Standard library only. Messages are JSON lines over the unix socket named by MILLRACE_LEASE (docs/cluster-runners.md). When
the scheduler goes away the program goes on; the lease is taken again at the next report.
"""

import json
import os
import socket
import threading
import time

__all__ = ["Lease", "LeaseRefused", "take"]


class LeaseRefused(RuntimeError):
    """The scheduler does not know this program's token, or the program runs as another user."""


class Lease:
    """See take(). Thread-safe; sends at most one report a second."""

    def __init__(self, path, token):
        self._path, self._token = path, token
        self._lock = threading.Condition()
        self._socket = None
        self._sums = [0.0, 0.0, 0.0]
        self._sent = 0.0
        self._ids = 0
        self._acknowledged = set()
        self._refused = None
        self.grant = None
        self.stopping = False
        self.reason = ""
        self._connect()

    def report(self, step, compute_seconds, wait_seconds, samples):
        """Adds what was done since the last call; `step` counts from the program's first start."""
        with self._lock:
            for i, value in enumerate((compute_seconds, wait_seconds, samples)):
                self._sums[i] += value
            self._step = step
            if time.monotonic() - self._sent >= 1:
                self._flush()

    def checkpointed(self, step, directory, timeout=60.0):
        """Says that a checkpoint is durable; True when the scheduler has acknowledged it within `timeout` seconds."""
        with self._lock:
            self._flush()
            self._ids += 1
            wanted = self._ids
            message = {"kind": "checkpointed", "id": wanted, "step": step, "dir": os.fspath(directory)}
            end = time.monotonic() + timeout
            said = None
            while wanted not in self._acknowledged:
                if self._refused is not None:
                    raise LeaseRefused(self._refused)
                # A scheduler that came back has not heard it.
                if self._socket is None:
                    self._connect()
                if self._socket is not None and self._socket is not said:
                    said = self._socket
                    self._say(message)
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._lock.wait(min(left, 1.0))
            return True

    def close(self):
        with self._lock:
            self._flush()
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _flush(self):
        if not any(self._sums):
            return
        if self._socket is None:
            self._connect()
        compute, wait, samples = self._sums
        if self._say(
            {
                "kind": "report",
                "step": self._step,
                "computeSeconds": compute,
                "waitSeconds": wait,
                "samples": samples,
            }
        ):
            self._sums = [0.0, 0.0, 0.0]
            self._sent = time.monotonic()

    def _connect(self):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            return
        self._socket = connection
        self._say({"kind": "hello", "token": self._token, "pid": os.getpid()})
        threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _say(self, message):
        if self._socket is None:
            return False
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
            return True
        except OSError:
            self._socket = None
            return False

    def _listen(self, connection):
        try:
            with connection.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    self._hear(json.loads(line))
        except (OSError, ValueError):
            pass
        with self._lock:
            if self._socket is connection:
                self._socket = None
            self._lock.notify_all()

    def _hear(self, message):
        with self._lock:
            kind = message.pop("kind")
            if kind == "grant":
                self.grant = message
            elif kind == "stop":
                self.stopping, self.reason = True, message["reason"]
            elif kind == "acknowledged":
                self._acknowledged.add(message["id"])
            elif kind == "refused":
                self._refused = message["message"]
            self._lock.notify_all()


def take(environment=os.environ, timeout=10.0):
    """The lease that the environment names, with its first grant; None when it names none. Raises LeaseRefused."""
    path = environment.get("MILLRACE_LEASE")
    if not path:
        return None
    lease = Lease(path, environment.get("MILLRACE_LEASE_TOKEN", ""))
    with lease._lock:
        lease._lock.wait_for(lambda: lease.grant is not None or lease._refused is not None, timeout)
        if lease.grant is None:
            raise LeaseRefused(lease._refused or f"no scheduler answers at {path}")
    return lease

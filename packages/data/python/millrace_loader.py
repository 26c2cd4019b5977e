"""Batches of Millrace's preparation service, and its byte cache, for Python.

Three ways in, from the least change to the most:

* ``open(path, ...)`` reads a file of a data set through the byte cache that all jobs on it fill: put it under an
  unmodified dataset class.
* ``Batches(socket)`` stands where a PyTorch DataLoader stands: an iterable of (data, labels) per epoch with
  ``state_dict``. It copies, so that batches may be kept.
* ``Batches(socket, copy=False)`` hands out views into the staging ring. A view is valid until ``batch.release()``, which
  has to be called; the service waits for it.

``instrument(batches)`` around any of these, or around a DataLoader, tells ``millrace data analyze`` the time of each step.

Needs numpy; torch only for ``as_torch=True``. Start the service with ``millrace data serve``.
"""

from __future__ import annotations

import builtins
import json
import mmap
import os
import socket as sockets
import struct
import time

import numpy as np

from millrace_cache import ByteCache, open  # noqa: A004

__all__ = ["Batch", "Batches", "ByteCache", "ServiceError", "instrument", "open"]

_PROTOCOL = 2
_TYPES = {"u8": np.dtype(np.uint8), "f32": np.dtype(np.float32), "i32": np.dtype(np.int32)}
_INT32 = np.dtype(np.int32)
_SLOT_HEADERS = 4096
_SLOT_HEADER_BYTES = 64
_parse = json.JSONDecoder().raw_decode
_slot_header = struct.Struct("<4I").unpack_from


class ServiceError(RuntimeError):
    """The service cannot be reached, refused the job, or could not prepare a batch."""


class Batch:
    """One batch: data [n, ...], labels [n] and items [n] (numbers in the data set).

    With ``copy=False`` the arrays are views of shared memory until ``release()``.
    """

    __slots__ = ("data", "labels", "_items", "epoch", "position", "_release", "_used")

    def __init__(self, data, labels, items, epoch, position, release=None, used=()):
        self.data = data
        self.labels = labels
        self._items = items
        self.epoch = epoch
        self.position = position
        self._release = release
        self._used = used

    @property
    def items(self):
        """Made when first asked for, since few ask."""
        if callable(self._items):
            self._items = self._items()
        return self._items

    def __iter__(self):
        return iter((self.data, self.labels))

    def __len__(self):
        return len(self.labels)

    def release(self):
        """Gives the slot back, once; the arrays of a view must not be touched afterwards."""
        if self._release is not None:
            release, self._release = self._release, None
            self.data = self.labels = self._items = None
            release(*self._used)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


def _aligned(size, to):
    return (size + to - 1) // to * to


class _Ring:
    """The staging ring of a service, mapped. Layout: daemon/ring.ts."""

    def __init__(self, welcome):
        spec = welcome["spec"]
        batch = welcome["batchSize"]
        slots = welcome["slots"]
        self.dtype = _TYPES[spec["type"]]
        self.shape = tuple(spec["shape"])
        sample = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self.labels_at = _aligned(batch * sample, 64)
        self.items_at = self.labels_at + _aligned(4 * batch, 64)
        self.slot_bytes = _aligned(self.items_at + 4 * batch, 4096)
        self.first_at = _SLOT_HEADERS + _aligned(slots * _SLOT_HEADER_BYTES, 4096)
        size = self.first_at + slots * self.slot_bytes
        with builtins.open(welcome["ring"], "r+b") as file:
            if os.fstat(file.fileno()).st_size < size:
                raise ServiceError(f"{welcome['ring']} is shorter than the {size} bytes of its slots")
            self.memory = mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ)
        if self.memory[:8] != b"MLRRING1":
            raise ServiceError(f"{welcome['ring']} is no staging ring")

    def check(self, slot, generation, sequence):
        at = _SLOT_HEADERS + slot * _SLOT_HEADER_BYTES
        state, is_generation, low, high = _slot_header(self.memory, at)
        if state != 2 or is_generation != generation or low + (high << 32) != sequence:
            raise ServiceError(f"slot {slot} does not hold batch {sequence}")

    def views(self, slot, samples):
        # Every call counts here: between batches of other processes' work, each runs from cold caches.
        at = self.first_at + slot * self.slot_bytes
        memory = self.memory
        return (
            np.ndarray((samples, *self.shape), self.dtype, memory, at),
            np.ndarray(samples, _INT32, memory, at + self.labels_at),
            lambda: np.ndarray(samples, _INT32, memory, at + self.items_at),
        )


class Batches:
    """Batches of the service, one epoch per iteration, as a DataLoader gives them.

    ``state_dict`` after any batch, and ``load_state_dict`` in another process, go on with the next batch exactly. When
    the service ends, the next one is joined at the same place for up to ``reconnect_seconds``.
    """

    def __init__(self, socket, state=None, copy=True, as_torch=False, reconnect_seconds=30.0):
        self._path = socket
        self._copy = copy
        self._torch = None
        if as_torch:
            import torch

            self._torch = torch
        self._reconnect_seconds = reconnect_seconds
        self._place = dict(state) if state is not None else None
        self._welcome = None
        self._expect = None
        self._socket = None
        self._batches = self._samples = 0
        self._waited = self._fetched = 0.0
        self._connect()

    def stalls(self):
        """Totals: batches, samples, seconds that ``next`` waited, and the parts of it for bytes and for preparation."""
        return {
            "batches": self._batches,
            "samples": self._samples,
            "wait_seconds": self._waited,
            "fetch_seconds": self._fetched,
            "prep_seconds": self._waited - self._fetched,
        }

    # The place.

    def state_dict(self):
        """{seed, epoch, position} of the next batch; plain data."""
        return dict(self._place)

    def load_state_dict(self, state):
        self._place = {name: int(state[name]) for name in ("seed", "epoch", "position")}
        self.close()
        self._connect()

    def __len__(self):
        """Batches of an epoch."""
        return -(-self._welcome["length"] // self._welcome["batchSize"])

    def __iter__(self):
        """The rest of this epoch; the next iteration is the next epoch."""
        while True:
            batch = self.next()
            if batch is None:
                return
            yield batch

    def next(self):
        """The next batch, or None at the end of an epoch."""
        began = time.monotonic()
        while True:
            if self._place["position"] >= self._welcome["length"]:
                self._place["epoch"] += 1
                self._place["position"] = 0
                return None
            # A delivery has no names, so that taking it apart costs little (PackedDelivery of daemon/protocol.ts).
            _, session, slot, generation, seed, sequence, epoch, position, samples, planned, fetched, *error = (
                self._head()
            )
            if error:
                raise ServiceError(error[0])
            self._place["position"] += planned
            used = (self._socket, session, seed, sequence)
            if samples == 0:
                self._used(*used)
                continue
            # Until the batch's last item was there, the wait was for bytes; the rest was for preparation.
            waited = time.monotonic() - began
            self._waited += waited
            if fetched > began:
                self._fetched += min(fetched - began, waited)
            self._batches += 1
            self._samples += samples
            self._ring.check(slot, generation, sequence)
            return self._lend(slot, samples, epoch, position, used)

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # The connection.

    def _connect(self):
        """One attempt."""
        connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            connection.connect(self._path)
            self._lines = b""
            join = {"kind": "join", "version": _PROTOCOL}
            if self._place is not None:
                join["at"] = self._place
            if self._expect is not None:
                join["expect"] = self._expect
            connection.sendall(json.dumps(join).encode() + b"\n")
            self._socket = connection
            welcome = self._message()
        except (OSError, EOFError) as error:
            connection.close()
            self._socket = None
            raise ServiceError(f"no service answers on {self._path}: {error}") from error
        if welcome["kind"] != "welcome":
            connection.close()
            self._socket = None
            refusal = ServiceError(welcome.get("message", str(welcome)))
            refusal.refused = True
            raise refusal
        self._welcome = welcome
        self._expect = {name: welcome[name] for name in ("identity", "transform", "batchSize")}
        self._ring = _Ring(welcome)
        if self._place is None:
            self._place = dict(welcome["at"])

    def _reconnect(self):
        until = time.monotonic() + self._reconnect_seconds
        pause = 0.02
        self.close()
        while True:
            try:
                return self._connect()
            except ServiceError as error:
                if getattr(error, "refused", False) or time.monotonic() > until:
                    raise
            time.sleep(pause)
            pause = min(0.5, 2 * pause)

    def _message(self):
        while (end := self._lines.find(b"\n")) < 0:
            # Messages are short; a larger buffer would be taken from the system and given back each time.
            chunk = self._socket.recv(4096)
            if not chunk:
                raise EOFError("the service closed the connection")
            if not self._lines and chunk.find(b"\n") == len(chunk) - 1:
                return _parse(chunk.decode())[0]
            self._lines += chunk
        line, self._lines = self._lines[:end], self._lines[end + 1 :]
        return _parse(line.decode())[0]

    def _head(self):
        while True:
            try:
                if self._socket is None:
                    raise EOFError("not connected")
                message = self._message()
            except (OSError, EOFError):
                self._reconnect()
                continue
            if isinstance(message, list):
                return message
            if message["kind"] == "refused":
                raise ServiceError(message["message"])

    def _used(self, connection, session, seed, sequence):
        if connection is None or connection is not self._socket:
            return
        used = {"kind": "used", "session": session, "seed": seed, "sequence": sequence}
        try:
            connection.sendall(json.dumps(used).encode() + b"\n")
        except OSError:
            # The service is gone; the next call joins another one at this place.
            pass

    def _lend(self, slot, samples, epoch, position, used):
        data, labels, items = self._ring.views(slot, samples)
        if self._copy:
            data, labels, items = data.copy(), labels.copy(), items().copy()
            self._used(*used)
        if self._torch is not None:
            data, labels = self._as_torch(data), self._as_torch(labels)
            items = self._as_torch(items() if callable(items) else items)
        return Batch(data, labels, items, epoch, position, None if self._copy else self._used, used)

    def _as_torch(self, array):
        # torch warns of arrays that may not be written to, which views of the ring are on purpose.
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._torch.from_numpy(array)


# Steps, for the analyzer.


def instrument(batches):
    """``batches`` itself, unless the program runs under ``millrace data analyze``: then an iterable that plays its part.

    Each step's samples and seconds go to the file that the analyzer named; with synthetic input the first batch is given
    again and again; after as many samples as it wants an epoch ends. ``batches`` gives a ``Batch``, or a tuple, list or
    dict whose first entry has one element per sample.
    """
    phase, out = os.environ.get("MILLRACE_ANALYZE"), os.environ.get("MILLRACE_ANALYZE_OUT")
    if not phase or not out:
        return batches
    most = float(os.environ.get("MILLRACE_ANALYZE_SAMPLES", "inf"))
    return _Instrumented(batches, phase == "synthetic", out, most)


class _Instrumented:
    def __init__(self, batches, synthetic, out, most):
        self._batches = batches
        self._synthetic = synthetic
        self._out = out
        self._most = most
        self._first = None
        self._done = 0

    def __len__(self):
        return len(self._batches)

    def __getattr__(self, name):
        return getattr(self._batches, name)

    def __iter__(self):
        source = iter(self._batches)
        handed = None
        while self._done < self._most:
            batch = self._again(source) if self._synthetic else next(source, None)
            self._step(handed)
            if batch is None:
                return
            samples = _samples(batch)
            self._done += samples
            handed = (time.perf_counter(), samples)
            yield batch
        self._step(handed)
        self._done = 0

    def _again(self, source):
        if self._first is None:
            self._first = next(source, None)
        first = self._first
        if isinstance(first, Batch):
            # The first one stays on loan; what is handed out may be released.
            return Batch(first.data, first.labels, first.items, first.epoch, first.position)
        return first

    def _step(self, handed):
        """A step reaches from one batch to the next."""
        if handed is None:
            return
        at, samples = handed
        line = json.dumps({"samples": samples, "seconds": time.perf_counter() - at})
        with builtins.open(self._out, "a", encoding="utf8") as file:
            file.write(line + "\n")


def _samples(batch):
    if isinstance(batch, dict):
        return len(next(iter(batch.values())))
    if isinstance(batch, (tuple, list)):
        return len(batch[0])
    return len(batch)

"""Batches of Millrace's preparation service, and its byte cache, for Python.

Three ways in, from the least change to the most:

* ``open(path, ...)`` reads a file of a data set through the byte cache that all jobs on it fill: put it under an
  unmodified dataset class.
* ``Batches(socket)`` stands where a PyTorch DataLoader stands: an iterable of (data, labels) per epoch with
  ``state_dict``. It copies, so that batches may be kept.
* ``Batches(socket, copy=False)`` hands out views into the staging ring. A view is valid until ``batch.release()``, which
  has to be called; the service waits for it.

``instrument(batches)`` around any of these, or around a DataLoader, tells ``millrace data analyze`` the time of each step;
``leased(batches, lease)`` tells it to the scheduler that started the program, and hands its grants on.

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
from millrace_steps import instrument, leased

__all__ = ["Batch", "Batches", "ByteCache", "ServiceError", "instrument", "leased", "open"]

_PROTOCOL = 3
_TYPES = {"u8": np.dtype(np.uint8), "f32": np.dtype(np.float32), "i32": np.dtype(np.int32)}
_INT32 = np.dtype(np.int32)
_SLOT_HEADERS = 4096
_MAIL_BYTES = 16384
# Layouts: daemon/ring.ts (state, generation, sequence) and daemon/mailbox.ts (serial and ticket as one number, slot,
# generation, samples, planned, session, error, sequence, when fetched).
_slot_header = struct.Struct("<IIQ").unpack_from
_mail = struct.Struct("<Q6IQd").unpack_from
_READY = 2
_DRAIN_EVERY = 32


class ServiceError(RuntimeError):
    """The service cannot be reached, refused the job, or could not prepare a batch."""


class Batch:
    """One batch: data [n, ...], labels [n] and items [n] (numbers in the data set).

    With ``copy=False`` the arrays are views of shared memory until ``release()``.
    """

    __slots__ = ("data", "labels", "_items", "epoch", "position", "_owner", "_used")

    def __init__(self, data, labels, items, epoch, position, owner=None, used=None):
        self.data = data
        self.labels = labels
        self._items = items
        self.epoch = epoch
        self.position = position
        self._owner = owner
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
        if self._owner is not None:
            owner, self._owner = self._owner, None
            self.data = self.labels = self._items = None
            owner._use(self._used)

    def lasting(self):
        """The same arrays in a batch whose release does nothing: for who holds this one on loan."""
        return Batch(self.data, self.labels, self.items, self.epoch, self.position)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


def _aligned(size, to):
    return (size + to - 1) // to * to


class _Ring:
    """The staging ring of a service, mapped."""

    def __init__(self, welcome):
        spec = welcome["spec"]
        batch = self.batch = welcome["batchSize"]
        slots = welcome["slots"]
        self.dtype = _TYPES[spec["type"]]
        self.shape = tuple(spec["shape"])
        sample = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self.labels_at = _aligned(batch * sample, 64)
        self.items_at = self.labels_at + _aligned(4 * batch, 64)
        self.slot_bytes = _aligned(self.items_at + 4 * batch, 4096)
        self.first_at = _SLOT_HEADERS + _aligned(slots * 64, 4096) + _MAIL_BYTES
        size = self.first_at + slots * self.slot_bytes
        with builtins.open(welcome["ring"], "r+b") as file:
            if os.fstat(file.fileno()).st_size < size:
                raise ServiceError(f"{welcome['ring']} is shorter than the {size} bytes of its slots")
            self.memory = mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ)
        if self.memory[:8] != b"MLRRING2":
            raise ServiceError(f"{welcome['ring']} is no staging ring")
        self.whole = [None] * slots

    def views(self, slot, samples):
        """Data, labels, and what makes items."""
        # Those of whole batches are made once per slot: between batches of other work every call runs from cold caches.
        views = self.whole[slot]
        if views is None or samples != self.batch:
            at = self.first_at + slot * self.slot_bytes
            memory = self.memory
            views = (
                np.ndarray((samples, *self.shape), self.dtype, memory, at),
                np.ndarray(samples, _INT32, memory, at + self.labels_at),
                lambda: np.ndarray(samples, _INT32, memory, at + self.items_at),
            )
            if samples == self.batch:
                self.whole[slot] = views
        return views


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
        self._wished = {}
        self._welcome = None
        self._expect = None
        self._socket = None
        self._batches = self._samples = 0
        self._waited = self._fetched = 0.0
        self._place = state is not None
        if self._place:
            self._go(state)
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

    def set_cache_bytes(self, count):
        """Bytes of the service's byte cache for this job's part; from the next epoch on."""
        self._wish(cacheBytes=int(count))

    def set_workers(self, count):
        """Producers of the service for this job's part, at least 1; from the next epoch on."""
        self._wish(producers=int(count))

    def _wish(self, **wish):
        # Kept, since the next service has not heard it.
        self._wished.update(wish)
        if self._socket is not None and self._wished:
            try:
                self._socket.sendall(json.dumps({"kind": "wish", **self._wished}).encode() + b"\n")
            except OSError:
                pass

    # The place.

    def _go(self, state):
        self._seed, self._epoch, self._position = (int(state[name]) for name in ("seed", "epoch", "position"))

    def state_dict(self):
        """{seed, epoch, position} of the next batch; plain data."""
        return {"seed": self._seed, "epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state):
        self._go(state)
        self.close()
        self._connect()

    def __len__(self):
        """Batches of an epoch."""
        return -(-self._length // self._welcome["batchSize"])

    def __iter__(self):
        """The rest of this epoch; the next iteration is the next epoch."""
        while True:
            batch = self.next()
            if batch is None:
                return
            yield batch

    def next(self):
        """The next batch, or None at the end of an epoch."""
        while True:
            epoch, position = self._epoch, self._position
            if position >= self._length:
                self._epoch = epoch + 1
                self._position = 0
                return None
            mail = _mail(self._memory, self._mail_at[self._serial & 3])
            if mail[0] != self._serial << 32 | self._ticket:
                mail = self._wait()
            _, slot, generation, samples, planned, _, failed, sequence, _ = mail
            if failed:
                raise ServiceError(self._reason(sequence))
            self._serial = self._serial + 1 & 0xFFFFFFFF
            self._position = position + planned
            if samples == 0:
                self._use((self._socket, sequence))
                continue
            if _slot_header(self._memory, _SLOT_HEADERS + slot * 64) != (_READY, generation, sequence):
                raise ServiceError(f"slot {slot} does not hold batch {sequence}")
            self._batches += 1
            self._samples += samples
            data, labels, items = self._ring.views(slot, samples)
            if self._copy or self._torch is not None:
                return self._convert(data, labels, items, epoch, position, sequence)
            return Batch(data, labels, items, epoch, position, self, (self._socket, sequence))

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
            join = {"kind": "join", "version": _PROTOCOL}
            if self._place:
                join["at"] = self.state_dict()
            if self._expect is not None:
                join["expect"] = self._expect
            connection.sendall(json.dumps(join).encode() + b"\n")
            said = b""
            while b"\n" not in said:
                chunk = connection.recv(4096)
                if not chunk:
                    raise EOFError("the service closed the connection")
                said += chunk
        except (OSError, EOFError) as error:
            connection.close()
            raise ServiceError(f"no service answers on {self._path}: {error}") from error
        first, self._lines = said.split(b"\n", 1)
        welcome = json.loads(first)
        if welcome["kind"] != "welcome":
            connection.close()
            refusal = ServiceError(welcome.get("message", str(welcome)))
            refusal.refused = True
            raise refusal
        self._welcome = welcome
        self._length = welcome["length"]
        self._expect = {name: welcome[name] for name in ("identity", "transform", "batchSize")}
        self._ring = _Ring(welcome)
        self._memory = self._ring.memory
        self._mail_at = [welcome["mail"]["at"] + 64 * i for i in range(4)]
        self._ticket = welcome["mail"]["ticket"]
        self._serial = 1
        self._reasons = {}
        self._socket = connection
        if not self._place:
            self._go(welcome["at"])
            self._place = True
        self._hear(b"")
        self._wish()

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

    def _wait(self):
        """Until the next delivery is in the mail; gives it. What is said on the socket wakes, and the mail tells."""
        began = time.monotonic()
        while True:
            mail = _mail(self._memory, self._mail_at[self._serial & 3])
            if mail[0] == self._serial << 32 | self._ticket:
                break
            try:
                # Messages are short; a larger buffer would be taken from the system and given back each time.
                said = b"" if self._socket is None else self._socket.recv(4096)
            except OSError:
                said = b""
            if said:
                self._hear(said)
            else:
                self._reconnect()
        # Until the batch's last item was there, the wait was for bytes; the rest was for preparation.
        waited = time.monotonic() - began
        self._waited += waited
        if mail[-1] > began:
            self._fetched += min(mail[-1] - began, waited)
        return mail

    def _hear(self, said):
        """Messages, which may end in the next piece. Deliveries are in the mail as well, but for reasons of failures."""
        *lines, self._lines = (self._lines + said).split(b"\n")
        for line in lines:
            if line.endswith(b'"]'):
                delivery = json.loads(line)
                self._reasons[delivery[5]] = delivery[-1]
            elif line.startswith(b"{"):
                raise ServiceError(json.loads(line).get("message", line.decode()))

    def _reason(self, sequence):
        while sequence not in self._reasons:
            said = self._socket.recv(4096)
            if not said:
                return f"batch {sequence} could not be prepared"
            self._hear(said)
        return self._reasons[sequence]

    def _use(self, used):
        connection, sequence = used
        if connection is None or connection is not self._socket:
            return
        try:
            connection.sendall(b'{"kind":"used","session":0,"seed":%d,"sequence":%d}\n' % (self._seed, sequence))
            if sequence % _DRAIN_EVERY == 0:
                self._hear(connection.recv(65536, sockets.MSG_DONTWAIT))
        except OSError:
            # Nothing was said, or the service is gone; the next call joins another one at this place.
            pass

    def _convert(self, data, labels, items, epoch, position, sequence):
        owner, used = self, (self._socket, sequence)
        if self._copy:
            data, labels, items = data.copy(), labels.copy(), items().copy()
            self._use(used)
            owner = None
        if self._torch is not None:
            data, labels = self._as_torch(data), self._as_torch(labels)
            items = self._as_torch(items() if callable(items) else items)
        return Batch(data, labels, items, epoch, position, owner, used)

    def _as_torch(self, array):
        # torch warns of arrays that may not be written to, which views of the ring are on purpose.
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._torch.from_numpy(array)

"""Batches of Millrace's preparation service, and its byte cache, for Python.

Three ways in, from the least change to the most:

* ``open(path, ...)`` reads a file of a data set through the byte cache that other jobs fill: put it under an unmodified
  dataset class.
* ``Batches(socket)`` stands where a PyTorch DataLoader stands: an iterable of (data, labels) per epoch with
  ``state_dict``. It copies, so that batches may be kept.
* ``Batches(socket, copy=False)`` hands out views into the staging ring. A view is valid until ``batch.release()``, which
  has to be called; the service waits for it.

Needs numpy; torch only for ``as_torch=True``. Start the service with ``millrace data serve``.
"""

from __future__ import annotations

import builtins
import io
import json
import mmap
import os
import socket as sockets
import struct
import time
import zlib

import numpy as np

__all__ = ["Batch", "Batches", "ByteCache", "ServiceError", "open"]

_PROTOCOL = 1
_TYPES = {"u8": np.uint8, "f32": np.float32, "i32": np.int32}
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

    __slots__ = ("data", "labels", "items", "epoch", "position", "_release")

    def __init__(self, data, labels, items, epoch, position, release):
        self.data = data
        self.labels = labels
        self.items = items
        self.epoch = epoch
        self.position = position
        self._release = release

    def __iter__(self):
        return iter((self.data, self.labels))

    def __len__(self):
        return len(self.labels)

    def release(self):
        """Gives the slot back, once; the arrays of a view must not be touched afterwards."""
        if self._release is not None:
            release, self._release = self._release, None
            self.data = self.labels = self.items = None
            release()

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
        sample = int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
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
            np.ndarray(samples, np.int32, memory, at + self.labels_at),
            np.ndarray(samples, np.int32, memory, at + self.items_at),
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
        self._connect()

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
        while True:
            if self._place["position"] >= self._welcome["length"]:
                self._place["epoch"] += 1
                self._place["position"] = 0
                return None
            message = self._head()
            if "error" in message:
                raise ServiceError(message["error"])
            self._place["position"] += message["planned"]
            if message["samples"] == 0:
                self._used(self._socket, message)
                continue
            return self._take(message)

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
            if message["kind"] == "batch":
                return message
            if message["kind"] == "refused":
                raise ServiceError(message["message"])

    def _used(self, connection, message):
        if connection is None or connection is not self._socket:
            return
        used = {"kind": "used", **{name: message[name] for name in ("session", "seed", "sequence")}}
        try:
            connection.sendall(json.dumps(used).encode() + b"\n")
        except OSError:
            # The service is gone; the next call joins another one at this place.
            pass

    def _take(self, message):
        ring, connection = self._ring, self._socket
        ring.check(message["slot"], message["generation"], message["sequence"])
        data, labels, items = ring.views(message["slot"], message["samples"])
        release = lambda: self._used(connection, message)  # noqa: E731
        if self._copy:
            data, labels, items = data.copy(), labels.copy(), items.copy()
            release()
            release = None
        if self._torch is not None:
            data, labels, items = map(self._as_torch, (data, labels, items))
        return Batch(data, labels, items, message["epoch"], message["position"], release)

    def _as_torch(self, array):
        # torch warns of arrays that may not be written to, which views of the ring are on purpose.
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._torch.from_numpy(array)


# The byte cache under an unmodified dataset.

_INDEX_MAGIC = 0x4D4C4331
_HEADER_WORDS = 16
_SLOT_WORDS = 8


class ByteCache:
    """Reads files of a data set from the cache that Millrace's loaders fill; files it lacks come from storage.

    ``root`` is the data set's folder as loaders opened it. Reading only: what is read here is not admitted.
    """

    def __init__(self, root, folder=None):
        self._root = os.path.realpath(root) if not os.path.isabs(root) else os.path.normpath(root)
        base = folder or os.path.join(f"/dev/shm/millrace-{os.getuid()}", "cache")
        self.path = os.path.join(base, _content_hash(f"folder {self._root}")[:16])
        self.hits = 0
        self.misses = 0
        self._segments = {}
        self._index = None
        self._segment_bytes = 0

    def read(self, path):
        """The file's bytes."""
        path = os.path.abspath(path)
        found = self._find(path)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        with builtins.open(path, "rb") as file:
            return file.read()

    def _find(self, path):
        if self._index is None and not self._open():
            return None
        stat = os.stat(path)
        name = os.path.relpath(path, self._root)
        a, b, *_ = _hash128(f"{name}\n{stat.st_size} {_milliseconds(stat)} 0 {stat.st_size}")
        if a == 0 and b == 0:
            a = 1
        mask = self._slots - 1
        at = (a ^ b) & mask
        for _ in range(self._slots):
            word = 4 * (_HEADER_WORDS + at * _SLOT_WORDS)
            state, ka, kb, low, high, size, crc = struct.unpack_from("<7I", self._index, word)
            if state == 0:
                return None
            if (ka, kb) == (a, b):
                return self._content(low + (high << 32), size, crc) if state == 2 else None
            at = (at + 1) & mask
        return None

    def _content(self, offset, size, crc):
        number, start = divmod(offset, self._segment_bytes)
        segment = self._segments.get(number)
        if segment is None or len(segment) < start + size:
            try:
                with builtins.open(os.path.join(self.path, f"segment-{number}"), "rb") as file:
                    segment = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
            except (OSError, ValueError):
                return None
            self._segments[number] = segment
        content = segment[start : start + size]
        # A loader may have made the cache smaller meanwhile: then the bytes are others, or missing.
        return content if len(content) == size and zlib.crc32(content) == crc else None

    def _open(self):
        try:
            with builtins.open(os.path.join(self.path, "about.json"), encoding="utf8") as file:
                self._segment_bytes = json.load(file)["segmentBytes"]
            with builtins.open(os.path.join(self.path, "index"), "rb") as file:
                index = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        except (OSError, ValueError):
            return False
        magic, self._slots = struct.unpack_from("<2I", index, 0)
        if magic != _INDEX_MAGIC:
            return False
        self._index = index
        return True


_caches = {}


def open(path, mode="rb", root=None):  # noqa: A001
    """A file of a data set, for reading bytes, through the byte cache of the folder ``root``.

    ``root`` defaults to the folder above the file's own, which is right for one folder per class.
    """
    if mode not in ("rb", "r+b", "br"):
        raise ValueError(f"mode {mode!r}: the byte cache reads bytes only")
    path = os.path.abspath(path)
    if root is None:
        root = os.path.dirname(os.path.dirname(path))
    cache = _caches.get(root)
    if cache is None:
        cache = _caches[root] = ByteCache(root)
    return io.BytesIO(cache.read(path))


# The hash that names items and folders: MurmurHash3 x86_128 over UTF-16 code units (core/hash.ts).

_M = 0xFFFFFFFF
_C = (0x239B961B, 0xAB0E9789, 0x38B34AE5, 0xA1E38B93)


def _rotate(x, by):
    return ((x << by) | (x >> (32 - by))) & _M


def _finish(h):
    h ^= h >> 16
    h = h * 0x85EBCA6B & _M
    h ^= h >> 13
    h = h * 0xC2B2AE35 & _M
    return h ^ (h >> 16)


def _hash128(text):
    data = text.encode("utf-16-le")
    length = len(data)
    data += b"\0" * (-length % 16)
    h1 = h2 = h3 = h4 = 0
    c1, c2, c3, c4 = _C
    for i in range(0, len(data), 16):
        k1, k2, k3, k4 = struct.unpack_from("<4I", data, i)
        h1 ^= _rotate(k1 * c1 & _M, 15) * c2 & _M
        h1 = ((_rotate(h1, 19) + h2) * 5 + 0x561CCD1B) & _M
        h2 ^= _rotate(k2 * c2 & _M, 16) * c3 & _M
        h2 = ((_rotate(h2, 17) + h3) * 5 + 0x0BCAA747) & _M
        h3 ^= _rotate(k3 * c3 & _M, 17) * c4 & _M
        h3 = ((_rotate(h3, 15) + h4) * 5 + 0x96CD1C35) & _M
        h4 ^= _rotate(k4 * c4 & _M, 18) * c1 & _M
        h4 = ((_rotate(h4, 13) + h1) * 5 + 0x32AC3B17) & _M
    h1, h2, h3, h4 = (h ^ length for h in (h1, h2, h3, h4))
    h1 = (h1 + h2 + h3 + h4) & _M
    h2, h3, h4 = (h2 + h1) & _M, (h3 + h1) & _M, (h4 + h1) & _M
    h1, h2, h3, h4 = (_finish(h) for h in (h1, h2, h3, h4))
    h1 = (h1 + h2 + h3 + h4) & _M
    return h1, (h2 + h1) & _M, (h3 + h1) & _M, (h4 + h1) & _M


def _content_hash(text):
    return "".join(f"{word:08x}" for word in _hash128(json.dumps(text, ensure_ascii=False)))


def _milliseconds(stat):
    """The modification time as JavaScript prints it: milliseconds, with the shortest fraction that is exact."""
    seconds, nanoseconds = divmod(stat.st_mtime_ns, 1_000_000_000)
    value = seconds * 1000 + nanoseconds / 1_000_000
    return str(int(value)) if value == int(value) else repr(value)

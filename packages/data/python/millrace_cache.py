"""Millrace's byte cache for Python: files of a data set from the shared memory that all jobs on it fill.

Used through ``millrace_loader.open``. Its files are those of cache/minio-cache.ts and cache/index-table.ts: a log of
items in segments, and a hash table over them that is read without a lock. Standard library only.
"""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import io
import json
import mmap
import os
import struct
import threading
import zlib

__all__ = ["ByteCache", "open"]

_INDEX_MAGIC = 0x4D4C4331
_HEADER_WORDS = 16
_SLOT_WORDS = 8
_EMPTY, _FILLING, _READY, _DROPPED = range(4)
_BUMP_AT, _USED_AT, _ITEMS_AT, _CAPACITY_AT = 16, 24, 32, 40
_SEGMENT_BYTES = 256 * 2**20


class ByteCache:
    """Reads files of a folder of classes through the cache that it shares with Millrace's loaders.

    Files that it lacks come from storage and are kept while there is room; nothing is ever evicted. ``root`` is the data
    set's folder as loaders open it. A cache that a loader made is used as it is; with ``capacity`` (bytes; default the
    environment's MILLRACE_CACHE_BYTES) one is made where there is none. While it is open, its bound cannot be lowered.
    """

    def __init__(self, root, folder=None, capacity=None):
        self._root = os.path.realpath(root) if not os.path.isabs(root) else os.path.normpath(root)
        base = folder or os.path.join(f"/dev/shm/millrace-{os.getuid()}", "cache")
        self.path = os.path.join(base, _content_hash(f"folder {self._root}")[:16])
        self._capacity = int(capacity or os.environ.get("MILLRACE_CACHE_BYTES") or 0)
        self.hits = self.misses = self.admitted = self.refused = 0
        self._thread = threading.Lock()
        self._forget()

    def _forget(self):
        self._pid = os.getpid()
        self._segments = {}
        self._index = None
        self._lock = self._admission = None
        self._full = False

    def read(self, path):
        """The file's bytes."""
        path = os.path.abspath(path)
        if os.getpid() != self._pid:
            # Locks of a process that forked are one lock: a worker takes its own.
            self._forget()
        try:
            stat = os.stat(path)
            opened = self._index is not None or self._open()
        except OSError:
            opened = False
        if not opened:
            self.misses += 1
            return _whole(path)
        key = self._key(path, stat)
        content = self._find(*key)
        if content is not None:
            self.hits += 1
            return content
        self.misses += 1
        content = _whole(path)
        if len(content) == stat.st_size and self._admit(*key, content):
            self.admitted += 1
        else:
            self.refused += 1
        return content

    def close(self):
        """Lets go of the cache; the next read opens it again."""
        for file in (self._lock, self._admission):
            if file is not None:
                file.close()
        self._forget()

    def _key(self, path, stat):
        name = os.path.relpath(path, self._root)
        a, b, *_ = _hash128(f"{name}\n{stat.st_size} {_milliseconds(stat)} 0 {stat.st_size}")
        return (1 if a == 0 and b == 0 else a), b

    def _probe(self, a, b):
        """Byte offsets of the slots where the key may be, in order."""
        mask = self._slots - 1
        at = (a ^ b) & mask
        for _ in range(self._slots):
            yield 4 * (_HEADER_WORDS + at * _SLOT_WORDS)
            at = (at + 1) & mask

    def _find(self, a, b):
        for word in self._probe(a, b):
            state, ka, kb, low, high, size, crc = struct.unpack_from("<7I", self._index, word)
            if state == _EMPTY:
                return None
            if (ka, kb) == (a, b):
                return self._content(low + (high << 32), size, crc) if state == _READY else None
        return None

    def _content(self, offset, size, crc):
        number, start = divmod(offset, self._segment_bytes)
        segment = self._segments.get(number)
        if segment is None or len(segment) < start + size:
            try:
                with builtins.open(self._segment_path(number), "rb") as file:
                    segment = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
            except (OSError, ValueError):
                return None
            self._segments[number] = segment
        content = segment[start : start + size]
        return content if len(content) == size and zlib.crc32(content) == crc else None

    # Filling it.

    def _admit(self, a, b, content):
        if self._full or self._admission is None or not content:
            return False
        with self._thread:
            with _flock(self._admission):
                word = self._claim(a, b, len(content))
            if word is None:
                return False
            low, high = struct.unpack_from("<2I", self._index, word + 12)
            offset = low + (high << 32)
            try:
                self._write(offset, content)
            except OSError:
                # Shared memory is full: the entry stays unfinished, and is dropped at the next opening.
                self._full = True
                return False
            with _flock(self._admission):
                struct.pack_into("<I", self._index, word + 24, zlib.crc32(content))
                self._add(_USED_AT, len(content))
                self._add(_ITEMS_AT, 1)
                struct.pack_into("<I", self._index, word, _READY)
            return True

    def _claim(self, a, b, size):
        """A slot for the key and room in the log below the bound; None when it is there already or nothing fits."""
        bump, capacity = self._long(_BUMP_AT), self._long(_CAPACITY_AT)
        segment = self._segment_bytes
        if bump // segment != (bump + size - 1) // segment:
            bump = -(-bump // segment) * segment
        if size > segment or bump + size > capacity:
            return None
        for word in self._probe(a, b):
            state, ka, kb = struct.unpack_from("<3I", self._index, word)
            same = (ka, kb) == (a, b)
            if state != _EMPTY and not (same and state == _DROPPED):
                if same:
                    return None
                continue
            struct.pack_into("<5I", self._index, word + 4, a, b, bump & _M, bump >> 32, size)
            struct.pack_into("<I", self._index, word, _FILLING)
            struct.pack_into("<q", self._index, _BUMP_AT, bump + size)
            return word
        return None

    def _write(self, offset, content):
        number, start = divmod(offset, self._segment_bytes)
        capacity = self._long(_CAPACITY_AT)
        # All segments up to this one, as loaders expect them.
        for i in range(number + 1):
            room = max(0, min(self._segment_bytes, capacity - i * self._segment_bytes))
            size = max(4096, -(-room // 4096) * 4096)
            path = self._segment_path(i)
            if not os.path.exists(path) or os.path.getsize(path) < size:
                with _opened(path, os.O_RDWR | os.O_CREAT) as fd:
                    os.posix_fallocate(fd, 0, size)
        with _opened(self._segment_path(number), os.O_RDWR) as fd:
            os.pwrite(fd, content, start)

    def _long(self, at):
        return struct.unpack_from("<q", self._index, at)[0]

    def _add(self, at, value):
        struct.pack_into("<q", self._index, at, self._long(at) + value)

    def _segment_path(self, number):
        return os.path.join(self.path, f"segment-{number}")

    # Opening it.

    def _open(self):
        index = os.path.join(self.path, "index")
        if not os.path.exists(index):
            if self._capacity <= 0:
                return False
            self._make()
        try:
            # Held in common with every job that uses the cache: nobody moves entries meanwhile.
            self._lock = builtins.open(os.path.join(self.path, "lock"), "ab")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self._admission = builtins.open(os.path.join(self.path, "admission"), "ab")
            with builtins.open(os.path.join(self.path, "about.json"), encoding="utf8") as file:
                self._segment_bytes = json.load(file)["segmentBytes"]
            with builtins.open(index, "r+b") as file:
                memory = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED)
        except (OSError, ValueError):
            self.close()
            return False
        magic, self._slots, dirty = struct.unpack_from("<3I", memory, 0)
        if magic != _INDEX_MAGIC or dirty != 0:
            self.close()
            return False
        self._index = memory
        return True

    def _make(self):
        """An empty cache for as many items as the folder has files now."""
        base = os.path.dirname(self.path)
        for folder in (os.path.dirname(base), base, self.path):
            _private_folder(folder)
        index = os.path.join(self.path, "index")
        with builtins.open(os.path.join(self.path, "lock"), "ab") as lock, _flock(lock):
            if os.path.exists(index):
                return
            items = sum(len(files) for _, _, files in os.walk(self._root))
            slots = 1 << (max(16, 2 * items) - 1).bit_length()
            size = 4 * (_HEADER_WORDS + slots * _SLOT_WORDS)
            about = {"kind": "folder", "path": self._root, "segmentBytes": _SEGMENT_BYTES}
            with _opened(os.path.join(self.path, "about.json"), os.O_WRONLY | os.O_CREAT) as fd:
                os.write(fd, json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode())
            # Under its name only when it is whole: others look for the name.
            part = f"{index}.{os.getpid()}"
            with _opened(part, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
                os.posix_fallocate(fd, 0, size)
                os.pwrite(fd, struct.pack("<2I", _INDEX_MAGIC, slots), 0)
                os.pwrite(fd, struct.pack("<q", self._capacity), _CAPACITY_AT)
            os.rename(part, index)


def _private_folder(path):
    """Makes the folder for this user alone. Shared memory's own folder stays as it is; another user's is refused."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        stat = os.lstat(path)
        if stat.st_mode & 0o1000 == 0 and (stat.st_uid != os.getuid() or stat.st_mode & 0o077):
            raise OSError(f"{path} is not a folder of this user alone") from None


@contextlib.contextmanager
def _flock(file):
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextlib.contextmanager
def _opened(path, flags):
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _whole(path):
    with builtins.open(path, "rb") as file:
        return file.read()


_caches = {}


def open(path, mode="rb", root=None):  # noqa: A001
    """A file of a data set, for reading bytes, through the byte cache of the folder ``root``.

    ``root`` defaults to the folder above the file's own, which is right for one folder per class. The cache is the one
    that loaders made, or one of MILLRACE_CACHE_BYTES bytes; without either, files come from storage.
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

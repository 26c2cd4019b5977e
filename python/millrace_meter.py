"""Time and peak memory of a piece of work in PyTorch: on CUDA the allocator's, on a CPU under Linux the process's peak of
resident memory, which the kernel counts."""

import ctypes
import re
import time

import torch


class Heap:
    """The C library's heap, closed to large blocks: what is left free in it would be filled by tensors unseen, and would stay
    resident when they go. Closed, every tensor of 64 KiB or more is a mapping of its own, which comes and goes with it."""

    LARGE = 1 << 16

    def __init__(self):
        self.libc = ctypes.CDLL(None)
        self.held = []
        self.usable = all(hasattr(self.libc, name) for name in ("mallopt", "malloc_trim"))
        if self.usable:
            self.libc.malloc.restype = ctypes.c_void_p
            self.libc.malloc.argtypes = [ctypes.c_size_t]
            self.libc.free.argtypes = [ctypes.c_void_p]
            self.libc.mallopt(-3, self.LARGE)  # M_MMAP_THRESHOLD

    def close(self):
        if not self.usable:
            return
        # Pages of free blocks go back first, so that holding these blocks, untouched, takes no memory.
        self.libc.malloc_trim(0)
        size = 1 << 32
        while size >= self.LARGE:
            block = self.libc.malloc(size)
            # The second bit of glibc's header: a mapping of its own, so the heap has no free block of this size.
            if block is None or ctypes.c_size_t.from_address(block - ctypes.sizeof(ctypes.c_size_t)).value & 2:
                self.libc.free(block)
                size //= 2
            else:
                self.held.append(block)

    def open(self):
        while self.held:
            self.libc.free(self.held.pop())


class Meter:
    """Time and peak memory of a piece of work on one device."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"
        self.device = device
        self.heap = None if self.cuda else Heap()

    def _status(self, field):
        with open("/proc/self/status", encoding="ascii") as status:
            return int(re.search(rf"^{field}:\s+(\d+) kB$", status.read(), re.M).group(1)) * 1024

    def allocated(self):
        """Bytes in use now: the allocator's on CUDA, resident memory otherwise."""
        if self.cuda:
            torch.cuda.synchronize(self.device)
            return torch.cuda.memory_allocated(self.device)
        return self._status("VmRSS")

    def __enter__(self):
        if self.heap is not None:
            self.heap.close()
        return self

    def __exit__(self, *_):
        if self.heap is not None:
            self.heap.open()

    def run(self, work):
        """Runs `work`: its result, seconds, and bytes of peak above what was there before. Within `with meter:`."""
        before = self.allocated()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
                refs.write("5")
        started = time.perf_counter()
        result = work()
        if self.cuda:
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - started
        peak = torch.cuda.max_memory_allocated(self.device) if self.cuda else self._status("VmHWM")
        return result, seconds, max(0, peak - before)

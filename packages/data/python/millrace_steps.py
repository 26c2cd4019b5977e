"""Steps of a training program, told to ``millrace data analyze`` or to its scheduler; part of millrace_loader."""

from __future__ import annotations

import builtins
import json
import os
import time

__all__ = ["instrument", "leased"]


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
        # A view stays on loan; what is handed out may be released.
        return first.lasting() if hasattr(first, "lasting") else first

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


def leased(batches, lease, step=0):
    """``batches``, each of which is reported to the scheduler when it was used; an epoch ends early when that asks to stop.

    ``lease`` is what ``millrace_lease.take()`` gave; None: ``batches`` itself. ``step`` is the number of batches used in
    earlier starts. What the lease grants becomes the cache and the workers of ``batches`` where it has
    ``set_cache_bytes`` and ``set_workers``, from its next epoch on. See ``instrument`` for what a batch may be.
    """
    return batches if lease is None else _Leased(batches, lease, step)


class _Leased:
    def __init__(self, batches, lease, step):
        self._batches = batches
        self._lease = lease
        self._step = step
        self._granted = {}
        self._follow()

    def __len__(self):
        return len(self._batches)

    def __getattr__(self, name):
        return getattr(self._batches, name)

    def __iter__(self):
        source = iter(self._batches)
        while not self._lease.stopping:
            self._follow()
            began = time.monotonic()
            batch = next(source, None)
            if batch is None:
                return
            samples = _samples(batch)
            handed = time.monotonic()
            try:
                yield batch
            finally:
                self._step += 1
                self._lease.report(self._step, time.monotonic() - handed, handed - began, samples)

    def _follow(self):
        """Hands on what changed of the grant; the source acts at its next epoch."""
        grant = self._lease.grant
        wanted = {"set_cache_bytes": grant["cacheBytes"], "set_workers": max(1, int(grant["cpus"]))}
        for name, value in wanted.items():
            if self._granted.get(name) != value and hasattr(self._batches, name):
                getattr(self._batches, name)(value)
            self._granted[name] = value

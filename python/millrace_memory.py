"""Fits the training of a PyTorch model into a byte budget: measures, plans with `millrace memory plan`, applies, verifies.

    from millrace_memory import auto_checkpoint
    report = auto_checkpoint(model, sample, "22GiB")

What PyTorch can be told is, for each block of a model, to keep what its backward pass needs or to compute it again once
(torch.utils.checkpoint). The planning problem given to the planner is exactly that, so nothing is lost in translation;
what a plan without this limit would save in time is measured beside it and printed. Random numbers are safe: a
recomputed block restores the generator's state, so that dropout repeats its mask.

Blocks are the modules of `blocks`, or the children of the largest Sequential or ModuleList. They are called once each,
one after the other. Works on CUDA (the allocator's peak) and on a CPU under Linux (the process's peak of resident
memory, which the kernel counts).
"""

import ctypes
import dataclasses
import json
import os
import re
import subprocess
import tempfile
import time
import types

import torch
from torch.utils.checkpoint import checkpoint

__all__ = ["auto_checkpoint", "measure_blocks", "plan_blocks", "apply_plan", "remove_plan", "jax_policy", "Block", "Report"]

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_bytes(size):
    """Bytes of "22GiB", "512 MB" or a number. Raises ValueError naming what cannot be read."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", size) if isinstance(size, str) else None
    if match is not None and match.group(2).lower() in _UNITS:
        size = float(match.group(1)) * _UNITS[match.group(2).lower()]
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 < size < 2**53:
        raise ValueError(f"budget: {size!r} is no size above 0 such as '22GiB', '512MB' or a number of bytes")
    return int(size)


@dataclasses.dataclass
class Block:
    """What one block was measured to need: bytes and seconds. Peaks are those of its backward pass, beyond what there was at
    its begin (so with the gradients that it makes); 0 and None stand for what was not measured."""

    name: str
    output_bytes: int
    kept_bytes: int
    # Of the backward pass, beyond what is kept and the gradients of parameters and input.
    workspace_bytes: int
    forward_seconds: float
    backward_seconds: float
    parameter_bytes: int
    # Under selective checkpointing (torch >= 2.4): what is kept, and what the step takes longer.
    selective_bytes: int = 0
    selective_seconds: float = 0.0
    selective_peak_bytes: int = 0
    # Computed again as a whole: what the step takes longer.
    again_seconds: float = None
    again_peak_bytes: int = 0
    # Of the forward pass, beyond output and what is kept.
    forward_bytes: int = 0

    @property
    def whole_seconds(self):
        return self.forward_seconds if self.again_seconds is None else self.again_seconds

    @property
    def splits(self):
        """Whether keeping products alone is a choice of its own: less memory than everything, less time than nothing."""
        return 0 < self.selective_bytes < self.kept_bytes and self.selective_seconds < self.whole_seconds


@dataclasses.dataclass
class Report:
    """A plan that was applied. Times and bytes are of one step; `measured_*` are None before verification."""

    budget_bytes: int
    recomputed: list
    # Of them, those that keep products and convolutions.
    selective: list
    target: str
    predicted_peak_bytes: int
    predicted_overhead: float
    unrestricted_overhead: float
    lower_bound_overhead: float
    store_all_peak_bytes: int
    measured_peak_bytes: int = None
    measured_seconds: float = None
    measured_overhead: float = None

    def __str__(self):
        mib = lambda n: f"{n / 2**20:.1f} MiB"
        lines = [
            f"budget {mib(self.budget_bytes)}: {len(self.recomputed)} blocks are computed again, "
            f"{len(self.selective)} of them in part ({self.target})",
            f"predicted peak {mib(self.predicted_peak_bytes)} instead of {mib(self.store_all_peak_bytes)}, "
            f"{100 * self.predicted_overhead:.1f} % more time",
            f"a plan that PyTorch cannot express would take {100 * self.unrestricted_overhead:.1f} % more time",
        ]
        if self.measured_peak_bytes is not None:
            lines.append(
                f"measured peak {mib(self.measured_peak_bytes)}, {100 * self.measured_overhead:.1f} % more time"
            )
        return "\n".join(lines)


class _Heap:
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


class _Meter:
    """Time and peak memory of a piece of work on one device."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"
        self.device = device
        self.heap = None if self.cuda else _Heap()

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


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _bytes(value):
    return sum(t.numel() * t.element_size() for t in _tensors(value))


def _default_blocks(model):
    lists = [m for m in model.modules() if isinstance(m, (torch.nn.Sequential, torch.nn.ModuleList)) and len(m) > 1]
    if not lists:
        raise ValueError("model: it has no Sequential or ModuleList of two or more: name its blocks with blocks=[...]")
    weight = lambda m: sum(p.numel() for p in m.parameters())
    return list(max(lists, key=lambda m: (weight(m), len(m))))


def _detached(value):
    if isinstance(value, torch.Tensor):
        return value.detach().requires_grad_(value.is_floating_point() and value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)(_detached(item) for item in value)
    if isinstance(value, dict):
        return {key: _detached(item) for key, item in value.items()}
    return value


def _call(model, sample):
    if isinstance(sample, dict):
        return model(**sample)
    return model(*sample) if isinstance(sample, (list, tuple)) else model(sample)


def _device_of(model, sample):
    """The one device of model and sample."""
    parameters = list(model.named_parameters())
    if not any(p.requires_grad for _, p in parameters):
        raise ValueError("model: it has no parameter that is trained, so there is nothing to plan")
    device = parameters[0][1].device
    for what, tensors in (("model", parameters), ("sample", enumerate(_tensors(sample)))):
        for name, tensor in tensors:
            if tensor.device != device:
                at = f"parameter {name}" if what == "model" else f"tensor {name}"
                raise ValueError(f"{what}: {at} is on {tensor.device}, parameter {parameters[0][0]} on {device}: move both to one")
    return device


def _loss_of(output, loss):
    if loss is not None:
        value = loss(output)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(f"loss: it gave {shape} where one number is needed: reduce it, for example with .mean()")
    else:
        value = sum(t.float().sum() for t in _tensors(output) if t.is_floating_point())
    if not getattr(value, "requires_grad", False):
        raise ValueError("model: its output depends on no parameter that is trained, so there is no backward pass to plan")
    return value


def _finite(value, step):
    if not bool(torch.isfinite(value.detach()).all()):
        raise ValueError(f"loss: it is {value.item()} in step {step} of the sample: check the sample, or scale the loss")
    return value


def _storage(tensor):
    return tensor.untyped_storage() if hasattr(tensor, "untyped_storage") else tensor.storage()


def _pointer(tensor):
    return _storage(tensor).data_ptr()


class _SavedBytes:
    """Counts the bytes that autograd saves, each storage once, leaving out parameters and a block's own inputs."""

    def __init__(self, known):
        self.known = known
        self.seen = {}

    def pack(self, tensor):
        pointer = _pointer(tensor)
        if pointer not in self.known:
            self.seen[pointer] = _storage(tensor).nbytes()
        # Detached: a node that holds its own result would never be freed.
        return tensor.detach()


def measure_blocks(model, sample, blocks=None, repeats=3):
    """Measures each block alone on the inputs it has in the model: a list of Block, in the order of their calls."""
    device = _device_of(model, sample)
    blocks = _default_blocks(model) if blocks is None else list(blocks)
    names = {module: name for name, module in model.named_modules()}
    for i, block in enumerate(blocks):
        if block not in names:
            raise ValueError(f"blocks: number {i} ({type(block).__name__}) is no part of the model")
    calls = []

    def remember(module, args):
        calls.append((module, _detached(args)))

    hooks = [block.register_forward_pre_hook(remember) for block in blocks]
    try:
        with torch.random.fork_rng():
            _call(model, sample)
    finally:
        for hook in hooks:
            hook.remove()
    order = [module for module, _ in calls]
    if len(set(order)) != len(order):
        twice = next(names[m] for m in order if order.count(m) > 1)
        raise ValueError(f"blocks: {twice} is called more than once in a step: leave it out of blocks")
    idle = [names[block] for block in blocks if block not in set(order)]
    if idle:
        raise ValueError(f"blocks: {idle[0]} is not called by the model on this sample: leave it out of blocks")
    meter = _Meter(device)
    return [_measure(block, args, names[block], meter, repeats) for block, args in calls]


def _saved_bytes(block, args):
    """Bytes of a block's output, and of what autograd keeps inside it."""
    saved = _SavedBytes(set(map(_pointer, block.parameters())) | set(map(_pointer, _tensors(args))))
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
        output = block(*args)
    own = set(map(_pointer, _tensors(output)))
    return _bytes(output), sum(size for pointer, size in saved.seen.items() if pointer not in own)


def _measure(block, args, name, meter, repeats):
    size, kept = _saved_bytes(block, args)
    context = _selective_context()
    forms = {"kept": None, "again": {}} if context is None else {"kept": None, "again": {}, "selective": {"context_fn": context}}
    runs = {form: [] for form in forms}
    # One form after the other, so that a machine that becomes slower is no reason for or against one of them.
    for _ in range(repeats + 1):
        for form, options in forms.items():
            with meter:
                before = meter.allocated()
                work = (lambda: block(*args)) if options is None else (lambda: _again(block, args, options))
                output, forward, forward_peak = meter.run(work)
                held = meter.allocated() - before - size
                result = [t for t in _tensors(output) if t.requires_grad]
                gradient = [torch.ones_like(t) for t in result]
                _, backward, backward_peak = meter.run(lambda: torch.autograd.backward(result, gradient))
            runs[form].append((forward, backward, forward_peak, backward_peak, held, forward + backward))
            del output, gradient, result
            block.zero_grad(set_to_none=True)
            for tensor in _tensors(args):
                tensor.grad = None
    middle = lambda form, i: sorted(r[i] for r in runs[form][1:])[repeats // 2]
    # The least of each: a difference of medians is lost in the noise of a machine with other work. Something always runs twice,
    # so that no noise makes it free.
    least = lambda form: min(r[5] for r in runs[form][1:])
    longer = lambda form, share: max(share * middle("kept", 0), least(form) - least("kept"))
    parameters = sum(p.numel() * p.element_size() for p in block.parameters() if p.requires_grad)
    fresh = sum(t.numel() * t.element_size() for t in _tensors(args) if t.requires_grad)
    return Block(
        name,
        size,
        kept,
        max(0, middle("kept", 3) - parameters - fresh),
        middle("kept", 0),
        middle("kept", 1),
        parameters,
        selective_bytes=0 if context is None else max(0, middle("selective", 4)),
        selective_seconds=0.0 if context is None else longer("selective", 0.02),
        selective_peak_bytes=0 if context is None else middle("selective", 3),
        again_seconds=longer("again", 0.5),
        again_peak_bytes=middle("again", 3),
        forward_bytes=max(0, middle("kept", 2) - size - kept),
    )


def _problem(blocks, fixed, rest_seconds, free_outputs):
    """The planning problem: block j makes its output and, as auxiliary tensor, what its backward pass needs.

    A block that was measured under selective checkpointing is two operators in a row: its products, whose results are one
    auxiliary tensor, and the rest. With `free_outputs` outputs may be given up and computed again too, which PyTorch's
    checkpoint cannot do block by block; without it they are part of what is fixed, and gradients are counted as workspace.
    Gives the problem and, by operator, the block and which part of it.
    """
    ops = []
    parts = []
    resident = 0 if free_outputs else sum(b.output_bytes for b in blocks)
    source = -1
    for j, b in enumerate(blocks):
        before = blocks[j - 1].output_bytes if j > 0 else 0
        gradients = 0 if free_outputs else b.output_bytes + before
        # A block computed again has its output twice, and its output's gradient is there; measured, as it was alone.
        again = max(b.again_peak_bytes, b.selective_bytes + b.selective_peak_bytes if b.splits else 0)
        last_ws = max(b.forward_bytes, 0 if free_outputs else again + b.output_bytes - b.kept_bytes)
        split = not free_outputs and b.splits
        light = min(b.selective_seconds, b.forward_seconds)
        pieces = (
            [
                ("products", b.forward_seconds - light, b.whole_seconds - b.selective_seconds, b.selective_bytes),
                ("rest", light, b.selective_seconds, b.kept_bytes - b.selective_bytes),
            ]
            if split
            else [("whole", b.forward_seconds, b.whole_seconds, b.kept_bytes)]
        )
        needs = [f"o{source}"] if source >= 0 else []
        for i, (part, seconds, more, kept) in enumerate(pieces):
            last = i == len(pieces) - 1
            at = len(ops)
            parts.append((j, part))
            # The last part's backward pass is the block's: it needs what every part keeps.
            needs = needs + [f"a{at}"]
            ops.append(
                {
                    "name": b.name if part == "whole" else f"{b.name}, {part}",
                    "inputs": [source] if source >= 0 else [],
                    "out": b.output_bytes if free_outputs and last else 0,
                    "fwd": [{"t": seconds, "again": more, "ws": last_ws if last else b.forward_bytes, "aux": kept}],
                    "bwd": [
                        {"t": b.backward_seconds, "ws": b.workspace_bytes + gradients, "need": needs}
                        if last
                        else {"t": 0, "ws": 0, "need": []}
                    ],
                    "pg": b.parameter_bytes if last else 0,
                }
            )
            source = at
    ops.append(
        {
            "name": "rest",
            "inputs": [source],
            "out": 0,
            "fwd": [{"t": rest_seconds, "ws": 0}],
            "bwd": [{"t": 0, "ws": 0, "need": []}],
            "pg": 0,
        }
    )
    return {"fixed": max(0, fixed + resident), "ops": ops}, parts


def _millrace(problem, name, budget, command):
    case = {"format": "millrace.remat-cases/1", "cases": [{"name": name, "problem": {"name": name, "budget": budget, **problem}}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8") as file:
        json.dump(case, file)
    try:
        line = [*command, "memory", "plan", file.name, "--case", name, "--budget", str(int(budget)), "--effort", "low", "--json"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RuntimeError(
            f"command: {command[0]} cannot be run ({error.strerror}): put it on the path, or pass command=[...]"
        ) from None
    finally:
        os.unlink(file.name)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"millrace memory plan failed: {done.stderr.strip() or done.stdout.strip()}") from None
    return answer


def step_peak(blocks, fixed=0, recomputed=(), selective=()):
    """Bytes of peak of a step in which the named blocks are computed again: all outputs, what the blocks before keep inside,
    and what the block at work takes. Everything is kept by default."""
    held = [b.kept_bytes if b.name not in recomputed else b.selective_bytes if b.name in selective else 0 for b in blocks]
    peak = 0
    for j, b in enumerate(blocks):
        before = blocks[j - 1].output_bytes if j > 0 else 0
        alone = b.kept_bytes + b.parameter_bytes + before + b.workspace_bytes
        if b.name in selective:
            alone = b.selective_bytes + b.selective_peak_bytes if b.selective_peak_bytes else alone
        elif b.name in recomputed:
            alone = b.again_peak_bytes or alone
        later = sum(c.parameter_bytes for c in blocks[j + 1 :])
        peak = max(peak, sum(held[:j]) + later + b.output_bytes + alone)
    return fixed + sum(b.output_bytes for b in blocks) + peak


def _forms(plan, parts):
    """Of a plan of the planner: the blocks that do not keep everything, each with its form."""
    first_backward = next(i for i, action in enumerate(plan) if action[0] == "b")
    given_up = {}
    for action in plan[:first_backward]:
        if action[0] == "x" and action[1].startswith("a"):
            j, part = parts[int(action[1][1:])]
            given_up.setdefault(j, set()).add(part)
    # Without its products a block is computed again as a whole: PyTorch cannot keep the rest alone.
    return {j: "selective" if given_up[j] == {"rest"} else "again" for j in given_up}


def _named(blocks, forms):
    again = [blocks[j].name for j in sorted(forms)]
    return again, [blocks[j].name for j in sorted(forms) if forms[j] == "selective"]


def _extra_seconds(blocks, forms):
    return sum(blocks[j].selective_seconds if form == "selective" else blocks[j].whole_seconds for j, form in forms.items())


def _lifted(blocks, forms, budget, fixed):
    """The plan with blocks that keep more wherever the budget lets them, the most time saved first."""
    while True:
        tried = [{k: f for k, f in forms.items() if k != j} for j in forms]
        tried += [{**forms, j: "selective"} for j, form in forms.items() if form == "again" and blocks[j].splits]
        fitting = [t for t in tried if step_peak(blocks, fixed, *_named(blocks, t)) <= budget]
        best = min(fitting, key=lambda t: _extra_seconds(blocks, t), default=forms)
        if _extra_seconds(blocks, best) >= _extra_seconds(blocks, forms):
            return forms
        forms = best


def plan_blocks(blocks, budget, fixed=0, rest_seconds=0.0, command=("millrace",)):
    """Plans which blocks to compute again within `budget` bytes. Raises RuntimeError naming the least budget."""
    everything = sum(b.forward_seconds + b.backward_seconds for b in blocks) + rest_seconds
    # With products as a choice the planner may give up them alone, which PyTorch cannot: that is a bound on what it can. The
    # same blocks without the choice are planned too, and the better plan stands once each is made as fast as its budget lets it.
    splits = any(b.splits for b in blocks)
    variants = [blocks, [dataclasses.replace(b, selective_bytes=0) for b in blocks]] if splits else [blocks]
    answers = []
    for variant in variants:
        problem, parts = _problem(variant, fixed, rest_seconds, False)
        answers.append((_millrace(problem, "blocks", budget, command), parts))
    plans = [_lifted(blocks, _forms(answer["plan"], parts), budget, fixed) for answer, parts in answers if answer["feasible"]]
    if not plans:
        least = min((a["minBudget"] for a, _ in answers if a.get("minBudget") is not None), default=None)
        raise RuntimeError(f"budget: no plan fits {int(budget)} bytes; the least budget is {least} bytes")
    forms = min(plans, key=lambda plan: _extra_seconds(blocks, plan))
    again, selective = _named(blocks, forms)
    bound = answers[0][0].get("lowerBound")
    overhead = lambda time: time / everything - 1
    # Nothing computed again is as fast as any plan.
    free = {"feasible": True, "time": everything}
    if again:
        free = _millrace(_problem(blocks, fixed, rest_seconds, True)[0], "free", budget, command)
    return Report(
        budget_bytes=int(budget),
        recomputed=again,
        selective=selective,
        target="torch.utils.checkpoint",
        predicted_peak_bytes=int(step_peak(blocks, fixed, again, selective)),
        predicted_overhead=overhead(everything + _extra_seconds(blocks, forms)),
        unrestricted_overhead=overhead(free["time"]) if free["feasible"] else float("nan"),
        lower_bound_overhead=overhead(bound) if bound is not None else float("nan"),
        store_all_peak_bytes=step_peak(blocks, fixed),
    )


def _selective_context():
    """Contexts that keep products of matrices and convolutions inside a recomputed block (torch >= 2.4), or None."""
    try:
        from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
    except ImportError:
        return None
    aten = torch.ops.aten
    heavy = {aten.mm.default, aten.bmm.default, aten.addmm.default, aten.convolution.default}

    def policy(ctx, op, *args, **kwargs):
        return CheckpointPolicy.MUST_SAVE if op in heavy else CheckpointPolicy.PREFER_RECOMPUTE

    return lambda: create_selective_checkpoint_contexts(policy)


def _again(block, args, options, kwargs={}):
    # Without re-entering autograd: keyword arguments pass, and inputs without gradients are no special case.
    return checkpoint(block, *args, use_reentrant=False, preserve_rng_state=True, **options, **kwargs)


def apply_plan(model, recomputed, selective=()):
    """Makes the named blocks compute their insides again in the backward pass; those in `selective` keep products and
    convolutions (torch >= 2.4). `remove_plan` undoes it."""
    modules = dict(model.named_modules())
    partly = _selective_context()
    if selective and partly is None:
        raise RuntimeError("selective checkpointing needs torch >= 2.4")
    for name in recomputed:
        if name not in modules:
            raise ValueError(f"recomputed: the model has no module {name!r}; names are those of model.named_modules()")
        module = modules[name]
        if hasattr(module, "_millrace_forward"):
            continue
        module._millrace_forward = module.forward
        chosen = partly if name in selective else None

        def forward(self, *args, _context=chosen, **kwargs):
            if not torch.is_grad_enabled():
                return self._millrace_forward(*args, **kwargs)
            return _again(self._millrace_forward, args, {} if _context is None else {"context_fn": _context}, kwargs)

        module.forward = types.MethodType(forward, module)


def remove_plan(model):
    """Gives every block its own forward back."""
    for module in model.modules():
        if hasattr(module, "_millrace_forward"):
            del module.forward
            del module._millrace_forward


def _step(model, sample, loss, meter):
    def work():
        value = _loss_of(_call(model, sample), loss)
        value.backward()
        return value.detach()

    runs = []
    for i in range(4):
        model.zero_grad(set_to_none=True)
        with meter:
            value, seconds, peak = meter.run(work)
        _finite(value, i)
        runs.append((seconds, peak))
    model.zero_grad(set_to_none=True)
    return sorted(r[0] for r in runs[1:])[1], max(r[1] for r in runs[1:])


def auto_checkpoint(model, sample, budget, blocks=None, loss=None, verify=True, command=("millrace",)):
    """Measures, plans, applies and verifies; returns a Report.

    `budget` is bytes of peak during forward and backward, beyond what is resident before the step (parameters, optimizer
    state, data). `sample` is what the model is called with: a tensor, a tuple of positional or a dict of keyword arguments.
    `loss` makes the output a scalar (its sum otherwise). A plan whose measured peak is above the budget is planned anew with
    that much less, up to three times: allocators round, and blocks were measured alone. Raises RuntimeError naming the least
    budget when none fits, and when the measured peak stays above the budget: the model is then left as it was.
    """
    budget = parse_bytes(budget)
    meter = _Meter(_device_of(model, sample))
    remove_plan(model)
    # Steps on the sample leave no trace: neither in random numbers nor in running statistics.
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with torch.random.fork_rng():
            return _fit(model, sample, budget, blocks, loss, verify, command, meter)
    except BaseException:
        remove_plan(model)
        raise
    finally:
        model.zero_grad(set_to_none=True)
        for name, buffer in model.named_buffers():
            buffer.data.copy_(buffers[name])


def _fit(model, sample, budget, blocks, loss, verify, command, meter):
    store_seconds, store_peak = _step(model, sample, loss, meter)
    measured = measure_blocks(model, sample, blocks)
    inside = sum(b.forward_seconds + b.backward_seconds for b in measured)
    # What the step holds outside the blocks, less what blocks measured alone hold twice: known from the whole step.
    fixed = store_peak - step_peak(measured)
    allowed = budget
    for attempts_left in reversed(range(4)):
        report = plan_blocks(measured, allowed, fixed, max(0.0, store_seconds - inside), command)
        report.budget_bytes = budget
        report.store_all_peak_bytes = store_peak
        apply_plan(model, report.recomputed, report.selective)
        if not verify:
            break
        seconds, peak = _step(model, sample, loss, meter)
        report.measured_seconds, report.measured_peak_bytes = seconds, peak
        report.measured_overhead = seconds / store_seconds - 1
        if peak <= budget:
            break
        remove_plan(model)
        if attempts_left == 0:
            raise RuntimeError(
                f"budget: the step takes {peak} bytes where {report.predicted_peak_bytes} were predicted and {budget} allowed: "
                "allow more"
            )
        allowed = min(allowed, report.predicted_peak_bytes) - (peak - budget)
    return report


def jax_policy(names, recomputed):
    """Python text for jax.checkpoint: keeps the named values except those to be computed again.

    `names` are those given to checkpoint_name inside the function, each once; `recomputed` is a part of them, for example
    `report.recomputed` when values have the names of blocks. Everything without a kept name is computed again.
    """
    for what, given in (("names", names), ("recomputed", recomputed)):
        for name in given:
            if not isinstance(name, str) or not name:
                raise ValueError(f"{what}: {name!r} is no name: give texts, as to checkpoint_name")
    stranger = next((name for name in recomputed if name not in names), None)
    if stranger is not None:
        raise ValueError(f"recomputed: {stranger!r} is none of the names {list(names)!r}: correct it, or add it to names")
    kept = [name for name in dict.fromkeys(names) if name not in set(recomputed)]
    listed = ", ".join(ascii(name) for name in kept)
    return (
        "import jax\n"
        "from jax.ad_checkpoint import checkpoint_name\n\n"
        "# Name each block's result inside the function: y = checkpoint_name(block(y), \"NAME\")\n"
        f"policy = jax.checkpoint_policies.save_only_these_names({listed})\n"
        "# step = jax.checkpoint(step, policy=policy)\n"
    )

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
    if isinstance(size, (int, float)):
        return int(size)
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", size)
    if match is None or match.group(2).lower() not in _UNITS:
        raise ValueError(f"{size!r} is no size such as '22GiB' or '512MB'")
    return int(float(match.group(1)) * _UNITS[match.group(2).lower()])


@dataclasses.dataclass
class Block:
    """What one block was measured to need: bytes and seconds."""

    name: str
    output_bytes: int
    kept_bytes: int
    workspace_bytes: int
    forward_seconds: float
    backward_seconds: float
    parameter_bytes: int
    # Under selective checkpointing (torch >= 2.4): what is kept, and the time to compute the rest again; 0 where unmeasured.
    selective_bytes: int = 0
    selective_seconds: float = 0.0


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


class _Meter:
    """Time and peak memory of a piece of work on one device."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"
        self.device = device
        if not self.cuda:
            # Large tensors get mappings of their own, so that freed ones leave the process at once.
            try:
                ctypes.CDLL(None).mallopt(-3, 1 << 16)
            except (OSError, AttributeError):
                pass

    def _status(self, field):
        with open("/proc/self/status", encoding="ascii") as status:
            return int(re.search(rf"^{field}:\s+(\d+) kB$", status.read(), re.M).group(1)) * 1024

    def allocated(self):
        """Bytes in use now: the allocator's on CUDA, resident memory otherwise."""
        if self.cuda:
            torch.cuda.synchronize(self.device)
            return torch.cuda.memory_allocated(self.device)
        return self._status("VmRSS")

    def run(self, work):
        """Runs `work`: its result, seconds, and bytes of peak above what was there before."""
        if self.cuda:
            torch.cuda.synchronize(self.device)
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
                refs.write("5")
            before = self._status("VmRSS")
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
        raise ValueError("the model has no Sequential or ModuleList: name its blocks with blocks=[...]")
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


def _loss_of(output, loss):
    if loss is not None:
        return loss(output)
    return sum(t.float().sum() for t in _tensors(output) if t.is_floating_point())


class _SavedBytes:
    """Counts the bytes that autograd saves, each storage once, leaving out parameters and a block's own inputs."""

    def __init__(self, known):
        self.known = known
        self.seen = {}

    def pack(self, tensor):
        pointer = tensor.storage().data_ptr()
        if pointer not in self.known:
            self.seen[pointer] = len(tensor.storage()) * tensor.element_size()
        return tensor

    @property
    def bytes(self):
        return sum(self.seen.values())


def measure_blocks(model, sample, blocks=None, repeats=3):
    """Measures each block alone on the inputs it has in the model: a list of Block, in the order of their calls."""
    blocks = _default_blocks(model) if blocks is None else list(blocks)
    names = {module: name for name, module in model.named_modules()}
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
        raise ValueError(f"block {twice} is called more than once in a step: leave it out of blocks")
    device = next(model.parameters()).device
    meter = _Meter(device)
    return [_measure(block, args, names.get(block, "?"), meter, repeats) for block, args in calls]


def _measure(block, args, name, meter, repeats):
    known = {p.storage().data_ptr() for p in block.parameters()} | {t.storage().data_ptr() for t in _tensors(args)}
    runs = []
    for _ in range(repeats + 1):
        saved = _SavedBytes(known)
        with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
            output, forward, forward_peak = meter.run(lambda: block(*args))
        gradient = [torch.ones_like(t) for t in _tensors(output) if t.requires_grad]
        result = [t for t in _tensors(output) if t.requires_grad]
        own = {t.storage().data_ptr() for t in _tensors(output)}
        kept = sum(size for pointer, size in saved.seen.items() if pointer not in own)
        _, backward, backward_peak = meter.run(lambda: torch.autograd.backward(result, gradient))
        runs.append((forward, backward, forward_peak, backward_peak))
        size = _bytes(output)
        del output, gradient, result
        block.zero_grad(set_to_none=True)
    middle = lambda i: sorted(r[i] for r in runs[1:])[len(runs[1:]) // 2]
    parameters = sum(p.numel() * p.element_size() for p in block.parameters() if p.requires_grad)
    fresh = sum(t.numel() * t.element_size() for t in _tensors(args) if t.requires_grad)
    forward_extra = max(0, middle(2) - size - kept)
    backward_extra = max(0, middle(3) - parameters - fresh)
    selective = _measure_selective(block, args, size, middle(1), meter, repeats)
    return Block(name, size, kept, max(forward_extra, backward_extra), middle(0), middle(1), parameters, *selective)


def _measure_selective(block, args, size, backward_seconds, meter, repeats):
    """Bytes that selective checkpointing keeps of a block, and how much longer its backward pass is; zeros before 2.4."""
    context = _selective_context()
    if context is None:
        return 0, 0.0
    runs = []
    for _ in range(repeats + 1):
        before = meter.allocated()
        output = checkpoint(block, *args, use_reentrant=False, preserve_rng_state=True, context_fn=context)
        kept = max(0, meter.allocated() - before - size)
        result = [t for t in _tensors(output) if t.requires_grad]
        gradient = [torch.ones_like(t) for t in result]
        _, backward, _ = meter.run(lambda: torch.autograd.backward(result, gradient))
        runs.append((kept, backward))
        del output, gradient, result
        block.zero_grad(set_to_none=True)
    middle = lambda i: sorted(r[i] for r in runs[1:])[len(runs[1:]) // 2]
    return middle(0), max(0.0, middle(1) - backward_seconds)


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
        split = not free_outputs and 0 < b.selective_bytes < b.kept_bytes and b.selective_seconds < b.forward_seconds
        light = min(b.selective_seconds, b.forward_seconds)
        pieces = (
            [("products", b.forward_seconds - light, b.selective_bytes), ("rest", light, b.kept_bytes - b.selective_bytes)]
            if split
            else [("whole", b.forward_seconds, b.kept_bytes)]
        )
        needs = [f"o{source}"] if source >= 0 else []
        for i, (part, seconds, kept) in enumerate(pieces):
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
                    "fwd": [{"t": seconds, "ws": b.workspace_bytes, "aux": kept}],
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
    return {"fixed": fixed + resident, "ops": ops}, parts


def _millrace(problem, name, budget, command):
    case = {"format": "millrace.remat-cases/1", "cases": [{"name": name, "problem": {"name": name, "budget": budget, **problem}}]}
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False, encoding="utf-8") as file:
        json.dump(case, file)
    try:
        line = [*command, "memory", "plan", file.name, "--case", name, "--budget", str(int(budget)), "--effort", "low", "--json"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    finally:
        os.unlink(file.name)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"millrace memory plan failed: {done.stderr.strip() or done.stdout.strip()}") from None
    return answer


def store_all_peak(blocks, fixed):
    """Bytes of a step that keeps everything: all outputs and insides, and the gradients of the block at work."""
    kept = fixed + sum(b.output_bytes + b.kept_bytes for b in blocks)
    return max(
        kept + sum(c.parameter_bytes for c in blocks[j:]) + b.output_bytes + b.workspace_bytes
        + (blocks[j - 1].output_bytes if j > 0 else 0)
        for j, b in enumerate(blocks)
    )


def plan_blocks(blocks, budget, fixed=0, rest_seconds=0.0, command=("millrace",)):
    """Plans which blocks to compute again within `budget` bytes. Raises RuntimeError naming the least budget."""
    everything = sum(b.forward_seconds + b.backward_seconds for b in blocks) + rest_seconds
    problem, parts = _problem(blocks, fixed, rest_seconds, False)
    answer = _millrace(problem, "blocks", budget, command)
    if not answer["feasible"]:
        least = answer.get("minBudget")
        raise RuntimeError(f"no plan fits {budget} bytes; the least budget is {least} bytes")
    freed = answer["plan"]
    first_backward = next(i for i, action in enumerate(freed) if action[0] == "b")
    dropped = [parts[int(a[1][1:])] for a in freed[:first_backward] if a[0] == "x" and a[1].startswith("a")]
    given_up = {}
    for j, part in dropped:
        given_up.setdefault(j, set()).add(part)
    again = [blocks[j].name for j in sorted(given_up)]
    # Without its products a block is computed again as a whole: PyTorch cannot keep the rest alone.
    selective = [blocks[j].name for j in sorted(given_up) if given_up[j] == {"rest"}]
    extra = sum(blocks[j].selective_seconds for j in given_up if given_up[j] == {"products"})
    free = _millrace(_problem(blocks, fixed, rest_seconds, True)[0], "free", budget, command)
    overhead = lambda time: time / everything - 1
    return Report(
        budget_bytes=int(budget),
        recomputed=again,
        selective=selective,
        target="torch.utils.checkpoint",
        predicted_peak_bytes=int(answer["peak"]),
        predicted_overhead=overhead(answer["time"] + extra),
        unrestricted_overhead=overhead(free["time"]) if free["feasible"] else float("nan"),
        lower_bound_overhead=overhead(answer["lowerBound"]) if answer.get("lowerBound") is not None else float("nan"),
        store_all_peak_bytes=store_all_peak(blocks, fixed),
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


def apply_plan(model, recomputed, selective=()):
    """Makes the named blocks compute their insides again in the backward pass; those in `selective` keep products and
    convolutions (torch >= 2.4). `remove_plan` undoes it."""
    modules = dict(model.named_modules())
    partly = _selective_context()
    if selective and partly is None:
        raise RuntimeError("selective checkpointing needs torch >= 2.4")
    for name in recomputed:
        module = modules[name]
        if hasattr(module, "_millrace_forward"):
            continue
        module._millrace_forward = module.forward
        chosen = partly if name in selective else None

        def forward(self, *args, _context=chosen, **kwargs):
            if not torch.is_grad_enabled():
                return self._millrace_forward(*args, **kwargs)
            # Without re-entering autograd: keyword arguments pass, and inputs without gradients are no special case.
            options = {"use_reentrant": False, "preserve_rng_state": True}
            if _context is not None:
                options["context_fn"] = _context
            return checkpoint(self._millrace_forward, *args, **options, **kwargs)

        module.forward = types.MethodType(forward, module)


def remove_plan(model):
    """Gives every block its own forward back."""
    for module in model.modules():
        if hasattr(module, "_millrace_forward"):
            del module.forward
            del module._millrace_forward


def _step(model, sample, loss, meter):
    def work():
        _loss_of(_call(model, sample), loss).backward()

    runs = []
    for _ in range(4):
        model.zero_grad(set_to_none=True)
        _, seconds, peak = meter.run(work)
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
    device = next(model.parameters()).device
    meter = _Meter(device)
    remove_plan(model)
    store_seconds, store_peak = _step(model, sample, loss, meter)
    measured = measure_blocks(model, sample, blocks)
    inside = sum(b.forward_seconds + b.backward_seconds for b in measured)
    # What the step holds outside the blocks: known from the whole step, since blocks were measured alone.
    fixed = max(0, store_peak - store_all_peak(measured, 0))
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
            raise RuntimeError(f"the step takes {peak} bytes where {report.predicted_peak_bytes} were predicted; budget {budget}")
        allowed = min(allowed, report.predicted_peak_bytes) - (peak - budget)
    return report


def jax_policy(names, recomputed):
    """Python text for jax.checkpoint: keeps the named values except those to be computed again."""
    kept = [name for name in names if name not in set(recomputed)]
    listed = ", ".join(json.dumps(name) for name in kept)
    return (
        "import jax\n"
        "from jax.ad_checkpoint import checkpoint_name\n\n"
        "# Name each block's result inside the function: y = checkpoint_name(block(y), \"NAME\")\n"
        f"policy = jax.checkpoint_policies.save_only_these_names({listed})\n"
        "# step = jax.checkpoint(step, policy=policy)\n"
    )

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

import re
import types

import torch

from millrace_blocks import Block, call, checkpointed, device_of, loss_of, measure_blocks, selective_context
from millrace_meter import Meter
from millrace_plan import Report, plan_blocks, step_peak

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


def apply_plan(model, recomputed, selective=()):
    """Makes the named blocks compute their insides again in the backward pass; those in `selective` keep products and
    convolutions (torch >= 2.4). `remove_plan` undoes it."""
    modules = dict(model.named_modules())
    partly = selective_context()
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
            return checkpointed(self._millrace_forward, args, {} if _context is None else {"context_fn": _context}, kwargs)

        module.forward = types.MethodType(forward, module)


def remove_plan(model):
    """Gives every block its own forward back."""
    for module in model.modules():
        if hasattr(module, "_millrace_forward"):
            del module.forward
            del module._millrace_forward


def _finite(value, step):
    if not bool(torch.isfinite(value.detach()).all()):
        raise ValueError(f"loss: it is {value.item()} in step {step} of the sample: check the sample, or scale the loss")
    return value


def _step(model, sample, loss, meter):
    def work():
        value = loss_of(call(model, sample), loss)
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
    meter = Meter(device_of(model, sample))
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

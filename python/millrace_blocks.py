"""What the blocks of a PyTorch model need, in each form in which they may run: kept, computed again as a whole, or computed
again with products and convolutions kept (selective, torch >= 2.4)."""

import dataclasses

import torch
from torch.utils.checkpoint import checkpoint

from millrace_meter import Meter


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


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_of(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_of(item)


def bytes_of(value):
    return sum(t.numel() * t.element_size() for t in tensors_of(value))


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


def call(model, sample):
    if isinstance(sample, dict):
        return model(**sample)
    return model(*sample) if isinstance(sample, (list, tuple)) else model(sample)


def device_of(model, sample):
    """The one device of model and sample."""
    parameters = list(model.named_parameters())
    if not any(p.requires_grad for _, p in parameters):
        raise ValueError("model: it has no parameter that is trained, so there is nothing to plan")
    device = parameters[0][1].device
    for what, tensors in (("model", parameters), ("sample", enumerate(tensors_of(sample)))):
        for name, tensor in tensors:
            if tensor.device != device:
                at = f"parameter {name}" if what == "model" else f"tensor {name}"
                raise ValueError(f"{what}: {at} is on {tensor.device}, parameter {parameters[0][0]} on {device}: move both to one")
    return device


def loss_of(output, loss):
    if loss is not None:
        value = loss(output)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(f"loss: it gave {shape} where one number is needed: reduce it, for example with .mean()")
    else:
        value = sum(t.float().sum() for t in tensors_of(output) if t.is_floating_point())
    if not getattr(value, "requires_grad", False):
        raise ValueError("model: its output depends on no parameter that is trained, so there is no backward pass to plan")
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
    device = device_of(model, sample)
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
            call(model, sample)
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
    meter = Meter(device)
    return [_measure(block, args, names[block], meter, repeats) for block, args in calls]


def _saved_bytes(block, args):
    """Bytes of a block's output, and of what autograd keeps inside it."""
    saved = _SavedBytes(set(map(_pointer, block.parameters())) | set(map(_pointer, tensors_of(args))))
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda t: t):
        output = block(*args)
    own = set(map(_pointer, tensors_of(output)))
    return bytes_of(output), sum(size for pointer, size in saved.seen.items() if pointer not in own)


def _measure(block, args, name, meter, repeats):
    size, kept = _saved_bytes(block, args)
    context = selective_context()
    forms = {"kept": None, "again": {}} if context is None else {"kept": None, "again": {}, "selective": {"context_fn": context}}
    runs = {form: [] for form in forms}
    # One form after the other, so that a machine that becomes slower is no reason for or against one of them.
    for _ in range(repeats + 1):
        for form, options in forms.items():
            with meter:
                before = meter.allocated()
                work = (lambda: block(*args)) if options is None else (lambda: checkpointed(block, args, options))
                output, forward, forward_peak = meter.run(work)
                held = meter.allocated() - before - size
                result = [t for t in tensors_of(output) if t.requires_grad]
                gradient = [torch.ones_like(t) for t in result]
                _, backward, backward_peak = meter.run(lambda: torch.autograd.backward(result, gradient))
            runs[form].append((forward, backward, forward_peak, backward_peak, held, forward + backward))
            del output, gradient, result
            block.zero_grad(set_to_none=True)
            for tensor in tensors_of(args):
                tensor.grad = None
    middle = lambda form, i: sorted(r[i] for r in runs[form][1:])[repeats // 2]
    # The least of each: a difference of medians is lost in the noise of a machine with other work. Something always runs twice,
    # so that no noise makes it free.
    least = lambda form: min(r[5] for r in runs[form][1:])
    longer = lambda form, share: max(share * middle("kept", 0), least(form) - least("kept"))
    parameters = sum(p.numel() * p.element_size() for p in block.parameters() if p.requires_grad)
    fresh = sum(t.numel() * t.element_size() for t in tensors_of(args) if t.requires_grad)
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


def selective_context():
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


def checkpointed(block, args, options, kwargs={}):
    # Without re-entering autograd: keyword arguments pass, and inputs without gradients are no special case.
    return checkpoint(block, *args, use_reentrant=False, preserve_rng_state=True, **options, **kwargs)

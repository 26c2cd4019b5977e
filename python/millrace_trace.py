#!/usr/bin/env python3
"""Writes a training trace of a torch model for `millrace memory`: operators, shapes, parameters and measured times.

    import torch, torchvision
    from millrace_trace import trace
    trace(torchvision.models.resnet50().cuda(), torch.randn(64, 3, 224, 224).cuda(), "resnet50.json")

    millrace memory plan resnet50.json --budget 50%

Works with torch 1.13 and later through torch.fx; a model that it cannot trace is refused, with what to do.
Each operator is timed alone, forward and backward, the median of `repeats` runs on the device of the sample. Views
(flatten, reshape, ...) are seen through. Needs nothing but torch.
"""
import json
import operator
import statistics
import time

import torch
import torch.fx
import torch.nn.functional as F

FORMAT = "millrace.training-trace/1"
TYPES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
VIEWS = {"flatten", "view", "reshape", "squeeze", "unsqueeze", "contiguous", "size", "detach"}


def _pair(value):
    return list(value) if isinstance(value, (tuple, list)) else [value, value]


def _module_kind(module):
    """Kind and attributes of a leaf module; anything unknown goes by its class name and is planned as it is."""
    nn = torch.nn
    if isinstance(module, nn.Conv2d) and not isinstance(module.padding, str):
        return "conv2d", {
            "kernel": _pair(module.kernel_size), "stride": _pair(module.stride),
            "padding": _pair(module.padding), "groups": module.groups, "bias": module.bias is not None,
        }
    if isinstance(module, nn.Linear):
        return "linear", {"bias": module.bias is not None, "flatten": False}
    if isinstance(module, nn.BatchNorm2d):
        return "batchNorm", {"epsilon": module.eps}
    if isinstance(module, nn.LayerNorm):
        return "layerNorm", {"epsilon": module.eps}
    if isinstance(module, nn.MaxPool2d):
        return "maxPool", {
            "kernel": _pair(module.kernel_size), "stride": _pair(module.stride or module.kernel_size),
            "padding": _pair(module.padding),
        }
    if isinstance(module, nn.AvgPool2d):
        return "averagePool", {
            "kernel": _pair(module.kernel_size), "stride": _pair(module.stride or module.kernel_size),
            "padding": _pair(module.padding),
        }
    if isinstance(module, nn.Dropout):
        return "dropout", {"rate": module.p}
    if isinstance(module, nn.Embedding):
        return "embedding", {"positions": False}
    simple = {
        nn.ReLU: "relu", nn.ReLU6: "relu6", nn.GELU: "gelu", nn.SiLU: "silu", nn.Sigmoid: "sigmoid",
        nn.Tanh: "tanh", nn.Softmax: "softmax", nn.Hardswish: "hardSwish", nn.Hardsigmoid: "hardSigmoid",
        nn.LeakyReLU: "leakyRelu", nn.AdaptiveAvgPool2d: "averageTo",
    }
    for cls, kind in simple.items():
        if isinstance(module, cls):
            return kind, {}
    return type(module).__name__, {}


FUNCTIONS = {
    operator.add: "add", operator.iadd: "add", torch.add: "add", operator.mul: "multiply", torch.mul: "multiply",
    torch.cat: "concat", F.relu: "relu", torch.relu: "relu", F.gelu: "gelu", F.silu: "silu",
    torch.sigmoid: "sigmoid", torch.tanh: "tanh", F.softmax: "softmax", torch.softmax: "softmax",
    torch.matmul: "matmul", torch.bmm: "matmul", torch.transpose: "transpose", torch.permute: "transpose",
}


def _sync(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _median_seconds(run, device, repeats):
    run()
    times = []
    for _ in range(repeats):
        _sync(device)
        start = time.perf_counter()
        run()
        _sync(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _detached(value, grad):
    if isinstance(value, torch.Tensor):
        # A copy in both cases, so that its time cancels; no leaf, so that operators may write over it.
        leaf = value.detach()
        return (leaf.requires_grad_() if grad and leaf.is_floating_point() else leaf).clone()
    if isinstance(value, (tuple, list)):
        return type(value)(_detached(v, grad) for v in value)
    return value


class _Tracer(torch.fx.Interpreter):
    def __init__(self, module, repeats):
        super().__init__(module)
        self.repeats = repeats
        self.operators = []
        self.inputs = []
        self.alias = {}

    def _names(self, node):
        found = []
        torch.fx.node.map_arg((node.args, node.kwargs), lambda n: found.append(self.alias.get(n.name, n.name)) or n)
        return [name for name in found if name is not None]

    def run_node(self, node):
        if node.op == "placeholder":
            value = super().run_node(node)
            self.inputs.append({"name": node.name, "dims": list(value.shape), "type": TYPES.get(value.dtype, "i32")})
            return value
        if node.op in ("output", "get_attr"):
            if node.op == "get_attr":
                self.alias[node.name] = None
            return super().run_node(node)
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        call = getattr(self, node.op)
        value = call(node.target, args, kwargs)
        name = node.target if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        # A view, or something that is no tensor: whoever reads it reads its source.
        if not isinstance(value, torch.Tensor) or name in VIEWS or (
            node.op == "call_module" and isinstance(self.fetch_attr(node.target), (torch.nn.Flatten, torch.nn.Identity))
        ):
            names = self._names(node)
            self.alias[node.name] = names[0] if names else None
            return value
        if node.op == "call_module":
            module = self.fetch_attr(node.target)
            kind, attributes = _module_kind(module)
            parameters = [
                {"name": f"{node.target}.{n}", "dims": list(p.shape)} for n, p in module.named_parameters()
            ]
        else:
            kind = FUNCTIONS.get(node.target, name) if node.op == "call_function" else name
            attributes, parameters = {}, []
        if kind == "averageTo":
            kind = "globalAveragePool" if value.shape[-1] == 1 and value.shape[-2] == 1 else "adaptive_avg_pool2d"
        device = value.device

        def forward():
            with torch.no_grad():
                call(node.target, _detached(args, False), kwargs)

        record = {
            "name": node.name, "kind": kind, "attributes": attributes, "inputs": self._names(node),
            "dims": list(value.shape), "parameters": parameters,
            "forwardSeconds": _median_seconds(forward, device, self.repeats),
        }

        def both():
            with torch.enable_grad():
                result = call(node.target, _detached(args, True), kwargs)
                if result.requires_grad:
                    result.backward(torch.ones_like(result))

        total = _median_seconds(both, device, self.repeats)
        record["backwardSeconds"] = max(0.0, total - record["forwardSeconds"])
        self.operators.append(record)
        return value.detach()


def trace(model, sample, path=None, name=None, repeats=5):
    """Traces `model` on `sample` (a tensor or a tuple of tensors); returns the trace and writes it to `path`."""
    samples = sample if isinstance(sample, tuple) else (sample,)
    for i, tensor in enumerate(samples):
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"sample: number {i} is a {type(tensor).__name__}: give a tensor or a tuple of tensors")
        for name, parameter in model.named_parameters():
            if parameter.device != tensor.device:
                raise ValueError(f"sample: number {i} is on {tensor.device}, parameter {name} on {parameter.device}: move both to one")
    try:
        graph = torch.fx.symbolic_trace(model)
    except Exception as error:  # torch.fx raises of many kinds, and what the model's own code does with a proxy
        raise ValueError(
            f"model: torch.fx cannot trace {type(model).__name__} ({type(error).__name__}: {error}): take branches that depend "
            "on values out of forward, or plan it block by block with millrace_memory.auto_checkpoint, which needs no trace"
        ) from error
    tracer = _Tracer(graph, repeats)
    tracer.run(*samples)
    if not tracer.operators:
        raise ValueError("model: it has no operators: trace one that computes something")
    last = tracer.operators[-1]
    if last["dims"] != [1]:
        labels = {"name": "labels", "dims": last["dims"][:-1] or [1], "type": "i32"}
        tracer.inputs.append(labels)
        tracer.operators.append({
            "name": "loss", "kind": "crossEntropy", "inputs": [last["name"], "labels"], "dims": [1],
        })
    device = samples[0].device
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    result = {
        "format": FORMAT, "name": name or type(model).__name__, "batch": samples[0].shape[0],
        "type": TYPES.get(next(model.parameters()).dtype, "f32"), "device": label,
        "inputs": tracer.inputs, "operators": tracer.operators,
    }
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(result, file)
    return result

"""Tests of millrace_trace.py on the torch at hand: python3 test_millrace_trace.py FILE

Writes the trace of a small network to FILE, for whoever reads it next.
"""

import json
import sys

import torch

from millrace_trace import trace


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.depth = torch.nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.side = torch.nn.Conv2d(8, 8, 1, stride=2)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.drop = torch.nn.Dropout(0.1)
        self.classes = torch.nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = self.depth(x) + self.side(x)
        return self.classes(self.drop(torch.flatten(self.pool(x), 1)))


torch.manual_seed(1)
net = Net()
path = sys.argv[1]
written = trace(net, torch.randn(4, 3, 16, 16), path, repeats=2)
with open(path, encoding="utf-8") as file:
    assert json.load(file) == json.loads(json.dumps(written))

kinds = [op["kind"] for op in written["operators"]]
expected = ["conv2d", "batchNorm", "relu", "conv2d", "conv2d", "add", "globalAveragePool", "dropout", "linear", "crossEntropy"]
assert kinds == expected, kinds
by_name = {op["name"]: op for op in written["operators"]}
assert by_name["depth"]["attributes"] == {
    "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "groups": 8, "bias": True,
}, by_name["depth"]
assert by_name["depth"]["dims"] == [4, 8, 8, 8]
# A view is seen through: the linear operator reads dropout, which reads the pool.
assert by_name["drop"]["inputs"] == ["pool"] and by_name["classes"]["inputs"] == ["drop"]
assert written["operators"][-1]["inputs"] == ["classes", "labels"]
assert written["batch"] == 4 and written["type"] == "f32"
for op in written["operators"][:-1]:
    assert op["forwardSeconds"] > 0 and op["backwardSeconds"] >= 0, op


class Branch(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x


def refused(words, *arguments):
    try:
        trace(*arguments)
    except ValueError as error:
        assert str(error).startswith(words), error
    else:
        raise AssertionError(f"not refused: {words}")


refused("model: torch.fx cannot trace Branch (TraceError:", Branch(2, 2), torch.randn(1, 2))
refused("sample: number 0 is on meta, parameter first.weight on cpu: move both", net, torch.empty(4, 3, 16, 16, device="meta"))
refused("sample: number 0 is a str: give a tensor", net, "x")
refused("model: it has no operators", torch.nn.Flatten(), torch.randn(2, 2))
total = sum(p["dims"][0] * int(torch.tensor(p["dims"][1:]).prod()) for op in written["operators"] for p in op.get("parameters", []))
assert total == sum(p.numel() for p in net.parameters()), total
print(json.dumps({"torch": torch.__version__, "operators": len(kinds)}))

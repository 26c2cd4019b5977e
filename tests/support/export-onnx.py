"""Writes a small residual network as torch.onnx exports it: export-onnx.py FILE train|eval. The batch is symbolic."""
import sys

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, stride):
        super().__init__()
        wider = channels * stride
        self.conv1 = nn.Conv2d(channels, wider, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wider)
        self.down = nn.Sequential(nn.Conv2d(channels, wider, 1, stride, bias=False), nn.BatchNorm2d(wider))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.down(x))


net = nn.Sequential(
    nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
    Block(8, 2), Block(16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 10),
)
train = sys.argv[2] == "train"
net.train(train)
mode = torch.onnx.TrainingMode
torch.onnx.export(
    net, torch.randn(2, 3, 64, 64), sys.argv[1], input_names=["image"], dynamic_axes={"image": {0: "n"}},
    training=mode.TRAINING if train else mode.EVAL, do_constant_folding=not train,
)

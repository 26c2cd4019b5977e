"""CPU seconds per image of Python's ways to prepare an image, for data-prep.bench.ts: one JSON object on stdout."""

import glob
import json
import math
import random
import resource
import sys
import time

import numpy as np

root, size = sys.argv[1], 224
files = sorted(glob.glob(root + "/*/*.jpg"))
mean = np.array([0.485, 0.456, 0.406], np.float32)
std = np.array([0.229, 0.224, 0.225], np.float32)


def crop(width, height):
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if w <= width and h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    return 0, 0, width, height


def finish(pixels):
    if random.random() < 0.5:
        pixels = pixels[:, ::-1]
    pixels = (pixels.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def with_pil(path):
    from PIL import Image

    with Image.open(path) as image:
        image = image.convert("RGB")
    x, y, w, h = crop(*image.size)
    return finish(np.asarray(image.resize((size, size), Image.BILINEAR, (x, y, x + w, y + h))))


def with_opencv(path):
    import cv2

    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    x, y, w, h = crop(image.shape[1], image.shape[0])
    return finish(cv2.resize(image[y : y + h, x : x + w], (size, size), interpolation=cv2.INTER_LINEAR))


def each(function):
    for path in files[:20]:
        function(path)
    before = time.process_time()
    for path in files:
        function(path)
    return (time.process_time() - before) / len(files)


def with_torchvision(workers):
    import torch
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    steps = transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean.tolist(), std.tolist()),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(root, steps), batch_size=64, shuffle=True, num_workers=workers
    )

    def spent():
        parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(part.ru_utime + part.ru_stime for part in parts)

    # Starting the workers is no part of preparing an image: the difference of three epochs and one.
    times = []
    for epochs in (1, 3):
        before = spent()
        for _ in range(epochs):
            for _ in loader:
                pass
        times.append(spent() - before)
    return (times[1] - times[0]) / (2 * len(files))


random.seed(1)
result = {}
try:
    result["pil"] = each(with_pil)
except ImportError:
    pass
try:
    import cv2

    cv2.setNumThreads(1)
    result["opencv"] = each(with_opencv)
except ImportError:
    pass
try:
    result["torchvision"] = with_torchvision(2)
except ImportError:
    pass
print(json.dumps(result))

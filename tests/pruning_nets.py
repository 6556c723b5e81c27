"""Small networks with every coupling of channels that pruning has to get right."""

import torch
from torch import nn
from torch.nn import functional


def chain(bias=False):
    """Two convolutions, pooling, one linear layer."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=1, bias=bias), nn.BatchNorm2d(12),
        nn.ReLU(), nn.Flatten(), nn.Linear(12 * 16, 5))


class Residual(nn.Module):
    """A stem and two blocks; the second has fewer pixels and a shortcut without
    weights (option A) or with (option B)."""

    def __init__(self, project=False):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.conv1a, self.bn1a = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1b, self.bn1b = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2a, self.bn2a = nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.conv2b, self.bn2b = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.project = nn.Conv2d(8, 16, 1, 2, bias=False) if project else None
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = functional.relu(self.bn(self.stem(x)))
        y = functional.relu(self.bn1a(self.conv1a(x)))
        x = functional.relu(self.bn1b(self.conv1b(y)) + x)
        y = functional.relu(self.bn2a(self.conv2a(x)))
        y = self.bn2b(self.conv2b(y))
        x = self.project(x) if self.project is not None else functional.pad(
            x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        return self.fc(functional.relu(y + x).mean((2, 3)))


class Separable(nn.Module):
    """Depthwise and pointwise convolutions, and a concatenation."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.depth, self.bn = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6)
        self.point = nn.Conv2d(6, 10, 1)
        self.both = nn.Conv2d(16, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 64, 5)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        y = functional.relu(self.point(functional.relu(self.bn(self.depth(x)))))
        return self.fc(functional.relu(self.both(torch.cat([x, y], 1))).flatten(1))


class Tokens(nn.Module):
    """An attention, which reads its last weight without calling the layer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.attend = nn.MultiheadAttention(16, 4, batch_first=True)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc(self.attend(x, x, x)[0].mean(1))


NETS = {"chain": chain, "chain with biases": lambda: chain(bias=True),
        "option A": Residual, "option B": lambda: Residual(project=True),
        "separable": Separable}


def make(name, seed=0):
    """A network with random weights and random statistics in its normalisations."""
    torch.manual_seed(seed)
    model = NETS[name]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.2)
    return model.eval()


def pictures(count=8, seed=1):
    """Random images of 8x8 pixels."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def batches(count=4, seed=1, images=16):
    """Batches of images and labels; the zeros of eight images take a run, of more two.
    """
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randn(images, 3, 8, 8, generator=draw),
             torch.randint(5, (images,), generator=draw)) for _ in range(count)]

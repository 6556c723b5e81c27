"""VGG-16 for 32x32 images (Simonyan and Zisserman, ICLR 2015), batch-normalised."""

from torch import nn

from pruning.models.resnet import start_weights

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """Stages of 3x3 convolutions with pooling after each, then three linear layers.

    Without dropout: batch normalisation came later than the paper, and short training
    has no use for both.
    """

    def __init__(self, num_classes):
        super().__init__()
        parts, channels = [], 3
        for stage in STAGES:
            for filters in stage:
                parts += [nn.Conv2d(channels, filters, 3, 1, 1, bias=False),
                          nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
                channels = filters
            parts.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(
            nn.Linear(512, 512), nn.ReLU(inplace=True),
            nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, num_classes))
        start_weights(self)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def vgg16(num_classes=10):
    """VGG-16-BN with a 512-512-10 head in place of 4096-4096-1000."""
    return VGG(num_classes)

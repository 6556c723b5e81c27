"""Batches of images that are in memory: shuffled, flipped and cropped as tensors."""

from collections.abc import Callable

import torch


class Batches:
    """Images and labels in batches; each pass has a new order, new flips and crops.

    What is drawn comes from torch's global generator, which
    :func:`pruning.training.fit` sets at each epoch.

    Parameters
    ----------
    images : tensor, shape (N, C, H, W)
        uint8, or floating-point numbers.
    labels : int64 tensor, shape (N,)
    batch : int
        Images of a batch; the last one has what is left.
    normalise : callable, optional
        Applied to each batch of images: uint8 pixels → what the network takes.
    crop : int
        Pixels by which an image is moved up, down, left or right at most; what comes
        in at the edge is the image mirrored.
    flip : bool
        Mirror every second image, at random, left to right.
    cutout : int
        Side, in pixels, of a square that is blanked in each image at a place drawn
        anew; at the edge it is cut off. It gets the image's mean colour.

    Raises
    ------
    ValueError
        Images and labels that do not fit together, no image, a crop that leaves
        nothing to mirror.

    Examples
    --------
    >>> images, labels = torch.zeros(5, 3, 8, 8), torch.arange(5)
    >>> [len(y) for x, y in Batches(images, labels, 2, crop=1, flip=True)]
    [2, 2, 1]
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, batch: int, *,
                 normalise: Callable[[torch.Tensor], torch.Tensor] | None = None,
                 crop: int = 0, flip: bool = False, cutout: int = 0):
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ValueError(
                "images (N, C, H, W) and labels (N,) are needed, got "
                f"{tuple(images.shape)} and {tuple(labels.shape)}")
        if not len(images):
            raise ValueError("there is no image to make batches of")
        if batch < 1:
            raise ValueError(f"a batch needs at least 1 image, got {batch}")
        if not 0 <= crop < min(images.shape[2:]):
            raise ValueError(f"crop={crop} pixels of images with "
                             f"{images.shape[2]}x{images.shape[3]}; lower it")
        self.images, self.labels, self.batch = images, labels, batch
        self.normalise, self.crop, self.flip = normalise, crop, flip
        self.cutout = cutout

    def __len__(self):
        return -(-len(self.images) // self.batch)

    def __iter__(self):
        order = torch.randperm(len(self.images)).to(self.images.device)
        for chosen in order.split(self.batch):
            images = self.images[chosen]
            if self.crop:
                images = random_crop(images, self.crop)
            if self.flip:
                images = random_flip(images)
            if self.cutout:
                images = random_cutout(images, self.cutout)
            if self.normalise:
                images = self.normalise(images)
            yield images, self.labels[chosen]


def random_crop(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Each image moved by up to ``pixels`` in each direction, mirrored at its edges."""
    N, _, H, W = images.shape
    rows, columns = (mirrored(extent, pixels, images.device) for extent in (H, W))
    windows = images[:, :, rows][:, :, :, columns].unfold(2, H, 1).unfold(3, W, 1)
    up, left = torch.randint(2 * pixels + 1, (2, N)).to(images.device)
    return windows[torch.arange(N, device=images.device), :, up, left]


def mirrored(extent: int, pixels: int, device: str | torch.device) -> torch.Tensor:
    """Indices of a line that goes on, mirrored, beyond both of its ends."""
    place = torch.arange(-pixels, extent + pixels, device=device).abs()
    return torch.where(place < extent, place, 2 * (extent - 1) - place)


def random_flip(images: torch.Tensor) -> torch.Tensor:
    """Every second image, at random, mirrored left to right."""
    flipped = (torch.rand(len(images), 1, 1, 1) < 0.5).to(images.device)
    return torch.where(flipped, images.flip(3), images)


def random_cutout(images: torch.Tensor, side: int) -> torch.Tensor:
    """Each image with a square of its mean colour around any of its pixels."""
    N, _, H, W = images.shape
    inside = []
    for extent in (H, W):
        first = torch.randint(extent, (N, 1)) - side // 2
        place = torch.arange(extent)
        inside.append(((place >= first) & (place < first + side)).to(images.device))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    colour = images.float().mean((2, 3), keepdim=True).to(images.dtype)
    return torch.where(square, colour, images)

"""Small detectors, one of each way to decode and to decide, which tests import."""

import torch
import torch.nn.functional as F
from torch import nn


def backbone(strides=(8, 16)):
    """Maps at two strides."""
    return nn.ModuleList([
        nn.Sequential(nn.Conv2d(3, 8, 3, strides[0], 1), nn.SiLU()),
        nn.Sequential(nn.Conv2d(8, 16, 3, strides[1] // strides[0], 1), nn.SiLU())])


def maps_of(stages, x):
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps


def overlap(a, b):
    """Intersection over union of each of a with each of b."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clamp(min=0).prod(2)
    area = [(one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1]) for one in (a, b)]
    return both / (area[0][:, None] + area[1][None] - both + 1e-9)


def suppress(boxes, scores, limit=0.5):
    """Places of the boxes that no better one covers, best first."""
    order = scores.argsort(descending=True)
    kept = []
    while order.numel():
        kept.append(order[0])
        others = order[1:]
        free = overlap(boxes[order[:1]], boxes[others])[0] <= limit
        order = others[free]
    return torch.stack(kept) if kept else order


def corners(boxes):
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


class YoloV3(nn.Module):
    """Anchors and grids made in the forward, a loop of suppression over the images."""

    def __init__(self):
        super().__init__()
        self.stages = backbone()
        self.heads = nn.ModuleList(nn.Conv2d(c, 2 * 7, 1) for c in (8, 16))
        self.anchors = [[(10, 13), (16, 30)], [(30, 61), (62, 45)]]

    def forward(self, x):
        found = []
        for fmap, head, anchors in zip(maps_of(self.stages, x), self.heads,
                                       self.anchors, strict=True):
            y = head(fmap)
            stride = x.shape[2] // y.shape[2]
            n, _, h, w = y.shape
            y = y.view(n, 2, 7, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            sizes = torch.FloatTensor(anchors).to(y.device).view(1, 2, 1, 1, 2)
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w),
                                           indexing="ij")
            grid = torch.stack([columns, rows], -1).float().to(y.device)
            centre = (y[..., :2] + grid) * stride
            boxes = torch.cat([centre, torch.exp(y[..., 2:4]) * sizes], -1)
            found.append(torch.cat([boxes, y[..., 4:]], -1).view(n, -1, 7))
        results = []
        for image in torch.cat(found, 1):
            image = image[image[:, 4] > 0.5]
            boxes = corners(image[:, :4])
            results.append(image[suppress(boxes, image[:, 4])])
        return results


class YoloV5(nn.Module):
    """Strides come from a run in the constructor; grids are kept between forwards."""

    def __init__(self):
        super().__init__()
        self.stages = backbone()
        self.heads = nn.ModuleList(nn.Conv2d(c, 3 * 7, 1) for c in (8, 16))
        self.register_buffer("anchors", torch.tensor(
            [[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]]]))
        self.grid = [torch.empty(0) for _ in range(2)]
        self.decode = False
        self.stride = torch.tensor(
            [64 / y.shape[-2] for y in self.forward(torch.zeros(1, 3, 64, 64))])
        self.anchors /= self.stride.view(-1, 1, 1)
        self.decode = True

    def forward(self, x):
        found = []
        for i, fmap in enumerate(maps_of(self.stages, x)):
            y = self.heads[i](fmap)
            n, _, h, w = y.shape
            if not self.decode:
                found.append(y)
                continue
            y = y.view(n, 3, 7, h, w).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
            if self.grid[i].shape[2:4] != y.shape[2:4]:
                rows, columns = torch.meshgrid(
                    torch.arange(h, device=x.device), torch.arange(w, device=x.device),
                    indexing="ij")
                self.grid[i] = torch.stack((columns, rows), 2).expand(
                    (1, 3, h, w, 2)).float() - 0.5
            xy, wh, rest = y.split((2, 2, 3), 4)
            xy = (xy * 2 + self.grid[i]) * self.stride[i]
            wh = (wh * 2) ** 2 * (self.anchors[i] * self.stride[i]).view(1, 3, 1, 1, 2)
            found.append(torch.cat((xy, wh, rest), 4).view(n, -1, 7))
        return found if not self.decode else torch.cat(found, 1)


class YoloV8(nn.Module):
    """Distances as an expectation over 16 bins, which a frozen convolution takes."""

    def __init__(self):
        super().__init__()
        self.stages = backbone()
        self.box = nn.ModuleList(nn.Conv2d(c, 64, 3, padding=1) for c in (8, 16))
        self.label = nn.ModuleList(nn.Conv2d(c, 5, 1) for c in (8, 16))
        self.bins = nn.Conv2d(16, 1, 1, bias=False).requires_grad_(False)
        self.bins.weight.data[:] = torch.arange(16, dtype=torch.float).view(1, 16, 1, 1)
        self.stride = torch.zeros(2)
        self.shape = None

    def forward(self, x):
        self.stride[:] = torch.tensor([8.0, 16.0])
        maps = [torch.cat([box(fmap), label(fmap)], 1) for fmap, box, label in zip(
            maps_of(self.stages, x), self.box, self.label, strict=True)]
        if self.shape != x.shape:
            points, strides = [], []
            for fmap, stride in zip(maps, self.stride, strict=True):
                h, w = fmap.shape[-2:]
                across = torch.arange(w, device=x.device, dtype=x.dtype) + 0.5
                down = torch.arange(h, device=x.device, dtype=x.dtype) + 0.5
                rows, columns = torch.meshgrid(down, across, indexing="ij")
                points.append(torch.stack((columns, rows), -1).view(-1, 2))
                strides.append(torch.full((h * w, 1), float(stride), dtype=x.dtype,
                                          device=x.device))
            self.points, self.strides = torch.cat(points).T, torch.cat(strides).T
            self.shape = x.shape
        flat = torch.cat([fmap.view(x.shape[0], 69, -1) for fmap in maps], 2)
        box, label = flat.split((64, 5), 1)
        n, _, places = box.shape
        near, far = self.bins(box.view(n, 4, 16, places).transpose(2, 1).softmax(
            1)).view(n, 4, places).chunk(2, 1)
        low, high = self.points - near, self.points + far
        boxes = torch.cat(((low + high) / 2, high - low), 1) * self.strides
        return self.decide(torch.cat((boxes, label.sigmoid()), 1))

    def decide(self, found):
        return found


class YoloV8Suppressed(YoloV8):
    """The same with its boxes suppressed, class by class."""

    def decide(self, found):
        results = []
        for image in found.transpose(1, 2):
            scores, labels = image[:, 4:].max(1)
            image = image[scores > 0.25]
            boxes = corners(image[:, :4]) + labels[scores > 0.25][:, None] * 4096
            results.append(image[suppress(boxes, scores[scores > 0.25])[:10]])
        return results


class YoloV10(YoloV8):
    """From end to end: the best by a topk of fixed length, no suppression."""

    def decide(self, found):
        boxes, scores = found.transpose(1, 2).split((4, 5), 2)
        best = scores.amax(-1).topk(min(7, scores.shape[1]), 1).indices[..., None]
        boxes = boxes.gather(1, best.expand(-1, -1, 4))
        scores = scores.gather(1, best.expand(-1, -1, 5))
        return torch.cat([boxes, scores], 2)


class TwoStage(nn.Module):
    """Proposals, a head for each, and masks for what that head is sure of."""

    def __init__(self, sure=0.0):
        super().__init__()
        self.sure = sure
        self.stages = backbone()
        self.rpn = nn.Conv2d(16, 3 * 5, 1)
        self.box = nn.Sequential(nn.Flatten(1), nn.Linear(16 * 9, 12), nn.ReLU(),
                                 nn.Linear(12, 6))
        self.mask = nn.Sequential(nn.Conv2d(16, 4, 3, padding=1), nn.ReLU(),
                                  nn.Conv2d(4, 2, 1))

    def crop(self, fmap, boxes):
        """A 3x3 map of each box, as a RoI operator does: [image, box] -> rows."""
        size = torch.tensor([fmap.shape[3], fmap.shape[2]], device=fmap.device)
        low, high = boxes[:, 1:3] / size * 2 - 1, boxes[:, 3:5] / size * 2 - 1
        steps = torch.linspace(0, 1, 3, device=fmap.device)
        across = low[:, :1] + (high - low)[:, :1] * steps
        down = low[:, 1:] + (high - low)[:, 1:] * steps
        grid = torch.stack([across[:, None, :].expand(-1, 3, -1),
                            down[:, :, None].expand(-1, -1, 3)], -1)
        crops = fmap.new_zeros((len(boxes), fmap.shape[1], 3, 3))
        for i in range(fmap.shape[0]):
            mine = torch.where(boxes[:, 0] == i)[0]
            crops[mine] = F.grid_sample(
                fmap[i:i + 1].expand(len(mine), -1, -1, -1), grid[mine],
                align_corners=False)
        return crops

    def forward(self, x):
        fmap = maps_of(self.stages, x)[-1]
        y = self.rpn(fmap)
        n, _, h, w = y.shape
        y = y.view(n, 3, 5, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 5).sigmoid()
        proposals = []
        for i in range(n):
            places = torch.arange(h * w * 3).view(-1, 1) * w / (h * w * 3)
            boxes = corners(torch.cat([y[i, :, :2] + places, y[i, :, 2:4]], -1))
            boxes = boxes[y[i, :, 4].argsort(descending=True)]
            covered = overlap(boxes, boxes).triu(1).amax(0) > 0.5
            kept = torch.where(~covered)[0][:20]
            proposals.append(F.pad(boxes[kept], (1, 0), value=i))
        rois = torch.cat(proposals)
        logits = self.box(self.crop(fmap, rois))
        detected = rois[logits.softmax(1).amax(1) > self.sure]
        return logits, self.mask(self.crop(fmap, detected))


def anchors_of(maps, size, boxes):
    """Boxes of each pixel of each map, (places * boxes, 4) by corners."""
    found = []
    for level, fmap in enumerate(maps):
        h, w = fmap.shape[-2:]
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        centre = (torch.stack([columns, rows], -1).view(-1, 1, 2) + 0.5) * size / w
        sides = torch.tensor(boxes) * 2 ** level
        centre, sides = torch.broadcast_tensors(centre, sides[None])
        found.append(torch.cat([centre - sides / 2, centre + sides / 2], -1))
    return torch.cat([one.view(-1, 4) for one in found])


def moved(boxes, change):
    """Boxes by corners, their centres and sides changed as a head says."""
    sides = boxes[..., 2:] - boxes[..., :2]
    centre = boxes[..., :2] + sides / 2 + change[..., :2] * sides
    sides = sides * change[..., 2:].clamp(max=4).exp()
    return torch.cat([centre - sides / 2, centre + sides / 2], -1)


class SSD(nn.Module):
    """Boxes of fixed shapes on each map; softmax over labels, background the first."""

    def __init__(self):
        super().__init__()
        self.stages = backbone()
        self.scale = nn.Parameter(torch.ones(8) * 20)
        self.label = nn.ModuleList(nn.Conv2d(c, 2 * 3, 3, padding=1) for c in (8, 16))
        self.box = nn.ModuleList(nn.Conv2d(c, 2 * 4, 3, padding=1) for c in (8, 16))

    def forward(self, x):
        maps = maps_of(self.stages, x)
        maps[0] = self.scale.view(1, -1, 1, 1) * F.normalize(maps[0])
        labels, changes = (torch.cat([
            head(fmap).permute(0, 2, 3, 1).reshape(len(x), -1, values)
            for head, fmap in zip(heads, maps, strict=True)], 1)
            for heads, values in ((self.label, 3), (self.box, 4)))
        boxes = anchors_of(maps, x.shape[-1], [(8.0, 8.0), (12.0, 6.0)])
        results = []
        for scores, change in zip(labels.softmax(-1), changes, strict=True):
            found = moved(boxes, change).clamp(0, x.shape[-1])
            for label in range(1, scores.shape[1]):
                sure = scores[:, label] > 0.2
                best, places = scores[sure, label].topk(min(6, int(sure.sum())))
                kept = found[sure][places]
                results.append(kept[suppress(kept, best)])
        return results


class RetinaNet(nn.Module):
    """A pyramid of maps that share two towers; the best of each level by topk."""

    def __init__(self):
        super().__init__()
        self.stages = backbone()
        self.sides = nn.ModuleList(nn.Conv2d(c, 8, 1) for c in (8, 16))
        self.coarser = nn.Conv2d(8, 8, 3, 2, 1)
        self.label = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
                                   nn.Conv2d(8, 3 * 2, 3, padding=1))
        self.box = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
                                 nn.Conv2d(8, 4 * 2, 3, padding=1))

    def pyramid(self, x):
        fine, coarse = (side(fmap) for side, fmap in zip(
            self.sides, maps_of(self.stages, x), strict=True))
        fine = fine + F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        return [fine, coarse, self.coarser(coarse)]

    def forward(self, x):
        maps = self.pyramid(x)
        results = []
        for image in range(len(x)):
            kept = []
            for fmap in maps:
                scores, change = (
                    head(fmap[image:image + 1]).permute(0, 2, 3, 1).reshape(-1, size)
                    for head, size in ((self.label, 3), (self.box, 4)))
                scores = scores.sigmoid().flatten()
                sure = torch.where(scores > 0.3)[0]
                best, order = scores[sure].topk(min(10, len(sure)))
                places = torch.div(sure[order], 3, rounding_mode="floor")
                boxes = anchors_of([fmap], x.shape[-1], [(8.0, 8.0), (12.0, 6.0)])
                kept.append(torch.cat([moved(boxes[places], change[places]),
                                       best[:, None]], 1))
            kept = torch.cat(kept)
            results.append(kept[suppress(kept[:, :4], kept[:, 4])])
        return results


class FCOS(RetinaNet):
    """No anchors: distances to four sides, and how central a pixel is."""

    def __init__(self):
        super().__init__()
        self.label[2] = nn.Conv2d(8, 3, 3, padding=1)
        self.box = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False),
                                 nn.GroupNorm(2, 8), nn.ReLU())
        self.distance = nn.Conv2d(8, 4, 3, padding=1)
        self.central = nn.Conv2d(8, 1, 3, padding=1)
        self.scales = nn.ParameterList(torch.ones(1) for _ in range(3))

    def forward(self, x):
        found = []
        maps = self.pyramid(x)
        for fmap, scale in zip(maps, self.scales, strict=True):
            tower = self.box(fmap)
            distance = (self.distance(tower) * scale).relu() * x.shape[-1] / (
                fmap.shape[-1])
            found.append(torch.cat([distance, self.central(tower), self.label(fmap)],
                                   1).flatten(2).transpose(1, 2))
        places = anchors_of(maps, x.shape[-1], [(0.0, 0.0)])
        results = []
        for image in torch.cat(found, 1):
            scores = (image[:, 5:].sigmoid() * image[:, 4:5].sigmoid()).sqrt()
            best, labels = scores.max(1)
            sure = best > 0.52
            away = image[sure, :4] * image.new_tensor([-1, -1, 1, 1])
            boxes = places[sure] + away
            kept = suppress(boxes + labels[sure][:, None] * 4096, best[sure])
            results.append((boxes[kept], labels[sure][kept]))
        return results


HEADS = {"v3": YoloV3, "v5": YoloV5, "v8": YoloV8, "v8 suppressed": YoloV8Suppressed,
         "v10": YoloV10, "two stages": TwoStage,
         "SSD": SSD, "RetinaNet": RetinaNet, "FCOS": FCOS}

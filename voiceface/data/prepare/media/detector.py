"""Find faces and five landmarks: the three-network MTCNN cascade in batches, without TensorFlow.

Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", IEEE
Signal Processing Letters 23(10), 2016, https://arxiv.org/abs/1604.02878. The weights come out of the `mtcnn` package
(version 1.0, MIT licence), whose steps are followed, so that boxes agree with it: a network of 12 px slides over a
pyramid of pictures, networks of 24 px and 48 px judge and correct what it proposes. Two things are ours: a limit on the
size of a picture, and confidences in double precision. The package's, in single precision, saturate at 1, where chance
picks the box; there its boxes and ours differ by a few pixels, elsewhere by less than a hundredth of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from voiceface.data.prepare.media.detector_networks import NETWORKS, Network
from voiceface.utils.errors import UserError

CELL, STRIDE = 12, 2
PYRAMID_FACTOR = 0.709
LONGEST_SIDE = 1280
OVERLAP_IN_LEVEL, OVERLAP_OF_BOXES = 0.5, 0.7
PATCHES_AT_ONCE = 256


@dataclass(frozen=True)
class Detection:
    """One face in a picture.

    Args:
        box: Left, top, right and bottom edge, pixels, float64 of shape (4,); it may reach past the picture.
        landmarks: float64 of shape (5, 2), pixels (x, y): left eye, right eye, nose, left and right corner of the
            mouth, left and right as the viewer sees them.
        confidence: Of the last network, 0 to 1.
    """

    box: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    confidence: float


class Detector:
    """MTCNN.

    A picture whose longer side is above 1280 px is scaled down to that first; boxes are given in its own pixels all the
    same, but `minimum_face` counts in the scaled one.

    Args:
        device: Where the networks run: `cpu`, `cuda`.
        minimum_face: Side of the smallest face that the pyramid reaches, pixels.
        thresholds: Confidence, 0 to 1, that a box must exceed in each of the three networks.

    Raises:
        UserError: The package `mtcnn` is not installed, its weights are not the known ones, or the device is absent.
    """

    def __init__(
        self, device: str = "cpu", minimum_face: int = 20, thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    ) -> None:
        self.minimum_face, self.thresholds = minimum_face, thresholds
        try:
            self.device = torch.empty(0, device=device).device
        except (RuntimeError, AssertionError):  # An unknown word; no GPU; PyTorch without CUDA.
            raise UserError(f"--device {device}: there is no such device here; use --device cpu") from None
        self.at_once = 1 if self.device.type == "cpu" else 16
        self._networks = [Network(*network).to(self.device) for network in NETWORKS]

    @torch.inference_mode()
    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Find the faces of each picture. What is found in one does not depend on the others.

        A GPU takes 16 pictures at once: those of one shape run through the pyramid together, the proposals of all
        through the two larger networks. A CPU takes one, as it gains nothing from more, on one thread: many processes
        are faster than many threads, and the result is the same on every number of cores.

        Args:
            images: Upright RGB pictures, uint8 of shape (H, W, 3) each.

        Returns:
            The faces of each picture, the most confident first.
        """
        found, threads = [], torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for start in range(0, len(images), self.at_once):
                found += self._detect(images[start : start + self.at_once])
        finally:
            torch.set_num_threads(threads)
        return found

    def _detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        tensors = [torch.tensor(_shrink(image), device=self.device).permute(2, 0, 1)[None] for image in images]
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            boxes = self._propose(tensors)
            boxes, _ = self._refine(tensors, boxes, stage=1, side=24)
            boxes, points = self._refine(tensors, [_squares(b) for b in boxes], stage=2, side=48)
        found = []
        for image, tensor, faces, marks in zip(images, tensors, boxes, points, strict=True):
            ratio = np.array([image.shape[1] / tensor.shape[3], image.shape[0] / tensor.shape[2]])
            corners = faces[:, :4] * np.tile(ratio, 2)
            scores = faces[:, 4].tolist()
            found.append([Detection(*face) for face in zip(corners, marks * ratio, scores, strict=True)])
        return found

    def _propose(self, images: list[Tensor]) -> list[NDArray[np.float64]]:
        """Square proposals (x1, y1, x2, y2, score) of each image from the first network over the pyramid."""
        proposals: list[NDArray[np.float64]] = [np.empty((0, 5))] * len(images)
        same: dict[torch.Size, list[int]] = {}
        for number, image in enumerate(images):
            same.setdefault(image.shape, []).append(number)
        for numbers in same.values():
            for number, boxes in zip(numbers, self._slide(torch.cat([images[n] for n in numbers])), strict=True):
                proposals[number] = _squares(boxes[suppress(boxes, OVERLAP_OF_BOXES)])
        return proposals

    def _slide(self, images: Tensor) -> list[NDArray[np.float64]]:
        """Boxes (x1, y1, x2, y2, score) of each of (B, 3, H, W) images, all levels of the pyramid together."""
        count, _, height, width = images.shape
        found: list[list[NDArray[np.float64]]] = [[np.empty((0, 5))] for _ in range(count)]
        integral = F.pad(images.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
        scale = CELL / self.minimum_face
        while min(height, width) * scale >= CELL:
            level = area_level(integral, int(height * scale), int(width * scale))
            shifts, scores = self._networks[0](_normalised(level))
            scores = scores.double().softmax(1)[:, 1]
            image, y, x = torch.where(scores > self.thresholds[0])
            corner = torch.stack([x, y], 1).double() * STRIDE
            edges = torch.cat([corner + 1, corner + CELL], 1) + shifts[image, :, y, x].double() * (CELL - 1)
            boxes = torch.cat([edges / scale, scores[image, y, x, None]], 1).cpu().numpy()
            owner = image.cpu().numpy()
            for number in range(count):
                own = boxes[owner == number]
                found[number].append(own[suppress(own, OVERLAP_IN_LEVEL)])
            scale *= PYRAMID_FACTOR
        return [np.concatenate(levels) for levels in found]

    def _refine(
        self, images: list[Tensor], boxes: list[NDArray[np.float64]], stage: int, side: int
    ) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
        """Judge square boxes by a larger network and correct them.

        Returns:
            The boxes (x1, y1, x2, y2, score) of each image that remain, best first, and after the last stage the
            landmarks (N, 5, 2) of each.
        """
        patches = torch.cat([sample_patches(_normalised(i), b, side) for i, b in zip(images, boxes, strict=True)])
        outputs = zip(*(self._networks[stage](part) for part in torch.split(patches, PATCHES_AT_ONCE)), strict=True)
        shifts, *marks, scores = [torch.cat(output).flatten(1).cpu().double() for output in outputs]
        last = bool(marks)
        every = np.concatenate(boxes)
        sides = (every[:, 2:4] - every[:, :2] + 1)[:, None]
        corrected = every[:, :4].reshape(-1, 2, 2) + shifts.numpy().reshape(-1, 2, 2) * sides
        refined = np.concatenate([corrected.reshape(-1, 4), scores.softmax(1)[:, 1:].numpy()], 1)
        if last:
            points = marks[0].numpy().reshape(-1, 2, 5).transpose(0, 2, 1) * sides + every[:, None, :2] - 1
        else:
            points = np.empty((len(every), 0, 2))
        ends = np.cumsum([len(b) for b in boxes])[:-1]
        kept_boxes, kept_points = [], []
        for own, own_points in zip(np.split(refined, ends), np.split(points, ends), strict=True):
            likely = own[:, 4] > self.thresholds[stage]
            own, own_points = own[likely], own_points[likely]
            kept = suppress(own, OVERLAP_OF_BOXES, of_smaller=last)
            kept_boxes.append(own[kept])
            kept_points.append(own_points[kept])
        return kept_boxes, kept_points


@lru_cache(maxsize=1)
def shared_detector(device: str, thresholds: tuple[float, float, float]) -> Detector:
    """The process's one detector."""
    return Detector(device, thresholds=thresholds)


def suppress(boxes: NDArray[np.float64], overlap: float, of_smaller: bool = False) -> NDArray[np.intp]:
    """Drop every box that overlaps a better one, even one that is dropped itself (as the `mtcnn` package does).

    Args:
        boxes: x1, y1, x2, y2, score; shape (N, 5).
        overlap: Largest share of intersection that is left, 0 to 1.
        of_smaller: The share is that of the smaller box; else it is intersection over union.

    Returns:
        Indices of the boxes that remain, best first.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")
    boxes = boxes[order]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = np.ones(len(boxes), bool)
    for start in range(0, len(boxes), 256):  # In blocks: thousands of proposals would make a matrix of hundreds of MB.
        end = min(start + 256, len(boxes))
        rows, columns = boxes[start:end, None], boxes[None, :end]
        shared = np.minimum(rows[..., 2:4], columns[..., 2:4]) - np.maximum(rows[..., :2], columns[..., :2])
        both = shared.clip(0).prod(2)
        own, other = area[start:end, None], area[None, :end]
        whole = np.minimum(own, other) if of_smaller else own + other - both
        kept[start:end] = ~np.tril(both > overlap * whole, start - 1).any(1)
    return order[kept]


def _shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    ratio = LONGEST_SIDE / max(height, width)
    if ratio >= 1:
        return np.ascontiguousarray(image)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3))


def _normalised(image: Tensor) -> Tensor:
    return (image - 127.5).float() / 128


def area_level(integral: Tensor, height: int, width: int) -> Tensor:
    """Scale images down: each pixel is the mean over its exact area.

    Args:
        integral: Sums of all pixels above and to the left, float64 of shape (B, C, H + 1, W + 1).
        height: Height of the result, pixels.
        width: Width of the result, pixels.

    Returns:
        float64 of shape (B, C, height, width).
    """
    cell = 1.0
    for dimension, count in ((2, height), (3, width)):
        size = integral.shape[dimension] - 1
        edge = torch.arange(count + 1, dtype=torch.float64, device=integral.device) * (size / count)
        low = edge.long().clamp(max=size - 1)
        part = (edge - low).view((-1, 1) if dimension == 2 else (-1,))
        below, above = integral.index_select(dimension, low), integral.index_select(dimension, low + 1)
        integral = (below + (above - below) * part).diff(dim=dimension)
        cell *= size / count
    return integral / cell


def _squares(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Widen or heighten each box around its centre to a square."""
    sides = boxes[:, 2:4] - boxes[:, :2]
    side = sides.max(1, keepdims=True)
    corner = boxes[:, :2] + (sides - side) / 2
    return np.concatenate([corner, corner + side, boxes[:, 4:]], 1)


def sample_patches(image: Tensor, boxes: NDArray[np.float64], side: int) -> Tensor:
    """Sample an image bilinearly at side x side points that span each box, its edges included.

    Args:
        image: Normalised image, float32 of shape (1, 3, H, W).
        boxes: x1, y1, x2, y2 in pixels, of shape (N, 4 or more).
        side: Points per row and column.

    Returns:
        float32 of shape (N, 3, side, side); 0 (grey) outside the image.
    """
    height, width = image.shape[2:]
    corners = torch.from_numpy(boxes[:, :4] / [width, height, width, height]).to(image.device)
    steps = torch.linspace(0, 1, side, dtype=torch.float64, device=image.device)
    x, y = (corners[:, [d]] + (corners[:, [d + 2]] - corners[:, [d]]) * steps for d in (0, 1))
    places = torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], 3)
    grid = (places * 2 - 1).float().view(1, -1, side, 2)
    sampled = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
    inside = ((places >= 0) & (places <= 1)).all(3)
    return sampled.view(3, -1, side, side).transpose(0, 1) * inside[:, None]

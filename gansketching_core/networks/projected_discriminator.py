"""A second discriminator for pretraining, on the features of a frozen ImageNet network.

Its features tell kinds of objects apart from the first step on, which helps most with few pictures and little time.
The discriminator is that of Projected GANs (Sauer et al., NeurIPS 2021): random mixing across channels and scales,
spectral normalisation, hinge loss. It is trained beside StyleGAN2's own, as in "Ensembling Off-the-shelf Models for GAN
Training" (Kumari et al., CVPR 2022).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .feature_networks import EfficientNetLite1

CHANNELS = 64


class ProjectedDiscriminator(nn.Module):
    """An ImageNet-feature discriminator, on EfficientNet-Lite1's feature maps of images at `side` px.

    Only `heads` are trained. The state_dict leaves the ImageNet network out. Do not evaluate a model trained with this
    discriminator on features of the same network.
    """

    def __init__(self, side: int = 96) -> None:
        super().__init__()
        self._features = [EfficientNetLite1(side)]  # in a list, so that its weights are not saved with the submodules'
        levels = EfficientNetLite1.levels
        self.across_channels = nn.ModuleList(nn.Conv2d(c, CHANNELS, 1) for c in levels)
        self.across_scales = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in levels)
        for parameter in self.requires_grad_(False).parameters():
            if parameter.ndim == 4:
                nn.init.kaiming_normal_(parameter, nonlinearity="linear")
            else:
                nn.init.zeros_(parameter)
        self.heads = nn.ModuleList(_head(downsamplings) for downsamplings in (2, 1, 0, 0))

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """The ImageNet network's feature maps of images, see `EfficientNetLite1.pyramid`."""
        return self._features[0].to(images.device).pyramid(images)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B,3,H,W] in -1..1 -> logits [B,P], one for each position of the heads' maps at four scales."""
        maps = [mix(x) for mix, x in zip(self.across_channels, self.pyramid(images))]  # [B,CHANNELS,H',W'] each
        mixed: Tensor | None = None
        logits = []
        for x, mix, head in zip(reversed(maps), reversed(self.across_scales), reversed(self.heads)):
            if mixed is not None:
                x = x + F.interpolate(mixed, x.shape[2:], mode="bilinear", align_corners=False)
            mixed = mix(x) / 2**0.5
            logits.append(head(mixed).flatten(1))
        return torch.cat(logits, dim=1).float()


def _head(downsamplings: int) -> nn.Sequential:  # [B, CHANNELS, H, W] -> [B, 1, H', W']
    layers: list[nn.Module] = []
    for stride in [2] * downsamplings + [1]:
        layers += [spectral_norm(nn.Conv2d(CHANNELS, CHANNELS, 3, stride, padding=1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(CHANNELS, 1, 3, padding=1)))

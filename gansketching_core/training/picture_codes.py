"""A start of pretraining for few pictures: the generator first learns to reproduce them, each from a code of its own.

This is generative latent optimisation (Bojanowski et al., ICML 2018), in w: what to draw for a code is given, so a few
thousand images teach what an adversarial loss alone takes a hundred thousand for. The mapping network learns meanwhile
to give random z the codes of pictures, so that the adversarial training starts from images of all of them.
"""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

from .backgrounds import recoloured

PICTURE_NUMBERS = 4  # of z choose the picture: the fewer, the sharper the choice that a mapping network can learn
COLOUR_NUMBERS = 2  # of z choose the colours of things
BACKGROUND_NUMBERS = 3  # of z choose the background
SOFTNESS = 0.02  # of the choice that the mapping network learns: of cosines
SPREAD = 0.8  # of the first codes, in standard deviations of w
RATE = 10.0  # how much faster codes are trained than weights
OBJECT_WEIGHT = 3.0  # added to the weight 1 of a pixel where a cut-out covers its background
THUMBNAIL = 16  # pixels of the side at which pictures are compared


class _Choice(nn.Module):
    """Codes among which some numbers of z choose: that with the largest cosine to them.

    Args:
        things: vectors [N,D]; their principal components, all of which count alike, are what z is compared with.
        numbers: the first of these numbers of z, and how many there are (fewer if the things have fewer components).
    """

    anchors: Tensor

    def __init__(self, things: Tensor, numbers: tuple[int, int], w_dim: int, rng: torch.Generator):
        super().__init__()
        self._start = numbers[0]
        self.register_buffer("anchors", _principal_components(things, numbers[1]))
        projection = torch.randn(self.anchors.shape[1], w_dim, generator=rng)
        self.codes = nn.Parameter(self.anchors @ projection * SPREAD / RATE)  # at first alike for things that are

    @property
    def end(self) -> int:
        """The number of z after the last one that is used."""
        return self._start + self.anchors.shape[1]

    def _cosines(self, z: Tensor) -> Tensor:  # [B,N]
        return F.normalize(z[:, self._start : self.end], dim=1) @ self.anchors.T

    def chosen(self, z: Tensor) -> Tensor:
        """z [B,z_dim] -> numbers of the codes [B]."""
        return self._cosines(z).argmax(dim=1)

    def blended(self, z: Tensor) -> Tensor:
        """z [B,z_dim] -> means of the codes nearby [B,w_dim]."""
        return (self._cosines(z) / SOFTNESS).softmax(dim=1) @ self.codes


class PictureCodes(nn.Module):
    """Trained codes: w of an image is the sum of those of its picture, of its background and of its colours.

    Args:
        pictures: uint8 [N,3,S,S], or cut-outs [N,4,S,S] (`backgrounds.cut_out`), S a multiple of the resolution.
        backgrounds: uint8 [M,3,S,S], behind cut-outs.
        ws: samples of w [K,w_dim] of the generator as it is; their mean and deviations are those of the first codes.
        mirror: take each picture and each background a second time, mirrored.
        colours: [C,2,3], given to cut-outs (`backgrounds.recoloured`).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        pictures: Tensor,
        backgrounds: Tensor | None,
        ws: Tensor,
        *,
        mirror: bool,
        colours: Tensor | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self._pictures, self._backgrounds, self._colours = pictures, backgrounds, colours
        self.register_buffer("mean", ws.mean(dim=0))
        self.register_buffer("deviation", ws.std(dim=0))
        self.choices = nn.ModuleDict()
        rng, w_dim = torch.Generator().manual_seed(seed), ws.shape[1]
        used = 0

        def add(name: str, things: Tensor, count: int) -> None:
            nonlocal used
            choice = _Choice(things, (used, min(count, w_dim - used)), w_dim, rng)
            self.choices[name] = choice
            used = choice.end

        add("picture", _thumbnails(pictures, mirror, only_shapes=colours is not None), PICTURE_NUMBERS)
        if colours is not None:
            add("colours", colours.flatten(1), COLOUR_NUMBERS)
        if backgrounds is not None:
            add("background", _thumbnails(backgrounds, mirror), BACKGROUND_NUMBERS)

    def _choices(self) -> dict[str, _Choice]:
        return cast(dict[str, _Choice], dict(self.choices))

    def _w(self, codes: list[Tensor]) -> Tensor:
        return self.mean + torch.stack(codes).sum(dim=0) * self.deviation * RATE

    def chosen(self, z: Tensor, resolution: int) -> tuple[Tensor, Tensor, Tensor]:
        """z [B,z_dim] -> w [B,w_dim], the images [B,3,R,R] in -1..1 they stand for, and their pixels' weights."""
        numbers = {name: choice.chosen(z) for name, choice in self._choices().items()}
        w = self._w([choice.codes[numbers[name]] for name, choice in self._choices().items()])
        images, alpha = _layers(self._pictures, numbers["picture"], resolution)
        if self._colours is not None:
            images = recoloured(images, alpha, self._colours[numbers["colours"].cpu()])
        behind: Tensor | float = 1.0  # white
        if self._backgrounds is not None:
            behind, _ = _layers(self._backgrounds, numbers["background"], resolution)
        images = images * alpha + behind * (1 - alpha)
        weights = 1 + OBJECT_WEIGHT * alpha if self._pictures.shape[1] == 4 else torch.ones_like(alpha)
        return w, images * 2 - 1, weights

    def blended(self, z: Tensor) -> Tensor:
        """z [B,z_dim] -> w [B,w_dim]: means of codes, for the mapping network, which cannot jump between them."""
        return self._w([choice.blended(z) for choice in self._choices().values()])


def reconstruction_losses(
    images: Tensor, wanted: Tensor, weights: Tensor, pyramid: Callable[[Tensor], list[Tensor]] | None
) -> dict[str, Tensor]:
    """`pixels`: the mean weighted difference, times 4; `features`: the relative one of an ImageNet network's maps.

    images, wanted: [B,3,R,R] in -1..1; weights: [B,1,R,R]; pyramid: images -> the maps (`EfficientNetLite1.pyramid`).
    """
    losses = {"pixels": 4 * ((images.float() - wanted).abs() * weights).mean()}
    if pyramid is not None:
        with torch.no_grad():
            right = [x.float() for x in pyramid(wanted)]
        ours = [x.float() for x in pyramid(images)]
        losses["features"] = torch.stack([(a - b).abs().mean() / b.abs().mean() for a, b in zip(ours, right)]).sum()
    return losses


def _layers(pictures: Tensor, numbers: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Colours [B,3,R,R] and coverage [B,1,R,R], both 0..1; numbers from N on are mirrored pictures."""
    x = pictures[numbers.cpu() % len(pictures)].to(numbers.device).float() / 255
    x = torch.where((numbers >= len(pictures))[:, None, None, None], x.flip(3), x)
    x = F.adaptive_avg_pool2d(x, resolution)
    return x[:, :3], x[:, 3:] if x.shape[1] == 4 else torch.ones_like(x[:, :1])


def _thumbnails(pictures: Tensor, mirror: bool, only_shapes: bool = False) -> Tensor:
    """Vectors [N,D] of the pictures, and of the mirrored ones after them; of cut-outs, where they are counts most."""
    pictures = pictures[:, 3:] if only_shapes else pictures
    small = torch.cat([F.adaptive_avg_pool2d(part.float() / 255, THUMBNAIL) for part in pictures.split(64)])
    if small.shape[1] == 4:
        small = torch.cat([small[:, :3] * small[:, 3:] / 2, small[:, 3:]], dim=1)
    small = torch.cat([small, small.flip(3)]) if mirror else small
    return rearrange(small, "n c h w -> n (c h w)")


def _principal_components(x: Tensor, count: int) -> Tensor:
    """Unit vectors [N,count or fewer] of the largest components of x [N,D], each first scaled to deviation 1."""
    x = x - reduce(x, "n d -> d", "mean")
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    kept = min(count, int((s > 1e-4 * s[0].clamp(min=1e-9)).sum()))
    if not kept:
        return torch.ones(len(x), 1)  # all are the same
    return F.normalize(u[:, :kept], dim=1)

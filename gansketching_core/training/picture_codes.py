"""A start of pretraining for few pictures: the generator first learns to reproduce them, each from a code of its own.

This is generative latent optimisation (Bojanowski et al., ICML 2018), in w: what to draw for a code is given, so a few
thousand images teach what an adversarial loss alone takes a hundred thousand for. The mapping network learns meanwhile
to give random z the codes of pictures, so that the adversarial training starts from images of all of them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor, nn

PICTURE_NUMBERS = 10  # of z choose the picture
BACKGROUND_NUMBERS = 5  # of z choose the background
SOFTNESS = 0.1  # of the choice that the mapping network learns: of cosines
SPREAD = 0.8  # of the first codes, in standard deviations of w
RATE = 10.0  # how much faster codes are trained than weights
OBJECT_WEIGHT = 3.0  # added to the weight 1 of a pixel where a cut-out covers its background
THUMBNAIL = 16  # pixels of the side at which pictures are compared


class PictureCodes(nn.Module):
    """A trained code, w, for each picture, and one for each background, which is added.

    The first numbers of z choose the picture, by the largest cosine with its principal components, all of which count
    alike; the next numbers choose the background.

    Args:
        pictures: uint8 [N,3,S,S], or cut-outs [N,4,S,S] (`backgrounds.cut_out`), S a multiple of the resolution.
        backgrounds: uint8 [M,3,S,S], behind cut-outs.
        ws: samples of w [K,w_dim] of the generator as it is; their mean and deviations are those of the first codes.
        mirror: take each picture and each background a second time, mirrored.
    """

    anchors: Tensor
    background_anchors: Tensor | None
    mean: Tensor
    deviation: Tensor
    background_codes: nn.Parameter | None

    def __init__(self, pictures: Tensor, backgrounds: Tensor | None, ws: Tensor, *, mirror: bool, seed: int = 0):
        super().__init__()
        self._pictures = pictures
        self._backgrounds = backgrounds
        rng = torch.Generator().manual_seed(seed)
        limit = ws.shape[1] * 2 // 3
        anchors = _principal_components(_thumbnails(pictures, mirror), min(PICTURE_NUMBERS, limit))
        self.register_buffer("anchors", anchors)
        self.register_buffer("mean", ws.mean(dim=0))
        self.register_buffer("deviation", ws.std(dim=0))
        self.codes = nn.Parameter(self._first_codes(anchors, rng))
        behind = None
        if backgrounds is not None:
            count = min(BACKGROUND_NUMBERS, ws.shape[1] - anchors.shape[1])
            behind = _principal_components(_thumbnails(backgrounds, mirror), count)
        self.register_buffer("background_anchors", behind)
        codes = None if behind is None else nn.Parameter(self._first_codes(behind, rng))
        self.register_parameter("background_codes", codes)

    def _first_codes(self, anchors: Tensor, rng: torch.Generator) -> Tensor:
        """Random linear functions of the anchors, of deviation SPREAD."""
        projection = torch.randn(anchors.shape[1], len(self.mean), generator=rng)
        return anchors @ projection * SPREAD / RATE

    def _cosines(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Of the numbers of z with the anchors of pictures and of backgrounds: [B,N], [B,M]."""
        count = self.anchors.shape[1]
        cosines = F.normalize(z[:, :count], dim=1) @ self.anchors.T
        if self.background_anchors is None:
            return cosines, None
        rest = z[:, count : count + self.background_anchors.shape[1]]
        return cosines, F.normalize(rest, dim=1) @ self.background_anchors.T

    def chosen(self, z: Tensor, resolution: int) -> tuple[Tensor, Tensor, Tensor]:
        """z [B,z_dim] -> w [B,w_dim], the images [B,3,R,R] in -1..1 they stand for, and their pixels' weights."""
        cosines, behind = self._cosines(z)
        numbers = cosines.argmax(dim=1)
        w = self.codes[numbers]
        images, alpha = _layers(self._pictures, numbers, resolution)
        if behind is not None and self.background_codes is not None and self._backgrounds is not None:
            numbers = behind.argmax(dim=1)
            w = w + self.background_codes[numbers]
            images = images * alpha + _layers(self._backgrounds, numbers, resolution)[0] * (1 - alpha)
        else:
            images = images * alpha + (1 - alpha)
        weights = 1 + OBJECT_WEIGHT * alpha if self._pictures.shape[1] == 4 else torch.ones_like(alpha)
        return self.mean + w * self.deviation * RATE, images * 2 - 1, weights

    def blended(self, z: Tensor) -> Tensor:
        """z [B,z_dim] -> w [B,w_dim]: means of codes, for the mapping network, which cannot jump between them."""
        cosines, behind = self._cosines(z)
        w = (cosines / SOFTNESS).softmax(dim=1) @ self.codes
        if behind is not None and self.background_codes is not None:
            w = w + (behind / SOFTNESS).softmax(dim=1) @ self.background_codes
        return self.mean + w * self.deviation * RATE


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


def _thumbnails(pictures: Tensor, mirror: bool) -> Tensor:
    """Vectors [N,D] of the pictures, and of the mirrored ones after them; of cut-outs, where they are counts most."""
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

"""PhotoSketch: a network that turns a photo into a line drawing."""

import torch.nn.functional as F
from torch import Tensor, nn


def check_photo(photo: Tensor) -> None:
    """Raise ValueError for a photo that PhotoSketch and LineExtractor cannot draw."""
    if photo.ndim != 4 or photo.shape[1] != 3:
        raise ValueError(f"photos have shape {tuple(photo.shape)}, expected [B,3,H,W]")
    if min(photo.shape[2:]) < 32 or any(size % 4 for size in photo.shape[2:]):
        raise ValueError(
            f"photos are {photo.shape[3]} x {photo.shape[2]} px; resize them to multiples of 4 px, at least 32 px"
        )


class _BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that can use the batch's statistics without recording them."""

    batch_statistics = False

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W]
        if self.batch_statistics:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(x)


class _Block(nn.Module):
    """Residual block with reflection padding: x + BN(conv(ReLU(BN(conv(x)))))."""

    can_be_recomputed = True  # by gradient checkpointing

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            _BatchNorm(channels),
            nn.ReLU(inplace=True),
            nn.Identity(),  # the published network has a dropout of rate 0 here; the names of the weights count it
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            _BatchNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W]
        return x + self.conv_block(x)


class PhotoSketch(nn.Module):
    """Contour drawing network (Li et al., "Photo-Sketching", WACV 2019, arXiv 1901.00542), a pix2pix ResNet.

    The authors' weights fit the default `width`, channels after the first convolution, and number of residual `blocks`;
    the bundled sketcher has fewer of both.

    `batch_statistics` chooses what batch normalisation uses outside training mode. False, the default: the running
    statistics, so that a drawing depends on its own photo alone. True: the statistics of the batch, as in "Sketch Your
    Own GAN", without recording them. Training mode (`net.train()`), for training the network itself, records them.
    """

    def __init__(self, *, width: int = 64, blocks: int = 9):
        super().__init__()
        self.width = width
        self.blocks = blocks
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=False), _BatchNorm(width), nn.ReLU(inplace=True)]
        for c in (width, width * 2):
            down = nn.Conv2d(c, c * 2, 3, stride=2, padding=1, bias=False)
            layers += [down, _BatchNorm(c * 2), nn.ReLU(inplace=True)]
        layers += [_Block(width * 4) for _ in range(blocks)]
        for c in (width * 2, width):
            up = nn.ConvTranspose2d(c * 2, c, 3, stride=2, padding=1, output_padding=1, bias=False)
            layers += [up, _BatchNorm(c), nn.ReLU(inplace=True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    @property
    def batch_statistics(self) -> bool:
        return any(module.batch_statistics for module in self.modules() if isinstance(module, _BatchNorm))

    @batch_statistics.setter
    def batch_statistics(self, value: bool) -> None:
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.batch_statistics = bool(value)

    def forward(self, photo: Tensor) -> Tensor:
        """Photo [B,3,H,W] in -1..1 -> drawing [B,1,H,W] in -1..1, +1 = white paper."""
        check_photo(photo)
        return self.model(photo)

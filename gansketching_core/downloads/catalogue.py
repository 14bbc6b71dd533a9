"""Models that others offer: names, addresses and licences. Nothing is downloaded unless the user asks for it."""

from dataclasses import dataclass
from typing import Literal

NVIDIA = "https://nvlabs-fi-cdn.nvidia.com"


@dataclass(frozen=True)
class Offer:
    """One download. folder: the subfolder of the models folder for its files; "" for a zip, whose files decide."""

    name: str
    about: str
    address: str
    licence: str
    folder: Literal["stylegan", "photosketch", ""] = "stylegan"

    @property
    def file(self) -> str:
        """The file's name on the server."""
        return self.address.rsplit("/", 1)[1]


_ADA = "NVIDIA Source Code License, non-commercial: https://nvlabs.github.io/stylegan2-ada-pytorch/license.html"
_V2 = "NVIDIA Source Code License, non-commercial: https://nvlabs.github.io/stylegan2/license.html"
_AUTHORS = (
    "MIT, Sheng-Yu Wang, David Bau, Jun-Yan Zhu: https://github.com/PeterWang512/GANSketching/blob/master/LICENSE"
)
_PHOTOSKETCH = "CC BY-NC-SA 4.0, Mengtian Li, non-commercial: https://creativecommons.org/licenses/by-nc-sa/4.0/"


def _ada(name: str, about: str) -> Offer:
    return Offer(name, about, f"{NVIDIA}/stylegan2-ada-pytorch/pretrained/{name}.pkl", _ADA)


def _v2(name: str, about: str) -> Offer:
    return Offer(f"stylegan2-{name}", about, f"{NVIDIA}/stylegan2/networks/stylegan2-{name}-config-f.pkl", _V2)


OFFERS: dict[str, Offer] = {
    offer.name: offer
    for offer in (
        Offer(
            "gansketching-pretrained",
            "base models (cat, church, horse, ...) and PhotoSketch, as the authors of Sketch Your Own GAN use them",
            "https://www.cs.cmu.edu/~gansketching/files/pretrained_models.zip",
            f"base models: {_V2}; PhotoSketch: {_PHOTOSKETCH}",
            "",
        ),
        Offer(
            "gansketching-weights",
            "the customised models of the authors of Sketch Your Own GAN",
            "https://www.cs.cmu.edu/~gansketching/files/weights.zip",
            f"{_AUTHORS}; made from models under: {_V2}",
            "",
        ),
        _v2("cat", "cats, 256 px"),
        _v2("church", "churches, 256 px"),
        _v2("horse", "horses, 256 px"),
        _v2("car", "cars, 512 px"),
        _v2("ffhq", "faces, 1024 px"),
        _ada("ffhq", "faces, 1024 px"),
        _ada("metfaces", "faces of paintings, 1024 px"),
        _ada("afhqcat", "faces of cats, 512 px"),
        _ada("afhqdog", "faces of dogs, 512 px"),
        _ada("afhqwild", "faces of wild animals, 512 px"),
        _ada("cifar10", "small photos of ten kinds, 32 px"),
    )
}

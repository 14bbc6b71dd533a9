"""The nodes of this pack. Ids are prefixed, because other packs use plain ones such as LoadStyleGAN."""

from __future__ import annotations

from .loaders import LoadPhotoSketch, LoadSketches, LoadStyleGAN, SaveCustomisedModel
from .sampling import Sample, SideBySide
from .sketching import PhotoSketch, PrepareSketch
from .training import FineTuneMapping, FineTuneOptions

NODES = (
    LoadStyleGAN,
    LoadPhotoSketch,
    LoadSketches,
    PrepareSketch,
    PhotoSketch,
    FineTuneOptions,
    FineTuneMapping,
    SaveCustomisedModel,
    Sample,
    SideBySide,
)

NODE_CLASS_MAPPINGS = {f"GANSketching_{node.__name__}": node for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS = {f"GANSketching_{node.__name__}": node.DISPLAY_NAME for node in NODES}

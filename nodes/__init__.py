"""The nodes of this pack. Ids are prefixed, because other packs use plain ones such as LoadStyleGAN."""

from __future__ import annotations

from .editing import (
    DirectionsSheet,
    EditLatents,
    FitDirections,
    InterpolateModels,
    LoadDirections,
    ModelFilm,
    SaveDirections,
    WShift,
)
from .evaluation import EvaluateModel, SketchMatchScore
from .get_model import GetModel
from .latents import (
    InterpolateLatents,
    JoinLatents,
    LatentsFromSeed,
    LoadLatents,
    PickLatents,
    SaveLatents,
    StyleMix,
    TruncateLatents,
)
from .load import LoadPhotos, LoadPhotoSketch, LoadSketches, LoadStyleGAN, SaveCustomisedModel
from .projection import ProjectImage, ProjectSketch
from .sampling import Sample, SideBySide
from .sketch_pad import SketchPad
from .sketching import PhotoSketch, PrepareSketch
from .training import FineTuneMapping, FineTuneOptions

NODES = (
    LoadStyleGAN,
    GetModel,
    LoadPhotoSketch,
    LoadSketches,
    LoadPhotos,
    SketchPad,
    PrepareSketch,
    PhotoSketch,
    FineTuneOptions,
    FineTuneMapping,
    SaveCustomisedModel,
    Sample,
    SideBySide,
    ProjectImage,
    ProjectSketch,
    LatentsFromSeed,
    InterpolateLatents,
    StyleMix,
    TruncateLatents,
    JoinLatents,
    PickLatents,
    SaveLatents,
    LoadLatents,
    InterpolateModels,
    ModelFilm,
    WShift,
    FitDirections,
    EditLatents,
    DirectionsSheet,
    SaveDirections,
    LoadDirections,
    EvaluateModel,
    SketchMatchScore,
)

NODE_CLASS_MAPPINGS = {f"GANSketching_{node.__name__}": node for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS = {f"GANSketching_{node.__name__}": node.DISPLAY_NAME for node in NODES}

"""The nodes of this pack. Ids are prefixed, because other packs use plain ones such as LoadStyleGAN."""

from __future__ import annotations

from . import (
    editing,
    evaluation,
    get_model,
    latents,
    load,
    mixing,
    projection,
    sampling,
    sharing,
    sketch_pad,
    sketching,
    training,
)

NODES = (
    load.LoadStyleGAN,
    get_model.GetModel,
    load.LoadPhotoSketch,
    load.LoadSketches,
    load.LoadPhotos,
    sketch_pad.SketchPad,
    sketching.PrepareSketch,
    sketching.PhotoSketch,
    training.FineTuneOptions,
    training.FineTuneMapping,
    load.SaveCustomisedModel,
    sharing.ExportModel,
    sharing.SaveWebPage,
    sampling.Sample,
    sampling.SideBySide,
    projection.ProjectImage,
    projection.ProjectSketch,
    latents.LatentsFromSeed,
    latents.InterpolateLatents,
    latents.StyleMix,
    latents.TruncateLatents,
    latents.JoinLatents,
    latents.PickLatents,
    latents.SaveLatents,
    latents.LoadLatents,
    editing.InterpolateModels,
    editing.ModelFilm,
    mixing.SketchStrength,
    mixing.ComposeModels,
    editing.WShift,
    editing.FitDirections,
    editing.EditLatents,
    editing.DirectionsSheet,
    editing.SaveDirections,
    editing.LoadDirections,
    evaluation.EvaluateModel,
    evaluation.SketchMatchScore,
)

NODE_CLASS_MAPPINGS = {f"GANSketching_{node.__name__}": node for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS = {f"GANSketching_{node.__name__}": node.DISPLAY_NAME for node in NODES}

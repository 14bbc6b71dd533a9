"""CMA-ES, a search without gradients, for latents that gradient descent does not reach."""

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from ..latents.spaces import Latents
from .optimise import import_optional


class CmaEs:
    """One search with a diagonal covariance around each of N latents, by the package cma."""

    def __init__(self, centres: Latents, std: float, seed: int):
        cma = import_optional("cma", "generations")
        self.centres = centres
        self.searches = []
        for k, centre in enumerate(centres.data):
            rng = np.random.default_rng([seed, k])
            options = {"CMA_diagonal": True, "verbose": -9, "seed": np.nan, "maxiter": np.inf}
            options["randn"] = lambda *shape, rng=rng: rng.standard_normal(shape)
            start = centre.flatten().double().cpu().numpy()
            self.searches.append(cma.CMAEvolutionStrategy(start, std / 2, options))
        self.population = self.searches[0].popsize

    def ask(self) -> Latents:
        """[N * population] candidates, those for the first centre first."""
        self.candidates = [search.ask() for search in self.searches]
        data = torch.from_numpy(np.concatenate(self.candidates)).to(self.centres.data)
        labels = self.centres.labels
        if labels is not None:
            labels = repeat(labels, "n ... -> (n population) ...", population=self.population)
        return Latents(self.centres.space, data.reshape(-1, *self.centres.data.shape[1:]), labels)

    def tell(self, scores: Tensor) -> None:
        """scores [N * population] of the last candidates; lower is better."""
        scores = rearrange(scores, "(n population) -> n population", n=len(self.searches)).double()
        for search, candidates, values in zip(self.searches, self.candidates, scores.tolist()):
            search.tell(candidates, values)

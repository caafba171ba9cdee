"""A look at what an encoder has learnt while it is pre-trained: study 1's probe, on development speakers.

The corpus is the config's own, whose files never take part in pre-training. Test speakers are not scored, so
that a recipe that is chosen by these figures can still be tested on them.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.data.progress import Progress
from jaxemo.models.pretrained import Encoder
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import prepare_experiment
from jaxemo.studies.layers import probe_domain
from jaxemo.studies.sources import Needs, embed_sources, encoder_source


def make_probe(
    config: Settings, encoder: Encoder, *, cache_dir: Path, progress: Progress
) -> Callable[[Any, int], dict[str, Any]]:
    """(parameters, steps done) -> {part: "probe", step, dev_ua: {domain: UA of each layer, 0 to 1}}.

    Raises:
      ValueError: For a corpus that cannot be probed.
    """
    experiment = prepare_experiment(
        config,
        sample_rates_hz=[encoder.sample_rate_hz],
        num_seeds=1,
        cache_dir=cache_dir,
        progress=progress,
    )

    def probe(params: Any, step: int) -> dict[str, Any]:
        current = dataclasses.replace(encoder, name=f"step {step}", params=params)
        source = encoder_source(current, current.name)
        # These embeddings are of no use to anyone else.
        with tempfile.TemporaryDirectory() as scratch:
            apart = experiment._replace(cache_dir=Path(scratch))
            (embedded,) = embed_sources(apart, config, sources=[source], needs=Needs())
        domains = [domain for domain in DOMAINS if len(experiment.rows_of(domain))]
        scores = {
            domain: probe_domain(experiment, embedded, config, domain=domain).probes.dev_score
            for domain in domains
        }
        dev_ua = {domain: np.asarray(of).mean(axis=1).tolist() for domain, of in scores.items()}
        return {"part": "probe", "step": step, "dev_ua": dev_ua}

    return probe

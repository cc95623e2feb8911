"""What an owner should know of a pool before trusting the verdicts that rest on it."""

import numpy as np

from audit.bundle.manifest import BundleContents
from audit.scores.comparison import whole_scores
from audit.scores.query_scores import deciding_query_score
from generator.jobs.mfue import Crafted


def remarks(crafted: Crafted) -> list[str]:
    """Return sentences about models that lost their accuracy, or that calibrate oddly.

    A calibrating copy that scores like an innocent stays: left out, the stated miss rate would hold
    for easier copies only. It widens the range in which an audit decides nothing.
    """
    contents = BundleContents(
        manifest=crafted.manifest, arrays=crafted.arrays, manifest_sha256="", signer_key_id=""
    )
    told = list(crafted.left_out)
    score = deciding_query_score(contents)
    if score is None:
        return told
    models = crafted.manifest.calibration_models
    scores = whole_scores(contents, score)
    is_innocent = np.array([model.role == "innocent" for model in models])
    highest = scores[is_innocent].max(initial=-np.inf)
    told += [
        f"{model.name} ({model.stratum}) scores like an innocent ({value:.2f}, and one reaches "
        f"{highest:.2f}): more suspects will be left undecided because of it"
        for model, value in zip(models, scores, strict=True)
        if model.role == "derived" and value <= highest
    ]
    return told

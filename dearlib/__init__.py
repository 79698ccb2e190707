"""dearlib: DeAR, from the roles of attention heads to the tables. Where the paper's equations are:

- Eq. 1, a frozen layer: `dearlib.clip.attention.biased_layer`
- Eq. 2, a phrase's concept: `dearlib.roles.concepts.similarity`
- Eq. 3, 4, Concept Entropy: `dearlib.roles.entropy.concept_distribution`, `dearlib.roles.entropy.concept_entropy`
- Eq. 5, 6, tokens in the layers, mixed by β: `dearlib.methods.tokens.image_states`, `dearlib.methods.tokens.text_features`
- Eq. 7, a mask becomes −∞: `dearlib.clip.attention.additive`
- Eq. 8, 9, who may look at whom, by role: `dearlib.methods.masks.head_mask`
- Eq. 10, 11, the features: `dearlib.methods.fusion.read_out`
- Eq. 12 – 16, the losses: `dearlib.methods.losses.terms`
- Eq. 17, 18, the similarities: `dearlib.methods.fusion.similarities`
- Eq. 19, the fused logits: `dearlib.methods.dear.DeAR.fuse`

What most users need stands here as well, imported when it is asked for: `from dearlib import load_clip, DeAR`.
"""

from importlib import import_module
from typing import Any

# Name → where it is defined.
PUBLIC = {
    "load_clip": "dearlib.clip.loading:load",
    "head_contributions": "dearlib.roles.heads:head_contributions",
    "textspan": "dearlib.roles.textspan:textspan",
    "find_concepts": "dearlib.roles.concepts:find_concepts",
    "find_roles": "dearlib.roles.entropy:find_roles",
    "HeadRoles": "dearlib.roles.rolefile:HeadRoles",
    "head_mask": "dearlib.methods.masks:head_mask",
    "DeAR": "dearlib.methods.dear:DeAR",
    "Settings": "dearlib.methods.dear:Settings",
    "fit": "dearlib.methods.training:fit",
    "evaluate": "dearlib.methods.evaluation:evaluate",
    "run_group": "dearlib.study.run:run_group",
    "InputError": "dearlib.errors:InputError",
}
__all__ = list(PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'dearlib' has no attribute {name!r}")
    module, _, what = PUBLIC[name].partition(":")
    return getattr(import_module(module), what)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])

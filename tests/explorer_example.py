"""An explorer file from drawn numbers: the shape of a real one, made in a moment. Nothing in it is a result."""

import torch
from PIL import Image

from dearlib.roles.controls import rethresholded
from dearlib.roles.entropy import concept_distribution, concept_entropy, concepts_of
from dearlib.roles.rolefile import HeadRole, HeadRoles, pool_sha256
from dearlib.roles.uncertainty import null_entropy
from dearlib.study.explorer import Explorer, Facts, Picture
from dearlib.study.explorer_parts import explore, thumbnail, with_neighbours

ATTRIBUTES = ("color", "shape", "texture", "object", "location")
NAMES = ("color", "letter", "location", "number", "object", "shape", "size", "texture")
LOW, HIGH, STEPS = 0.5, 0.75, 8


def example(factors: bool = True, tokens_per_attribute: int = 1) -> Explorer:
    """4 layers × 12 heads with all four roles; `factors=False` leaves out what the paper's profile does not know."""
    draw = torch.Generator().manual_seed(7)
    concept_of_phrase = torch.arange(160) % len(NAMES)
    phrases = [f"{NAMES[c]} phrase {i}" for i, c in enumerate(concept_of_phrase.tolist())]
    rows = []
    for head in range(48):  # the later the head, the more concepts it draws from
        some = torch.randperm(len(NAMES), generator=draw)[: 1 + head % len(NAMES)]
        fit = torch.isin(concept_of_phrase, some).nonzero()[:, 0]
        row = fit[torch.randperm(len(fit), generator=draw)[:STEPS]]
        rows.append(torch.cat([row[: STEPS - head % 3], row.new_full((head % 3,), -1)]))
    indices = torch.stack(rows)
    shares = torch.rand(48, STEPS, generator=draw, dtype=torch.float64).sort(dim=1, descending=True).values / STEPS
    assigned = concepts_of(indices, concept_of_phrase)
    p = concept_distribution(assigned, len(NAMES))
    noise = torch.rand(48, 2, generator=draw, dtype=torch.float64) * 0.3
    entries = []
    for i, (bits, (down, up)) in enumerate(zip(concept_entropy(p).tolist(), noise.tolist(), strict=True)):
        entries.append(
            HeadRole(
                layer=9 + i // 12,
                head=i % 12,
                role="mixed",
                concept=NAMES[int(p[i].argmax())],
                entropy=bits,
                interval=(max(0.0, bits - down), bits + up),
                distribution=dict(zip(NAMES, p[i].tolist(), strict=True)),
                phrases=tuple(phrases[j] for j in indices[i].tolist() if j >= 0),
            )
        )
    chance = {n: null_entropy(concept_of_phrase, n, 200, 1) for n in {len(e.phrases) for e in entries}}
    quantiles = {str(n): [float(drawn.quantile(q)) for q in (0.05, 0.5)] for n, drawn in chance.items()}
    blank = HeadRoles(
        model="Example", weights_sha256="1" * 64, identity="e" * 64, pool_sha256=pool_sha256(phrases), first_layer=9, layers=12, heads=12,
        attributes=ATTRIBUTES, concepts=NAMES, entries=tuple(entries),
        settings={"null_quantiles": quantiles, "low": LOW, "high": HIGH, "note": "</script> must not end anything"},
    )  # fmt: skip
    roles = rethresholded(blank, LOW, HIGH)
    rises = torch.randn(len(ATTRIBUTES), 48, generator=draw) * 0.02
    made = explore(
        roles,
        Facts(
            dataset="drawn",
            sample="40 squares",
            patches=9,
            d_head=12,
            tokens_per_attribute=tokens_per_attribute,
            loss="Drawn numbers, no unit",
        ),
        {p: NAMES[c] for p, c in zip(phrases, concept_of_phrase.tolist(), strict=True)},
        shares=shares,
        effects={a: torch.stack([r, r - 0.02, r + 0.02], dim=1) for a, r in zip(ATTRIBUTES, rises, strict=True)} if factors else None,
        response=torch.randn(48, 40, generator=draw),
        picture=square,
        shown=6,
    )
    if not factors:
        return made
    found = {
        (routing, a): torch.stack([torch.randperm(40, generator=draw)[:7] for _ in range(40)])
        for routing in ("printed", "exclusive")
        for a in ATTRIBUTES
    }
    labels = {a: torch.randint(-1, 4, (40,), generator=draw) for a in ATTRIBUTES}
    return with_neighbours(made, found, [0, 5, 9], labels, square)


def square(i: int) -> Picture:
    """A picture of one colour."""
    color = (40 + 37 * i % 200, 60 + 71 * i % 180, 50 + 113 * i % 190)
    return Picture(name=f"drawn/{i}", caption=f"square {i}", image=thumbnail(Image.new("RGB", (32, 32), color)))

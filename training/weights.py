"""The weights of a network in training: written, taken up again by a larger one, and tried on held-out patients."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from sammed3d_nb.network.click_maps import hold_clicks
from sammed3d_nb.network.compact import Compact
from training.cases import Source, cut
from training.clicks import next_click


def save(path: Path, state: dict[str, Tensor], **notes: str) -> None:
    """Write weights as float16 safetensors, whole or not at all."""
    from safetensors.torch import save_file

    held = {name: value.detach().to(torch.float16).cpu().contiguous() for name, value in state.items()}
    save_file(held, path.with_suffix(".part"), metadata=notes)
    path.with_suffix(".part").replace(path)


def grown(network: Compact, state: dict[str, Tensor]) -> None:
    """Load weights, of an earlier network too: what that one had not begins by changing nothing."""
    state = dict(state)
    if "decoder.prompt.weight" in state and "decoder.prior.weight" in state:  # maps that it was not shown
        known = state["decoder.prompt.weight"].shape[1]
        every = network.decoder.prompt.in_features
        state["decoder.prompt.weight"] = pad(state["decoder.prompt.weight"], (0, every - known))
        # those of drawn prompts begin by hand: where nothing is drawn they are 0
        prior = network.decoder.prior.weight.detach()[:, known:]
        state["decoder.prior.weight"] = torch.cat([state["decoder.prior.weight"], prior], 1)
    found = network.load_state_dict(state, strict=False)
    if found.unexpected_keys or any(not name.startswith("encoder.refine.") for name in found.missing_keys):
        raise ValueError(str((found.unexpected_keys + found.missing_keys)[:4]))
    for name in found.missing_keys:
        network.get_parameter(name).data.zero_()


@torch.no_grad()
def check(network: Compact, source: Source, k: int = 4, clicks: int = 5) -> dict[str, list[float]]:
    """Mean Dice after each click on held-out patients (people's labels), by kind."""
    device = next(network.parameters()).device
    dtype = next(network.parameters()).dtype
    random = torch.get_rng_state()
    torch.manual_seed(7)
    found: dict[str, list[list[float]]] = {}
    for case in source.held_out[:18]:
        got = cut(case, 1, device, source.n, spacing=1.0 if case.kind == "hippocampus" else 1.5, pasted=False)
        if got is None:
            continue
        features = network.encoder(got.cube[None].to(dtype))
        points = labels = previous = None
        row = []
        for _ in range(clicks):
            point, label = next_click(got.masks, None if previous is None else previous[:, 0] > 0, got.valid[None])
            points = point[:, None] if points is None else torch.cat([points, point[:, None]], 1)
            labels = label[:, None] if labels is None else torch.cat([labels, label[:, None]], 1)
            logits, _ = network.answer(features, points, labels, previous)
            previous = hold_clicks(logits, points, labels)
            hard = (previous[:, 0] > 0) & got.valid
            row.append(float(2 * (hard & got.masks).sum() / (hard.sum() + got.masks.sum()).clamp(min=1)))
        found.setdefault(case.kind, []).append(row)
    torch.set_rng_state(random)
    return {kind: [round(sum(c) / len(c), 3) for c in zip(*rows, strict=True)] for kind, rows in found.items()}

"""A model in nnInteractive's real format, so small that it answers at once, and whose answers mean something.

Its network is one that real plans name, a plain U-Net, whose weights are set by hand: what comes out is a weighted sum
of the channels at the same voxel, so an answer shows at once where image and prompts were when it was made.
"""

import json
from pathlib import Path
from typing import Any

import torch

CHANNELS = ("image", "so far", "box or lasso +", "box or lasso -", "point +", "point -", "scribble +", "scribble -")
LICENCE = "CC BY-NC-SA 4.0"
WEIGHTS = (0.25, 2.5, 4.0, -6.0, 3.0, -6.0, 4.0, -6.0)
"""For each of `CHANNELS`: bright voxels a little, what was there stays unless it is taken away."""
THRESHOLD = 1.2
CONFIGURATION = "3d_fullres_ps192_bs24"
ARCHITECTURE: dict[str, Any] = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [1, 1],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 1, 1], [1, 1, 1]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": None,
        "norm_op_kwargs": None,
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": None,
        "nonlin_kwargs": None,
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}


def write(
    folder: Path, *, patch: int = 64, licence: str | None = LICENCE, weights: tuple[float, ...] = WEIGHTS
) -> Path:
    """Write the model; needs no package of nnInteractive.

    Args:
        folder: Made if it is not there.
        patch: Voxels along each edge of what the network sees.
        licence: First line of its licence file; None for no such file.
        weights: Of `CHANNELS`.
    """
    (folder / "fold_0").mkdir(parents=True)
    plans = {
        "dataset_name": "Dataset225_nnInteractiveV2",
        "plans_name": "nnInteractivePlans",
        "configurations": {CONFIGURATION: {"patch_size": [patch] * 3, "architecture": ARCHITECTURE}},
    }
    dataset = {"channel_names": {"0": "image"}, "labels": {"background": 0, "object": 1}, "file_ending": ".nii.gz"}
    session = {"point_radius": 4, "preferred_scribble_thickness": [2, 2, 2], "interaction_decay": 0.9}
    for name, content in (("plans", plans), ("dataset", dataset), ("inference_session_class", session)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    if licence is not None:
        (folder / "LICENSE").write_text(f"{licence}\n\nhttps://creativecommons.org/licenses/by-nc-sa/4.0/\n")
    torch.save(contents(weights), folder / "fold_0" / "checkpoint_final.pth")
    return folder


def contents(weights: tuple[float, ...] = WEIGHTS) -> dict[str, Any]:
    """What the checkpoint holds: the weights, and what real ones have beside them."""
    one, half = torch.ones(1), torch.zeros(1)
    convolutions = {
        "encoder.stages.0.0.convs.0": (torch.tensor(weights).reshape(1, 8, 1, 1, 1), torch.tensor([-THRESHOLD])),
        "encoder.stages.1.0.convs.0": (torch.zeros(1, 1, 1, 1, 1), half),
        "decoder.stages.0.convs.0": (torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1), half),
    }
    tensors: dict[str, torch.Tensor] = {}
    for name, (weight, bias) in convolutions.items():
        for alias in (f"{name}.conv", f"{name}.all_modules.0"):
            tensors |= {f"{alias}.weight": weight, f"{alias}.bias": bias}
    # the decoder holds the encoder once more, as nnU-Net writes it
    tensors |= {f"decoder.{name}": tensor for name, tensor in tensors.items() if name.startswith("encoder.")}
    tensors |= {"decoder.transpconvs.0.weight": torch.zeros(1, 1, 2, 2, 2), "decoder.transpconvs.0.bias": half}
    tensors |= {
        "decoder.seg_layers.0.weight": torch.stack([0 * one, one]).reshape(2, 1, 1, 1, 1),
        "decoder.seg_layers.0.bias": torch.zeros(2),
    }
    return {
        "network_weights": tensors,
        "trainer_name": "nnInteractiveTrainer_stub",
        "init_args": {"plans": {}, "configuration": CONFIGURATION, "fold": 0, "device": torch.device("cuda")},
        "current_epoch": 5000,
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }

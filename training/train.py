"""Train the compact network on 1 … n GPUs: ``python -m training.train --seconds 500 --out OUT`` (or through torchrun).

On a GPU a whole step (clicks, answers, gradients) is one CUDA graph for each pattern of clicks, so Python's lock is
free for the threads that cut cubes; scenes are drawn by processes of their own (`training.feed`).

Resumable: ``--resume FILE`` takes the weights that an earlier piece left (its moving average, the file that ships) and
warms the optimiser up again; ``--from`` and ``--to`` say which part of the whole plan (0 … 1) this piece is.
Writes ``compact.safetensors`` and ``log.jsonl`` to OUT as it goes.
"""

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch
import torch._inductor.config as inductor
import torch.distributed as dist
from torch import Tensor

from sammed3d_nb.network import compact
from sammed3d_nb.network.click_maps import Features, hold_clicks
from sammed3d_nb.network.compact import Compact, Size
from sammed3d_nb.network.drawn import MAPS
from training.cases import Source
from training.clicks import Habits, cells_of, loss_of, next_click, polish
from training.drawing import first_prompts, later_prompts, merged
from training.feed import Ahead, Drawers, batch_of
from training.timing import profile
from training.weights import check, grown, save

ROUNDS = (
    ((1, 1, 2, 3), (0, 1, 3)),
    ((1, 1, 2), (0, 1, 2)),
    ((1, 2, 3, 4, 5, 6), (0, 3, 5)),
    ((1, 2, 3, 4), (0, 2, 3)),
)
"""The clicks shown for each answer of a step, and the answers, counted from 0, that it learns from; taken in turn.

A number twice: the same click again with a coarse answer before it, as the session asks when it zooms in.
"""
FIRST = Habits(sloppy=0.12, anywhere=0.5)
LATER = Habits(sloppy=0.2, anywhere=0.2, beside=0.15)
"""How the first click is made, and the others."""
DRAWN_FIRST = slice(1, None, 2)
"""The objects that are shown by a box, a stroke or a lasso first: two of a cube's four."""
DRAWN_LATER = 4
"""One in so many objects may be corrected by a stroke or an outline, others at each click."""
POLISHED = 0.1
"""How often a click comes after a nearly right mask instead of the network's own."""
FIRST_ROOM, ROOM = 3, 8
"""Places that the first prompt may name, and all prompts: two sizes to compile."""


def disturb(logits: Tensor, zoomed: bool = False) -> Tensor:
    """What the session may do to the previous mask: a detour over another cube's grid, a forgotten mask.

    Args:
        logits: (b, 1, n, n, n); each object has its own luck.
        zoomed: A detour over a coarser grid for every object.
    """
    luck = torch.rand(len(logits), 1, 1, 1, 1, device=logits.device)
    luck = 0.25 * luck if zoomed else luck
    for low, high, times in ((0.0, 0.15, 2), (0.15, 0.25, 4)):
        small = torch.nn.functional.avg_pool3d(logits, times)
        rough = torch.nn.functional.interpolate(small, scale_factor=times, mode="trilinear")
        logits = torch.where((luck >= low) & (luck < high), rough, logits)
    return torch.where(luck > 0.95, torch.zeros_like(logits), logits)


def blocks(text: str) -> tuple[int, int, int]:
    """`Size.refine` from the command line."""
    fine, middle, coarse = (int(number) for number in text.split(","))
    return fine, middle, coarse


def rounded(figures: dict[str, Tensor]) -> dict[str, float]:
    """To print."""
    return {name: round(float(value), 4) for name, value in figures.items()}


class Trainer:
    """The network in the GPU's precision, its weights in float32, their moving average."""

    def __init__(self, args: argparse.Namespace, device: torch.device, world: int) -> None:
        self.args, self.device, self.world = args, device, world
        tiny = Size(widths=(8, 16, 24, 32), blocks=(1, 1, 1, 1), decoder_blocks=1, refine=(1, 1, 1), cube=64)
        size = tiny if args.tiny else Size(refine=args.refine)
        torch.manual_seed(0)
        network = Compact(size)
        if args.resume:
            from safetensors.torch import load_file

            state = {name: weight.float() for name, weight in load_file(args.resume).items()}
            try:
                grown(network, state)
            except ValueError as error:
                raise ValueError(f"{args.resume} holds another network: {error}") from error
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.network = network.to(device)
        self.names = [name for name, _ in network.named_parameters()]
        self.weights = list(network.parameters())
        self.master = [w.detach().float().clone() for w in self.weights]
        self.average = [w.clone() for w in self.master]
        if self.dtype != torch.float32:
            self.network.to(self.dtype)
            self.weights = list(self.network.parameters())
        plain = [w for w in self.master if w.ndim < 2]
        matrices = [w for w in self.master if w.ndim >= 2]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.03}, {"params": plain, "weight_decay": 0.0}],
            lr=args.lr, betas=(0.9, 0.98), fused=device.type == "cuda",
        )  # fmt: skip
        self.encode, self.loss, self.next_click, self.disturb = self.known, loss_of, next_click, disturb
        self.polish = polish
        if args.compile:  # each in as few forms as can be: a form takes ten seconds, of some a minute
            inductor.fallback_random = True  # the recorded graphs know torch's generator
            self.encode = torch.compile(self.known, dynamic=False)
            self.network.decoder.forward = torch.compile(self.network.decoder.forward, dynamic=False)  # type: ignore[method-assign]
            compact.describe_clicks = torch.compile(compact.describe_clicks, dynamic=False)
            self.loss = torch.compile(loss_of, dynamic=False)
            self.next_click = torch.compile(next_click, dynamic=False)
            self.disturb = torch.compile(disturb, dynamic=False)
            self.polish = torch.compile(polish, dynamic=False)
        self.count = 0
        self.skipped = 0
        self.inputs: dict[str, Tensor] = {}
        self.graphs: list[tuple[torch.cuda.CUDAGraph, Tensor, dict[str, Tensor]]] = []

    def known(self, cubes: Tensor) -> tuple[Tensor, ...]:
        """Features of cubes, and in what clicked places are compared."""
        features = self.network.encoder(cubes)
        return *features, *self.network.encoder.keys(features)

    def gradients(
        self, batch: dict[str, Tensor], passes: tuple[int, ...], learn: tuple[int, ...]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """All gradients of a batch of cubes with k objects each, flat, and how good the answers were."""
        for w in self.weights:
            w.grad = None
        cubes, masks, valid = batch["cubes"], batch["masks"], batch["valid"]
        parts = self.encode(cubes.to(self.dtype))
        leaves = [part.detach().requires_grad_(part.requires_grad) for part in parts]
        features, keys = Features(*leaves[:-2]), (leaves[-2], leaves[-1])
        points = torch.zeros(len(masks), ROOM, 3, device=masks.device)
        labels = torch.full((len(masks), ROOM), -1, device=masks.device)
        cells = masks.shape[-1] // 2
        drawn = torch.zeros(len(masks), MAPS, cells, cells, cells, device=masks.device, dtype=self.dtype)
        previous = None
        figures = {}
        for turn, click in enumerate(passes):
            again = turn > 0 and click == passes[turn - 1]
            if previous is None:
                points, labels, drawn = self.begun(masks, valid, points, labels, drawn)
            elif not again:
                previous = self.polish(previous, masks, POLISHED)
                points, labels, drawn = self.corrected(previous, masks, valid, points, labels, drawn, click)
            grad = turn in learn
            with torch.no_grad():  # always, or there were two forms; the rarer way is not compiled
                before = None if previous is None else (disturb(previous, True) if again else self.disturb(previous))
            with torch.set_grad_enabled(grad):
                shown = FIRST_ROOM if previous is None else ROOM
                at, kinds = points[:, :shown], labels[:, :shown]
                logits, quality = self.network.answer(features, at, kinds, before, keys, drawn)
                if grad:
                    losses, dice = self.loss(logits, quality, masks, valid, points, labels, previous)
                    (losses.mean() / len(learn)).backward()
                    name = f"{click}again" if again else f"{click}"
                    figures[f"dice{name}"], figures[f"loss{name}"] = dice.mean(), losses.detach().mean()
                    if previous is None and len(masks) > 1:
                        figures["drawn1"] = dice[DRAWN_FIRST].mean()
            previous = hold_clicks(logits.detach(), at, kinds)
        given = [(part, leaf.grad) for part, leaf in zip(parts, leaves, strict=True) if leaf.grad is not None]
        torch.autograd.backward([part for part, _ in given], [grad for _, grad in given])
        flat = torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten().float() for w in self.weights])
        return flat, figures

    def begun(
        self, masks: Tensor, valid: Tensor, points: Tensor, labels: Tensor, drawn: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points, labels and maps with each object's first prompt."""
        points, labels, drawn = points.clone(), labels.clone(), drawn.clone()
        points[:, 0], labels[:, 0] = next_click(masks, None, valid, FIRST)
        some = DRAWN_FIRST
        if len(masks) > 1:
            shares = cells_of(masks[some])[:, 0].float()
            maps, places, kinds = first_prompts(shares, points[some, 0], labels[some, 0])
            drawn[some] = maps.to(drawn.dtype)
            points[some, :FIRST_ROOM], labels[some, :FIRST_ROOM] = places, kinds
        return points, labels, drawn

    def corrected(
        self,
        previous: Tensor,
        masks: Tensor,
        valid: Tensor,
        points: Tensor,
        labels: Tensor,
        drawn: Tensor,
        click: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points, labels and maps with each object's next prompt."""
        points, labels, drawn = points.clone(), labels.clone(), drawn.clone()
        place, label = self.next_click(masks, previous[:, 0] > 0, valid, LATER)
        points[:, FIRST_ROOM + click - 2], labels[:, FIRST_ROOM + click - 2] = place, label
        some = slice(click % DRAWN_LATER, None, DRAWN_LATER)
        if len(masks) > click % DRAWN_LATER:
            predicted, truth = previous[some, 0] > 0, masks[some]
            missed = (label[some] == 1)[:, None, None, None]
            wrong = torch.where(missed, truth & ~predicted, predicted & ~truth & valid[some])
            maps = later_prompts(cells_of(wrong)[:, 0].float(), place[some], label[some])
            drawn[some] = merged(drawn[some], maps.to(drawn.dtype))
        return points, labels, drawn

    def capture(self, batch: dict[str, Tensor]) -> None:
        """Record each pattern of clicks as a CUDA graph, and try it; nothing else may use the GPU meanwhile."""
        self.inputs = {name: value.clone() for name, value in batch.items()}
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for passes, learn in ROUNDS:
                for _ in range(2):
                    flat, figures = self.gradients(self.inputs, passes, learn)
                self.say(f"plain: clicks {passes}, gradient {float(flat.norm()):.4g}, {rounded(figures)}")
        torch.cuda.current_stream().wait_stream(aside)
        pool = None
        for passes, learn in ROUNDS:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                flat, figures = self.gradients(self.inputs, passes, learn)
            pool = graph.pool()
            self.graphs.append((graph, flat, figures))
        for graph, flat, figures in self.graphs:
            graph.replay()
            self.say(f"graph: gradient {float(flat.norm()):.4g}, {rounded(figures)}")
            parts = zip(self.names, flat.split([w.numel() for w in self.master]), strict=True)
            broken = [name for name, part in parts if not bool(part.isfinite().all())]
            if broken or not bool(flat.any()):
                self.say(f"going on without graphs, recorded gradients are not usable: {broken[:8] or 'all zero'}")
                self.graphs = []
                return

    def say(self, line: str) -> None:
        """Print, once for all GPUs."""
        if self.world == 1 or dist.get_rank() == 0:
            print(line, flush=True)

    def step(self, batch: dict[str, Tensor], rate: float) -> dict[str, Tensor]:
        """One step over a batch of cubes with k objects each."""
        passes, learn = ROUNDS[self.count % len(ROUNDS)]
        if self.graphs:
            for name, value in batch.items():
                self.inputs[name].copy_(value)
            graph, flat, figures = self.graphs[self.count % len(ROUNDS)]
            graph.replay()
        else:
            flat, figures = self.gradients(batch, passes, learn)
        self.update(flat, rate)
        self.count += 1
        return figures

    def update(self, flat: Tensor, rate: float) -> None:
        """Gather gradients over the GPUs, step, copy back, average; nothing where a gradient is not finite or zero."""
        if self.world > 1:
            dist.all_reduce(flat)
            flat /= self.world
        norm = float(flat.norm())  # waits for the GPU, so batches are not queued without end either
        if not 0 < norm < math.inf:
            self.skipped += 1  # all of it: weight decay alone would shrink the network
            return
        flat /= max(norm, 1.0)
        for master, grad in zip(self.master, flat.split([w.numel() for w in self.master]), strict=True):
            master.grad = grad.view_as(master)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.master)
            decay = min(self.args.ema, (1 + self.count) / (10 + self.count))
            torch._foreach_lerp_(self.average, self.master, 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return dict(zip(self.names, self.average, strict=True))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("training/prepared"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--from", dest="start", type=float, default=0.0)
    parser.add_argument("--to", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--cubes", type=int, default=5)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--pool", type=int, default=200, help="scenes of each kind kept on a GPU")
    parser.add_argument("--drawers", type=int, default=0, help="processes that draw scenes, for each GPU")
    parser.add_argument("--cutters", type=int, default=2, help="threads that cut cubes, for each GPU")
    parser.add_argument("--refine", type=blocks, default=Size().refine, help="blocks on the encoder's way up: 3,7,1")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    if args.cubes * args.k < 2:
        parser.error("a batch holds two objects at least: raise --cubes or --k")
    began = time.time()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        for fused in ("cudnn", "flash", "mem_efficient"):  # 512 tokens: plain products cost little,
            getattr(torch.backends.cuda, f"enable_{fused}_sdp")(False)  # cuDNN's fail in graphs (PyTorch issue 169849)
    if world > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args, device, world)
    torch.manual_seed(int(time.time()) % 100000 * 64 + rank)
    source = Source(args.data, device, args.pool, trainer.network.size.cube)
    if rank == 0:
        print(f"ready after {time.time() - began:.1f} s, {world} processes, {device}", flush=True)
    log = (args.out / "log.jsonl").open("a")
    waited = 0.0
    first = time.time()
    sys.setswitchinterval(0.0005)
    drawers = Drawers(source, args.drawers, torch.initial_seed()) if args.drawers else None
    if drawers:
        source.fed = True
        while not (source.cases["body"] and source.cases["medley"]):
            drawers.take()
    if cuda:
        trainer.capture(batch_of(source, args.cubes, args.k))
        if rank == 0:
            print(f"recorded after {time.time() - began:.1f} s", flush=True)
    if drawers:
        drawers.start()
    ahead = Ahead(source, args.cubes, args.k, args.cutters)
    while trainer.count < args.steps:
        if trainer.count % 10 == 0:  # rank 0's clock counts: all learn at one rate and stop at one step
            clock = torch.tensor([time.time() - began], device=device)
            if world > 1:
                dist.broadcast(clock, 0)
            elapsed = float(clock)
        if elapsed > args.seconds:
            break
        progress = args.start + (args.to - args.start) * min(1.0, elapsed / args.seconds)
        rate = args.lr * min(1.0, (trainer.count + 1) / 100)
        rate *= 1.0 if progress < 0.6 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.6) / 0.4))
        mark = time.time()
        batch = ahead.next()
        waited += time.time() - mark
        if args.profile and trainer.count == 12:
            profile(trainer.step, batch, show=rank == 0)
        figures = trainer.step(batch, rate)
        if trainer.count == 20:
            first, waited = time.time(), 0.0
        if rank == 0 and (trainer.count % 25 == 0 or trainer.count < 4):
            values = rounded(figures)
            each = (time.time() - first) / max(1, trainer.count - 20)
            values |= {"step": trainer.count, "s": round(elapsed, 1), "lr": rate, "each": round(each, 4),
                       "data": round(waited / max(1, trainer.count - 20), 4),
                       "skipped": trainer.skipped, "scenes": drawers.taken if drawers else 0}  # fmt: skip
            if cuda:
                values["GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
            log.write(json.dumps(values) + "\n")
            log.flush()
            print(values, flush=True)
        if trainer.count % 25 == 0 and trainer.skipped > 5 + 0.1 * trainer.count:
            raise RuntimeError(f"{trainer.skipped} of {trainer.count} steps had no usable gradient; nothing is learned")
        if rank == 0 and trainer.count % 400 == 0:
            save(args.out / "compact.safetensors", trainer.state(), steps=str(trainer.count))
    ahead.stop()
    if rank == 0:
        save(args.out / "compact.safetensors", trainer.state(), steps=str(trainer.count))
        torch._foreach_copy_([w.data for w in trainer.weights], trainer.average)
        with torch.compiler.set_stance("force_eager"):  # other shapes: not worth compiling
            result = check(trainer.network, source) if source.held_out else {}
        print("held out:", result, "steps", trainer.count, "seconds", round(time.time() - began, 1), flush=True)
        log.write(json.dumps({"held_out": result, "steps": trainer.count, "world": world}) + "\n")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

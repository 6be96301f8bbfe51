"""SAM-Med3D, and FastSAM3D: the same prompts and mask decoder behind a smaller image encoder."""

import weakref
from collections.abc import Mapping

import torch
from torch import Tensor

from sammed3d_nb.network.decoder import MaskDecoder
from sammed3d_nb.network.encoder import EncoderShape, ImageEncoder
from sammed3d_nb.network.prompts import IGNORED, PromptEncoder
from sammed3d_nb.network.spec import Embedding, ModelSpec, Network

KEPT_CUBES = 4
"""Embeddings whose click-independent products are kept (1 MB each in bfloat16, 2 MB in float32)."""

EXACT = ("positional_encoding_gaussian_matrix", "padded_rh", "padded_rw")
"""Buffers that stay float32 in every precision: angles and logarithms, where a rounding error is an absolute one."""


class SamMed3D(Network):
    """SAM-Med3D or FastSAM3D, by the shape of its image encoder.

    The same function as the original authors' code (Wang et al., *SAM-Med3D*, arXiv:2310.15161; Shen et al.,
    *FastSAM3D*, arXiv:2403.09827), written anew; the state dict has the original's names.
    """

    def __init__(self, shape: EncoderShape, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.image_encoder = ImageEncoder(shape)
        self.prompt_encoder = PromptEncoder(shape.out, shape.grid, shape.cube)
        self.mask_decoder = MaskDecoder(shape.out, shape.grid)
        self._products: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}
        self.register_load_state_dict_post_hook(lambda module, _: module.fold())  # type: ignore[no-untyped-call]

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], name: str = "") -> "SamMed3D":
        """Build the network whose tensors these are (names with ``image_encoder.``), strictly.

        Raises:
            RuntimeError: missing, unexpected or misshapen tensors, in torch's words.
        """
        shape = EncoderShape.of(state, "image_encoder.")
        architecture = "fastsam3d" if shape.student else "sam-med3d"
        spec = ModelSpec(
            name=name or ("FastSAM3D" if shape.student else "SAM-Med3D"),
            architecture=architecture,
            layers=len(shape.windows),
            width=shape.width,
            heads=shape.heads,
            cube_size=shape.cube,
            grid_size=4 * shape.grid,
            parameters=sum(tensor.numel() for tensor in state.values()),
        )
        with torch.device("meta"):  # no memory for weights that are replaced at once
            network = cls(shape, spec)
        network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
        return network.eval().requires_grad_(False)

    def fold(self) -> None:
        """Work out everything that depends on the weights alone. Loading a state dict calls it."""
        prompts = self.prompt_encoder
        self.mask_decoder.fold(prompts.dense_positions(), prompts.mask_projection, prompts.no_mask_embed.weight)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """As `Network.place`, and `EXACT` buffers stay float32."""
        exact = {name: buffer for name, buffer in self.named_buffers() if name.endswith(EXACT)}
        try:
            super().place(device, dtype)
            exact = {name: buffer.to(device) for name, buffer in exact.items()}
        finally:
            for name, buffer in exact.items():
                owner, _, leaf = name.rpartition(".")
                setattr(self.get_submodule(owner), leaf, buffer)
        self._products.clear()

    def encode(self, cube: Tensor) -> Tensor:
        """(1, 1, s, s, s) normalised, to the image embedding (1, c, n, n, n)."""
        embedding: Tensor = self.image_encoder(cube)
        return embedding

    def decode(
        self,
        embedding: Embedding,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `Network.decode`, but nothing drawn is known here.

        The first call passes an all-zero mask prompt, not the learned no-mask embedding.
        """
        n = self.spec.grid_size
        if previous is None:
            previous = points.new_zeros(1, 1, n, n, n)
        assert isinstance(embedding, Tensor)
        return self.answer(self.products(embedding), points, labels, previous)

    def known(self, embedding: Embedding) -> tuple[Tensor, ...]:
        """What is known of a cube before any click: its `products`."""
        assert isinstance(embedding, Tensor)
        return (self.products(embedding),)

    def respond(
        self,
        known: tuple[Tensor, ...],
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`decode` from what `known` gives; where a label is `IGNORED` nothing attends to the click."""
        (products,) = known
        own = products.new_zeros(5)  # the quality token and the mask tokens stand first, "not a point" last
        hidden = torch.where(labels == IGNORED, -torch.inf, 0.0).to(products.dtype)
        return self.answer(products, points, labels, previous, ignore=torch.cat([own, hidden, own[:1]])[None])

    def decode_multimask(
        self, embedding: Tensor, points: Tensor, labels: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Three alternative masks (1, 3, 4n, 4n, 4n) and their qualities (1, 3)."""
        return self.answer(self.products(embedding), points, labels, previous, multimask=True)

    def decode_without_mask(self, embedding: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As `decode`, but with the learned no-mask embedding, which the published inference never uses."""
        return self.answer(self.products(embedding), points, labels, None)

    def products(self, embedding: Tensor) -> Tensor:
        """The decoder's click-independent products, kept for the last few cubes.

        Raises:
            ValueError: an embedding of another network.
        """
        shape = self.image_encoder.shape
        expected = (1, shape.out, shape.grid, shape.grid, shape.grid)
        if embedding.shape != expected:
            raise ValueError(f"The embedding must have the shape {expected}, got {tuple(embedding.shape)}.")
        seen, products = self._products.get(id(embedding), (None, None))
        if seen is None or products is None or seen() is not embedding:  # an id may come back after its tensor died
            products = self.mask_decoder.image(embedding)
            self._products.pop(id(embedding), None)
            while len(self._products) >= KEPT_CUBES:
                del self._products[next(iter(self._products))]
            self._products[id(embedding)] = weakref.ref(embedding), products
        return products

    def answer(
        self,
        products: Tensor,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        multimask: bool = False,
        ignore: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode from the products of `products`; see `MaskDecoder.forward`."""
        clicks = self.prompt_encoder.clicks(points, labels)
        mask = None if previous is None else self.prompt_encoder.mask(previous)
        logits, quality = self.mask_decoder(products, clicks, mask, multimask, ignore)
        return logits, quality

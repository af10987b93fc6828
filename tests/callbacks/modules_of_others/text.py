"""Networks over sequences: token ids, recurrences and attention, batch first and sequence first."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.callbacks.modules_of_others.case import SAMPLES, Case, Theirs, drawn

WORDS = 20


def sentences(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Token ids (n, 12): words of the label's own seven are more frequent."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (samples,), generator=generator)
    own = label[:, None] * 7 + torch.randint(6, (samples, 12), generator=generator)
    anything = torch.randint(WORDS, (samples, 12), generator=generator)
    return torch.where(torch.rand(samples, 12, generator=generator) < 0.5, own, anything), label


class Recurrent(Theirs):
    """An LSTM over (n, steps, 4), in either layout."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.lstm, self.head = nn.LSTM(4, 3, batch_first=batch_first), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        """Logits of the last step."""
        states, _ = self.lstm(x if self.batch_first else x.transpose(0, 1))
        return self.head(states[:, -1] if self.batch_first else states[-1])

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """One step at a time, with the equations of an LSTM."""
        hidden, cell, states = torch.zeros(len(x), 3), torch.zeros(len(x), 3), []
        from_input, from_state, *biases = self.lstm.parameters()
        for step in x.unbind(1):
            i, f, g, o = (step @ from_input.T + hidden @ from_state.T + sum(biases)).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            states.append(hidden)
        return {"lstm": torch.stack(states, 1).flatten(1), "head": self.head(hidden)}


class Text(Theirs):
    """Token ids, embedded, through a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru, self.head = nn.Embedding(WORDS, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> Any:
        """Logits."""
        _, last = self.gru(self.embedding(ids))
        return self.head(last[0])

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """Embeddings looked up, states in the layer's own order."""
        embedded = self.embedding.weight[x]
        states, _ = self.gru(embedded)
        return {"embedding": embedded.flatten(1), "gru": states.flatten(1), "head": self.head(states[:, -1])}


class Bag(Theirs):
    """The mean embedding of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(WORDS, 5), nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> Any:
        """Logits."""
        return self.head(self.bag(ids))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The mean of the rows looked up."""
        bag = self.bag.weight[x].mean(1)
        return {"bag": bag, "head": self.head(bag)}


class Encoder(Theirs):
    """torch's transformer over token ids, in either layout."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=batch_first)
        self.embedding, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, 3)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.batch_first = batch_first

    def forward(self, ids: Tensor) -> Any:
        """Logits of the mean over tokens."""
        tokens = self.embedding(ids)
        out = self.encoder(tokens if self.batch_first else tokens.transpose(0, 1))
        return self.head(out.mean(1 if self.batch_first else 0))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The layer's parts, normalised after each."""
        layer: Any = self.encoder.layers[0]
        tokens = self.embedding(x)
        ordered = tokens if self.batch_first else tokens.transpose(0, 1)
        attended, _ = layer.self_attn(ordered, ordered, ordered)
        first = layer.norm1(ordered + attended)
        wide = functional.linear(first, layer.linear1.weight, layer.linear1.bias).relu()
        second = layer.norm2(first + wide @ layer.linear2.weight.T + layer.linear2.bias)
        out = second if self.batch_first else second.transpose(0, 1)
        return {"encoder.layers.0.norm2": out.flatten(1), "head": self.head(out.mean(1))}


class Attention(Theirs):
    """One layer of attention, as a module or as a function of its parameters; none of its own submodules runs."""

    def __init__(self, functionally: bool) -> None:
        super().__init__()
        self.functionally = functionally
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        """Logits of the mean over tokens."""
        if not self.functionally:
            return self.head(self.attention(x, x, x)[0].mean(1))
        turned, own = x.transpose(0, 1), self.attention
        out, _ = functional.multi_head_attention_forward(
            turned,
            turned,
            turned,
            4,
            2,
            own.in_proj_weight,
            own.in_proj_bias,
            None,
            None,
            False,
            0.0,
            own.out_proj.weight,
            own.out_proj.bias,
        )
        return self.head(out.mean(0))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """Softmax of products, head by head."""
        own = self.attention
        q, k, v = (x @ own.in_proj_weight.T + own.in_proj_bias).chunk(3, 2)
        heads = [
            (q[..., at : at + 2] @ k[..., at : at + 2].transpose(1, 2) / 2**0.5).softmax(2) @ v[..., at : at + 2]
            for at in (0, 2)
        ]
        out = own.out_proj(torch.cat(heads, 2))
        found = {"head": self.head(out.mean(1))}
        return found if self.functionally else {"attention": out.flatten(1), **found}


SERIES = partial(drawn, (6, 4))
CASES = [
    Case("lstm, batch first", partial(Recurrent, True), data=SERIES),
    Case("lstm, steps first", partial(Recurrent, False), data=SERIES),
    Case("lstm, as many steps as samples", partial(Recurrent, True), data=partial(drawn, (SAMPLES["train"], 4))),
    Case("lstm, steps first, as many", partial(Recurrent, False), data=partial(drawn, (SAMPLES["train"], 4))),
    Case("lstm, steps first, two of them", partial(Recurrent, False), data=partial(drawn, (2, 4))),
    Case("gru over token ids", Text, data=sentences),
    Case("embedding bag", Bag, data=sentences),
    Case("transformer, batch first", partial(Encoder, True), data=sentences),
    Case("transformer, sequence first", partial(Encoder, False), data=sentences),
    Case("attention", partial(Attention, False), data=SERIES),
    Case("attention called as a function", partial(Attention, True), data=SERIES),
]

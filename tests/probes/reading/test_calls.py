"""Tests of probes/reading/calls.py."""

from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from stratoscope.probes.reading.batches import UnreadableBatch, read_batch
from stratoscope.probes.reading.calls import Call, choose_call, logits_of

IMAGE = torch.rand(5, 12, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 2, 1, 2, 0])
PAIR = (IMAGE, LABEL)
WORDS = {"input_ids": LABEL[:, None].expand(5, 7), "attention_mask": torch.ones(5, 7), "labels": LABEL}
SEEN = {"pixel_values": IMAGE, "labels": LABEL}


def network(forward: Callable[..., Any]) -> Any:
    """A network with one layer and this forward."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer, self.table = nn.Linear(12, 3), nn.Embedding(10, 3)

    Network.forward = forward
    return Network()


def of_image(self: Any, z: Tensor) -> Tensor:
    """Takes the image."""
    logits: Tensor = self.layer(z)
    return logits


def of_batch(self: Any, batch: Any) -> Tensor:
    """Takes the batch."""
    image, _ = batch
    return of_image(self, image)


def of_unnamed_batch(self: Any, b: Any) -> Tensor:
    """Takes the batch, and would take the first of the images for all of them."""
    return of_image(self, b[0])


def of_annotated_batch(self: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Takes the batch, as the annotation says."""
    return of_image(self, inputs["pixel_values"])


def of_unpacked_batch(self: Any, b: Any) -> Tensor:
    """Takes a pair."""
    image, _label = b
    return of_image(self, image)


def of_keyword(self: Any, *, pixel_values: Tensor) -> Tensor:
    """Takes a keyword only."""
    return of_image(self, pixel_values)


def of_words(self: Any, input_ids: Any = None, attention_mask: Any = None, labels: Any = None) -> Any:
    """As Hugging Face's: a loss comes with labels."""
    assert attention_mask is not None
    assert labels is None
    return {"hidden": self.table(input_ids), "logits": self.table(input_ids).mean(1)}


def of_either(self: Any, input_ids: Any = None, pixel_values: Any = None) -> Any:
    """The image is not the first argument."""
    assert input_ids is None
    return of_image(self, pixel_values)


def of_anything(self: Any, *args: Any, **kwargs: Any) -> Any:
    """A wrapper."""
    return of_words(self, *args, **kwargs) if kwargs else of_image(self, *args)


def of_image_and_label(self: Any, x: Tensor, y: Tensor) -> Tensor:
    """Needs both."""
    assert y.dtype == torch.int64
    return of_image(self, x)


@pytest.mark.parametrize(
    ("forward", "batch", "chosen"),
    [
        (of_image, PAIR, "forward(image)"),
        (of_image, SEEN, "forward(image)"),
        (of_batch, PAIR, "forward(batch)"),
        (of_unnamed_batch, PAIR, "forward(batch)"),
        (of_unpacked_batch, PAIR, "forward(batch)"),
        (of_annotated_batch, SEEN, "forward(batch)"),
        (of_keyword, PAIR, "forward(pixel_values=)"),
        (of_keyword, SEEN, "forward(pixel_values=)"),
        (of_words, WORDS, "forward(input_ids=, attention_mask=)"),
        (of_either, SEEN, "forward(pixel_values=)"),
        (of_anything, WORDS, "forward(input_ids=, attention_mask=)"),
        (of_anything, PAIR, "forward(image)"),
        (of_image_and_label, PAIR, "forward(x=, y=)"),
    ],
)
def test_what_forward_takes_is_found_out(forward: Any, batch: Any, chosen: str) -> None:
    """Images, the batch or keywords, in the forms that people write."""
    module, read = network(forward), read_batch(batch)
    call = choose_call(module, None, read)
    assert str(call) == chosen
    answer = logits_of(call(module, read), 5)
    assert answer is not None
    assert answer.shape == (5, 3)
    if forward not in {of_words, of_anything}:
        assert torch.equal(answer, module.layer(IMAGE))


def test_a_network_that_takes_images_runs_once() -> None:
    """The commonest form costs no trial."""
    ran: list[str] = []

    def forward(self: Any, x: Tensor) -> Tensor:
        ran.append("forward")
        return of_image(self, x)

    choose_call(network(forward), None, read_batch(PAIR))
    assert ran == ["forward"]


def test_forward_can_be_named_or_given() -> None:
    """A method, a submodule, one inside, or a function of module and image."""
    module = network(lambda self, noise, step, more: noise)
    type(module).encode = of_batch
    module.inner = nn.ModuleDict({"critic": module.layer})
    read = read_batch(PAIR)
    expected = module.layer(IMAGE)
    for name in ("encode", "layer", "inner.critic"):
        assert torch.equal(choose_call(module, name, read)(module, read), expected)
    call = choose_call(module, lambda whole, image: whole.layer(image), read)
    assert torch.equal(call(module, read), expected)
    assert str(call) == "the function(image)"


def test_what_cannot_be_run_is_refused() -> None:
    """With the first error, and what to pass; a wrong name with the nearest."""
    module, read = network(lambda self, noise, step, more: noise), read_batch(PAIR)
    with pytest.raises(
        UnreadableBatch, match=r"^R cannot run Network's forward on float32 \(5, 12\).*say how with forward"
    ):
        choose_call(module, None, read, "R")
    with pytest.raises(UnreadableBatch, match=r"Network has no method or submodule 'lair'.*nearest are layer"):
        choose_call(module, "lair", read)
    generator = network(lambda self, z: self.layer(z[:, :3]))
    with pytest.raises(UnreadableBatch, match="RuntimeError: mat1 and mat2 shapes"):
        choose_call(generator, None, read)


def test_the_network_never_gets_memory_that_is_used_again() -> None:
    """A forward that works in place, on the image or the batch, spoils neither."""

    def in_place(self: Any, x: Tensor) -> Tensor:
        return of_image(self, x.sub_(0.5))

    def in_place_batch(self: Any, batch: Any) -> Tensor:
        batch["labels"].add_(7)
        return of_image(self, batch["pixel_values"].sub_(0.5))

    for forward in (in_place, in_place_batch):
        batch = {"pixel_values": IMAGE.clone(), "labels": LABEL.clone()}
        read, module = read_batch(batch), network(forward)
        call = choose_call(module, None, read)
        assert torch.equal(call(module, read), call(module, read))
        assert torch.equal(batch["pixel_values"], IMAGE)
        assert torch.equal(batch["labels"], LABEL)


def test_a_forward_that_yields_is_run_to_its_end() -> None:
    """Nothing of it has run before its pieces are taken."""

    def pieces(self: Any, x: Tensor) -> Any:
        yield x
        yield of_image(self, x)

    module, read = network(pieces), read_batch(PAIR)
    image, logits = choose_call(module, None, read)(module, read)
    assert torch.equal(image, IMAGE)
    assert torch.equal(logits, module.layer(IMAGE))


@pytest.mark.parametrize(("forward", "batch"), [(of_image, PAIR), (of_batch, PAIR), (of_keyword, UserDict(SEEN))])
def test_another_image_stands_in_for_that_of_the_batch(forward: Any, batch: Any) -> None:
    """Wherever it lies, and with another number of rows."""
    module, read = network(forward), read_batch(batch)
    call = choose_call(module, None, read)
    for rows in (3, 5, 8):
        other = torch.rand(rows, 12, generator=torch.Generator().manual_seed(rows))
        assert torch.equal(call(module, read, other), module.layer(other))


def test_the_rest_of_the_batch_has_as_many_rows() -> None:
    """A mask goes with the token ids, whatever holds them."""

    def masked(self: Any, batch: Any) -> Tensor:
        logits: Tensor = (self.table(batch["input_ids"]) * batch["attention_mask"][..., None]).mean(1)
        return logits

    module, read = network(masked), read_batch(UserDict(WORDS))
    call = choose_call(module, None, read)
    assert str(call) == "forward(batch)"
    assert call(module, read, read.rows[:3]).shape == (3, 3)
    assert call(module, read, read.rows[torch.arange(9) % 5]).shape == (9, 3)


class Pair(NamedTuple):
    """As torchvision's Inception answers."""

    logits: Tensor
    aux_logits: Tensor


@dataclass
class Output:
    """As a data class of Hugging Face's."""

    loss: None
    hidden: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (torch.ones(5, 3), True),
        (Pair(torch.ones(5, 3), torch.zeros(5, 3)), True),
        ((torch.ones(5, 3), torch.zeros(5, 7, 9)), True),
        ({"logits": torch.ones(5, 3), "features": torch.zeros(5, 64)}, True),
        (Output(None, torch.zeros(5, 64), torch.ones(5, 3)), True),
        ((torch.ones(5, 3), torch.zeros(5, 64)), False),
        (torch.ones(5, 3, 2), False),
        (torch.ones(3, 5), False),
        (None, False),
    ],
)
def test_logits_are_found_where_they_are(answer: Any, found: bool) -> None:
    """Under their name, or where there is only one candidate; else there are none."""
    logits = logits_of(answer, 5)
    assert (logits is not None) == found
    assert logits is None or bool((logits == 1).all())


def test_a_call_is_plain() -> None:
    """It says what it does."""
    assert str(Call()) == "forward(image)"


class Held:
    """A class in a batch, with a tensor of its own."""

    template = torch.zeros(5)


@pytest.mark.parametrize("more", [Held, Held.__init__, nn.Linear(12, 3), slice(3), ["a.png"] * 5, torch.Size([5, 12])])
def test_what_holds_no_tensors_of_a_batch_stays_itself(more: Any) -> None:
    """Classes and modules in a batch are given on as they are, beside another image."""
    seen: list[Any] = []

    def forward(self: Any, batch: Any) -> Tensor:
        seen.append(batch["more"])
        return of_image(self, batch["image"])

    module, read = network(forward), read_batch({"image": IMAGE, "label": LABEL, "more": more})
    assert torch.equal(Call(takes="batch")(module, read, IMAGE + 1), module.layer(IMAGE + 1))
    assert seen[0] is more


def test_objects_that_hold_themselves_are_given_on() -> None:
    """A batch that knows itself, and one whose part knows it."""

    def forward(self: Any, batch: Any) -> Tensor:
        return of_image(self, batch.image)

    batch = SimpleNamespace(image=IMAGE, label=LABEL)
    batch.me, batch.store = batch, SimpleNamespace(parent=batch)
    module, read = network(forward), read_batch(batch)
    assert torch.equal(Call(takes="batch")(module, read, IMAGE + 1), module.layer(IMAGE + 1))
    assert batch.image is IMAGE

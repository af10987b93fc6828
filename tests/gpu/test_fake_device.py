"""On any machine: what runs on a GPU mixes no tensors of two devices and waits for none, by torch's fake tensors.

They have shapes and devices but no numbers: an operation on tensors of two devices raises, and so does every look at a
number, for which a step on a real device would wait. Backward passes need the real thing (see the tests beside).
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from stratoscope import probes
from stratoscope.commands.catalogue import ours
from stratoscope.datamodules import Augmentation, Batch
from stratoscope.datamodules.image_data import ImageSet
from stratoscope.datamodules.normalisation import normalisation
from stratoscope.models import Classifier
from stratoscope.models.parts.label_metrics import LabelMetrics
from tests.gpu.test_data import AUGMENTATIONS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor"),  # by torch itself
]
NETWORKS = sorted(ours(Classifier), key=lambda network: network.__name__)
IMAGE = (6, 3, 28, 28)


@pytest.fixture
def fake() -> Iterator[FakeTensorMode]:
    """Tensors without numbers."""
    with FakeTensorMode() as mode:
        yield mode


def there(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor on the device."""
    return torch.empty(shape, dtype=dtype, device="cuda")


def labels(n: int) -> Tensor:
    """Labels on the device."""
    return there(n, dtype=torch.long)


def test_the_fake_device_finds_what_it_is_for(fake: FakeTensorMode) -> None:
    """Two devices in one operation, and a look at a number."""
    with pytest.raises(RuntimeError, match="same device"):
        torch.add(there(3), torch.empty(3))
    with pytest.raises(RuntimeError):
        bool((there(3) > 0).any())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_a_forward_pass_stays_on_the_device(network: type[Classifier]) -> None:
    """In training, with the metrics of a step; whatever a network keeps beside parameters and buffers would show."""
    if network.__name__ == "TimmClassifier" and find_spec("timm") is None:
        pytest.skip("timm is an extra")
    model = network()  # type: ignore[call-arg]
    shapes = {name: (tuple(part.shape), part.dtype) for name, part in model.network.state_dict().items()}
    shapes |= {name: (tuple(part.shape), part.dtype) for name, part in model.network.named_buffers()}
    with FakeTensorMode():
        state = {name: there(*shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}
        logits = functional_call(model.network, state, (there(4, *model.image_shape),))
        metrics = LabelMetrics()
        metrics.sums, metrics.loss = there(5, dtype=torch.long), there(dtype=torch.float64)
        metrics.update(logits, Batch(there(4, *model.image_shape), labels(4), labels(4), labels(4)))
        assert logits.device.type == metrics.loss.device.type == "cuda"


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda one: type(one).__name__)
def test_a_batch_stays_on_the_device(augmentation: Augmentation, fake: FakeTensorMode) -> None:
    """Gathered, augmented and normalised; the mean colour is brought along once, in the first batch."""
    data = Batch(there(*IMAGE, dtype=torch.uint8), labels(6), labels(6), labels(6))
    augmentation.fill = torch.empty(3)  # as the data module makes it, on the CPU
    for name in ("per_image", "unit", "centred"):
        part = ImageSet(data, "train", normalisation(name, data.image), [augmentation])
        batch = part.read(labels(4), [there(6, augmentation.words)])
        assert {one.device.type for one in batch} == {"cuda"}
    augmentation.fill = None


@pytest.mark.parametrize("name", ["none", "average_pool", "channel_means"])
def test_reductions_stay_on_the_device(name: str, fake: FakeTensorMode) -> None:
    """Of feature maps and of rows."""
    for shape in ((6, 32, 9, 9), (6, 3000)):
        assert probes.reduction(name, 64)(there(*shape)).device.type == "cuda"


def test_an_online_probe_stays_on_the_device(fake: FakeTensorMode) -> None:
    """Its scores and its step."""
    probe = probes.OnlineProbe.untrained(40, (2, 5, 40), torch.device("cuda"))
    sums = probe.sums(there(30, 40), there(2, 30, dtype=torch.long), learn=True)
    probe.step(sums, 1.0, 0.9, 1e-3)
    state: Any = vars(probe)
    assert {part.device.type for part in state.values() if isinstance(part, Tensor)} == {"cuda"}

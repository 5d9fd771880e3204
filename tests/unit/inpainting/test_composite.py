import torch

from stages.inpainting.composite import composite


def test_known_pixels_are_the_images_and_missing_ones_the_answers():
    image = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).reshape(1, 1, 2, 3).expand(1, 3, 2, 3)
    filled = torch.full((1, 3, 2, 3), 0.9)
    hole = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]).reshape(1, 1, 2, 3)
    expected = torch.tensor([[0.1, 0.9, 0.3], [0.9, 0.5, 0.9]]).expand(1, 3, 2, 3)
    assert torch.equal(composite(image, filled, hole), expected)


def test_what_stands_in_the_holes_of_the_image_never_comes_through():
    filled, hole = torch.rand(2, 3, 12, 20), torch.zeros(2, 1, 12, 20)
    hole[:, :, 3:7, 5:15] = 1
    image = torch.rand(2, 3, 12, 20).where(hole == 0, float("nan"))
    made = composite(image, filled, hole)
    assert torch.isfinite(made).all()
    assert torch.equal(made, composite(image.nan_to_num(0.5), filled, hole))


def test_the_gradient_reaches_the_answer_in_the_holes_only():
    filled, hole = torch.rand(1, 3, 6, 8, requires_grad=True), torch.zeros(1, 1, 6, 8)
    hole[:, :, 2:4, 1:5] = 1
    composite(torch.rand(1, 3, 6, 8), filled, hole).sum().backward()
    assert torch.equal(filled.grad, hole.expand(1, 3, 6, 8))

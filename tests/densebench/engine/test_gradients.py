"""Two processes take the step that one takes with the doubled batch: UperNet, norms in eval mode, nothing dropped."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch import distributed, multiprocessing, nn

from densebench.recipe import RunOptions, resolve

Step = tuple[float, dict[str, torch.Tensor]]


def build(recipe: Path) -> tuple[Any, list[Any]]:
    """The model with the same random weights everywhere, and four images cropped the same everywhere."""
    options = {"model.backbone.drop_path_rate": 0.0}
    options |= {f"model.{head}.dropout_ratio": 0.0 for head in ("decode_head", "auxiliary_head")}
    config = resolve(RunOptions(str(recipe), mini=True, pretrained="none", cfg_options=options)).config
    with DefaultScope.overwrite_default_scope("mmseg"):
        torch.manual_seed(0)
        model = MODELS.build(config.model)
        model.init_weights()
        dataset = DATASETS.build(config.train_dataloader.dataset)
        torch.manual_seed(0)
        return model.eval(), [image_of(dataset, index) for index in range(4)]


def image_of(dataset: Any, index: int) -> Any:
    import random

    import numpy as np

    random.seed(index)
    np.random.seed(index)
    return dataset[index]


def step(model: nn.Module, images: list[Any]) -> Step:
    """The loss and the gradients of one step."""
    inner: Any = getattr(model, "module", model)
    data = inner.data_preprocessor(pseudo_collate(images), training=True)
    loss, _ = inner.parse_losses(model(**data, mode="loss"))
    loss.backward()
    return loss.item(), {name: p.grad for name, p in inner.named_parameters() if p.grad is not None}


def one_of_two(rank: int, recipe: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model, images = build(recipe)
    torch.save(step(MMDistributedDataParallel(module=model), images[2 * rank : 2 * rank + 2]), folder / f"{rank}.pth")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_take_the_step_of_one(tiny_recipe: Path, tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (tiny_recipe, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    model, images = build(tiny_recipe)
    loss, gradients = step(model, images)
    losses = []
    for rank in range(2):
        part_loss, part_gradients = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        losses.append(part_loss)
        assert part_gradients.keys() == gradients.keys() and len(gradients) > 50
        for name, gradient in gradients.items():
            torch.testing.assert_close(part_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert losses[0] != losses[1]
    assert abs(sum(losses) / 2 - loss) < 1e-5

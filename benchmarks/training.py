"""Training as everybody writes it, and ours: the same recipe, from photo files to updated weights.

    python benchmarks/training.py PHOTOS --plot docs/training-speed.svg

Both train `unet-patchgan` (batch 16, 256 px) from the same weights on the same photos in the same
order. (a) is the loop of the tutorials: PIL and scikit-image turn every file into Lab again each
epoch, in workers of a DataLoader; float32, NCHW. (b) is `photochrom data folder` and `photochrom
train`, its preparing and its looking at samples included. They take turns, an epoch each, so that
whatever else the machine does hits both.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from photochrom.batch.folders import find_photos
from photochrom.training.data.packed import PackedPhotos, epoch_order
from photochrom.training.data.prepare import prepare
from photochrom.training.loop.runs import describe_machine, read_log
from photochrom.training.loop.train import train
from photochrom.training.networks.discriminators import build_discriminator
from photochrom.training.networks.generators import build_generator
from photochrom.training.networks.initialization import initialize
from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.reproduction.speed import flops_per_image, matrix_rate


class Photographs(Dataset[tuple[Tensor, Tensor]]):
    """Photo files, decoded and turned into Lab one by one."""

    def __init__(self, files: list[Path], side: int) -> None:
        self.files, self.side = files, side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return L and ab of one photo, mirrored half of the time."""
        image = Image.open(self.files[index]).convert("RGB")
        rgb = np.asarray(image.resize((self.side, self.side), Image.Resampling.BICUBIC))
        if torch.rand(()) < 0.5:
            rgb = rgb[:, ::-1]
        lab = torch.from_numpy(rgb2lab(rgb).astype(np.float32)).permute(2, 0, 1)
        return lab[:1] / 50 - 1, lab[1:] / 110


def textbook(
    recipe: Recipe, files: list[Path], orders: Iterator[list[int]], device: torch.device
) -> Iterator[tuple[float, float]]:
    """Train with the loop of the tutorials; yield the seconds and the mean L1 of each epoch."""
    torch.manual_seed(recipe.seed)
    generator = build_generator(recipe).to(device)
    initialize(generator, recipe.init)  # in this order ours draws the same weights
    discriminator = build_discriminator(recipe)
    assert discriminator is not None
    initialize(discriminator.to(device), recipe.init)
    opt_g, opt_d = (
        torch.optim.Adam(network.parameters(), lr=rate, betas=recipe.betas)
        for network, rate in ((generator, recipe.lr_g), (discriminator, recipe.lr_d))
    )
    bce, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
    order: list[int] = []
    loader = DataLoader(
        Photographs(files, recipe.image_size),
        batch_size=recipe.batch_size,
        sampler=order,  # type: ignore[arg-type] (read anew each epoch)
        num_workers=min(os.cpu_count() or 1, 8),
        drop_last=True,
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )
    for order[:] in orders:
        start, losses = time.perf_counter(), []
        for L, ab in loader:
            L, ab = L.to(device), ab.to(device)
            fake = generator(L)

            discriminator.requires_grad_(True)
            said_fake = discriminator(L, torch.cat([L, fake.detach()], dim=1))
            said_real = discriminator(L, torch.cat([L, ab], dim=1))
            loss_fake = bce(said_fake, torch.zeros_like(said_fake))
            loss_real = bce(said_real, torch.ones_like(said_real))
            opt_d.zero_grad()
            ((loss_fake + loss_real) / 2).backward()
            opt_d.step()

            discriminator.requires_grad_(False)
            said_fake = discriminator(L, torch.cat([L, fake], dim=1))
            loss_l1 = l1(fake, ab)
            loss = bce(said_fake, torch.ones_like(said_fake)) + recipe.lambda_l1 * loss_l1
            opt_g.zero_grad()
            loss.backward()
            opt_g.step()
            losses.append(loss_l1.item())
        yield time.perf_counter() - start, float(np.mean(losses))


def main() -> None:
    """Train both ways, print the table, and draw the two curves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=192, help="Photos to train on.")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--recipe", default="unet-patchgan")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--precision", default="bf16", choices=["bf16", "32"])
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    recipe = replace(RECIPES[options.recipe], epochs=options.epochs, image_size=options.size)
    kind = options.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(kind)
    with tempfile.TemporaryDirectory(prefix="photochrom-training-") as place:
        found = find_photos([options.photos])
        start = time.perf_counter()
        prepare(
            found,
            Path(place, "data"),
            size=options.size,
            count=options.count + 16,
            eval_fraction=16 / (options.count + 16),
            progress=False,
        )
        preparing = time.perf_counter() - start
        names = [name for name, _ in PackedPhotos(Path(place, "data"), "train").sources()]
        orders = (
            epoch_order(recipe.seed, epoch, len(names)).tolist() for epoch in range(options.epochs)
        )
        loop = textbook(recipe, [found[name] for name in names], orders, device)
        theirs: list[tuple[float, float]] = []
        steps = len(names) // recipe.batch_size

        def take_turns(step: int) -> None:
            if step % steps == 0:
                theirs.append(next(loop))

        start = time.perf_counter()
        run = train(
            recipe,
            Path(place, "data"),
            Path(place, "runs"),
            device=options.device,
            precision=options.precision,
            progress=False,
            on_step=take_turns,
        )
        training = time.perf_counter() - start - sum(seconds for seconds, _ in theirs)
        log = read_log(run)
    report(recipe, log, theirs, preparing, training, steps, device, options.precision)
    if options.plot:
        draw(log, theirs, steps, options.plot)


def report(
    recipe: Recipe,
    log: list[dict[str, Any]],
    theirs: list[tuple[float, float]],
    preparing: float,
    training: float,
    steps: int,
    device: torch.device,
    precision: str,
) -> None:
    """Print the figures as Markdown."""
    images = steps * recipe.batch_size * recipe.total_epochs
    rates = {
        "whole": (images / sum(s for s, _ in theirs), images / (preparing + training)),
        "steady": (
            steps * recipe.batch_size / min(seconds for seconds, _ in theirs),
            max(line["images_per_second"] for line in log),
        ),
    }
    print(f"{describe_machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{images} images, {steps} steps an epoch; preparing took {preparing:.1f} s\n")
    print("| images per second | (a) tutorial loop | (b) photochrom | |\n| --- | --- | --- | --- |")
    names = {"whole": "total, from files to weights", "steady": "steps of the best epoch"}
    for key, (a, b) in rates.items():
        print(f"| {names[key]} | {a:.2f} | {b:.2f} | {b / a:.1f} times |")
    flops = flops_per_image(recipe)["gan"]
    dtypes = {"32": torch.float32, "bf16": torch.bfloat16}
    print("\n| share of the matrix multiplication rate | FLOP/s | of |\n| --- | --- | --- |")
    for name, rate, dtype in (
        ("(a) float32", rates["steady"][0], torch.float32),
        (f"(b) {precision}", rates["steady"][1], dtypes[precision]),
    ):
        full = matrix_rate(device, dtype)
        print(f"| {name}: {rate * flops / full:.0%} | {rate * flops:.3g} | {full:.3g} |")
    print("\n| steps | L1, (a) | L1, (b) |\n| --- | --- | --- |")
    for line, (_, loss) in zip(log, theirs, strict=True):
        print(f"| {line['step'] - steps + 1} to {line['step']} | {loss:.4f} | {line['g_l1']:.4f} |")


def draw(
    log: list[dict[str, Any]], theirs: list[tuple[float, float]], steps: int, path: Path
) -> None:
    """Draw L1 over steps and over time, both ways."""
    ours = [line["g_l1"] for line in log]
    seconds = [line["seconds"] for line in log]
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
    after = [steps * (epoch + 1) for epoch in range(len(ours))]
    for name, style, losses, spent in (
        ("(a) tutorial loop", "o--", [loss for _, loss in theirs], [s for s, _ in theirs]),
        ("(b) photochrom", "o-", ours, seconds),
    ):
        axes[0].plot(after, losses, style, label=name, markersize=3)
        axes[1].plot(np.cumsum(spent), losses, style, label=name, markersize=3)
    axes[0].set(xlabel="steps", ylabel="mean L1 of the epoch")
    axes[1].set(xlabel="seconds of training")
    axes[0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

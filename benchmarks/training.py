"""Speed of the training loop of tutorials and of photochrom, from photo files to updated weights.

    python benchmarks/training.py PHOTOS --plot docs/training-speed.svg

Both train `unet-patchgan` (batch 16, 256 px) from the same weights on the same photos in the same
order. (a) is the loop of the tutorials: in each epoch, PIL and scikit-image convert every file to
Lab in workers of a DataLoader; float32, NCHW. (b) is `photochrom data folder` and `photochrom
train`, including preparation and samples. They alternate by epoch, so that other load on the
machine affects both.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
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
from photochrom.cores import count_cores
from photochrom.training.data.packed import PackedPhotos, epoch_order
from photochrom.training.data.prepare import prepare
from photochrom.training.loop.building import build_discriminator
from photochrom.training.loop.train import train
from photochrom.training.networks.initialization import initialize
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.reproduction.speed import flops_per_image, matrix_rate
from photochrom.training.runs import build_generator, describe_machine, read_log


class Photographs(Dataset[tuple[Tensor, Tensor]]):
    """Photo files, decoded and converted to Lab one by one."""

    def __init__(self, files: list[Path], side: int) -> None:
        self.files, self.side = files, side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return L and ab of one photo, flipped with probability 1/2."""
        image = Image.open(self.files[index]).convert("RGB")
        rgb = np.asarray(image.resize((self.side, self.side), Image.Resampling.BICUBIC))
        if torch.rand(()) < 0.5:
            rgb = rgb[:, ::-1]
        lab = torch.from_numpy(rgb2lab(rgb).astype(np.float32)).permute(2, 0, 1)
        return lab[:1] / 50 - 1, lab[1:] / 110


def train_as_in_tutorials(
    recipe: Recipe, files: list[Path], orders: Iterator[list[int]], device: torch.device
) -> Iterator[tuple[float, float]]:
    """Train with the loop of the tutorials; yield seconds and mean L1 of each epoch."""
    torch.manual_seed(recipe.seed)
    generator = build_generator(recipe).to(device)
    initialize(generator, recipe.initialization.scheme)  # photochrom draws weights in this order
    discriminator = build_discriminator(recipe)
    assert discriminator is not None
    initialize(discriminator.to(device), recipe.initialization.scheme)
    optimization, adversarial = recipe.optimization, recipe.adversarial
    assert adversarial is not None
    betas = (optimization.beta1, optimization.beta2)
    opt_g, opt_d = (
        torch.optim.Adam(network.parameters(), lr=rate, betas=betas)
        for network, rate in ((generator, optimization.lr_g), (discriminator, adversarial.lr_d))
    )
    bce, l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()
    order: list[int] = []
    loader = DataLoader(
        Photographs(files, recipe.data.image_size),
        batch_size=recipe.data.batch_size,
        sampler=order,  # type: ignore[arg-type] (replaced in each epoch)
        num_workers=min(count_cores(), 8),
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
            fake_logits = discriminator(L, torch.cat([L, fake.detach()], dim=1))
            real_logits = discriminator(L, torch.cat([L, ab], dim=1))
            loss_fake = bce(fake_logits, torch.zeros_like(fake_logits))
            loss_real = bce(real_logits, torch.ones_like(real_logits))
            opt_d.zero_grad()
            ((loss_fake + loss_real) / 2).backward()
            opt_d.step()

            discriminator.requires_grad_(False)
            fake_logits = discriminator(L, torch.cat([L, fake], dim=1))
            loss_l1 = l1(fake, ab)
            loss = bce(fake_logits, torch.ones_like(fake_logits))
            loss = loss + recipe.objective["l1"].weight * loss_l1
            opt_g.zero_grad()
            loss.backward()
            opt_g.step()
            losses.append(loss_l1.item())
        yield time.perf_counter() - start, float(np.mean(losses))


def main() -> None:
    """Train both ways, print tables, and plot both curves."""
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
    changes = {"schedule.epochs": options.epochs, "data.image_size": options.size}
    recipe = override(named_recipe(options.recipe), changes)
    kind = options.device
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(kind)
    with tempfile.TemporaryDirectory(prefix="photochrom-training-") as folder:
        photos = find_photos([options.photos])
        start = time.perf_counter()
        prepare(
            photos,
            Path(folder, "data"),
            size=options.size,
            count=options.count + 16,
            splits=dict.fromkeys(sorted(photos)[:16], "validation"),
            progress=False,
        )
        preparation = time.perf_counter() - start
        names = [name for name, _ in PackedPhotos(Path(folder, "data"), "train").sources()]
        orders = (
            epoch_order(recipe.seed, epoch, len(names)).tolist() for epoch in range(options.epochs)
        )
        loop = train_as_in_tutorials(recipe, [photos[name] for name in names], orders, device)
        tutorial_epochs: list[tuple[float, float]] = []
        steps = len(names) // recipe.data.batch_size

        def alternate(step: int) -> None:
            if step % steps == 0:
                tutorial_epochs.append(next(loop))

        start = time.perf_counter()
        run = train(
            recipe,
            Path(folder, "data"),
            Path(folder, "runs"),
            device=options.device,
            precision=options.precision,
            progress=False,
            on_step=alternate,
        )
        training = time.perf_counter() - start - sum(seconds for seconds, _ in tutorial_epochs)
        log = read_log(run)
    report(recipe, log, tutorial_epochs, preparation, training, steps, device, options.precision)
    if options.plot:
        draw(log, tutorial_epochs, steps, options.plot)


def report(
    recipe: Recipe,
    log: list[dict[str, Any]],
    tutorial_epochs: list[tuple[float, float]],
    preparation: float,
    training: float,
    steps: int,
    device: torch.device,
    precision: str,
) -> None:
    """Print the results as Markdown tables."""
    images = steps * recipe.data.batch_size * recipe.total_epochs
    rates = {
        "total": (images / sum(s for s, _ in tutorial_epochs), images / (preparation + training)),
        "steady": (
            steps * recipe.data.batch_size / min(seconds for seconds, _ in tutorial_epochs),
            max(line["images_per_second"] for line in log),
        ),
    }
    print(f"{describe_machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{images} images, {steps} steps an epoch; preparation took {preparation:.1f} s\n")
    print("| images per second | (a) tutorial loop | (b) photochrom | |\n| --- | --- | --- | --- |")
    names = {"total": "total, from files to weights", "steady": "steps of the best epoch"}
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
    for line, (_, loss) in zip(log, tutorial_epochs, strict=True):
        print(f"| {line['step'] - steps + 1} to {line['step']} | {loss:.4f} | {line['g_l1']:.4f} |")


def draw(
    log: list[dict[str, Any]], tutorial_epochs: list[tuple[float, float]], steps: int, path: Path
) -> None:
    """Plot L1 over steps and over time, both ways."""
    ours = [line["g_l1"] for line in log]
    seconds = [line["seconds"] for line in log]
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
    after = [steps * (epoch + 1) for epoch in range(len(ours))]
    for name, style, losses, spent in (
        (
            "(a) tutorial loop",
            "o--",
            [loss for _, loss in tutorial_epochs],
            [s for s, _ in tutorial_epochs],
        ),
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

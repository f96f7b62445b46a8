"""Colorization models as the user's side sees them: L* in, ab out, from an ONNX file."""

from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime

from photochrom.color import FloatArray
from photochrom.colorize.options import MAX_SIZE, MIN_SIDE
from photochrom.errors import ModelError

FORMAT = "1"
"""What an ONNX file of ours says under `photochrom_format` in its metadata."""

DEVICES = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""What a network can run on, the fastest first, and ONNX Runtime's name of it."""

_HINT = "give a file that `photochrom export` wrote"


class ColorModel(Protocol):
    """Anything that guesses colours: the network in an ONNX file, or a function in a test."""

    name: str
    """For people."""
    size: int
    """Short side in px at which it wants to see a photo."""

    def __call__(self, L: FloatArray, /) -> FloatArray:
        """Guess colours.

        Args:
            L: L*, shape (N, 1, H, W), in 0..100; any H and W of 16 or more.

        Returns:
            a* and b* in CIELAB units, shape (N, 2, H, W).
        """
        ...


def default_model_path() -> Path:
    """Return where the model lies that comes with photochrom.

    Raises:
        ModelError: If it is not there.
    """
    path = Path(__file__).parents[1] / "default.onnx"
    if not path.is_file():
        raise ModelError(
            f"this installation has no default model, {path} is missing; install photochrom again "
            "or name a model"
        )
    return path


class HintedModel(ColorModel, Protocol):
    """A model that can be told some of the colours."""

    takes_hints: bool

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        """Guess colours.

        Args:
            L: As of `ColorModel`.
            hints: The colours that are known, shape (N, 3, H, W): a* and b* in CIELAB units, and a
                mask that is 1 where they are known and 0 elsewhere. None: none are.

        Returns:
            As of `ColorModel`.
        """
        ...


class OnnxModel:
    """A network in an ONNX file, run by ONNX Runtime."""

    name: str
    size: int
    takes_hints: bool
    """Whether the file has the second input, `hints`; zeros are fed where none are given."""
    device: str
    """What it runs on, one of `DEVICES`."""
    metadata: dict[str, str]
    """What the file says of itself: recipe, data, metrics, licence and more."""

    def __init__(
        self, path: str | Path, *, device: str = "auto", threads: int | None = None
    ) -> None:
        """Load a file that `photochrom export` wrote.

        Args:
            path: The file.
            device: One of `DEVICES`, or `auto`: the first of them that ONNX Runtime has here.
            threads: How many to run on, on the CPU; None: one for each core.

        Raises:
            ModelError: If the file is missing, is no ONNX file, or is not a model of ours, or the
                device is not there.
        """
        self.device = _available(device)
        path = Path(path)
        if not path.is_file():
            raise ModelError(f"there is no model file {path}; {_HINT}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised as well
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=[DEVICES[self.device]], enable_fallback=False
            )
        except Exception as error:  # ONNX Runtime's errors have no common base but this
            raise ModelError(
                f"{path} is not an ONNX model that can be loaded, it is damaged or something else; "
                f"{_HINT}"
            ) from error
        if DEVICES[self.device] not in self._session.get_providers():
            raise ModelError(_not_there(self.device, "it is there but could not be started"))
        self._path = path
        self.takes_hints = self._check_ports()
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.name, self.size = self._identity()

    def _check_ports(self) -> bool:
        """Refuse a network that does not take L* of any size to ab.

        Returns:
            Whether it takes hints as well.
        """
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        hinted = len(inputs) > 1
        for nodes, wanted in (
            (inputs, {"L": 1, "hints": 3} if hinted else {"L": 1}),
            (outputs, {"ab": 2}),
        ):
            found = [(node.name, node.type, list(node.shape)) for node in nodes]
            ports = {name: shape[1] for name, type_, shape in found if _is_map(type_, shape)}
            if ports != wanted or len(found) != len(wanted):
                expected = " and ".join(f"{k} of float (N, {c}, H, W)" for k, c in wanted.items())
                raise ModelError(
                    f"{self._path} is not a photochrom model: it has {_in_words(found)} where "
                    f"{expected} has to be; {_HINT}"
                )
            for _, _, shape in found:
                if any(isinstance(side, int) for side in shape[2:]):
                    raise ModelError(
                        f"{self._path} takes pictures of one size only, {shape[2]}x{shape[3]}; "
                        "export it with dynamic height and width"
                    )
        return hinted

    def _identity(self) -> tuple[str, int]:
        found = self.metadata.get("photochrom_format")
        if found != FORMAT:
            says = f"its photochrom_format is {found!r}" if found else "it has no photochrom_format"
            raise ModelError(
                f"{self._path} is not a photochrom model: {says}, where {FORMAT!r} has to be; "
                f"{_HINT}"
            )
        name, size = self.metadata.get("name", ""), self.metadata.get("size", "")
        if not name or not size.isdecimal() or not MIN_SIDE <= int(size) <= MAX_SIZE:
            raise ModelError(
                f"{self._path} has wrong metadata: name is {name!r} and size {size!r}, where a "
                f"name and a number from {MIN_SIDE} to {MAX_SIZE} have to be; {_HINT}"
            )
        return name, int(size)

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        """Guess colours.

        Args:
            L: L*, shape (N, 1, H, W), in 0..100; any H and W of 16 or more.
            hints: As of `HintedModel`.

        Returns:
            a* and b* in CIELAB units, shape (N, 2, H, W).

        Raises:
            ModelError: If the network fails on this input, or takes no hints and is given some.
        """
        inputs = {"L": np.ascontiguousarray(L, dtype=np.float32)}
        if self.takes_hints:
            if hints is None:
                hints = np.zeros((len(L), 3, *L.shape[2:]), np.float32)
            inputs["hints"] = np.ascontiguousarray(hints, dtype=np.float32)
        elif hints is not None:
            raise ModelError(no_hints(self.name))
        try:
            (ab,) = self._session.run(["ab"], inputs)
        except Exception as error:  # as above
            raise ModelError(
                f"model {self.name} failed on a picture of {L.shape[3]}x{L.shape[2]}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        result: FloatArray = ab
        return result


def no_hints(name: str) -> str:
    """Return what to say where hints are given to a model that takes none."""
    return f"model {name} takes no colour hints; use a model that was trained with them"


def _is_map(type_: str, shape: list[int | str | None]) -> bool:
    """Return whether a port holds float32 of shape (N, C, H, W) with a fixed C."""
    return type_ == "tensor(float)" and len(shape) == 4 and isinstance(shape[1], int)


def _available(device: str) -> str:
    """Return the device that is meant.

    Raises:
        ModelError: If there is none of that name, or ONNX Runtime does not have it here.
    """
    there = onnxruntime.get_available_providers()
    if device == "auto":
        return next(name for name, provider in DEVICES.items() if provider in there)
    if device not in DEVICES:
        raise ModelError(
            f"there is no device {device!r}; it has to be auto, {', '.join(sorted(DEVICES))}"
        )
    if DEVICES[device] not in there:
        raise ModelError(_not_there(device, "the ONNX Runtime that is installed does not have it"))
    return device


def _not_there(device: str, reason: str) -> str:
    return (
        f"device {device} cannot be used: {reason}; install the ONNX Runtime for it, such as "
        "onnxruntime-gpu, or ask for cpu"
    )


def _in_words(ports: list[tuple[str, str, list[int | str | None]]]) -> str:
    return (
        " and ".join(
            f"{name} of {type_.removeprefix('tensor(').removesuffix(')')} "
            f"({', '.join(map(str, shape))})"
            for name, type_, shape in ports
        )
        or "nothing"
    )

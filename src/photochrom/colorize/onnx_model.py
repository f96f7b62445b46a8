"""Colorization models: L* in, ab out, from an ONNX file."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime

from photochrom.color import FloatArray
from photochrom.colorize.options import MAX_SIZE, MIN_SIDE
from photochrom.cores import count_cores
from photochrom.errors import MissingModelError, ModelError, NoHintsError

FORMAT = "1"
"""`photochrom_format` in the metadata of our ONNX files."""

DEVICES = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Device to ONNX Runtime's execution provider, the fastest first."""

_ADVICE = "give a file that `photochrom export` wrote"


class ColorModel(Protocol):
    """A model that predicts colours: an ONNX file, or any callable with these attributes.

    One that has `takes_hints = True` is also called with `hints`: known colours, shape
    (N, 3, H, W), being a*, b* and a mask that is 1 where they are known and 0 elsewhere.
    """

    name: str
    size: int
    """Short side in px of its preferred input."""

    def __call__(self, L: FloatArray, /) -> FloatArray:
        """Predict colours.

        Args:
            L: L*, shape (N, 1, H, W), in 0..100; any H and W of 16 or more.

        Returns:
            a* and b* in CIELAB units, shape (N, 2, H, W).
        """
        ...


def default_model_path() -> Path:
    """Return the path of the model that is installed with photochrom.

    Raises:
        ModelError: If it is missing.
    """
    path = Path(__file__).parents[1] / "default.onnx"
    if not path.is_file():
        raise ModelError(
            f"this installation has no default model, {path} is missing; install photochrom again "
            "or name a model"
        )
    return path


class OnnxModel:
    """A network in an ONNX file, run by ONNX Runtime."""

    name: str
    size: int
    takes_hints: bool
    """Whether the file has the second input, `hints`; without hints it gets zeros."""
    device: str
    """A key of `DEVICES`."""
    metadata: dict[str, str]
    """Of the file: recipe, data, metrics, licence and more."""

    def __init__(
        self, path: str | Path, *, device: str = "auto", threads: int | None = None
    ) -> None:
        """Load a file that `photochrom export` wrote.

        Args:
            path: The file.
            device: A key of `DEVICES`, or `auto`: the first that ONNX Runtime has and can start.
            threads: Number of CPU threads; None: one for each core.

        Raises:
            ModelError: If the file is missing, not an ONNX file or not a photochrom model, or the
                device is not available.
        """
        devices = _find_devices(device)
        path = Path(path)
        if not path.is_file():
            raise MissingModelError(f"there is no model file {path}; {_ADVICE}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised as well
        options.intra_op_num_threads = threads or _default_threads()
        # Threads that wait by spinning take the cores from other processes, and gain nothing here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.device, self._session = _open_session(path, options, devices)
        self._run_options = onnxruntime.RunOptions()
        if DEVICES[self.device] == "CPUExecutionProvider":
            # Otherwise the memory of the largest input stays until the process ends.
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._path = path
        self.takes_hints = self._check_ports()
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.name, self.size = self._read_identity()

    def check_takes_hints(self) -> None:
        """Check that it takes hints.

        Raises:
            NoHintsError: If it does not.
        """
        if not self.takes_hints:
            raise no_hints_error(self.name)

    def _check_ports(self) -> bool:
        """Check that the network maps L* of any size to ab, and return whether it takes hints."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        hinted = len(inputs) > 1
        for nodes, expected in (
            (inputs, {"L": 1, "hints": 3} if hinted else {"L": 1}),
            (outputs, {"ab": 2}),
        ):
            ports = {node.name: (node.type, list(node.shape)) for node in nodes}
            if ports.keys() != expected.keys() or any(
                kind != "tensor(float)" or len(shape) != 4 or shape[1] != expected[name]
                for name, (kind, shape) in ports.items()
            ):
                wanted = " and ".join(f"{k} of float (N, {c}, H, W)" for k, c in expected.items())
                raise ModelError(
                    f"{self._path} is not a photochrom model: it has {_describe(ports)} where "
                    f"{wanted} has to be; {_ADVICE}"
                )
            for _, shape in ports.values():
                if any(isinstance(side, int) for side in shape[2:]):
                    raise ModelError(
                        f"{self._path} takes images of one size only, {shape[2]}x{shape[3]}; "
                        "export it with dynamic height and width"
                    )
        return hinted

    def _read_identity(self) -> tuple[str, int]:
        """Return name and size from the metadata."""
        format_ = self.metadata.get("photochrom_format")
        if format_ != FORMAT:
            actual = f"photochrom_format {format_!r}" if format_ else "no photochrom_format"
            raise ModelError(
                f"{self._path} is not a photochrom model: it has {actual}, where "
                f"{FORMAT!r} has to be; {_ADVICE}"
            )
        name, size = self.metadata.get("name", ""), self.metadata.get("size", "")
        if not name or not size.isdecimal() or not MIN_SIDE <= int(size) <= MAX_SIZE:
            raise ModelError(
                f"{self._path} has wrong metadata: name is {name!r} and size {size!r}, where a "
                f"name and a number from {MIN_SIDE} to {MAX_SIZE} have to be; {_ADVICE}"
            )
        return name, int(size)

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        """Predict colours; see `ColorModel`.

        Raises:
            ModelError: If the network fails on this input, or takes no hints and is given some.
        """
        inputs = {"L": np.ascontiguousarray(L, dtype=np.float32)}
        if self.takes_hints:
            if hints is None:
                hints = np.zeros((len(L), 3, *L.shape[2:]), np.float32)
            inputs["hints"] = np.ascontiguousarray(hints, dtype=np.float32)
        elif hints is not None:
            raise no_hints_error(self.name)
        try:
            (ab,) = self._session.run(["ab"], inputs, self._run_options)
        except Exception as error:  # as in _open_session_on
            raise ModelError(
                f"model {self.name} failed on an image of {L.shape[3]}x{L.shape[2]}: "
                f"{str(error).splitlines()[0]}"
            ) from error
        result: FloatArray = ab
        return result


def no_hints_error(name: str) -> NoHintsError:
    """Return the error of a model that is given hints and takes none."""
    return NoHintsError(
        f"model {name} takes no colour hints; use a model that was trained with them"
    )


def _find_devices(device: str) -> list[str]:
    """Return the keys of `DEVICES` to try in order: for `auto`, all that ONNX Runtime has here.

    Raises:
        ModelError: If the device is unknown, or ONNX Runtime does not have it here.
    """
    providers = onnxruntime.get_available_providers()
    if device == "auto":
        return [name for name, provider in DEVICES.items() if provider in providers]
    if device not in DEVICES:
        raise ModelError(
            f"there is no device {device!r}; it has to be auto, {', '.join(sorted(DEVICES))}"
        )
    if DEVICES[device] not in providers:
        raise _device_error(device, "the installed ONNX Runtime does not have it")
    return [device]


def _open_session(
    path: Path, options: onnxruntime.SessionOptions, devices: Sequence[str]
) -> tuple[str, onnxruntime.InferenceSession]:
    """Return the first device that starts, and a session on it.

    ONNX Runtime may have a device that the computer lacks, or whose driver is missing.

    Raises:
        ModelError: If the file is no ONNX model, or none of the devices starts.
    """
    *preferred, last = devices
    for device in preferred:
        with contextlib.suppress(ModelError):
            return device, _open_session_on(device, path, options)
    return last, _open_session_on(last, path, options)


def _open_session_on(
    device: str, path: Path, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    """Return a session, or say whether the file or the device is to blame.

    Raises:
        ModelError: If the file is no ONNX model, or the device does not start.
    """
    provider = DEVICES[device]
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=[provider], enable_fallback=False
        )
    except Exception as error:  # the errors of ONNX Runtime have no other common base
        if device == "cpu":
            raise ModelError(f"{path} is not an ONNX model, or is damaged; {_ADVICE}") from error
        _open_session_on("cpu", path, options)  # raises if the file is to blame
        raise _device_error(device, str(error).splitlines()[0]) from error
    if provider not in session.get_providers():
        raise _device_error(device, "ONNX Runtime could not start it")
    return session


def _default_threads() -> int:
    """Return 0, for ONNX Runtime's own default, unless not all cores may be used."""
    return count_cores() if count_cores() < (os.cpu_count() or 1) else 0


def _device_error(device: str, reason: str) -> ModelError:
    return ModelError(
        f"device {device} cannot be used: {reason}; install the ONNX Runtime for it, such as "
        "onnxruntime-gpu, or ask for cpu"
    )


def _describe(ports: dict[str, tuple[str, list[int | str | None]]]) -> str:
    return (
        " and ".join(
            f"{name} of {kind.removeprefix('tensor(').removesuffix(')')} "
            f"({', '.join(map(str, shape))})"
            for name, (kind, shape) in ports.items()
        )
        or "nothing"
    )

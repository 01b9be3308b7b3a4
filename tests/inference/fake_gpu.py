"""A fake GPU for machines without one: memory of the CPU that claims to be a GPU's.

Within :class:`FakeGpu`, tensors that are created on or copied to ``cuda`` are :class:`FakeGpuTensor`, and so
is what is computed from them. As on a real GPU, no operation takes tensors of both devices (scalars and
indices excepted), and NumPy can't read them. Nothing is computed differently. :attr:`SyncDetector.waits`
lists the calls that would wait for a real GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)


class FakeGpuTensor(Tensor):
    """A tensor on the fake GPU."""

    device = property(lambda self: GPU)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert a tensor of a GPU to NumPy")

    __array__ = numpy

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _called(func, args, kwargs or {})


class FakeGpu(TorchFunctionMode):
    """Within, there is a GPU."""

    def __init__(self) -> None:
        super().__init__()
        stream = SimpleNamespace(record_event=lambda: SimpleNamespace(synchronize=lambda: None))
        self._stream = patch.object(torch.cuda, "current_stream", lambda device: stream)

    def __enter__(self) -> FakeGpu:
        self._stream.start()
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._stream.stop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _called(func, args, kwargs or {})


class SyncDetector(FakeGpu):
    """Within, there is a GPU, and calls that would wait for it are listed.

    Attributes:
        waits: these calls, and the functions that made them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _waits(func, args, kwargs or {}):
            self.waits.append(f"{getattr(func, '__name__', func)} in {_caller()}")
        return super().__torch_function__(func, types, args, kwargs)


def to_fake_gpu(model: nn.Module) -> None:
    """``model.to("cuda")``."""
    for module in model.modules():
        for name, each in module._parameters.items():
            if each is not None:
                module._parameters[name] = nn.Parameter(
                    each.data.as_subclass(FakeGpuTensor), each.requires_grad
                )
        for name, each in module._buffers.items():
            if each is not None:
                module._buffers[name] = each.as_subclass(FakeGpuTensor)


def _called(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    with torch._C.DisableTorchFunction():
        return _computed(func, args, kwargs)


def _caller() -> str:
    """The function that called PyTorch."""
    frame: Any = sys._getframe(1)
    while "torch" in Path(frame.f_code.co_filename).parts or frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return str(frame.f_code.co_qualname)


READING = ("item", "tolist", "cpu", "nonzero", "unique", "unique_consecutive", "masked_select")
READING += ("__bool__", "__int__", "__float__", "__index__")


def _waits(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a real GPU would be waited for: for numbers from it, or to copy memory that isn't pinned."""
    name = getattr(func, "__name__", "")
    target, _, _ = _on_cpu(func, args, kwargs)
    if func in (torch.tensor, torch.as_tensor, torch.asarray):
        return target is not None and target.type == "cuda"
    if not args:
        return False
    own, there = args[0], isinstance(args[0], FakeGpuTensor)
    if name in ("to", "copy_"):
        other = (args[1].device if name == "copy_" else target) or own.device
        return own.device.type != other.type and not kwargs.get("non_blocking")
    if name in ("__getitem__", "__setitem__", "index_put", "index_put_"):
        return there and any(map(_needs_sync, args[1] if isinstance(args[1], tuple) else args[1:2]))
    if name == "repeat_interleave":
        return there and isinstance(args[1], FakeGpuTensor) and "output_size" not in kwargs
    return there and name in READING


def _needs_sync(index: Any) -> bool:
    """Whether an index must be copied first, or its true entries be counted."""
    if isinstance(index, Tensor):
        return not isinstance(index, FakeGpuTensor) or index.dtype == torch.bool
    return isinstance(index, list)


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    on_gpu = [each for each in tensors if isinstance(each, FakeGpuTensor)]
    target, args, kwargs = _on_cpu(func, args, kwargs)
    name = getattr(func, "__name__", "")
    if target is None and on_gpu:
        _check(name, args, kwargs)
    goes = bool(on_gpu) if target is None else target.type == "cuda"
    plain_args, plain_kwargs = tree_map_only(
        FakeGpuTensor, lambda each: each.as_subclass(Tensor), (args, kwargs)
    )
    if name == "__set__":  # an attribute of the tensor itself
        found = func(args[0], *plain_args[1:])
    elif name == "pin_memory":
        found = args[0]
    elif name == "mm" and "out_dtype" in plain_kwargs:  # which CPUs don't have
        wide = plain_kwargs.pop("out_dtype")
        found = torch.mm(*(each.to(wide) for each in plain_args))
    else:
        found = func(*plain_args, **plain_kwargs)
    return tree_map_only(Tensor, lambda each: each.as_subclass(FakeGpuTensor), found) if goes else found


def _on_cpu(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[torch.device | None, Any, dict[str, Any]]:
    """The device that is asked for, and the arguments with the CPU in its place."""
    target = None
    if kwargs.get("device") is not None:
        target = torch.device(kwargs["device"])
        kwargs = kwargs | {"device": _really(target)}
    elif func is Tensor.to and len(args) > 1:
        if isinstance(args[1], Tensor):
            target, args = args[1].device, (args[0], args[1].as_subclass(Tensor), *args[2:])
        elif isinstance(args[1], str | torch.device):
            target = torch.device(args[1])
            args = (args[0], _really(target), *args[2:])
    return target, args, kwargs


def _really(device: torch.device) -> torch.device:
    return torch.device("cpu") if device.type == "cuda" else device


def _check(name: str, args: Any, kwargs: dict[str, Any]) -> None:
    """Tensors of both devices: an error, as it is with a real GPU."""
    if name == "copy_":
        return
    if name in ("__getitem__", "__setitem__", "index_put", "index_put_") and isinstance(
        args[0], FakeGpuTensor
    ):
        args = (args[0], *args[2:])  # indices may be the CPU's
    both = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    if len({isinstance(each, FakeGpuTensor) for each in both if each.ndim > 0}) > 1:
        raise RuntimeError(f"{name}: all tensors must be on one device, found cuda:0 and cpu")

"""A dispatch mode in which PyTorch compiles nothing."""

from torch.utils._python_dispatch import TorchDispatchMode


class Eager(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that PyTorch need not shield from its compiler, which would import it: in a mode it compiles nothing."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

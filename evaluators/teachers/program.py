"""A ``torch.export`` program as a teacher."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from evaluators.exported import program
from evaluators.exported.archive import ProgramError
from evaluators.teachers.teacher import in_batches
from understudy import TeacherError


class Program(nn.Module):
    """The network of an exported program: one tensor in, its first tensor output (the logits) out.

    ``input_shape`` holds None for sizes that may vary. Raises ``TeacherError`` when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self.network = program.Program(path)
        except ProgramError as error:
            raise TeacherError(str(error)) from error
        if len(self.network.inputs) != 1:
            count = len(self.network.inputs)
            raise TeacherError(f"{path} takes {count} inputs, but a teacher takes one tensor of images")
        self.input_shape = self.network.inputs[0].sizes

    def forward(self, images: Tensor) -> Tensor:
        """Logits of (N, C, H, W), in batches of the exported size where it is fixed."""
        return in_batches(self._logits, images, self.input_shape[0])

    def _logits(self, images: Tensor) -> Tensor:
        answer: Tensor | tuple[Tensor, ...] = self.network(images)
        return answer[0] if isinstance(answer, tuple) else answer

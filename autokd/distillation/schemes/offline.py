"""Offline distillation: a finished teacher, one student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from autokd.distillation.knowledge.knowledge import Knowledge
from autokd.distillation.schemes.scheme import STUDENT, Ask, Scheme
from autokd.distillation.taps import Batch, Tapped


class Offline(Scheme):
    """The student learns from labels and from what a finished teacher said of the same inputs.

    The usual scheme since Geoffrey Hinton, Oriol Vinyals, Jeff Dean: "Distilling the Knowledge in a Neural Network", NIPS 2014
    Deep Learning Workshop, https://arxiv.org/abs/1503.02531.
    """

    def step(
        self, nets: Mapping[str, Tapped], knowledge: Knowledge, batch: Batch, ask: Ask
    ) -> Iterator[tuple[str, Tensor]]:
        yield STUDENT, knowledge(nets[STUDENT](batch.inputs, knowledge.student), batch.teacher, batch)

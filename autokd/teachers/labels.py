"""The order of a teacher's classes, where its file tells it."""

from __future__ import annotations

from collections.abc import Sequence

Label = str | int


def column_order(labels: Sequence[Label], classes: Sequence[str]) -> list[int]:
    """For each class of the data, the teacher's column.

    By name when the teacher's labels are the data's class names. Else the labels in their own order: numbers by value,
    words alphabetically, which is how scikit-learn orders its columns and this library's tabular sources their classes.
    """
    words = [str(label) for label in labels]
    if classes and sorted(words) == sorted(classes):
        return [words.index(name) for name in classes]
    try:
        keys: Sequence[float | str] = [float(word) for word in words]
    except ValueError:
        keys = words
    return sorted(range(len(words)), key=lambda i: keys[i])

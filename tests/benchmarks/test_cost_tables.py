"""What the tables of the cost benchmark say is what the runs hold."""

from __future__ import annotations

from collections.abc import Sequence

from cost_tables import Goal, goal_table, goals, volume_table
from curves import Box, Run, Student

BOX = Box(poor=0.8, good=1.0, slow_ms=0.1, fast_ms=0.001)
GOOD, POOR = Student(20.0, 1.0, 0.002, 0.95, 0.002), Student(20.0, 0.9, 0.01, 0.9, 0.01)


def runs(*students: Student, budget: float = 400.0, wall_s: float = 30.0) -> list[Run]:
    return [Run(students, budget, wall_s)]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def row(lines: Sequence[str], start: str) -> dict[str, str]:
    found = next(line for line in lines if cells(line)[0].startswith(start))
    return dict(zip(cells(lines[0]), cells(found), strict=True))


def test_a_method_is_shown_at_every_checkpoint_and_at_its_own_end() -> None:
    shown = row(volume_table({"a": runs(POOR, GOOD)}, BOX, 400.0), "a")
    assert shown["at 30"] == "0.250" and shown["at 400"] == "0.849"
    assert shown["its end (CPU s)"] == "400" and shown["at its end"] == "0.849"
    assert shown["test at its end"] == "0.637"  # .75 of the accuracy x .849 of the latency
    assert shown["CPU s to 0.60"] == "40"
    assert shown["trials"] == "2" and shown["wall s"] == "30"


def test_seeds_are_averaged_and_their_range_shown() -> None:
    shown = row(volume_table({"a": [*runs(GOOD), *runs(POOR)]}, BOX, 60.0), "a")
    assert shown["at 60"] == "0.550 (0.250–0.849)"
    assert shown["CPU s to 0.60"] == "20 (1 of 2 seeds)"


def test_a_longer_search_is_shown_at_its_own_end_beside_shorter_ones() -> None:
    lines = volume_table({"script": runs(POOR, budget=1560.0), "a": runs(GOOD, budget=60.0)}, BOX, 60.0)
    assert row(lines, "script")["its end (CPU s)"] == "1560"
    assert row(lines, "a")["its end (CPU s)"] == "60"
    assert cells(lines[0])[1:5] == ["seeds", "at 30", "at 60", "its end (CPU s)"]


def test_an_unconfirmed_front_has_no_test_figure() -> None:
    assert row(volume_table({"a": runs(Student(1.0, 0.9, 0.01))}, BOX, 60.0), "a")["test at its end"] == "–"


def test_goals_are_reached_or_not_by_the_mean_of_the_seeds() -> None:
    goal = Goal("validation", 0.5, lambda run: run.validation(BOX, 60.0))
    assert goal.cell([*runs(GOOD), *runs(POOR)]) == "**0.550 reached**"
    assert goal.cell(runs(POOR)) == "0.250 not reached"
    assert goal.cell([*runs(GOOD), *runs(POOR, budget=50.0)]) == "–"


def test_the_script_sets_what_is_wanted_in_a_minute() -> None:
    script = runs(POOR, budget=1560.0)
    chosen = goals(BOX, 1.0, script)
    shown = goal_table({"script": script, "a": runs(GOOD), "b": runs(Student(61.0, 1.0, 0.001, 1.0, 0.001))}, chosen)
    line = row(shown, "the script's validation hypervolume of 26 CPU minutes (0.250) in 1")
    assert line["a"] == "**0.849 reached**" and line["b"] == "0.000 not reached"
    assert row(shown, "the script's test hypervolume of 26 CPU minutes (0.250)")["a"] == "**0.637 reached**"


def test_microseconds_of_a_goal_are_those_of_this_machine() -> None:
    member = Student(1.0, 0.95, 0.030, 0.93, 0.030)
    texts = {ratio: goal_table({"a": runs(member)}, goals(BOX, ratio, [])) for ratio in (1.0, 2.0)}
    assert row(texts[1.0], "92.5 % test accuracy at 20 µs")["a"] == "0.00% not reached"
    assert row(texts[2.0], "92.5 % test accuracy at 40 µs")["a"] == "**93.00% reached**"


def test_another_data_set_is_only_compared_with_the_script() -> None:
    assert goals(BOX, None, []) == []
    assert len(goals(BOX, None, runs(POOR))) == 2
    assert goal_table({"a": runs(POOR)}, []) == ["No goal applies: the script was not run."]

"""How trials run: under Ray Tune, in local worker processes, or inline for a debugger."""

"""Who proposes candidates: ordinary Optuna samplers, useful in anybody's study."""

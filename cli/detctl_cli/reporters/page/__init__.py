"""Parts of the pages of --html: the map of stages and steps, loss curves, excerpts of code, facts about the runs, templates."""

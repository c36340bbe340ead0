"""Audits without a configured coordinator: one is started for this command, with an agent, over the data in ./.detctl.

Both run as child processes of the command, because the CLI imports neither coordinator nor agent (docs/adr/0034).
"""

"""Audits without a configured coordinator: one is started for this command, with an agent, over the data in ./.detctl.

Everything here is a child process of the command: the CLI imports neither coordinator nor agent (rulings, 31).
"""

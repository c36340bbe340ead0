"""The CLI's side of the contract: a channel, calls, and what their errors mean to a user."""

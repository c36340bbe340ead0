"""One file a command of `detctl-agent`."""

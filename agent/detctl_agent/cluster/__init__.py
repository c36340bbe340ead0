"""Runs as Jobs of a Kubernetes cluster: the agent makes the Job, a recorder in its pod does the rest, and both see the run's folder."""

"""The agent's folders on disk: its state, a run's folder, the spool of segments, the sockets."""

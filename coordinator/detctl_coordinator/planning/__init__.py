"""Plans the runs of an audit from a request, and admits runs that users launch or import."""

"""All gRPC of the agent."""

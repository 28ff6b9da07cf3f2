//! Every metric of the agent.

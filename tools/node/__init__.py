"""A real Kubernetes node, as processes in namespaces of their own: pods, their network, and its policies."""

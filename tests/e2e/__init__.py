"""The operator as a process, on a real control plane: one for all files here, begun and ended by each worker."""

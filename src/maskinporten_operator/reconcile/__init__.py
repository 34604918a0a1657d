"""One pass per kind: parse, observe, plan, execute, report. Effects only through the protocols in `ports`."""

"""The demo: everything `make demo` needs and nothing that the daemon needs."""

"""The master: registers the app with the sidecar, supervises the workers. Never imports the app."""

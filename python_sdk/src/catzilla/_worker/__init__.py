"""The worker process: the link to the sidecar and the app behind it. Nothing here imports grpc."""

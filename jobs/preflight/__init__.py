"""What `preflight` asks of this project's own servers; pipelines/catalog.yaml names each module by the type."""

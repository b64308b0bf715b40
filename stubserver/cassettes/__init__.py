"""The only door to cassette files, YAML and vcrpy."""

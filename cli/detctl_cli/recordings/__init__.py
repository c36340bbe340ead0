"""Makes and reads the folders of `detctl record`, and sends them to a coordinator."""

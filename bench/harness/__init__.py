"""What `bench/run` is made of: environments, processes, figures, report."""

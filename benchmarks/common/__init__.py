"""What the benchmarks share. Each script beside this folder measures one target of speed."""

"""Jobs over inputs of any size: blocks of rows, threads or a cluster, and where results go."""

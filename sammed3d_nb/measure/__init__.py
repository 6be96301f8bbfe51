"""How good and how fast: evaluation on labelled cases, rivals, benchmarks."""

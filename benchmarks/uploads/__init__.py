"""How fast files come in, and what that costs, beside boto3 alone on the same storage; see docs/benchmarks.md."""

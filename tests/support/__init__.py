"""What the tests share: services of their own, fakes with the real interfaces."""

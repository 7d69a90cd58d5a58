"""The compiler: torch networks to shared libraries by TVM. The only place, with the runner, that imports TVM."""

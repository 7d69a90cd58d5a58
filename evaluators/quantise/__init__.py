"""Students that compute in 8-bit integers: simulated while they learn, exact in what is delivered."""

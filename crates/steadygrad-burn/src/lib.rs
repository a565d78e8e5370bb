//! steadygrad for Burn.

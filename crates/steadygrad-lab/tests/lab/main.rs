//! The lab's tests: one program, since each one compiles Burn's generic code for itself.

mod butterfly;
mod determinism;
mod faults;
mod probe;
mod replay;
mod sharpness;
mod train;
mod trial;

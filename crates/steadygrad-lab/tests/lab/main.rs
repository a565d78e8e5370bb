//! The lab's tests. They form one program, because each program compiles Burn's generic code again.

mod butterfly;
mod determinism;
mod faults;
mod probe;
mod replay;
mod sharpness;
mod train;
mod trial;

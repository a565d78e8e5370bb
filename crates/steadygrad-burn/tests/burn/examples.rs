//! Runs the examples. Each example asserts its claim at its end.

#[path = "../../examples/hand_written_loop.rs"]
mod hand_written_loop;

#[test]
fn a_hand_written_loop() {
    hand_written_loop::main();
}

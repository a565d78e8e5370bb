//! Runs the examples. Each asserts at its end what it claims.

#[path = "../../examples/hand_written_loop.rs"]
mod hand_written_loop;

#[test]
fn a_hand_written_loop() {
    hand_written_loop::main();
}

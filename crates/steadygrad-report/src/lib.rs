//! Values in, documents out.

//! `model` runs the keyspace against full copies; `scripts` runs the golden scripts.

mod dump;
mod model;
mod scripts;

//! A cluster in one thread: real `replica` and `wal` code on a virtual clock, network and disk, all driven
//! by one seed.

mod disk;

pub(crate) use disk::SimDisk;

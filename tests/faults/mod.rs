//! Faults below SQLite: a disk that fails, is full, loses open files, or loses its power. In every case reads
//! stay right, health reports the reason, nothing durable is lost, and the database file is kept.

mod assertions;
mod lifecycle;
mod retrying_reader;

mod clock;
mod corruption;
mod disk_full;
mod every_call;
mod lost_files;
mod opening;
mod power_loss;

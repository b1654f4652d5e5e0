//! Faults below SQLite: a disk that fails, is full, is lost, or loses its power. Whatever it does, reads stay
//! right, health says why, nothing durable is lost, and the file that was there is still there.

mod honest;
mod life;
mod patient;

mod clock;
mod damage;
mod every_call;
mod full;
mod lost;
mod opening;
mod power;

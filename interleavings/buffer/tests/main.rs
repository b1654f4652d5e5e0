//! Every switch of threads in the buffer, chosen by a scheduler.

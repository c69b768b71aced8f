//! A network of namespaces with tmap in the middle: where the demonstration and the laboratory run.

pub mod echo_server;
pub mod findings;
pub mod interrupt;
mod leftovers;
pub mod matching;
pub mod namespaces;
pub mod scratch;
pub mod sensor;
pub mod topology;

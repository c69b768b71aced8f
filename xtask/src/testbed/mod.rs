//! A network of namespaces with tmap in the middle: where the demonstration and the laboratory run.

pub(crate) mod echo_server;
pub(crate) mod findings;
pub(crate) mod interrupt;
mod leftovers;
pub(crate) mod matching;
pub(crate) mod namespaces;
pub(crate) mod nat;
pub(crate) mod scratch;
pub(crate) mod sensor;
pub(crate) mod topology;

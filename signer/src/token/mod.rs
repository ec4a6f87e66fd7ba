//! Tokens: one worker process for each (it alone has the PIN and the PKCS#11 session), and the parent's side of that.

pub(crate) mod choice;
pub(crate) mod diagnosis;
pub(crate) mod driver;
mod failure;
pub(crate) mod frame;
mod given;
mod lead;
pub(crate) mod lint;
pub(crate) mod opensc;
pub(crate) mod pin;
pub(crate) mod pkcs11;
pub(crate) mod rhythm;
pub(crate) mod start;
pub(crate) mod uri;
pub(crate) mod view;
pub(crate) mod worker;
pub(crate) mod worker_process;

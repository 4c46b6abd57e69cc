//! The doors through which callers come in: one file or folder for each dialect, all of them on the contract of
//! [`crate::transport`], and none with a socket in it.

pub mod realtime;
pub mod rspp;
pub mod rtvi;
pub mod telephony;

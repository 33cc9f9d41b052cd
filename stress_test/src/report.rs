//! What a [`Summary`](crate::summary::Summary) looks like to people. Pure: a summary goes in, text comes out.

pub(crate) mod balance;
pub(crate) mod charts;
pub(crate) mod colours;
pub mod compare;
pub(crate) mod html;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod text;
pub(crate) mod units;

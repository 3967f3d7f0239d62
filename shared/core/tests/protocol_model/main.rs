//! wip
#![allow(dead_code)]

mod breaks;
mod broker;
mod defences;
mod dispatcher;
mod histories;
mod holder;
mod holds;
mod model;
mod operator;
mod progress;
mod publish;
mod reading;
mod scenario;
mod state;
mod step;
